"""log Z, or a log-likelihood, between two bounds: annealing from both ends, and words where the ends do not meet."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from aelab.rbm.annealing import Estimate, ais, reverse_ais
from aelab.rbm.path import Path
from aelab.rbm.temperatures import by_sample_size
from aelab.rbm.tempering import Tempered, parallel_tempering

MARGIN = 3.0  # standard errors that a bound stands outside of its estimate
LADDER_ESS = 0.5  # kept between neighbouring rungs: about half of the exchanges are accepted
FEW = 0.05  # of the runs, as effective sample size: the mean is then a few runs' affair
WIDE = 2.0  # nats between the estimates
CROSSED = 0.25  # nats: less is luck, or a fifth of the mass


class Sampling(NamedTuple):
    """How the machine is sampled for the reverse side: ensembles of tempered chains, sweeps, and samples of each."""

    ensembles: int
    burn_in: int
    draws: int
    thin: int


class Bracket(NamedTuple):
    """``lower`` and ``upper`` estimates of one quantity in nats, how the chains moved, and what is to be said of it.

    ``bounds`` stand three standard errors outside. The forward side needs no assumption; the other is a bound as far as
    the samples behind it are the machine's, which is what the ``warnings`` are about.
    """

    lower: Estimate
    upper: Estimate
    swap_rates: Tensor
    round_trips: Tensor
    warnings: tuple[str, ...]

    @property
    def bounds(self) -> tuple[float, float]:
        """The quantity is between these, but for luck and what is warned of."""
        low = self.lower.value - MARGIN * self.lower.standard_error
        high = self.upper.value + MARGIN * self.upper.standard_error
        return min(low, high), max(low, high)

    @property
    def gap(self) -> float:
        """The width of ``bounds``."""
        low, high = self.bounds
        return high - low


def bracket_log_z(path: Path, betas: list[float], runs: int, sampling: Sampling, data: Tensor | None) -> Bracket:
    """log Z by AIS from ``runs`` draws of the base, and by reverse AIS from samples by parallel tempering.

    Half of the ensembles start at rows of ``data`` (rows, visible), the others at the base: if both lead to the same
    value, where they began does not matter. If they do not, the side that gives the larger log Z is the upper one.
    """
    forward = ais(path, betas, runs)
    half, start = 0, path.draw_base(sampling.ensembles)
    if data is not None:
        half = sampling.ensembles // 2
        start[:half] = data[torch.randint(len(data), (half,), device=data.device)].to(start)
    ladder = by_sample_size(path, LADDER_ESS, runs)
    tempered = parallel_tempering(path, ladder, start, *sampling[1:])
    backward, warnings = _reverse(path, betas, tempered, half)
    warnings += disagreements(forward, backward, runs, tempered, ladder)
    return Bracket(forward, backward, tempered.swap_rates, tempered.round_trips, tuple(warnings))


def log_likelihood(log_z: Bracket, log_f: float) -> Bracket:
    """The bracket of mean log p(v) = ``log_f`` − log Z, with ``log_f`` the mean of −F(v): the sides change places."""
    lower = log_z.upper._replace(value=log_f - log_z.upper.value, side="lower")
    upper = log_z.lower._replace(value=log_f - log_z.lower.value, side="upper")
    return log_z._replace(lower=lower, upper=upper)


def disagreements(lower: Estimate, upper: Estimate, runs: int, tempered: Tempered, ladder: list[float]) -> list[str]:
    """One sentence for each reason not to trust the estimates; none if they meet and the chains moved."""
    words = []
    noise = MARGIN * math.hypot(lower.standard_error, upper.standard_error)
    apart = upper.value - lower.value
    if apart > max(noise, WIDE):
        words.append(f"the two estimates of log Z are {apart:.1f} nats apart: take more temperatures")
    if -apart > max(noise, CROSSED):
        words.append(f"the estimates of log Z have crossed by {-apart:.1f} nats: the samples miss some of the mass")
    if lower.effective_sample_size < FEW * runs:
        words.append(f"{lower.effective_sample_size:.1f} of {runs} runs carry the estimate of log Z from below")
    n_samples = tempered.samples.shape[0] * tempered.samples.shape[1]
    if upper.effective_sample_size < FEW * n_samples:
        words.append(f"{upper.effective_sample_size:.1f} of {n_samples} samples carry the estimate of log Z from above")
    if int(tempered.round_trips.min()) == 0:
        never = int((tempered.round_trips == 0).sum())
        worst = int(tempered.swap_rates.argmin())
        words.append(
            f"{never} of {len(tempered.round_trips)} ensembles saw no chain come from β = 0 to 1 (fewest exchanges, "
            f"{float(tempered.swap_rates[worst]):.0%}, between β = {ladder[worst]:.3f} and {ladder[worst + 1]:.3f}): "
            "the samples may miss some of the mass; take more sweeps"
        )
    return words


def _reverse(path: Path, betas: list[float], tempered: Tempered, half: int) -> tuple[Estimate, list[str]]:
    pooled = reverse_ais(path, betas, tempered.samples)
    if not half:
        return pooled, []
    sides = [reverse_ais(path, betas, part) for part in (tempered.samples[:half], tempered.samples[half:])]
    apart = abs(sides[0].value - sides[1].value)
    if not apart > MARGIN * math.hypot(sides[0].standard_error, sides[1].standard_error):
        return pooled, []
    where = f"samples that began at the data and at the base give log Z {apart:.1f} nats apart: chains do not mix"
    return max(sides, key=lambda side: side.value + MARGIN * side.standard_error), [where]
