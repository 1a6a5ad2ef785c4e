"""KL divergences against torch.distributions and sampling; the bounds against an exact marginal."""

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from aelab.functional import elbo


@pytest.fixture
def q() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)


def normal(mean: torch.Tensor, log_var: torch.Tensor) -> Independent:
    return Independent(Normal(mean, (0.5 * log_var).exp()), 1)


def kl_to_standard_normal(mean: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
    return elbo.kl_to_standard_normal_per_dimension(mean, log_var).sum(-1)


def sample_normal(mean: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
    return elbo.sample_with_noise(mean, log_var)[0]


def test_kl_to_standard_normal_is_torch_s(q):
    zero = torch.zeros_like(q[0])
    torch.testing.assert_close(kl_to_standard_normal(*q), kl_divergence(normal(*q), normal(zero, zero)))
    assert elbo.kl_to_standard_normal_per_dimension(*q).shape == (6, 4)


def test_kl_is_the_mean_log_ratio_of_samples(q):
    mean, log_var = q[0].expand(40_000, 6, 4), q[1].expand(40_000, 6, 4)
    z = sample_normal(mean, log_var)
    log_ratio = elbo.log_normal(z, mean, log_var) - elbo.log_standard_normal(z)
    error = log_ratio.std(0) / 200
    assert ((log_ratio.mean(0) - kl_to_standard_normal(*q)).abs() < 5 * error).all()


def test_kl_near_the_prior_keeps_its_digits():
    log_var = torch.tensor([[1e-3]])
    exact = 0.5 * (torch.expm1(log_var.double()) - log_var.double())
    torch.testing.assert_close(
        kl_to_standard_normal(torch.zeros(1, 1), log_var).double(), exact[:, 0], rtol=1e-3, atol=0
    )


def test_log_normal_is_torch_s(q):
    z, zero = torch.randn(3, 6, 4, dtype=torch.float64), torch.zeros(6, 4, dtype=torch.float64)
    torch.testing.assert_close(elbo.log_normal(z, *q), normal(*q).log_prob(z))
    torch.testing.assert_close(elbo.log_standard_normal(z), normal(zero, zero).log_prob(z))


@pytest.mark.parametrize("log_var", [-170.0, -100.0, -20.0, 0.0, 20.0, 80.0])
def test_densities_keep_their_digits_at_every_variance(log_var, q):
    """In float32 at a sample, where z − μ may be rounded away, as in float64 of the noise it was made with."""
    mean, log_var = q[0].float(), torch.full((6, 4), log_var)
    z, noise = elbo.sample_with_noise(mean, log_var)
    exact = Normal(0.0, 1.0).log_prob(noise.double()).sum(-1) - 0.5 * log_var.double().sum(-1)
    torch.testing.assert_close(elbo.log_normal_of_noise(noise, log_var).double(), exact, rtol=1e-6, atol=1e-6)
    assert elbo.log_normal(z, mean, log_var).isfinite().all()
    at_zero = elbo.log_normal(sample_normal(torch.zeros(6, 4), log_var), torch.zeros(6, 4), log_var)
    assert ((at_zero + 0.5 * log_var.sum(-1)).abs() < 60).all()  # nothing was lost to rounding there


def test_the_density_of_the_noise_has_the_derivative_of_the_density_of_the_sample(q):
    mean, log_var = (t.clone().requires_grad_() for t in q)
    z, noise = elbo.sample_with_noise(mean, log_var)
    through_z = elbo.log_normal(z, mean, log_var).sum()
    of_noise = elbo.log_normal_of_noise(noise, log_var).sum()
    torch.testing.assert_close(of_noise, through_z)
    grads = zip(*(torch.autograd.grad(f, (z, mean, log_var)[1:], allow_unused=True) for f in (through_z, of_noise)))
    for expected, ours in grads:
        torch.testing.assert_close(torch.zeros_like(expected) if ours is None else ours, expected, atol=1e-9, rtol=0)


def test_a_bounded_log_variance_is_itself_in_the_ordinary_range_and_harmless_and_mendable_beyond():
    x = torch.tensor([-1e30, -1e4, -11.0, -10.0, -3.0, 0.0, 5.0, 10.0, 12.0, 1e30], requires_grad=True)
    y = elbo.bounded_log_variance(x)
    assert y[3:8].tolist() == x[3:8].tolist() and (y.diff() >= 0).all()
    assert y.exp().isfinite().all() and (-y).exp().isfinite().all()
    assert (torch.autograd.grad(y[1:-1].sum(), x)[0][1:-1] > 0).all()


def test_samples_have_the_moments_asked_for_and_carry_gradients(q):
    mean, log_var = (t.clone().requires_grad_() for t in q)
    z = sample_normal(mean.expand(20_000, 6, 4), log_var.expand(20_000, 6, 4))
    torch.testing.assert_close(z.var(0).log(), log_var, atol=0.06, rtol=0)
    torch.testing.assert_close((z.mean(0) - mean) / z.std(0), torch.zeros_like(mean), atol=5 / 20_000**0.5, rtol=0)
    z.mean(0).sum().backward()
    torch.testing.assert_close(mean.grad, torch.ones_like(mean))
    assert (log_var.grad != 0).all()


def test_elbo_is_below_the_importance_weighted_bound_is_below_log_p():
    """z ~ N(0, I), x | z ~ N(A z + b, σ² I): p(x) = N(b, A Aᵀ + σ² I); q is factorial and a little off."""
    torch.manual_seed(0)
    A, b, sigma = torch.randn(5, 2).double(), torch.randn(5).double(), 0.7
    x = MultivariateNormal(b, A @ A.T + sigma**2 * torch.eye(5)).sample((4,))
    log_p = MultivariateNormal(b, A @ A.T + sigma**2 * torch.eye(5)).log_prob(x)

    precision = torch.eye(2) + A.T @ A / sigma**2
    posterior_mean = torch.linalg.solve(precision, A.T @ (x - b).T / sigma**2).T
    mean, log_var = posterior_mean + 0.1, (-precision.diag().log()).expand(4, 2) + 0.2

    def log_w(samples: int) -> torch.Tensor:
        z = sample_normal(mean.expand(samples, 4, 2), log_var.expand(samples, 4, 2))
        log_x = elbo.log_normal(x, z @ A.T + b, torch.full((5,), sigma**2).log().double())
        return log_x + elbo.log_standard_normal(z) - elbo.log_normal(z, mean, log_var)

    draws = log_w(200_000)
    one, five, fifty = (elbo.importance_weighted_bound(draws.view(k, -1, 4)).mean(0) for k in (1, 5, 50))
    assert (one < five).all() and (five < fifty).all() and (fifty < log_p + 1e-3).all()
    torch.testing.assert_close(elbo.importance_weighted_bound(draws), log_p, atol=0.02, rtol=0)

    # the ELBO in closed form: E_q log p(x | z) − KL
    spread = ((A**2) * log_var.exp()[:, None, :]).sum(-1) / sigma**2
    log_x = elbo.log_normal(x, mean @ A.T + b, torch.full((5,), sigma**2).log().double()) - 0.5 * spread.sum(-1)
    exact = log_x - kl_to_standard_normal(mean, log_var)
    torch.testing.assert_close(one, exact, atol=0.02, rtol=0)


def test_the_bound_is_tight_when_q_is_the_posterior():
    """x | z ~ N(z, 1): the posterior is N(x / 2, ½), every weight is p(x) = N(0, 2), and one sample is enough."""
    torch.manual_seed(0)
    x = torch.randn(7, 1).double()
    mean, log_var = x / 2, torch.full((7, 1), 0.5).log().double()
    z = sample_normal(mean, log_var)
    log_w = elbo.log_normal(x, z, torch.zeros(1)) + elbo.log_standard_normal(z) - elbo.log_normal(z, mean, log_var)
    torch.testing.assert_close(elbo.importance_weighted_bound(log_w[None]), Normal(0.0, 2**0.5).log_prob(x)[:, 0])


def test_the_bound_of_weights_far_from_zero_is_finite():
    assert elbo.importance_weighted_bound(torch.full((10, 3), -1e4)).tolist() == pytest.approx([-1e4] * 3)


def test_free_bits_floors_each_dimension_s_mean():
    kl = torch.tensor([[0.1, 2.0], [0.3, 4.0]], requires_grad=True)
    loss = elbo.free_bits(kl, 0.5)
    loss.backward()
    assert loss.item() == 3.5
    assert kl.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]
    assert elbo.free_bits(kl, 0.0).item() == pytest.approx(kl.sum(1).mean().item())


def test_no_free_bits_is_no_floor():
    """A KL estimated from samples may be below 0: its mean, and its gradient, stay what they are."""
    kl = torch.tensor([[-0.3, 2.0], [0.1, -4.0]], requires_grad=True)
    loss = elbo.free_bits(kl, 0.0)
    loss.backward()
    assert loss.item() == pytest.approx(-1.1)
    assert kl.grad.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_active_units_are_those_whose_mean_varies():
    torch.manual_seed(0)
    assert elbo.active_units(torch.randn(2000, 4) * torch.tensor([0.0, 0.09, 0.11, 3.0]) + 5).item() == 2
