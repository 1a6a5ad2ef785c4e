"""Two stochastic layers: the bounds against an exact log p(x), and what is encoded, decoded and drawn."""

import pytest
import torch
from helpers import composed, small
from torch.distributions import MultivariateNormal

from aelab.config.build import build_model
from aelab.data.digits import digits
from aelab.data.parts import Split
from aelab.functional import elbo
from aelab.models.hierarchical_vae import HierarchicalVAE
from aelab.models.network import MLP
from aelab.models.vae import VAE
from aelab.models.vae_evaluation import nll_per_image
from aelab.runs.train import train

LINEAR = MLP([], "linear", "none", False)
SETTINGS = dict(
    n_code=1, n_latent=2, top_widths=[], likelihood="gaussian", sigma=0.7, objective="elbo", samples=1, beta=1.0,
    warmup=0.0, free_bits=0.0,
)  # fmt: skip

ONE_LAYER = {key: value for key, value in SETTINGS.items() if key not in ("n_code", "n_latent", "top_widths")}
ONE_LAYER |= {"free_bits": 0.3}


def made(network=LINEAR, **changed) -> HierarchicalVAE:
    return HierarchicalVAE((3,), network=network, **{**SETTINGS, **changed})


@pytest.fixture
def linear_gaussian():
    """z₂ ~ N(0, 1), z₁ ~ N(B z₂ + c, D), x ~ N(A z₁ + a, σ²): log p(x) is a Gaussian's; q's are off the posterior."""
    model = made().double()
    A, a = torch.randn(3, 2).double(), torch.randn(3).double()
    B, c, log_d = torch.randn(2, 1).double(), torch.randn(2).double(), torch.tensor([-0.3, 0.4]).double()
    model.decoder[0].load_state_dict({"weight": A, "bias": a})
    top = {"weight": torch.cat([B, torch.zeros(2, 1)]), "bias": torch.cat([c, log_d])}
    model.top_decoder[0].load_state_dict(top)
    prior = B @ B.T + log_d.exp().diag()
    p = MultivariateNormal(A @ c + a, A @ prior @ A.T + 0.49 * torch.eye(3).double())
    precision = prior.inverse() + A.T @ A / 0.49
    gain = torch.linalg.solve(precision, A.T / 0.49)
    offset = torch.linalg.solve(precision, prior.inverse() @ c - A.T @ a / 0.49)
    bias = torch.cat([offset + 0.1, -precision.diag().log() + 0.2])
    q1 = {"weight": torch.cat([gain, torch.zeros(2, 3)]), "bias": bias}
    model.encoder[0].load_state_dict(q1)
    inverse = (-log_d).exp().diag()
    posterior = 1 / (1 + B.T @ inverse @ B)
    back = posterior @ B.T @ inverse
    q2 = {"weight": torch.cat([back, torch.zeros(1, 2)]), "bias": torch.cat([-back @ c + 0.1, posterior.log()[0]])}
    model.top_encoder[0].load_state_dict(q2)
    x = p.sample((4,))
    return model, x, p.log_prob(x)


@torch.no_grad()
def test_elbo_is_below_the_importance_weighted_bound_is_below_log_p(linear_gaussian):
    model, x, log_p = linear_gaussian
    repeated, bounds = x.repeat(20_000, 1), []
    for k in (1, 5, 50):
        model.samples, model.objective = k, "iwae"
        pieces = repeated.split(4 * 20_000 // k)
        bounds.append(-sum(model.loss_terms(p, model(p))["negative_bound"] for p in pieces) / len(pieces))
    model.samples, model.objective = 1, "elbo"
    bound = -sum(model.loss_terms(repeated, model(repeated)).values())
    assert bounds[0] < bounds[1] < bounds[2] < log_p.mean() + 2e-3
    torch.testing.assert_close(bound, bounds[0], atol=0.03, rtol=0)
    torch.testing.assert_close(nll_per_image(model, x, 50_000), -log_p, atol=0.03, rtol=0)


def test_free_bits_are_the_code_s_alone():
    """z₁'s part is no KL: where z₂ predicts z₁ better than q(z₁ | x) does it is below 0, and stays so."""
    model = made(free_bits=0.5)
    assert float(model.kl_term(torch.tensor([[-2.0, 0.1, 0.2], [-4.0, 0.3, 0.4]]))) == pytest.approx(-3 + 0.2 + 0.5)
    model.free_bits = 0.0
    assert float(model.kl_term(torch.tensor([[-2.0, 0.1, 0.2], [-4.0, 0.3, -0.4]]))) == pytest.approx(-3 + 0.2 - 0.1)


@pytest.mark.parametrize("layers", [1, 2])
def test_free_bits_are_held_against_the_whole_set_in_whatever_batches_it_comes(layers, monkeypatch):
    model = made(free_bits=0.3) if layers == 2 else VAE((3,), 2, LINEAR, path_gradient=False, **ONE_LAYER)
    model.eval()
    split = Split(torch.randn(64, 3) * torch.linspace(0, 2, 64)[:, None], None)
    found = []
    for size in (64, 8):
        monkeypatch.setattr(Split.batches, "__defaults__", (size,))
        monkeypatch.setattr(elbo, "sample_with_noise", lambda mean, log_var: (mean, torch.zeros_like(mean)))
        found.append(model.means_over(split, watched=False))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("seed", range(5))
def test_every_start_costs_nats_not_millions(network, seed, made_data):
    """Of the defaults on digits: the loss before the first step is a few times what it comes to."""
    cfg = composed("model=hierarchical_vae", f"model/network={network}", f"seed={seed}")
    torch.manual_seed(seed)
    model = build_model(cfg.model, (8, 8), [], 10)
    x = digits(0.2, 0).train_x
    terms = model.loss_terms(x, model(x))
    assert 0 < sum(terms.values()) < 1000, terms


def test_the_defaults_train_on_digits(tmp_path):
    """Six epochs: past the steps where a start with random variances ended, whatever the rate."""
    cfg = composed("model=hierarchical_vae", "logger=csv", "train.epochs=6", "evaluate.nll_samples=0")
    cfg.evaluate.probe, cfg.evaluate.knn = None, None
    metrics = train(cfg, tmp_path, "aelab")
    assert -60 < metrics["val/elbo"] < 0  # the mean image alone: -27


def test_the_code_is_the_top_layer_s_mean_and_decodes_through_both():
    model, x = made(MLP([5], "tanh", "glorot", False), top_widths=[4]), torch.rand(6, 3)
    assert model.encode(x).shape == (6, 1)
    assert model(x).kl.shape == (6, 3)
    assert model.latent_means(x).shape == (6, 3)
    assert model.reconstruct(x).shape == x.shape


def test_samples_have_the_model_s_moments(linear_gaussian):
    model = linear_gaussian[0].float()
    x = model.sample(200_000)
    A, B = model.decoder[0].weight, model.top_decoder[0].weight[:2]
    D = model.top_decoder[0].bias[2:].exp().diag()
    torch.testing.assert_close(x.T.cov(), (A @ (B @ B.T + D) @ A.T).detach(), rtol=0.03, atol=0.03)


def test_a_run_reports_bound_likelihood_and_pictures(tmp_path):
    metrics = train(small("model=hierarchical_vae", "model.n_code=2", "evaluate.nll_samples=40"), tmp_path, "aelab")
    assert metrics["test/elbo"] == pytest.approx(-metrics["test/reconstruction"] - metrics["test/kl"], rel=1e-5)
    assert metrics["test/nll"] < -metrics["test/elbo"] + 0.5
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert {"samples", "manifold", "interpolations", "kl", "reconstructions"} <= drawn
