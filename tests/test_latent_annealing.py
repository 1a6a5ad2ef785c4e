"""Annealed importance sampling over noise: exact where the model is linear and Gaussian, and where draws are enough."""

import itertools
import math

import pytest
import torch
from helpers import composed

from aelab.config.build import build
from aelab.functional.latent_annealing import log_weights, schedule
from aelab.models import vae_evaluation


def test_a_linear_gaussian_model_is_measured_exactly():
    """x = W ε + σ n: log p(x) = log N(x; 0, W Wᵀ + σ² I), of rows near and far from the mean."""
    W, sigma = torch.randn(6, 3), 0.5
    x = torch.cat([torch.randn(2, 3) @ W.t(), 2 * torch.randn(2, 3) @ W.t()]) + sigma * torch.randn(4, 6)
    exact = torch.distributions.MultivariateNormal(torch.zeros(6), W @ W.t() + sigma**2 * torch.eye(6)).log_prob(x)
    chains = 40
    rows = x.repeat_interleave(chains, 0)

    def log_likelihood(noise):
        return -((rows - noise @ W.t()).square() / sigma**2 + math.log(2 * math.pi * sigma**2)).sum(1) / 2

    log_w = log_weights(log_likelihood, torch.randn(len(rows), 3), 300, 8).view(4, chains)
    torch.testing.assert_close(log_w.logsumexp(1) - math.log(chains), exact, rtol=0, atol=0.25)
    assert (log_w.var(1) < 2).all()


def test_the_schedule_goes_up_from_0_to_1():
    betas = schedule(50)
    assert betas[0] == 0 and betas[-1] == pytest.approx(1) and all(a < b for a, b in itertools.pairwise(betas))


@pytest.mark.parametrize(
    "model",
    [
        ["model=vae"],
        ["model=hierarchical_vae", "model.n_latent=2"],
        ["model=flow_prior_vae", "model.couplings=1", "model.prior_width=4"],
    ],
)
def test_it_finds_what_an_encoder_that_was_never_trained_misses(model):
    """Beside a million draws from the prior, of a model so small that they are enough."""
    cfg = composed(*model, "model.n_code=2", "model.network.widths=[8]")
    made = build(cfg.model, "model", shape=(64,)).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        x = torch.rand(3, 64).round()
        draws = [made.output_of_noise(torch.randn(50_000, made.n_noise)) for _ in range(20)]
        each = [torch.cat([made.log_likelihood(out, row.expand_as(out)) for out in draws]) for row in x]
    exact = torch.stack([math.log(len(log_p)) - log_p.logsumexp(0) for log_p in each])
    annealed = vae_evaluation.annealed_nll_per_image(made, x, 60, 200, 5)
    torch.testing.assert_close(annealed, exact, rtol=0, atol=0.3)
    assert bool((vae_evaluation.nll_per_image(made, x, 12_000) > annealed + 0.5).any())
