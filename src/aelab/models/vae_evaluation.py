"""What a variational autoencoder is judged by: its bound and likelihood on the test set."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from aelab.data.batches import Data
from aelab.data.parts import Split
from aelab.functional import elbo, likelihood
from aelab.functional.latent_annealing import log_weights
from aelab.models.training import total
from aelab.progress import bar

ROWS_AT_ONCE = 2000  # codes decoded together: bounds the memory of an estimate whatever its samples, and fits the cache
IMAGES_AT_ONCE = 4  # images of one step of the progress bar


def metrics(model: Any, data: Data) -> dict[str, float]:
    """``elbo`` = −``reconstruction`` − ``kl``, nats, and ``active_units``."""
    test = data.test
    reconstruction, kl = bound_terms(model, test)
    means = torch.cat([model.latent_means(batch.x) for batch in test.batches()])
    values = {"reconstruction": reconstruction, "kl": kl.sum(), "elbo": -reconstruction - kl.sum()}
    values["active_units"] = elbo.active_units(means)
    return {name: float(value) for name, value in values.items()}


@torch.no_grad()
def bound_terms(model: Any, split: Split) -> tuple[Tensor, Tensor]:
    """−E_q log p(x | z), (), and KL(q ‖ p) of each latent unit, (latent,); nats, averaged over the split."""
    torch.manual_seed(0)
    terms = []
    for batch in split.batches():
        out = model(batch.x)
        observed = likelihood.only_observed(None, batch.observed)
        reconstruction = model.reconstruction(out.output, batch.x, observed) * len(batch.x) / len(split.x)
        terms.append((reconstruction, out.kl.sum(0) / len(split.x)))
    reconstructions, kls = zip(*terms)
    return total(reconstructions), total(kls)


def nll(model: Any, split: Split, samples: int) -> Tensor:
    """−log p(x) averaged over the split, nats, estimated from above; a progress bar where there is a terminal."""
    pieces = bar(list(split.batches(IMAGES_AT_ONCE)), f"log p(x), {samples} samples per image")
    return torch.cat([nll_per_image(model, piece.x, samples, piece.observed) for piece in pieces]).mean()


@torch.no_grad()
def nll_per_image(model: Any, x: Tensor, samples: int, observed: Tensor | None = None) -> Tensor:
    """−log 1/k Σ_i p(x, z_i) / q(z_i | x), k = ``samples`` (Burda et al. 2015); x (batch, input) → (batch,), nats.

    Of what was ``observed`` alone: p(x, z_i) then leaves out the rest.
    """
    weight = likelihood.only_observed(None, observed)
    at_once = max(1, ROWS_AT_ONCE // len(x))
    log_sum = x.new_full((len(x),), -torch.inf)
    for done in range(0, samples, at_once):
        out = model.infer(x, min(at_once, samples - done))
        log_w = model.log_likelihood(out.output, x, weight) + out.log_ratio
        log_sum = torch.logaddexp(log_sum, torch.logsumexp(log_w, 0))
    return torch.log(x.new_tensor(samples)) - log_sum


def annealed_nll_per_image(
    model: Any, x: Tensor, chains: int, temperatures: int, leapfrog: int, observed: Tensor | None = None
) -> Tensor:
    """−log of the mean weight of ``chains`` annealed samples of p(x), (batch,), nats: without the encoder."""
    weight = likelihood.only_observed(None, observed)
    rows = x.repeat_interleave(chains, 0)
    weights = None if weight is None else weight.repeat_interleave(chains, 0)

    def log_likelihood(noise: Tensor) -> Tensor:
        return model.log_likelihood(model.output_of_noise(noise), rows, weights)

    start = torch.randn(len(rows), model.n_noise, device=x.device, dtype=x.dtype)
    log_w = log_weights(log_likelihood, start, temperatures, leapfrog).view(len(x), chains)
    return math.log(chains) - log_w.logsumexp(1)
