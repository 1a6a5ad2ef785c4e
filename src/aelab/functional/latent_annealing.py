"""log p(x) of a latent variable model by annealed importance sampling over its noise (Neal 2001; Wu et al. 2017).

The noise ε is N(0, 1) and p(x | ε) is known. From ε ~ p(ε) a chain goes through p_t ∝ p(ε) p(x | ε)^β_t to the
posterior, β from 0 to 1, and its weight w = Π_t p(x | ε_t)^(β_t+1 − β_t) is unbiased: E[w] = p(x). Unlike importance
sampling it does not depend on an encoder: a difference says what the encoder's samples miss.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

ACCEPTED = 0.65  # of the moves, what the pilot run steers for
FIRST_LENGTH = 0.1  # of a step
CHANGE = 1.05  # factor on a step's length after a move; after none it shrinks, in balance where ACCEPTED are made
STEEPNESS = 4.0  # of the schedule, at both ends of which the temperatures lie closest

LogLikelihood = Callable[[Tensor], Tensor]  # noise (rows, units) → log p(x | noise) (rows,), nats


def schedule(temperatures: int) -> list[float]:
    """β_0 = 0 to β_T = 1 along a sigmoid."""
    raw = [1 / (1 + math.exp(-STEEPNESS * (2 * t / temperatures - 1))) for t in range(temperatures + 1)]
    return [(one - raw[0]) / (raw[-1] - raw[0]) for one in raw]


class State(NamedTuple):
    """Where the chains stand: ``noise`` (rows, units), log p(x | noise) (rows,), and its slope (rows, units)."""

    noise: Tensor
    known: Tensor
    slope: Tensor


def log_weights(log_likelihood: LogLikelihood, start: Tensor, temperatures: int, leapfrog: int) -> Tensor:
    """log w of a chain from each row of ``start`` (rows, units), draws of N(0, 1); (rows,), nats.

    Moves are Hamiltonian, of ``leapfrog`` steps each. Their lengths, for each row and temperature, are found by a pilot
    run with draws of its own, so that the weights of the run itself stay unbiased.
    """
    betas = schedule(temperatures)
    state, length = state_at(log_likelihood, torch.randn_like(start)), start.new_full((len(start), 1), FIRST_LENGTH)
    lengths = []
    for beta in betas[1:]:
        state, accepted = move(log_likelihood, state, beta, length, leapfrog)
        length = length * torch.where(accepted[:, None], CHANGE, CHANGE ** (-ACCEPTED / (1 - ACCEPTED)))
        lengths.append(length)
    state, log_w = state_at(log_likelihood, start), torch.zeros_like(start[:, 0])
    for last, beta, length in zip(betas, betas[1:], lengths):
        log_w += (beta - last) * state.known
        state, _ = move(log_likelihood, state, beta, length, leapfrog)
    return log_w


def move(
    log_likelihood: LogLikelihood, state: State, beta: float, length: Tensor, leapfrog: int
) -> tuple[State, Tensor]:
    """One Hamiltonian move that leaves p(ε) p(x | ε)^β as it is, and which rows made it, (rows,)."""
    momentum = torch.randn_like(state.noise)
    then, half = state, momentum - 0.5 * length * (state.noise - beta * state.slope)
    for step in range(leapfrog):
        then = state_at(log_likelihood, then.noise + length * half)
        half = half - length * (then.noise - beta * then.slope) * (1.0 if step < leapfrog - 1 else 0.5)
    gained = energy(state, momentum, beta) - energy(then, half, beta)
    accepted = torch.rand_like(gained).log() < gained
    kept = [
        torch.where(accepted if one.dim() == 1 else accepted[:, None], one, other) for one, other in zip(then, state)
    ]
    return State(*kept), accepted


def energy(state: State, momentum: Tensor, beta: float) -> Tensor:
    """−log of what is sampled, but for a constant, (rows,); infinite where a step has left all bounds."""
    total = 0.5 * (state.noise.square() + momentum.square()).sum(1) - beta * state.known
    return total.nan_to_num(nan=torch.inf)


def state_at(log_likelihood: LogLikelihood, noise: Tensor) -> State:
    with torch.enable_grad():
        leaf = noise.detach().requires_grad_()
        value = log_likelihood(leaf)
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    return State(noise, value.detach(), slope)
