"""The partition function log Z = log Σ_v exp(−F(v)): exact for small machines, by annealed importance sampling else."""

from typing import NamedTuple

import torch
from torch import Tensor

from aelab.errors import UserError
from aelab.rbm.energy import free_energy, free_energy_hidden, log_normaliser, sample_v_given_h
from aelab.rbm.gibbs import gibbs_sample
from aelab.rbm.layer import Layer

LIMIT = 24  # 2^24 states take about a minute on one core
CHUNK = 2**14


class Estimate(NamedTuple):
    """A value, its standard error, and to how many independent samples of equal weight its samples amount."""

    value: float
    standard_error: float
    effective_sample_size: float


def enumerable_units(rbm: Layer) -> int | None:
    """How many units an exact sum runs over: the smaller Bernoulli side; None where there is no exact sum.

    The other side must be summed in closed form, which is exact for Bernoulli and Gaussian units and not for
    rectified ones.
    """
    if "relu" in (rbm.visible, rbm.hidden):
        return None
    n_visible, n_hidden = rbm.W.shape
    sides = [n for n, unit in ((n_visible, rbm.visible), (n_hidden, rbm.hidden)) if unit == "bernoulli"]
    return min(sides, default=None)


@torch.no_grad()
def log_z_exact(rbm: Layer) -> float:
    """log Z in nats by enumeration of the smaller Bernoulli side, in float64.

    Raises ``UserError`` if that side has more than 24 units or there is none.
    """
    n = enumerable_units(rbm)
    if n is None:
        raise UserError(f"model.hidden: no exact log Z of {rbm.visible}-{rbm.hidden} units; one side must be bernoulli")
    if n > LIMIT:
        raise UserError(f"model.n_hidden: an exact log Z would sum 2^{n} states, the limit is 2^{LIMIT}; estimate it")
    rbm = rbm.to(torch.float64)
    over_hidden = rbm.hidden == "bernoulli" and rbm.W.shape[1] == n
    free = free_energy_hidden if over_hidden else free_energy
    chunks = [torch.logsumexp(-free(states, rbm), 0) for states in _states(n, rbm.W.device)]
    return float(torch.logsumexp(torch.stack(chunks), 0))


def log_likelihood_exact(v: Tensor, rbm: Layer) -> Tensor:
    """log p(v) = −F(v) − log Z, (batch,), float64, nats (of a density for Gaussian v); ``log_z_exact``'s errors."""
    return -free_energy(v.double(), rbm.to(torch.float64)) - log_z_exact(rbm)


@torch.no_grad()
def log_z_ais(rbm: Layer, base_bias: Tensor, betas: Tensor, runs: int) -> Estimate:
    """log Z ≈ log Z_0 + log mean_r Π_k exp(F_{k−1}(v_k) − F_k(v_k)) (Salakhutdinov & Murray 2008), nats.

    ``betas`` rise from 0 to 1. The machine at β has weights βW, hidden biases βb and visible biases
    (1 − β)·``base_bias`` + βa, so the base (β = 0) has independent units; ``base_bias`` (visible,) is best the data's:
    its log-odds, or its mean for Gaussian units. All ``runs`` chains step together. The standard error is that of the
    mean weight, carried through the logarithm; mass that no chain met is in neither. Raises ``UserError`` for
    rectified units, whose free energy is an approximation.
    """
    if "relu" in (rbm.visible, rbm.hidden):
        raise UserError("model.hidden: no log Z of relu units; use bernoulli or gaussian units")
    betas = [float(beta) for beta in betas]
    if betas[0] != 0 or betas[-1] != 1 or sorted(betas) != betas:
        raise UserError("betas: must rise from 0 to 1")
    now = _between(rbm, base_bias, 0.0)
    v = sample_v_given_h(now.b_hidden.expand(runs, -1), now)[1]
    log_w = torch.zeros(runs, dtype=torch.float64, device=v.device)
    for beta in betas[1:]:
        following = _between(rbm, base_bias, beta)
        log_w += free_energy(v, now) - free_energy(v, following)
        now = following
        v = gibbs_sample(v, now, 1)
    return _log_mean(log_w, _log_z_independent(rbm, base_bias))


def _between(rbm: Layer, base_bias: Tensor, beta: float) -> Layer:
    b_visible = torch.lerp(base_bias.to(rbm.b_visible), rbm.b_visible, beta)
    return rbm._replace(W=beta * rbm.W, b_hidden=beta * rbm.b_hidden, b_visible=b_visible)


def _log_z_independent(rbm: Layer, base_bias: Tensor) -> float:
    visible, hidden = base_bias.double(), torch.zeros_like(rbm.b_hidden, dtype=torch.float64)
    log_var = rbm.log_var_visible if rbm.visible == "gaussian" else None
    sides = log_normaliser(0 * visible, rbm.visible, visible, log_var), log_normaliser(hidden, rbm.hidden, hidden, None)
    return float(sides[0].sum() + sides[1].sum())


def _log_mean(log_w: Tensor, offset: float) -> Estimate:
    runs = len(log_w)
    share = torch.softmax(log_w, 0)
    size = float(1 / (share**2).sum())
    error = max(runs / size - 1, 0) / max(runs - 1, 1)  # var(w) / (runs · mean(w)²), unbiased variance
    value = float(torch.logsumexp(log_w, 0) - torch.log(torch.tensor(float(runs)))) + offset
    return Estimate(value, error**0.5, size)


def _states(n: int, device: torch.device):
    bits = torch.arange(n - 1, -1, -1, device=device)
    for start in range(0, 2**n, CHUNK):
        index = torch.arange(start, min(start + CHUNK, 2**n), device=device)
        yield (index[:, None] >> bits & 1).double()
