"""The k-sparse autoencoder (Makhzani & Frey 2013, 2015) and what later work adds to keep its units alive (Gao 2024)."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from aelab.data.batches import Data
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.functional import likelihood as nll
from aelab.functional import sparsity
from aelab.functional.activation import activation
from aelab.models.autoencoder import start_output_at_mean
from aelab.models.base import Figures, Likelihood, Model
from aelab.models.network import MLP, Conv, TransposedLinear, as_layer, last_bias, weight_of
from aelab.models.sparse import sparse_figures, sparse_metrics, units_active
from aelab.ranges import Count, Fraction, NonNegative, Positive
from aelab.rbm.layer import Layer

AVERAGED_OVER = 100  # minibatches, about, in the running mean of BatchTopK's threshold


class Selected(NamedTuple):
    """``code`` (batch, code) after the selection, ``output`` (batch, input), and ``pre_code`` before the selection."""

    code: Tensor
    output: Tensor
    pre_code: Tensor


class TopK(Model):
    """x̂ = decoder(h), h = ``encoder(x)`` of which only the greatest entries are kept; the rest are 0.

    ``selection`` keeps k units of each row (top_k), k · batch entries of the batch (batch_top_k), or of each unit its
    k / n_code of the batch (lifetime). In training k falls from ``k_start`` to ``k`` in a line over the first
    ``anneal`` of it; the loss of validation and test takes k, and ``encode`` and ``reconstruct`` take ``alpha`` · k
    (None keeps everything). Outside training no row's code depends on another row: in place of the batch's own
    threshold, batch_top_k has the mean of the thresholds in training, and lifetime that of each unit.

    ``pre_bias``: the encoder sees x less the decoder's bias. ``unit_norm``: each unit's decoder weights have norm 1.
    ``auxiliary`` · ½ Σ (e − ê)² is added, ê the residual e rebuilt by the ``k_auxiliary`` greatest of the units silent
    for ``dead_after`` images, relative to the residual's own variance, in units of the input's (Gao et al. 2024, A.2).
    """

    encoder: nn.Sequential
    decoder: nn.Sequential
    silent: Tensor  # images since each unit was last active
    thresholds: Tensor  # running means of the least entry that is kept: with k, and with alpha · k
    averaged: Tensor  # minibatches in them

    def __init__(
        self,
        shape: tuple[int, ...],
        n_code: Count,
        code: Literal["linear", "relu"],
        network: MLP | Conv,
        likelihood: Likelihood,
        selection: Literal["top_k", "batch_top_k", "lifetime"],
        k: Count | None,
        k_start: Count | None,
        anneal: Fraction,
        alpha: Positive | None,
        pre_bias: bool,
        unit_norm: bool,
        auxiliary: NonNegative,
        k_auxiliary: Count | None,
        dead_after: Count,
    ):
        super().__init__(shape, likelihood)
        self.k = at_most(n_code, "k", k, n_code // 12)
        self.k_start = at_most(n_code, "k_start", k_start, 4 * self.k)
        self.k_auxiliary = at_most(n_code, "k_auxiliary", k_auxiliary, n_code // 4)
        if self.k_start < self.k:
            raise UserError(f"model.k_start: must be at least model.k={self.k}, to which it falls, got {k_start}")
        self.selection, self.anneal, self.alpha = selection, anneal, alpha
        self.pre_bias, self.unit_norm = pre_bias, unit_norm
        self.auxiliary, self.dead_after = auxiliary, dead_after
        self.n_code = n_code
        self.rectifier = activation(code)
        self.encoder = network.encoder(shape, n_code)
        self.decoder = network.decoder(n_code, shape, self.encoder)
        if auxiliary and (len(self.decoder) > 1 or likelihood != "gaussian"):
            raise UserError("model.auxiliary: needs model/network=single and model.likelihood=gaussian; or set it to 0")
        self.register_buffer("silent", torch.zeros(n_code))
        self.register_buffer("thresholds", torch.zeros(2, n_code if selection == "lifetime" else 1))
        self.register_buffer("averaged", torch.tensor(0.0))

    def pre_code(self, x: Tensor) -> Tensor:
        """The code before the selection, (batch, code)."""
        if self.pre_bias:
            x = x - self.mean(self.decoder_bias())
        return self.rectifier(self.encoder(x)).to(x.dtype)  # under bf16 only the products are in bf16

    def select(self, pre_code: Tensor, k: int) -> Tensor:
        """The kept entries in training, the others 0."""
        if self.selection == "top_k":
            return sparsity.top_k(pre_code, k)
        if self.selection == "batch_top_k":
            return sparsity.batch_top_k(pre_code, k)
        return sparsity.winner_take_all(pre_code, k / pre_code.shape[1])

    def forward(self, x: Tensor) -> Selected:
        pre_code = self.pre_code(x)
        code = self.select(pre_code, self.annealed_k()) if self.training else self.select_alone(pre_code, self.k, 0)
        return Selected(code, self.output(code), pre_code)

    def annealed_k(self) -> int:
        """k at this point of training."""
        done = min(1.0, self.progress / self.anneal) if self.anneal else 1.0
        return round(self.k_start + (self.k - self.k_start) * done)

    def encode(self, x: Tensor) -> Tensor:
        """The code of a trained model, with ``alpha`` · k units per image."""
        pre_code = self.pre_code(x)
        return pre_code if self.alpha is None else self.select_alone(pre_code, max(1, round(self.alpha * self.k)), 1)

    def select_alone(self, pre_code: Tensor, k: int, row: int) -> Tensor:
        """The kept entries of a trained model, each row's for itself; ``row`` of the thresholds is that of k."""
        if self.selection == "top_k":
            return sparsity.top_k(pre_code, k)
        return torch.where(pre_code >= self.thresholds[row], pre_code, 0.0)

    def loss_terms(self, x: Tensor, out: Selected, weight: Tensor | None = None) -> dict[str, Tensor]:
        """−log p(x | h) and, in training, what revives units that have died; nats."""
        terms = {"reconstruction": self.negative_log_likelihood(out.output, x, weight)}
        if self.auxiliary and self.training:
            dead = self.silent >= self.dead_after
            columns = self.decoder_columns()[0]
            W = columns.t() if isinstance(self.decoder[0], TransposedLinear) else columns
            residual = x - self.mean(out.output)
            rebuilt = sparsity.auxiliary_loss(residual, out.pre_code, dead, W, self.k_auxiliary, weight)
            variance = sparsity.weighted_variation(x, weight) / len(x)
            terms["auxiliary"] = self.auxiliary * 0.5 * variance * rebuilt
        return terms

    def validation_metrics(self, batch: Batch, out: Selected) -> dict[str, Tensor]:
        code = self.encode(batch.x)
        observed = nll.only_observed(None, batch.observed)
        return {"squared_error": nll.squared_error(self.decode(code), batch.x, observed), "l0": sparsity.l0(code)}

    def initialize_from(self, data: Data) -> None:
        """Output biases start at the data's mean, decoder weights at norm 1 if they are to keep it."""
        super().initialize_from(data)
        start_output_at_mean(self, data)
        if self.unit_norm:
            sparsity.unit_norm_(*self.decoder_columns())

    def before_step(self) -> None:
        if self.unit_norm:
            W, dim = self.decoder_columns()
            assert W.grad is not None  # a backward pass was made
            sparsity.remove_parallel_gradient_(W.grad, W, dim)

    @torch.no_grad()
    def after_step(self, out: Selected) -> None:
        if self.unit_norm:
            sparsity.unit_norm_(*self.decoder_columns())
        if self.auxiliary:
            world = 1 if self._trainer is None else self.trainer.world_size
            self.silent.add_(len(out.code) * world).mul_(~(out.code != 0).any(0))
        if self.selection != "top_k":
            shares = [k / self.n_code for k in (self.k, (self.alpha or 1.0) * self.k)]
            units = out.pre_code.t() if self.selection == "lifetime" else out.pre_code.reshape(1, -1)
            self.averaged.add_(1).clamp_(max=AVERAGED_OVER)
            self.thresholds.lerp_(sparsity.least_kept(units, shares), 1 / self.averaged)

    def layer(self) -> Layer | None:
        """Without hidden layers it is one of a stack, whose units go on unselected: h = ``pre_code``(x).

        Of categories it is none: no layer has softmax units.
        """
        if self.categories:
            return None
        own = as_layer(self.encoder, self.rectifier, self.decoder, self.likelihood)
        if own is None or not self.pre_bias:
            return own
        return own._replace(b_hidden=own.b_hidden - self.mean(self.decoder_bias()).detach() @ own.W)

    def decoder_columns(self) -> tuple[Tensor, int]:
        """The weights that each code unit is drawn with, and the dimension along which one unit's lie."""
        first = self.decoder[0]
        return weight_of(first), 1 if isinstance(first, TransposedLinear) else 0

    def decoder_bias(self) -> Tensor:
        """What the decoder puts out for no active unit, if it is one layer; (input,), or (1,) of a convolution."""
        return last_bias(self.decoder)

    def units_used(self, x: Tensor) -> int:
        return units_active(self, x, 0.0)

    def code_activity(self, x: Tensor) -> Tensor:
        return (self.encode(x).abs() > 0.0).float()

    def test_metrics(self, data: Data) -> dict[str, float]:
        return sparse_metrics(self, data, 0.0)

    def figures(self, data: Data) -> Figures:
        return sparse_figures(self, data, 0.0)


def at_most(n_code: int, key: str, units: int | None, default: int) -> int:
    """``units``, or where it is None ``default``, as far as there are so many."""
    if units is None:
        return min(max(1, default), n_code)
    if units > n_code:
        raise UserError(f"model.{key}: must be at most the {n_code} code units, got {units}; null follows model.n_code")
    return units
