"""The log-likelihood of a restricted Boltzmann machine or deep belief network, between bounds or exact."""

import logging
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch

from aelab.data.batches import Data
from aelab.models.base import Model
from aelab.progress import bar
from aelab.ranges import AtLeastTwo, Count, Inside, Interval, Natural
from aelab.rbm.annealing import annealed_log_likelihood
from aelab.rbm.bracket import Sampling, bracket_log_z, log_likelihood
from aelab.rbm.partition import LIMIT, enumerable_units, log_z_exact
from aelab.rbm.path import path_to
from aelab.rbm.temperatures import by_sample_size, paper

log = logging.getLogger("aelab")


@dataclass(frozen=True)
class Likelihood:
    """Mean log p(x) of the test set, nats, of models with an RBM in them; conf/evaluate/likelihood.yaml says the keys.

    ``log_likelihood_lower``, ``…_upper`` and ``…_gap`` between them: from annealed importance sampling in both
    directions, three standard errors outside of the two estimates. ``log_likelihood`` where log Z is summed. Of a deep
    belief network they are of its bound: ``bound_lower``, ``bound_upper``, ``bound_gap``, or ``bound``; its
    log-likelihood is above it, so ``log_likelihood_lower`` is given besides. ``raise``: RAISE of the first test
    samples, a bound for the distribution that annealing ends in, whatever the chains do. The rest tells how far to
    trust them: the least effective sample size, rate of exchange and number of round trips of tempered chains. Nothing
    for other models, for grey levels under Bernoulli units, and for rectified units, which have no likelihood.
    """

    every: Count | None
    exact: Annotated[int, Interval(0, LIMIT)] | Literal[False]
    runs: AtLeastTwo
    temperatures: Literal["adapted", "paper"]
    step_ess: Inside
    samples: Count
    raise_inputs: Natural
    ensembles: AtLeastTwo
    burn_in: Count
    draws: Count
    thin: Count

    def __call__(self, model: Model, data: Data) -> dict[str, float]:
        density, x = model.density(), data.test.x
        if density is None or "relu" in (density.rbm.visible, density.rbm.hidden):
            return {}
        if model.likelihood == "bernoulli" and bool(((x != 0) & (x != 1)).any()):
            return {}
        train = torch.cat([density.visible(batch.x) for batch in data.train_for_evaluation.batches()])
        log_f = torch.cat([density.log_f(batch.x, self.samples) for batch in data.test.batches()])
        path, mean = path_to(density.rbm, train, density.group), float(log_f.mean())
        betas = paper() if self.temperatures == "paper" else by_sample_size(path, self.step_ess, self.runs)
        sampling = Sampling(self.ensembles, self.burn_in, self.draws, self.thin)
        bracket = log_likelihood(bracket_log_z(path, betas, self.runs, sampling, train), mean)
        for words in bracket.warnings:
            log.warning(f"evaluate.likelihood: {words}")
        name, (low, high) = "log_likelihood" if density.exact else "bound", bracket.bounds
        found = {f"{name}_lower": low, f"{name}_upper": high, f"{name}_gap": bracket.gap, "log_likelihood_lower": low}
        if (enumerable_units(density.rbm, density.group) or math.inf) <= self.exact:
            found[name] = mean - log_z_exact(density.rbm, density.group, progress=lambda blocks: bar(blocks, "log Z"))
        if self.raise_inputs and density.exact and not density.group:
            few = data.test.x[: self.raise_inputs]
            found["raise"] = float(annealed_log_likelihood(path, betas, few).mean())
        return found | {
            "annealing_temperatures": float(len(betas)),
            "annealing_ess": min(bracket.lower.effective_sample_size, bracket.upper.effective_sample_size),
            "tempering_swap_rate": float(bracket.swap_rates.min()),
            "tempering_round_trips": float(bracket.round_trips.min()),
        }
