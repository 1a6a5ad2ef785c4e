"""Codes of which few units are active: penalties, selections, and what keeps units alive.

``code`` is (batch, code) throughout. A penalty is summed over the units and averaged over the batch, in the code's unit
or in nats. A penalty or selection acts on the very code that the decoder gets.
"""

import math

import torch
from torch import Tensor

from aelab.errors import UserError


def l1(code: Tensor) -> Tensor:
    """Σ_j |code_j|, averaged over the batch."""
    return code.abs().sum() / len(code)


def kl_to_target(code: Tensor, target: float) -> Tensor:
    """Σ_j KL(ρ ‖ ρ̂_j) = Σ_j ρ log ρ/ρ̂_j + (1 − ρ) log (1 − ρ)/(1 − ρ̂_j), ρ̂_j the mean of unit j over the batch; nats.

    ``code`` in [0, 1], so logistic units; ρ is ``target`` (Lee et al. 2008; Ng, CS294A). Means are kept 10⁻⁶ away from
    0 and 1, where the penalty is infinite, in a way whose gradient leads back. Raises UserError unless 0 < ρ < 1.
    """
    if not 0 < target < 1:
        raise UserError(f"model.target: the mean activation to aim at must be in (0, 1), got {target}; 0.05 is usual")
    # scaled, not clamped: a clamp's gradient is 0 just where a unit is dead
    mean = 1e-6 + (1 - 2e-6) * code.mean(0)
    active = target * (math.log(target) - mean.log())
    return (active + (1 - target) * (math.log1p(-target) - (1 - mean).log())).sum()


def top_k(code: Tensor, k: int) -> Tensor:
    """All but the ``k`` greatest units of each row become 0: exactly k are kept, of equal ones any.

    Greatest by signed value, as Makhzani & Frey 2013 take them: a strongly negative unit is not kept. After a rectifier
    the two orders agree, and fewer than k units are active where fewer are positive. k ≥ the units keeps them all.
    """
    values, indices = code.topk(min(k, code.shape[-1]), dim=-1, sorted=False)
    return torch.zeros_like(code).scatter(-1, indices, values)


def batch_top_k(code: Tensor, k: int) -> Tensor:
    """All but the k · batch greatest entries of the batch become 0 (Bussmann et al. 2024): k per row on average."""
    return top_k(code.reshape(1, -1), k * len(code)).view_as(code)


def winner_take_all(code: Tensor, fraction: float) -> Tensor:
    """Each unit keeps its greatest ``fraction`` of the batch, at least one row; in training only.

    Lifetime sparsity (Makhzani & Frey 2015): no unit can die, and a row may keep none.
    """
    return top_k(code.T, max(1, round(fraction * len(code)))).T


@torch.no_grad()
def least_kept(values: Tensor, fractions: list[float]) -> Tensor:
    """The least of the greatest ``fractions`` of each row of ``values`` (row, value), at least one: (fraction, row)."""
    counts = [min(values.shape[1], max(1, round(fraction * values.shape[1]))) for fraction in fractions]
    greatest = values.topk(max(counts), dim=1).values
    return torch.stack([greatest[:, count - 1] for count in counts])


@torch.no_grad()
def unit_norm_(W: Tensor, dim: int) -> Tensor:
    """Scale W in place so that its norm along ``dim`` is 1: a unit's decoder weights, so that codes cannot shrink."""
    return W.div_(W.norm(dim=dim, keepdim=True).clamp_(min=torch.finfo(W.dtype).tiny))


@torch.no_grad()
def remove_parallel_gradient_(gradient: Tensor, W: Tensor, dim: int) -> Tensor:
    """gradient −= (gradient · W) W in place, for W of norm 1 along ``dim``: no step is wasted on changing its norm."""
    return gradient.sub_((gradient * W).sum(dim, keepdim=True) * W)


def auxiliary_loss(
    residual: Tensor, pre_code: Tensor, dead: Tensor, decoder_weight: Tensor, k_aux: int, weight: Tensor | None = None
) -> Tensor:
    """‖e − ê‖² / ‖e − mean e‖², ê the residual e rebuilt by the ``k_aux`` greatest dead units (Gao et al. 2024, A.2).

    ``residual`` (batch, input) is x − x̂, a constant here; ``pre_code`` (batch, code) is the code before the selection;
    ``dead`` (code,) Boolean; ``decoder_weight`` (input, code). Shape (); 0, and its gradient too, when no unit is dead.
    ``weight`` (batch, input): of each entry's square in both sums, 0 where nothing was observed; None: all 1. The paper
    adds 1/32 of it to the error, which it divides by the variance likewise.
    """
    residual = residual.detach()
    # dead units come first; where there are fewer than k_aux, the living ones among the chosen count for 0
    chosen = top_k(torch.where(dead, pre_code, -torch.inf), min(k_aux, len(dead)))
    rebuilt = torch.where(dead, chosen, 0.0) @ decoder_weight.T
    square = (residual - rebuilt).square()
    error = square.sum() if weight is None else (square * weight).sum()
    total = weighted_variation(residual, weight)
    return torch.where(dead.any(), error / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0)


def weighted_variation(x: Tensor, weight: Tensor | None) -> Tensor:
    """Σ w (x − x̄)² over all entries, x̄ each input's mean under the weights w; ``weight`` None: all 1."""
    if weight is None:
        return (x - x.mean(0)).square().sum()
    mean = (weight * x).sum(0) / weight.sum(0).clamp(min=torch.finfo(x.dtype).tiny)
    return (weight * (x - mean).square()).sum()


def l0(code: Tensor) -> Tensor:
    """The mean number of active units, those that are not 0, per row."""
    return (code != 0).sum() / len(code)
