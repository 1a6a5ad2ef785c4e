"""log p(v) of a deep belief network from below, up to its top's log Z (Salakhutdinov & Murray 2008, section 4).

log p(v) ≥ E log 1/k Σ_i w_i − log Z, w = p(v | s_1) ⋯ p(s_{L−1} | s_L) f(s_L) / q(s_1, …, s_L | v) with s from the way
up: with k = 1 the variational bound, with more samples a tighter one (Burda et al. 2015), at any k an equality where q
is the posterior. f is the top's unnormalised marginal, so −F(s_L), its labels summed over.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import softplus

from aelab.errors import UserError
from aelab.rbm.energy import free_energy
from aelab.rbm.kernels import linear
from aelab.rbm.layer import Layer, Unit, scaled_visible
from aelab.rbm.wake_sleep import label_energies, wake


@torch.no_grad()
def log_unnormalised(
    x: Tensor, recognition: list[Layer], generative: list[Layer], top: Layer, n_labels: int, samples: int
) -> Tensor:
    """log 1/k Σ_i w_i of each row of x (batch, input) from k = ``samples`` draws, (batch,), float64, nats.

    The layers are as in :mod:`aelab.rbm.wake_sleep`. Raises ``UserError`` for rectified units, which have no density.
    """
    if not recognition:
        samples = 1  # there is nothing to draw: it is exact
    log_w = [_one_draw(x, recognition, generative, top, n_labels) for _ in range(samples)]
    return torch.stack(log_w).logsumexp(0) - math.log(samples)


def _one_draw(x: Tensor, recognition: list[Layer], generative: list[Layer], top: Layer, n_labels: int) -> Tensor:
    states = wake(x, recognition)
    energies = label_energies(states[-1], top, n_labels) if n_labels else free_energy(states[-1], top)[:, None]
    log_w = (-energies).double().logsumexp(1)
    for (v, h), up, down in zip(pairwise(states), recognition, generative):
        log_w += log_density(v, linear(h, down.W.t(), down.b_visible), down.visible, down.log_var_visible)
        log_w -= log_density(h, linear(scaled_visible(v, up), up.W, up.b_hidden), up.hidden, None)
    return log_w


def log_density(x: Tensor, total: Tensor, unit: Unit, log_var: Tensor | None) -> Tensor:
    """Σ_i log p(x_i) of independent units with the inputs ``total``: logits, or means of Gaussian ones; (batch,)."""
    if unit == "bernoulli":
        return (x * total - softplus(total)).sum(-1)
    if unit == "relu":
        raise UserError("below: relu units have no density; use bernoulli or gaussian units")
    log_var = torch.zeros_like(total[0]) if log_var is None else log_var
    return -(((x - total) ** 2 * torch.exp(-log_var) + log_var + math.log(2 * math.pi)) / 2).sum(-1)
