"""The sparse autoencoder: more code units than are ever active at once (Lee et al. 2008; Ng, CS294A)."""

import torch
from torch import Tensor

from aelab.data.batches import Data
from aelab.data.parts import Split
from aelab.errors import UserError
from aelab.functional import sparsity
from aelab.functional.activation import Activation
from aelab.functional.drawing import units
from aelab.models.autoencoder import Autoencoder
from aelab.models.base import Figures, Likelihood, Model, Output
from aelab.models.network import MLP, Conv
from aelab.models.training import total
from aelab.ranges import Count, Inside, NonNegative


class Sparse(Autoencoder):
    """−log p(x | h) + ``penalty`` · Σ_j KL(``target`` ‖ mean h_j), or · Σ_j |h_j| where ``target`` is None.

    The KL needs code units in [0, 1], so a logistic code. Both act on the very code that the decoder gets.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n_code: Count,
        code: Activation,
        network: MLP | Conv,
        likelihood: Likelihood,
        penalty: NonNegative,
        target: Inside | None,
    ):
        super().__init__(shape, n_code, code, network, likelihood)
        if target is not None and code != "sigmoid":
            raise UserError(
                f"model.target: needs model.code=sigmoid, got {code}; or take the L1 penalty, model.target=null"
            )
        self.penalty, self.target = penalty, target
        self.active_above = 0.5 if code == "sigmoid" else 0.0  # a logistic unit is never quite 0

    def loss_terms(self, x: Tensor, out: Output, weight: Tensor | None = None) -> dict[str, Tensor]:
        """−log p(x | h) and the weighted penalty, nats."""
        code = out.code
        penalty = sparsity.l1(code) if self.target is None else sparsity.kl_to_target(code, self.target)
        return {**super().loss_terms(x, out, weight), "sparsity": self.penalty * penalty}

    def whole_terms(self, terms: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        """The KL penalty is that of the mean activity over all samples, not a mean of the batches' penalties."""
        if self.target is None:
            return terms
        mean = total(self.encode(batch.x).float().sum(0) for batch in split.batches()) / len(split.x)
        return {**terms, "sparsity": self.penalty * sparsity.kl_to_target(mean[None], self.target)}

    def units_used(self, x: Tensor) -> int:
        return units_active(self, x, self.active_above)

    def code_activity(self, x: Tensor) -> Tensor:
        return (self.encode(x).abs() > self.active_above).float()

    def test_metrics(self, data: Data) -> dict[str, float]:
        return sparse_metrics(self, data, self.active_above)

    def figures(self, data: Data) -> Figures:
        return sparse_figures(self, data, self.active_above)


def sparse_metrics(model: Model, data: Data, active_above: float) -> dict[str, float]:
    """``l0``: code units active per image; ``dead_fraction``: the share of those active for none."""
    frequency = lifetime_frequency(model, data, active_above)
    return {"l0": float(frequency.sum()), "dead_fraction": float((frequency == 0).float().mean())}


def sparse_figures(model: Model, data: Data, active_above: float) -> Figures:
    """``lifetime_sparsity``: how many units are active on how large a part of the test images."""
    share = lifetime_frequency(model, data, active_above)
    n = len(data.test.x)
    title = f"For how many of {n} test samples each of {len(share)} code units is active"
    x = "share of the samples that a unit is active for" + (f" (above {active_above:g})" if active_above else "")
    return {"lifetime_sparsity": units.lifetimes(title, share, x, "code units", n)}


@torch.no_grad()
def units_active(model: Model, x: Tensor, active_above: float) -> int:
    """Code units active for a sample of ``x``, on average, at least 1: a fair number of principal components."""
    return max(1, round(float((model.encode(x).abs() > active_above).sum(1).float().mean())))


@torch.no_grad()
def lifetime_frequency(model: Model, data: Data, active_above: float) -> Tensor:
    """The fraction of test images for which |code_j| > ``active_above``, (code,)."""
    counts = total((model.encode(batch.x).abs() > active_above).sum(0) for batch in data.test.batches())
    return counts / len(data.test.x)
