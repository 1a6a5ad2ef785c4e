"""Inverse temperatures β from 0 to 1: evenly spaced, as the paper has them, or where the machine needs them."""

import math

import torch
from torch import Tensor

from aelab.errors import UserError
from aelab.rbm.path import Path

PILOT_ESS = 0.95  # of a step of the pilot run: coarse, so that the pilot is short
HALVINGS = 12  # of a step while it is sought: to a part in 4096 of twice the step before it
MOST = 200_000  # temperatures; more means that no schedule will do


def linear(n: int) -> list[float]:
    """``n`` temperatures at equal distances, both ends included."""
    return [k / (n - 1) for k in range(n)]


def paper() -> list[float]:
    """The 14,500 of Salakhutdinov & Murray 2008: β = 0:1e-3:0.5, 0.5:1e-4:0.9, 0.9:1e-5:1."""
    coarse = [k / 1000 for k in range(500)]
    return [*coarse, *(k / 10_000 for k in range(5000, 9000)), *(k / 100_000 for k in range(90_000, 100_001))]


def ladder(path: Path, rungs: int, runs: int) -> list[float]:
    """``rungs`` temperatures between which about equal parts of the sample size are lost, from a pilot of ``runs``."""
    pilot = torch.tensor(by_sample_size(path, PILOT_ESS, runs), dtype=torch.float64)
    place = torch.linspace(0, len(pilot) - 1, rungs, dtype=torch.float64)
    low = place.long().clamp(max=len(pilot) - 2)
    return torch.lerp(pilot[low], pilot[low + 1], place - low).tolist()


@torch.no_grad()
def by_sample_size(path: Path, ess: float, runs: int) -> list[float]:
    """Temperatures such that reweighting from each to the next keeps about ``ess`` of the effective sample size.

    A pilot of ``runs`` chains climbs from β = 0; each step is the longest whose weights w have (mean w)²/mean w² ≥
    min(0.95, ``ess``), by bisection. What is lost in a step grows with its square, so each is then divided into
    √(lost in the pilot / to be lost) equal parts. Raises ``UserError`` where that takes more than 200,000.
    """
    state, visible, beta, last = path.draw_base(runs), True, 0.0, 1.0
    pilot_ess = min(ess, PILOT_ESS)
    parts = math.ceil(math.sqrt((1 - pilot_ess) / (1 - ess)))
    betas = [0.0]
    while beta < 1:
        field = path.field(state, visible)
        following = _longest(path, state, field, visible, beta, min(beta + 2 * last, 1.0), pilot_ess)
        last = following - beta
        betas += [beta + last * k / parts for k in range(1, parts)] + [following]
        if len(betas) > MOST:
            raise UserError(f"temperatures: an effective sample size of {ess} takes more than {MOST}; ask for less")
        state, beta, visible = path.draw(path.total(field, visible, following), not visible), following, not visible
    return betas


def sample_size_kept(path: Path, state: Tensor, field: Tensor, visible: bool, beta: float, other: float) -> float:
    """(mean w)²/mean w² of the weights that carry ``state`` from β to ``other``, from 1/rows to 1."""
    log_w = path.log_ratio(state, field, visible, beta, other).double()
    return math.exp(2 * float(log_w.logsumexp(0)) - float((2 * log_w).logsumexp(0)) - math.log(len(log_w)))


def _longest(path: Path, state: Tensor, field: Tensor, visible: bool, beta: float, limit: float, ess: float) -> float:
    if sample_size_kept(path, state, field, visible, beta, limit) >= ess:
        return limit
    low, high = beta, limit
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = sample_size_kept(path, state, field, visible, beta, middle) >= ess
        low, high = (middle, high) if enough else (low, middle)
    return low if low > beta else high
