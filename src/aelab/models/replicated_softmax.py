"""The replicated softmax (Salakhutdinov & Hinton 2009): topics of documents, as hidden units of an RBM."""

import torch
from torch import Tensor, nn

from aelab.data.batches import Data
from aelab.data.parts import Batch, Split
from aelab.errors import UserError
from aelab.models.base import Model
from aelab.ranges import Count, NonNegative
from aelab.rbm import replicated_softmax as rs
from aelab.rbm.layer import Layer

TOP_WORDS = 10  # shown of each hidden unit


class ReplicatedSoftmax(Model):
    """p(v, h) ∝ exp(vᵀ W h + aᵀ v + D bᵀ h) of documents v (batch, words) of D counted words; the code is E[h | v].

    The loss is F(v) − F(v'), v' after ``steps`` of Gibbs sampling from v, per word: its gradient is contrastive
    divergence's. ``val/loss`` is ``completion``: −log p(word | code of the document's other half), nats per word of one
    half, which grows again when topics are learned by heart. ``evaluate.perplexity`` measures held-out perplexity.
    """

    ignores = {"corruption": "its units are stochastic as it is; corruption is for models that reconstruct their input"}
    reconstructs = False
    losses_apart = "training: divergence, nats per word", "validation: −log p of an unseen word, nats"

    def __init__(self, shape: tuple[int, ...], n_hidden: Count, steps: Count, weight_std: NonNegative):
        super().__init__(shape, "gaussian")
        self.steps = steps
        self.W = nn.Parameter(weight_std * torch.randn(self.n_input, n_hidden))
        self.b_hidden = nn.Parameter(torch.zeros(n_hidden))
        self.b_visible = nn.Parameter(torch.zeros(self.n_input))

    def machine(self) -> Layer:
        """Weights and biases, live; the unit types stand for the hidden side alone."""
        return Layer(self.W, self.b_hidden, self.b_visible, "bernoulli", "bernoulli")

    def value(self) -> Layer:
        """The same without gradients."""
        return self.machine().detach()

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x)

    def encode(self, x: Tensor) -> Tensor:
        return rs.mean_h_given_v(x, self.machine())

    def output(self, code: Tensor) -> Tensor:
        """The probability of each word, (batch, words)."""
        return rs.log_p_word_given_h(code, self.machine()).exp()

    def encoder_filters(self, x: Tensor) -> None:
        """None: words are no picture."""

    def top_words(self, n: int) -> Tensor:
        """Indices of the ``n`` words that each hidden unit raises most, (hidden, n), the first the most."""
        return self.W.detach().topk(min(n, self.n_input), 0).indices.t()

    def initialize_from(self, data: Data) -> None:
        """The words' biases start at the log of their frequencies."""
        x = data.train.x
        if data.below or bool((x < 0).any() or (x != x.round()).any()):
            raise UserError(f"model: a replicated softmax takes counted words, {data.name} has others; data=documents")
        self.b_visible.data.copy_(frequencies(x).log())

    def batch_terms(self, batch: Batch, out: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
        if not self.training:
            one, other = halves(batch.x)
            log_p = rs.log_p_word_given_h(self.encode(one), self.machine())
            return {"completion": -(other * log_p).sum() / len(batch.x)}
        n_words = batch.x.sum().clamp(min=1)
        dreamt, value = batch.x, self.value()
        for _ in range(self.steps):
            dreamt = rs.gibbs_step(dreamt, value)
        change = rs.free_energy(batch.x, self.machine()) - rs.free_energy(dreamt, self.machine())
        return {"divergence": change.sum() / n_words}

    def validation_metrics(self, batch: Batch, out: Tensor) -> dict[str, Tensor]:
        return {"hidden_activity": out.mean()}

    def whole_terms(self, terms: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        """Per word of the halves that are predicted, instead of per document."""
        return {name: value * (len(split.x) / halves(split.x)[1].sum().clamp(min=1)) for name, value in terms.items()}

    def tables(self, data: Data) -> dict[str, list[dict[str, object]]]:
        """``topics``: the words that each hidden unit raises most."""
        names, units = data.schema.names, enumerate(self.top_words(TOP_WORDS).tolist(), 1)
        return {"topics": [{"unit": unit, "words": " ".join(names[word] for word in top)} for unit, top in units]}


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Counted words (documents, words) dealt out in turn, every second one to the first half: always the same way."""
    dealt = (x.cumsum(1) / 2).floor()
    one = dealt.diff(dim=1, prepend=torch.zeros_like(x[:, :1]))
    return one, x - one


def frequencies(x: Tensor) -> Tensor:
    """Each word's part of all words of the documents x (documents, words), one more of each counted: none is 0."""
    counts = x.sum(0) + 1
    return counts / counts.sum()
