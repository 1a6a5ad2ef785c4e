"""The RBM of ratings (Salakhutdinov, Mnih & Hinton 2007): one softmax unit of K levels for each item that was rated.

E(V, h) = −Σ_{i rated, k} V_ik (a_ik + Σ_j W_ikj h_j) − Σ_j h_j (b_j + Σ_i r_i D_ij): an item without a rating has no
unit, so it enters neither the sums nor an update; with D, which of them were rated (r) tells something by itself.
x (rows, items) holds levels, 1 to K, and 0 for no rating. The weights W_ikj = Σ_c w_icj B_ck are spanned by the rows
of a basis B (C, K): the unit matrix gives each level weights of its own, as in the paper; one row with the ratings'
own sizes makes levels ordered, so that a hidden unit that asks for 5 rather than 4 asks for 4 rather than 3.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from aelab.rbm.kernels import bernoulli, linear

PAIRS = 2**22  # numbers at once


class Machine(NamedTuple):
    """``w`` (items, C, hidden), ``basis`` (C, K), ``a`` (items, K), ``b`` (hidden,), ``D`` (items, hidden) or None."""

    w: Tensor
    basis: Tensor
    a: Tensor
    b: Tensor
    D: Tensor | None

    def detach(self) -> "Machine":
        """The machine as a value: the same tensors, without gradients."""
        D = None if self.D is None else self.D.detach()
        return Machine(self.w.detach(), self.basis, self.a.detach(), self.b.detach(), D)


def ordered(levels: Tensor) -> Tensor:
    """The basis (1, K) of ratings whose ``levels`` (K,) are sizes: less their mean, of length 1."""
    centred = levels - levels.mean()
    return (centred / centred.norm())[None]


def coordinates(x: Tensor, basis: Tensor) -> Tensor:
    """(rows, items) levels → what they are in the ``basis``, (rows, items · C), 0 where nothing is rated."""
    of_level = torch.cat([torch.zeros_like(basis[:, :1]), basis], 1).t()
    return of_level[x.long()].flatten(1)


def field(x: Tensor, machine: Machine) -> Tensor:
    """What each hidden unit receives, (rows, hidden), its bias included."""
    total = linear(coordinates(x, machine.basis), machine.w.flatten(0, 1), machine.b)
    return total if machine.D is None else total + linear((x > 0).to(x), machine.D, None)


def free_energy(x: Tensor, machine: Machine) -> Tensor:
    """F(x) = −Σ_{i rated} a_{i, x_i} − Σ_j softplus(field_j), (rows,), nats."""
    level = (x.long() - 1).clamp(min=0)[:, :, None]
    own = (machine.a.expand(len(x), -1, -1).gather(2, level).squeeze(2) * (x > 0)).sum(1)
    return -own - softplus(field(x, machine)).sum(1)


@torch.no_grad()
def gibbs_step(x: Tensor, machine: Machine) -> Tensor:
    """h ~ p(h | x), then a level of every item that is rated from p(level | h); the others stay empty."""
    h = bernoulli(field(x, machine).sigmoid())
    asked = linear(h, machine.w.flatten(0, 1).t(), None).view(*x.shape, -1)
    logits = asked @ machine.basis + machine.a
    clocks = torch.empty_like(logits).exponential_().log_().neg_().add_(logits)  # Gumbel's draw of a softmax
    return torch.where(x > 0, clocks.argmax(2).to(x) + 1, x)


@torch.no_grad()
def level_probabilities(x: Tensor, row: Tensor, item: Tensor, machine: Machine) -> Tensor:
    """p(level | the ratings in x) of each pair (row of x, item without a rating), (pairs, K); exact.

    ∝ exp(a_ik + Σ_j softplus(field_j + W_ikj)): the hidden units are summed over. That the pair would be one more
    rated item, for D, is the same for all levels.
    """
    fields, K, hidden = field(x, machine), machine.basis.shape[1], len(machine.b)
    pieces = []
    for rows, items in zip(row.split(max(1, PAIRS // (K * hidden))), item.split(max(1, PAIRS // (K * hidden)))):
        total = fields[rows] if machine.D is None else fields[rows] + machine.D[items]
        W = torch.einsum("pcj,ck->pkj", machine.w[items], machine.basis)
        pieces.append(machine.a[items] + softplus(total[:, None] + W).sum(2))
    return torch.cat(pieces).softmax(1) if pieces else x.new_zeros(0, K)
