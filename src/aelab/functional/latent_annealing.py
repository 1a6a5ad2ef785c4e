"""log p(x) of a latent variable model by annealed importance sampling over its noise (Neal 2001; Wu et al. 2017).

The noise ε is N(0, 1) and p(x | ε) is known. From ε ~ p(ε) a chain goes through p_t ∝ p(ε) p(x | ε)^β_t to the
posterior, β from 0 to 1, and its weight w = Π_t p(x | ε_t)^(β_t+1 − β_t) is unbiased: E[w] = p(x). Unlike importance
sampling it does not depend on an encoder: a difference says what the encoder's samples miss.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

ACCEPTED = 0.65  # of the moves, what the pilot run steers for
CHANGE = 1.05  # factor on a step's length after a move
STEEPNESS = 4.0  # of the schedule, at both ends of which the temperatures lie closest

LogLikelihood = Callable[[Tensor], Tensor]  # noise (rows, units) → log p(x | noise) (rows,), nats


def schedule(temperatures: int) -> list[float]:
    """β_0 = 0 to β_T = 1 along a sigmoid."""
    raw = [1 / (1 + math.exp(-STEEPNESS * (2 * t / temperatures - 1))) for t in range(temperatures + 1)]
    return [(one - raw[0]) / (raw[-1] - raw[0]) for one in raw]


def log_weights(log_likelihood: LogLikelihood, start: Tensor, temperatures: int, leapfrog: int) -> Tensor:
    """log w of a chain from each row of ``start`` (rows, units), draws of N(0, 1); (rows,), nats.

    Moves are Hamiltonian, of ``leapfrog`` steps each. Their lengths, for each row and temperature, are found by a pilot
    run with draws of its own, so that the weights of the run itself stay unbiased.
    """
    betas = schedule(temperatures)
    lengths = start.new_full((temperatures + 1, len(start), 1), 0.1)
    _anneal(log_likelihood, torch.randn_like(start), betas, leapfrog, lengths, pilot=True)
    return _anneal(log_likelihood, start, betas, leapfrog, lengths, pilot=False)


def _anneal(
    log_likelihood: LogLikelihood, noise: Tensor, betas: list[float], leapfrog: int, lengths: Tensor, pilot: bool
) -> Tensor:
    known, slope = _with_slope(log_likelihood, noise)
    log_w = torch.zeros_like(known)
    for t in range(1, len(betas)):
        log_w += (betas[t] - betas[t - 1]) * known
        if pilot:
            lengths[t] = lengths[t - 1] if t > 1 else lengths[t]
        length, beta = lengths[t], betas[t]
        momentum = torch.randn_like(noise)
        energy = _energy(noise, momentum, known, beta)
        place, there, push = noise, known, slope
        half = momentum - 0.5 * length * (place - beta * push)
        for step in range(leapfrog):
            place = place + length * half
            there, push = _with_slope(log_likelihood, place)
            half = half - length * (place - beta * push) * (1.0 if step < leapfrog - 1 else 0.5)
        accepted = torch.rand_like(energy).log() < energy - _energy(place, half, there, beta)
        noise = torch.where(accepted[:, None], place, noise)
        known = torch.where(accepted, there, known)
        slope = torch.where(accepted[:, None], push, slope)
        if pilot:  # longer after a move, shorter after none, in balance where ACCEPTED of them are made
            lengths[t] = length * torch.where(accepted[:, None], CHANGE, CHANGE ** (-ACCEPTED / (1 - ACCEPTED)))
    return log_w


def _energy(noise: Tensor, momentum: Tensor, log_likelihood: Tensor, beta: float) -> Tensor:
    """−log of what is sampled, but for a constant, (rows,); infinite where a step has left all bounds."""
    total = 0.5 * (noise.square() + momentum.square()).sum(1) - beta * log_likelihood
    return total.nan_to_num(nan=torch.inf)


def _with_slope(log_likelihood: LogLikelihood, noise: Tensor) -> tuple[Tensor, Tensor]:
    """log p(x | noise) (rows,), and its gradient (rows, units)."""
    with torch.enable_grad():
        leaf = noise.detach().requires_grad_()
        value = log_likelihood(leaf)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope
