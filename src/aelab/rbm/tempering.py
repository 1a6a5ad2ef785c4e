"""Parallel tempering (Geyer 1991): chains at all temperatures of a ladder exchange them, and so leave their modes.

Pairs of neighbours try to exchange in turns, those that begin at an even rung and those at an odd one, so that a chain
that moves keeps its direction (Okabe et al. 2001; Syed et al. 2022). At β = 0 each sweep is an independent draw: a
chain that came from there brings a sample that owes nothing to where the ensemble began.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from aelab.rbm.path import Path


class Tempered(NamedTuple):
    """``samples`` (ensembles, draws, visible) at β = 1; ``swap_rates`` (rungs − 1,), accepted of those tried;

    ``round_trips`` (ensembles,): how many chains came from β = 0 to 1, burn-in included.
    """

    samples: Tensor
    swap_rates: Tensor
    round_trips: Tensor


@torch.no_grad()
def parallel_tempering(path: Path, betas: list[float], start: Tensor, burn_in: int, draws: int, thin: int) -> Tempered:
    """Ensembles of chains at ``betas``, each started whole at a row of ``start`` (ensembles, visible).

    After ``burn_in`` sweeps, ``draws`` samples, one every ``thin`` sweeps.
    """
    ensembles, rungs = len(start), len(betas)
    ladder = torch.tensor(betas, dtype=start.dtype, device=start.device)
    rung = first_rungs(ensembles, rungs, start.device)
    field = path.field(start.repeat_interleave(rungs, 0), True)
    accepted = torch.zeros(rungs, dtype=torch.float64, device=start.device)
    tried = torch.zeros_like(accepted)
    trips = torch.zeros(ensembles, dtype=torch.int64, device=start.device)
    from_base = torch.zeros(ensembles, rungs, dtype=torch.bool, device=start.device)
    samples = []
    for number in range(1, burn_in + draws * thin + 1):
        v, field, rung, swapped = sweep(path, field, rung, ladder, number % 2)
        tried[number % 2 : rungs - 1 : 2] += ensembles
        accepted += swapped
        from_base |= rung == 0
        arrived = from_base & (rung == rungs - 1)
        trips += arrived.sum(1)
        from_base &= ~arrived
        if number > burn_in and (number - burn_in) % thin == 0:
            samples.append(at_one(v, rung))
    return Tempered(torch.stack(samples, 1), (accepted / tried)[: rungs - 1], trips)


def first_rungs(ensembles: int, rungs: int, device: torch.device) -> Tensor:
    """The rung of each chain at the start, (ensembles, rungs): temperatures move from chain to chain, not states."""
    return torch.arange(rungs, device=device).repeat(ensembles, 1)


def at_one(v: Tensor, rung: Tensor) -> Tensor:
    """The states at β = 1, (ensembles, visible), of all of them (ensembles · rungs, visible)."""
    return v.view(*rung.shape, -1)[rung == rung.shape[1] - 1]


@torch.no_grad()
def sweep(path: Path, field: Tensor, rung: Tensor, ladder: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One Gibbs step of every chain at its temperature from its states' ``field``, then exchanges from rung ``first``.

    The new states (ensembles · rungs, visible), their field, the new rungs, and how many were accepted by lower rung.
    """
    beta = ladder[rung].view(-1, 1)
    h = path.draw(path.total(field, True, beta), False)
    v = path.draw(path.total(path.field(h, False), False, beta), True)
    field = path.field(v, True)
    accepted, rung = _exchange(path, v, field, rung, ladder, first)
    return v, field, rung, accepted


def _exchange(path: Path, v: Tensor, field: Tensor, rung: Tensor, ladder: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Metropolis between the rungs first, first + 2, … and those above them: accepted by lower rung, the new rungs."""
    ensembles, rungs = rung.shape
    upper = (rung - first) % 2 == 1
    partner = torch.where(upper, rung - 1, rung + 1)
    partner = torch.where((partner < 0) | (partner >= rungs), rung, partner)
    beta, other = ladder[rung].view(-1, 1), ladder[partner].view(-1, 1)
    gain = path.log_ratio(v, field, True, beta, other).view(ensembles, rungs)
    chain_at = rung.argsort(1)  # rung → chain
    sum_of_both = gain + gain.gather(1, chain_at.gather(1, partner))
    low = torch.minimum(rung, partner)
    draw = torch.rand_like(gain).log().gather(1, low)  # one for both chains of a pair
    swap = (draw < sum_of_both) & (partner != rung)
    moved_up = (swap & (partner > rung)).double()
    count = torch.zeros(rungs, dtype=torch.float64, device=v.device).index_add_(0, rung.flatten(), moved_up.flatten())
    return count, torch.where(swap, partner, rung)
