"""The classification RBM (Larochelle & Bengio 2008): labels as one softmax group of visible units."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from aelab.data.batches import Data
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.functional.classification import class_error
from aelab.functional.likelihood import log_odds
from aelab.models.base import Figures, Model
from aelab.models.filters import Filters
from aelab.models.training import total
from aelab.ranges import Count, NonNegative
from aelab.rbm.density import Density, of_labelled_rbm
from aelab.rbm.energy import free_energy
from aelab.rbm.layer import Layer
from aelab.rbm.wake_sleep import generate, label_energies, top_phases

PICTURES = 10  # generated of each label
PICTURE_STEPS = 500  # Gibbs steps before each


class ClassificationRBM(Model):
    """p(x, y, h) ∝ exp(hᵀWx + hᵀUy + aᵀx + dᵀy + bᵀh), so p(y | x) = softmax_y(d_y + Σ_j softplus(b_j + U_jy + W_j x)).

    The loss is ``discriminative`` · −log p(y | x), whose gradient is exact, + ``generative`` · −log p(x, y), whose
    gradient is CD's with ``steps`` Gibbs steps, + ``unsupervised`` · −log p(x) for the samples without a label (−1),
    likewise. Each is a mean over the samples that it is about. After every update each hidden bias loses ``sparsity``
    (the sparse hybrid). The code is E[h | x], the label summed over. W holds the labels' U as its last rows.
    """

    ignores = {"corruption": "its units are stochastic as it is; corruption is for models that reconstruct their input"}
    classifies = True
    losses_apart = "training: sum of the weighted terms", "validation: −log p(label | input), nats"

    def __init__(
        self, shape: tuple[int, ...], n_classes: int | None, n_hidden: Count, discriminative: NonNegative,
        generative: NonNegative, unsupervised: NonNegative, sparsity: NonNegative, steps: Count,
        weight_std: NonNegative,
    ):  # fmt: skip
        super().__init__(shape, "bernoulli")
        if n_classes is None:
            raise UserError("data: a classification RBM needs labels, and this data set has none; choose one that has")
        if not (discriminative or generative or unsupervised):
            raise UserError("model.discriminative: one of the loss's three terms must be above 0; raise one")
        self.discriminative, self.generative, self.unsupervised = discriminative, generative, unsupervised
        self.sparsity, self.steps, self.n_labels = sparsity, steps, n_classes
        self.W = nn.Parameter(weight_std * torch.randn(self.n_input + n_classes, n_hidden))
        self.b_hidden = nn.Parameter(torch.zeros(n_hidden))
        self.b_visible = nn.Parameter(torch.zeros(self.n_input + n_classes))

    # --- the model -----------------------------------------------------------------------------------------------

    def machine(self) -> Layer:
        """The RBM of inputs and labels, live."""
        return Layer(self.W, self.b_hidden, self.b_visible, "bernoulli", "bernoulli")

    def layer(self) -> Layer:
        """The machine without its labels, as a value."""
        n = self.n_input
        return Layer(self.W[:n].detach(), self.b_hidden.detach(), self.b_visible[:n].detach(), "bernoulli", "bernoulli")

    def density(self) -> Density:
        return of_labelled_rbm(self.machine().detach(), self.n_labels)

    def forward(self, x: Tensor) -> Tensor:
        """x (batch, input) → the free energies F(x, y) of every label (batch, class)."""
        return label_energies(x, self.machine(), self.n_labels)

    def classify(self, x: Tensor) -> Tensor:
        """x (batch, input) → p(label | x) (batch, class), exact."""
        return (-self(x)).softmax(1)

    def encode(self, x: Tensor) -> Tensor:
        field = x @ self.W[: -self.n_labels] + self.b_hidden
        labels = zip(self.classify(x).t(), self.W[-self.n_labels :])
        return total(p[:, None] * (field + row).sigmoid() for p, row in labels)

    def output(self, code: Tensor) -> Tensor:
        return code @ self.W[: self.n_input].t() + self.b_visible[: self.n_input]

    @torch.no_grad()
    def encoder_filters(self, x: Tensor) -> Filters:
        return Filters(self.W[: self.n_input].detach().t(), self.encode(x))

    def decoder_filters(self, x: Tensor) -> None:
        """None: they are the encoder's."""

    # --- training ---------------------------------------------------------------------------------------------------

    def initialize_from(self, data: Data) -> None:
        """The biases of inputs and labels start at the training set's log-odds and log-frequencies."""
        super().initialize_from(data)
        assert data.train.y is not None  # a model without classes was refused
        data.check_labels(self.n_labels, some_unlabelled=True)
        known = data.train.y[data.train.y >= 0]
        frequency = torch.bincount(known, minlength=self.n_labels).clamp(min=1).float()
        pixels = log_odds(data.mean)
        self.b_visible.data.copy_(torch.cat([pixels, (frequency / frequency.sum()).log()]))

    def batch_terms(self, batch: Batch, out: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
        """In training the weighted terms; else −log p(y | x), by which the machines of all weights can be compared."""
        known = batch.target >= 0
        target = torch.where(known, batch.target, -100)  # which cross_entropy leaves out
        n_known = known.sum().clamp(min=1)
        class_term = cross_entropy(-out, target, reduction="sum") / n_known
        if not self.training:
            return {"cross_entropy": class_term}
        terms = {}
        if self.discriminative:
            terms["discriminative"] = self.discriminative * class_term
        if self.generative or self.unsupervised:
            of_pair = out.gather(1, batch.target.clamp(min=0)[:, None]).squeeze(1)
            data = torch.where(known, of_pair, -(-out).logsumexp(1))
            change = data - free_energy(self.dream(batch, out), self.machine())
            if self.generative:
                terms["generative"] = self.generative * (change * known).sum() / n_known
            if self.unsupervised:
                terms["unsupervised"] = self.unsupervised * (change * ~known).sum() / (~known).sum().clamp(min=1)
        return terms

    @torch.no_grad()
    def dream(self, batch: Batch, energies: Tensor) -> Tensor:
        """Where ``steps`` of Gibbs sampling lead from the batch, (batch, input + class); unknown labels are drawn."""
        drawn = torch.multinomial((-energies).softmax(1), 1).squeeze(1)
        label = one_hot(torch.where(batch.target >= 0, batch.target, drawn), self.n_labels).to(batch.x)
        return top_phases(torch.cat([batch.x, label], 1), self.machine().detach(), self.n_labels, self.steps).v_model

    def after_step(self, out: Tensor) -> None:
        self.b_hidden.data.sub_(self.sparsity)

    # --- what is watched ----------------------------------------------------------------------------------------------

    def validation_metrics(self, batch: Batch, out: Tensor) -> dict[str, Tensor]:
        """``class_error``, %, of the samples that have a label."""
        return {"class_error": class_error(out.argmin(1), batch.target)}

    @torch.no_grad()
    def figures(self, data: Data) -> Figures:
        """Pictures that the machine generates, one row per label."""
        from aelab.functional.drawing.images import image_rows, is_image

        if not is_image(data.pixel_shape):
            return {}
        torch.manual_seed(0)
        held = torch.eye(self.n_labels, device=self.device).repeat_interleave(PICTURES, 0)
        noise = torch.rand(len(held), self.n_input, device=self.device)
        drawn = data.to_pixels(generate(noise, self.machine(), [], PICTURE_STEPS, held, self.n_labels))
        rows = {f"label {data.schema.class_name(i)}": part for i, part in enumerate(drawn.split(PICTURES))}
        title = f"Generated by label: the pixels' means after {PICTURE_STEPS} Gibbs steps from noise"
        return {"generated": image_rows(title, rows, data.pixel_shape)}
