"""The partition function log Z = log Σ_v exp(−F(v)), exact, for machines with one side of at most 25 binary units."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from aelab.errors import UserError
from aelab.rbm.energy import free_energy
from aelab.rbm.layer import Layer
from aelab.rbm.path import Path

LIMIT = 25  # 2^25 states of a machine with 784 units on the other side take about four minutes on one core
BLOCK = 2**18  # numbers at once: they stay in the cache


def enumerable_units(rbm: Layer, group: int = 0) -> int | None:
    """How many units an exact sum runs over: the smaller Bernoulli side; None where there is no exact sum.

    The other side must be summed in closed form, which is exact for Bernoulli, softmax and Gaussian units and not for
    rectified ones. With a softmax ``group`` among the visible units it is the hidden side.
    """
    if "relu" in (rbm.visible, rbm.hidden):
        return None
    n_visible, n_hidden = rbm.W.shape
    sides = [n_hidden] if rbm.hidden == "bernoulli" else []
    return min([*sides, n_visible] if rbm.visible == "bernoulli" and not group else sides, default=None)


@torch.no_grad()
def log_z_exact(
    rbm: Layer, group: int = 0, draws: int = 1, progress: Callable[[Sequence[int]], Iterable[int]] = iter
) -> float:
    """log Z in nats by enumeration of the smaller Bernoulli side, in float64; ``group`` and ``draws`` as in ``Path``.

    ``progress`` may wrap the blocks. Raises ``UserError`` if that side has more than 25 units or there is
    none.
    """
    n = enumerable_units(rbm, group)
    if n is None:
        raise UserError(f"model.hidden: no exact log Z of {rbm.visible}-{rbm.hidden} units; one side must be bernoulli")
    if n > LIMIT:
        raise UserError(f"model.n_hidden: an exact log Z would sum 2^{n} states, the limit is 2^{LIMIT}; estimate it")
    rbm = rbm.to(torch.float64)
    path = Path(rbm, torch.zeros_like(rbm.b_visible), group, draws)
    visible = not (rbm.hidden == "bernoulli" and rbm.W.shape[1] == n)
    own = rbm.b_visible if visible else rbm.b_hidden
    low = next(k for k in range(n, -1, -1) if k == 0 or 2**k * (sum(rbm.W.shape) - n) <= BLOCK)
    # units of the first rows change within a block, those after them between blocks: a block is one sum, no product
    inner, outer = binary_states(low, own), range(2 ** (n - low))
    inner_field = path.field(torch.cat([inner, inner.new_zeros(len(inner), n - low)], 1), visible)
    weights = (rbm.W if visible else rbm.W.t())[low:]
    blocks = []
    for number in progress(outer):
        high = _bits(torch.tensor([number], device=own.device), n - low).to(own)
        facing = path.normaliser(inner_field + high @ weights, not visible)
        blocks.append((inner @ own[:low] + high @ own[low:] + facing).logsumexp(0))
    return float(torch.stack(blocks).logsumexp(0)) - path.squares()


def log_likelihood_exact(v: Tensor, rbm: Layer) -> Tensor:
    """log p(v) = −F(v) − log Z, (batch,), float64, nats (of a density for Gaussian v); ``log_z_exact``'s errors."""
    return -free_energy(v.double(), rbm.to(torch.float64)) - log_z_exact(rbm)


def binary_states(n: int, like: Tensor) -> Tensor:
    """All (2^n, n) states of n binary units, with the type and device of ``like``."""
    return _bits(torch.arange(2**n, device=like.device), n).to(like)


def _bits(index: Tensor, n: int) -> Tensor:
    return index[:, None] >> torch.arange(n - 1, -1, -1, device=index.device) & 1
