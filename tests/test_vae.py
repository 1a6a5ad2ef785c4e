"""The variational autoencoder as a model: its bounds against the exact log p(x), and every option of its objective."""

import math

import pytest
import torch
from helpers import small
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from aelab.data.parts import Batch, Split
from aelab.errors import UserError
from aelab.functional import elbo
from aelab.functional import likelihood as nll
from aelab.models.network import MLP, Conv
from aelab.models.vae import VAE, sampled_kl
from aelab.models.vae_evaluation import bound_terms, nll_per_image
from aelab.models.vae_evaluation import nll as estimated_nll
from aelab.models.vae_figures import quantile_grid
from aelab.runs.train import train

SETTINGS = dict(
    n_code=2, likelihood="bernoulli", sigma=1.0, objective="elbo", samples=1, beta=1.0, warmup=0.0, free_bits=0.0,
    path_gradient=False,
)  # fmt: skip


def made(shape=(5,), network=None, **changed) -> VAE:
    return VAE(shape, network=network or MLP([7], "tanh", "glorot", False), **{**SETTINGS, **changed})


@pytest.fixture
def linear_gaussian():
    """x | z ~ N(A z + b, σ²), with q(z | x) a little off the posterior; and x, log p(x) exactly."""
    model = made(network=MLP([], "linear", "none", False), likelihood="gaussian", sigma=0.7).double()
    A, b = torch.randn(5, 2).double(), torch.randn(5).double()
    precision = torch.eye(2) + A.T @ A / 0.49
    to_mean = torch.linalg.solve(precision, A.T / 0.49)
    log_var = -precision.diag().log() + 0.2
    model.decoder[0].load_state_dict({"weight": A, "bias": b})
    weight = torch.cat([to_mean, torch.zeros(2, 5)])
    model.encoder[0].load_state_dict({"weight": weight, "bias": torch.cat([0.1 - to_mean @ b, log_var])})
    p = MultivariateNormal(b, A @ A.T + 0.49 * torch.eye(5))
    x = p.sample((4,))
    return model, x, p.log_prob(x)


@torch.no_grad()
def test_elbo_is_below_the_importance_weighted_bound_is_below_log_p(linear_gaussian):
    model, x, log_p = linear_gaussian
    repeated = x.repeat(20_000, 1)
    bounds = []
    for k in (1, 5, 50):
        model.samples, model.objective = k, "iwae"
        pieces = repeated.split(4 * 20_000 // k)
        bounds.append(-sum(model.loss_terms(p, model(p))["negative_bound"] for p in pieces) / len(pieces))
    model.samples, model.objective = 1, "elbo"
    bound = -sum(model.loss_terms(repeated, model(repeated)).values())
    assert bounds[0] < bounds[1] < bounds[2] < log_p.mean() + 1e-3
    torch.testing.assert_close(bound, bounds[0], atol=0.02, rtol=0)


def test_importance_weighted_nll_is_minus_log_p(linear_gaussian):
    model, x, log_p = linear_gaussian
    torch.testing.assert_close(nll_per_image(model, x, 50_000), -log_p, atol=0.02, rtol=0)
    torch.testing.assert_close(estimated_nll(model, Split(x, None), 50_000), -log_p.mean(), atol=0.02, rtol=0)


def test_nll_with_one_sample_is_the_negative_elbo_on_average(linear_gaussian):
    """An estimate that took another number of samples than asked for would be lower."""
    model, x, log_p = linear_gaussian
    one = torch.stack([nll_per_image(model, x, 1) for _ in range(4000)]).mean()
    reconstruction, kl = bound_terms(model, Split(x.repeat(2000, 1), None))
    torch.testing.assert_close(one, reconstruction + kl.sum(), atol=0.05, rtol=0)
    assert one > -log_p.mean() + 0.02


def test_the_estimate_s_samples_may_be_taken_in_pieces(linear_gaussian, monkeypatch):
    model, x, log_p = linear_gaussian
    monkeypatch.setattr("aelab.models.vae_evaluation.ROWS_AT_ONCE", 12)
    torch.testing.assert_close(nll_per_image(model, x, 5000), -log_p, atol=0.1, rtol=0)


def test_terms_are_the_likelihood_and_the_kl_of_torch():
    model, x = made(), torch.rand(6, 5)
    out = model(x)
    terms = model.loss_terms(x, out)
    mean, log_var = model.encoder(x).chunk(2, -1)
    q = Normal(mean, (0.5 * log_var).exp())
    torch.testing.assert_close(terms["weighted_kl"], kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean())
    torch.testing.assert_close(terms["reconstruction"], nll.bernoulli(out.output[0], x))
    torch.testing.assert_close(model.encode(x), mean)
    torch.testing.assert_close(out.code, mean)


def test_gaussian_inputs_have_the_standard_deviation_asked_for():
    model, x = made(likelihood="gaussian", sigma=0.3), torch.randn(6, 5)
    out = model(x)
    expected = -Normal(out.output[0], 0.3).log_prob(x).sum(1)
    torch.testing.assert_close(model.loss_terms(x, out)["reconstruction"], expected.mean())
    torch.testing.assert_close(model.log_likelihood(out.output, x)[0], -expected)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_several_samples_average_the_reconstruction(likelihood):
    model, x, weight = made(samples=3, likelihood=likelihood), torch.rand(6, 5), torch.rand(6, 5)
    out = model(x)
    assert out.output.shape == (3, 6, 5)
    for w in (None, weight):
        expected = -model.log_likelihood(out.output, x, w).mean()
        torch.testing.assert_close(model.reconstruction(out.output, x, w), expected)


def test_beta_weighs_the_kl_and_warms_up_in_training_only():
    model, x = made(beta=4.0, warmup=0.5), torch.rand(6, 5)
    out = model(x)
    kl = out.kl.sum(1).mean()
    for progress, factor in ((0.0, 0.0), (0.25, 2.0), (0.5, 4.0), (0.9, 4.0)):
        model.progress = progress
        torch.testing.assert_close(model.train().loss_terms(x, out)["weighted_kl"], factor * kl)
        torch.testing.assert_close(model.eval().loss_terms(x, out)["weighted_kl"], 4.0 * kl)


def test_validation_tells_the_unweighted_terms_with_their_signs():
    model, x = made(beta=4.0).eval(), torch.rand(6, 5)
    out = model(x)
    watched, terms = model.validation_metrics(Batch(x, None), out), model.loss_terms(x, out)
    torch.testing.assert_close(watched["kl"], terms["weighted_kl"] / 4)
    torch.testing.assert_close(watched["elbo"], -terms["reconstruction"] - watched["kl"])
    assert watched["kl"] > 0 > watched["elbo"]


def test_beta_weighs_the_ratio_of_the_importance_weighted_bound_too():
    model, x = made(objective="iwae", samples=5, beta=0.0), torch.rand(6, 5)
    out = model(x)
    expected = -elbo.importance_weighted_bound(model.log_likelihood(out.output, x)).mean()
    torch.testing.assert_close(model.loss_terms(x, out)["negative_bound"], expected)


def test_free_bits_floor_the_kl_of_each_unit():
    model, x = made(free_bits=50.0), torch.rand(6, 5)
    assert float(model.loss_terms(x, model(x))["weighted_kl"]) == 100.0


def test_with_one_sample_both_objectives_have_the_same_expectation():
    model, x = made(objective="iwae").double(), torch.rand(3, 5).double().repeat(40_000, 1)
    with torch.no_grad():
        out = model(x)
        bound = model.loss_terms(x, out)["negative_bound"]
        model.objective = "elbo"
        torch.testing.assert_close(bound, sum(model.loss_terms(x, out).values()), atol=0.03, rtol=0)


def gradients(model, x) -> list[torch.Tensor]:
    loss = sum(model.loss_terms(x, model(x)).values())
    return torch.autograd.grad(loss, list(model.parameters()))


def test_the_path_gradient_has_the_same_mean(linear_gaussian):
    model, x, _ = linear_gaussian
    repeated, mean = x.repeat(200_000, 1), []
    for model.path_gradient in (False, True):
        torch.manual_seed(0)
        mean.append(gradients(model.train(), repeated))
    for plain, path in zip(*mean):
        torch.testing.assert_close(path, plain, atol=0.03, rtol=0.02)


def test_the_path_gradient_of_the_encoder_vanishes_where_q_is_the_posterior(linear_gaussian):
    """There log w is the same whatever the sample, so the plain gradient is noise alone."""
    model, x, _ = linear_gaussian
    A, _ = torch.linalg.qr(torch.randn(5, 2).double())  # orthogonal columns: the posterior is factorial
    shrink = 1 / (1 + 1 / 0.49)
    weight = torch.cat([A.t() / 0.49 * shrink, torch.zeros(2, 5)])
    bias = torch.cat(
        [-weight[:2] @ model.decoder[0].bias.detach(), torch.full((2,), math.log(shrink), dtype=torch.float64)]
    )
    model.encoder[0].load_state_dict({"weight": weight, "bias": bias})
    model.decoder[0].weight.data.copy_(A)
    model.train()
    for model.objective, model.samples in (("elbo", 1), ("iwae", 3)):
        norms = []
        for model.path_gradient in (False, True):
            norms.append(max(float(g.abs().max()) for g in gradients(model, x)[:2]))
        assert norms[1] < 1e-9 < 1e-2 < norms[0]


@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_the_path_gradient_of_the_importance_weighted_bound_has_the_same_mean(linear_gaussian, beta):
    model, x, _ = linear_gaussian
    model.objective, model.samples, model.beta = "iwae", 4, beta
    repeated, mean = x.repeat(100_000, 1), []
    for model.path_gradient in (False, True):
        torch.manual_seed(0)
        mean.append(gradients(model.train(), repeated))
    for plain, path in zip(*mean):
        torch.testing.assert_close(path, plain, atol=0.01, rtol=0.02)
    assert float((mean[1][0] - mean[0][0]).abs().max()) > 0  # two estimates, not one


def test_the_path_gradient_is_not_cut_off_where_q_is_the_prior(linear_gaussian):
    """Sampled KLs scatter round 0 there: a floor under them would take half of the gradient away."""
    model, x, _ = linear_gaussian
    model.encoder[0].weight.data.mul_(0.05)
    model.encoder[0].bias.data.mul_(0.05)
    model.train()
    repeated, mean = x.repeat(100_000, 1), []
    for model.path_gradient in (False, True):
        torch.manual_seed(0)
        kl = model.loss_terms(repeated, model(repeated))["weighted_kl"]
        mean.append([*torch.autograd.grad(kl, list(model.encoder.parameters())), kl])
    for plain, path in zip(*mean):
        torch.testing.assert_close(path, plain, atol=0.01, rtol=0.01)


def test_the_sampled_kl_is_the_kl_on_average():
    mean, log_var = torch.randn(4, 3), torch.randn(4, 3)
    z = elbo.sample_with_noise(mean.expand(100_000, 4, 3), log_var.expand(100_000, 4, 3))[0]
    expected = elbo.kl_to_standard_normal_per_dimension(mean, log_var)
    torch.testing.assert_close(sampled_kl(z, mean, log_var), expected, atol=0.05, rtol=0.02)


def test_the_manifold_s_codes_have_equal_mass_under_the_prior():
    codes = quantile_grid(4).double()
    expected = [(i + 0.5) / 4 for i in range(4)]
    assert Normal(0.0, 1.0).cdf(codes[::4, 0]).tolist() == pytest.approx(expected, abs=1e-6)
    assert Normal(0.0, 1.0).cdf(codes[:4, 1]).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("network", [[], ["model/network=conv"]])
def test_a_run_reports_bound_likelihood_and_pictures(network, tmp_path):
    cfg = small(
        "model=vae", *network, "model.n_code=2", "evaluate.nll_samples=40", "model.beta=2", "data.binarize=bernoulli"
    )
    metrics = train(cfg, tmp_path, "aelab")
    assert metrics["test/elbo"] == pytest.approx(-metrics["test/reconstruction"] - metrics["test/kl"], rel=1e-5)
    assert metrics["test/loss"] == pytest.approx(metrics["test/reconstruction"] + 2 * metrics["test/kl"], rel=1e-4)
    assert metrics["test/nll"] <= -metrics["test/elbo"] + 0.5
    assert 0 <= metrics["test/active_units"] <= 2
    assert metrics["val/elbo"] == pytest.approx(-metrics["val/reconstruction"] - metrics["val/kl"], rel=1e-4)
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert {"samples", "manifold", "interpolations", "kl", "reconstructions"} <= drawn


def test_a_conv_network_decodes_every_sample():
    model = made((8, 8), Conv([3, 4], "relu", "he"), samples=3)
    assert model(torch.rand(5, 64)).output.shape == (3, 5, 64)


@pytest.mark.parametrize(
    "changed, key",
    [
        (dict(objective="iwae", free_bits=1.0), "model.free_bits"),
        (dict(network=MLP([7], "tanh", "glorot", True)), "model.network.tied"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together_are_refused_by_key(changed, key):
    with pytest.raises(UserError, match=f"^{key}: "):
        made(**changed)
