"""Annealed importance sampling (Neal 2001; Salakhutdinov & Murray 2008) in both directions, along a ``Path``.

The state alternates between the visible and the hidden side: the weight of a step to the next β is that of the state's
own marginal, then the other side is drawn at the new β. It is half of a Gibbs step, leaves p_β unchanged as a whole one
does, and costs one matrix product. Backwards the same moves in the opposite order are the exact reversal.
"""

import math
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from aelab.errors import UserError
from aelab.rbm.path import FINE, Path

Side = Literal["lower", "upper", "exact"]


class Estimate(NamedTuple):
    """A value, its standard error (infinite where one sample cannot tell), and what it is of the true value.

    ``effective_sample_size``: to how many independent samples of equal weight the weights amount. ``side``: a lower
    estimate is, on average and up to luck, below the truth; an upper one above it.
    """

    value: float
    standard_error: float
    effective_sample_size: float
    side: Side


@torch.no_grad()
def anneal(path: Path, state: Tensor, visible: bool, betas: list[float]) -> tuple[Tensor, Tensor, bool]:
    """log Π_k f_{k+1}(s_k) / f_k(s_k) of each row, float64, the state at the end, and whether that is visible.

    ``state`` is drawn at ``betas[0]``; ``betas`` may rise or fall.
    """
    log_w = torch.zeros(len(state), dtype=torch.float64, device=state.device)
    largest = {side: path.largest_field(side) for side in (True, False)}
    for beta, following in pairwise(betas):
        field = path.field(state, visible)
        fine = abs(following - beta) * largest[visible] <= FINE
        log_w += path.log_ratio(state, field, visible, beta, following, fine)
        visible = not visible
        state = path.draw(path.total(field, not visible, following), visible)
    return log_w, state, visible


def ais(path: Path, betas: list[float], runs: int) -> Estimate:
    """log Z ≈ log Z_0 + log mean w over ``runs`` annealed from β = 0 to 1, nats: a lower estimate, by Jensen.

    E[mean w] is Z/Z_0 whatever the machine, so it exceeds log Z by b nats with probability e^−b at most. It falls short
    where no run met some of the mass: neither the standard error nor the effective sample size then tells.
    """
    log_w, _, _ = anneal(path, path.draw_base(runs), True, rising(betas))
    return log_mean(log_w[:, None], "lower", path.log_z_base())


def reverse_ais(path: Path, betas: list[float], samples: Tensor) -> Estimate:
    """log Z ≈ log Z_0 − log mean w over the machine's own ``samples`` annealed from β = 1 to 0: an upper estimate.

    ``samples`` (chains, draws, visible): those of one chain are not taken to be independent, so the standard error is
    that of the chains' means. It is an upper estimate as far as the samples are the machine's.
    """
    chains, draws, _ = samples.shape
    log_w, _, _ = anneal(path, samples.flatten(0, 1), True, rising(betas)[::-1])
    mean = log_mean(log_w.view(chains, draws), "upper", 0.0)
    return mean._replace(value=path.log_z_base() - mean.value)


def annealed_log_likelihood(path: Path, betas: list[float], v: Tensor) -> Tensor:
    """RAISE (Burda, Grosse & Salakhutdinov 2015): log of an unbiased estimate of p_annealed(v), (rows,), float64, nats.

    p_annealed is the distribution of where annealing from β = 0 to 1 ends, one that can be drawn from exactly. So on
    average this is a lower bound of its log-likelihood, whether or not any chain mixes, and p_annealed is the machine's
    distribution in the limit of many temperatures.
    """
    log_w, _, _ = anneal(path, v, True, rising(betas)[::-1])
    return path.log_unnormalised(v, True).double() - path.log_z_base() + log_w


def rising(betas: list[float]) -> list[float]:
    """The same ``betas``; raises ``UserError`` unless they rise from 0 to 1."""
    if len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or any(b <= a for a, b in pairwise(betas)):
        raise UserError("betas: must rise from 0 to 1")
    return betas


def log_mean(log_w: Tensor, side: Side, offset: float) -> Estimate:
    """offset + log mean exp(log_w) of ``log_w`` (chains, draws), the error that of independent chains' means."""
    chains, draws = log_w.shape
    share = torch.softmax(log_w.flatten(), 0)
    per_chain = share.view(chains, draws).sum(1)
    spread = float((per_chain * chains - 1).square().sum() / (chains - 1)) if chains > 1 else math.inf
    value = float(torch.logsumexp(log_w.flatten(), 0)) - math.log(chains * draws) + offset
    return Estimate(value, math.sqrt(spread / chains), float(1 / share.square().sum()), side)
