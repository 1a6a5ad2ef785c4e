"""Energies, conditionals and free energies against enumeration and quadrature."""

import itertools
import math

import pytest
import torch

from aelab.errors import UserError
from aelab.rbm import kernels
from aelab.rbm.energy import (
    energy,
    free_energy,
    free_energy_hidden,
    gibbs_sample,
    log_normaliser,
    mean_h_given_v,
    mean_v_given_h,
    pseudo_log_likelihood,
    sample_h_given_v,
    sample_v_given_h,
)
from aelab.rbm.layer import Layer
from aelab.rbm.partition import log_z_exact

CLOSE = dict(rtol=1e-9, atol=1e-9)


def small_rbm(hidden="bernoulli", visible="bernoulli", n_visible=4, n_hidden=3, scale=0.4):
    g = torch.Generator().manual_seed(3)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    log_var = 0.3 * normal(n_visible) if visible == "gaussian" else None
    return Layer(scale * normal(n_visible, n_hidden), normal(n_hidden), normal(n_visible), hidden, visible, log_var)


def states(n):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)


def joint(v, h, rbm):
    """−E for every pair of rows, (rows of v, rows of h)."""
    pairs = energy(v.repeat_interleave(len(h), 0), h.repeat(len(v), 1), rbm)
    return -pairs.reshape(len(v), len(h))


def test_bernoulli_free_energies_and_conditionals_are_those_of_the_enumerated_joint():
    rbm = small_rbm()
    v, h = states(4), states(3)
    log_joint = joint(v, h, rbm)
    torch.testing.assert_close(-free_energy(v, rbm), log_joint.logsumexp(1), **CLOSE)
    torch.testing.assert_close(-free_energy_hidden(h, rbm), log_joint.logsumexp(0), **CLOSE)
    torch.testing.assert_close(mean_h_given_v(v, rbm), log_joint.softmax(1) @ h, **CLOSE)
    torch.testing.assert_close(mean_v_given_h(h, rbm), log_joint.softmax(0).T @ v, **CLOSE)


@pytest.mark.parametrize("side", ["hidden", "visible"])
def test_gaussian_units_agree_with_quadrature_of_the_joint(side):
    rbm = small_rbm(
        **{side: "gaussian"}, n_visible=1 if side == "visible" else 4, n_hidden=1 if side == "hidden" else 3
    )
    grid = torch.linspace(-30, 30, 20001, dtype=torch.float64)[:, None]  # the trapezium rule is exact for a Gaussian
    step = math.log(60 / 20000)
    if side == "visible":
        discrete, log_joint = states(3), joint(grid, states(3), rbm).T
        free, mean = free_energy_hidden(discrete, rbm), mean_v_given_h(discrete, rbm)
        torch.testing.assert_close(-free_energy(grid, rbm), log_joint.logsumexp(0), **CLOSE)
        torch.testing.assert_close(mean_h_given_v(grid, rbm), log_joint.softmax(0).T @ discrete, **CLOSE)
    else:
        discrete, log_joint = states(4), joint(states(4), grid, rbm)
        free, mean = free_energy(discrete, rbm), mean_h_given_v(discrete, rbm)
        torch.testing.assert_close(-free_energy_hidden(grid, rbm), log_joint.logsumexp(0), **CLOSE)
        torch.testing.assert_close(mean_v_given_h(grid, rbm), log_joint.softmax(0).T @ discrete, **CLOSE)
    torch.testing.assert_close(-free, log_joint.logsumexp(1) + step, **CLOSE)
    torch.testing.assert_close(mean, log_joint.softmax(1) @ grid, **CLOSE)


def test_rectified_units_are_many_binary_copies_with_offset_biases():
    total = torch.linspace(-8, 12, 81, dtype=torch.float64)
    copies = total[:, None] - torch.arange(1, 100) + 0.5
    exact = torch.nn.functional.softplus(copies).sum(1)
    integral = log_normaliser(total, "relu", torch.zeros_like(total), None)
    assert (exact - integral).abs().max() < 0.05
    # e(x) = x²/2 − c x is the least energy of x copies that are on: those with the largest inputs
    rbm = small_rbm(hidden="relu", n_hidden=1)
    v, h = states(4), torch.full((16, 1), 3.0, dtype=torch.float64)
    field = v @ rbm.W + rbm.b_hidden
    lowest = -(v @ rbm.b_visible) - (field - torch.tensor([0.5, 1.5, 2.5])).sum(1)
    torch.testing.assert_close(energy(v, h, rbm), lowest, **CLOSE)


def test_rectified_free_energy_has_softplus_as_its_derivative():
    x = torch.linspace(-6, 6, 41, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(log_normaliser(x, "relu", torch.zeros_like(x), None).sum(), x)
    torch.testing.assert_close(slope, torch.nn.functional.softplus(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("unit", ["bernoulli", "gaussian", "relu"])
def test_samples_have_the_distribution_s_mean_and_variance(unit):
    rbm, n = small_rbm(hidden=unit, visible=unit), 200_000
    for draw, x in ((sample_h_given_v, states(4)[5:6]), (sample_v_given_h, states(3)[3:4])):
        mean, sample = draw(x.expand(n, -1), rbm)
        variance = mean[0] * (1 - mean[0]) if unit == "bernoulli" else torch.ones_like(mean[0])
        expected = mean[0]
        if unit == "gaussian" and draw is sample_v_given_h:
            variance = rbm.log_var_visible.exp()
        if unit == "relu":  # moments of max(0, N(m, s²))
            m = x @ rbm.W + rbm.b_hidden if draw is sample_h_given_v else x @ rbm.W.T + rbm.b_visible
            s = m.sigmoid().sqrt()
            normal = torch.distributions.Normal(0.0, 1.0)
            below, density = normal.cdf(m / s), normal.log_prob(m / s).exp()
            expected = (m * below + s * density)[0]
            variance = ((m**2 + s**2) * below + m * s * density)[0] - expected**2
            torch.testing.assert_close(mean[0], m[0].relu())
        assert ((sample.mean(0) - expected).abs() < 5 * (variance / n).sqrt()).all()
        assert ((sample.var(0) / variance - 1).abs() < 0.03).all()


def test_many_chains_follow_the_exact_distribution():
    rbm, n = small_rbm(scale=0.8), 100_000
    v = gibbs_sample(torch.zeros(n, 4, dtype=torch.float64), rbm, 30)
    count = torch.bincount((v @ torch.tensor([8.0, 4, 2, 1], dtype=torch.float64)).long(), minlength=16)
    p = torch.softmax(-free_energy(states(4), rbm), 0)
    chi_squared = ((count - n * p) ** 2 / (n * p)).sum()
    assert chi_squared < 44.3  # exceeded by one in 10,000 samples of 15 degrees of freedom


def test_steps_are_counted_and_none_leaves_v_alone():
    rbm, v = small_rbm(), states(4)
    assert gibbs_sample(v, rbm, 0) is v
    torch.manual_seed(1)
    twice = gibbs_sample(v, rbm, 2)
    torch.manual_seed(1)
    for _ in range(2):
        v = sample_v_given_h(sample_h_given_v(v, rbm)[1], rbm)[1]
    assert torch.equal(twice, v)


def test_pseudo_likelihood_is_the_sum_of_the_enumerated_conditionals_of_each_bit():
    rbm, v = small_rbm(), states(4)
    log_p = -free_energy(v, rbm) - log_z_exact(rbm)
    expected = torch.zeros(len(v), dtype=torch.float64)
    for i in range(4):
        flipped = v.clone()
        flipped[:, i] = 1 - flipped[:, i]
        other = log_p[(flipped @ torch.tensor([8.0, 4, 2, 1], dtype=torch.float64)).long()]
        expected += log_p - torch.logaddexp(log_p, other)
    torch.testing.assert_close(pseudo_log_likelihood(v, rbm, True), expected, **CLOSE)
    draws = pseudo_log_likelihood(v.repeat(20_000, 1), rbm, False).reshape(-1, 16)
    assert ((draws.mean(0) - expected).abs() < 5 * draws.std(0) / math.sqrt(len(draws))).all()


def test_pseudo_likelihood_refuses_units_that_cannot_be_flipped():
    with pytest.raises(UserError, match=r"model\.visible.*gaussian"):
        pseudo_log_likelihood(states(4), small_rbm(visible="gaussian"), False)


@pytest.mark.skipif(not kernels.ONEDNN, reason="torch was built without oneDNN's linear operator")
@pytest.mark.parametrize("activation", ["identity", "sigmoid", "relu"])
def test_the_fast_product_is_the_plain_one(monkeypatch, activation):
    x, W, bias = torch.randn(37, 50), torch.randn(50, 20), torch.randn(20)
    cases = [(x, W, bias), (x, W, None), (x.t().contiguous().t(), W.t().contiguous().t(), bias), (x[:1], W, bias)]
    assert all(kernels._onednn_takes(*case) for case in cases)
    monkeypatch.setenv("AELAB_KERNELS", "onednn")
    fast = [kernels.linear(*case, activation) for case in cases]
    monkeypatch.setenv("AELAB_KERNELS", "torch")
    for case, result in zip(cases, fast):
        torch.testing.assert_close(result, kernels.linear(*case, activation), rtol=1e-5, atol=1e-5)


def test_the_fast_product_leaves_alone_what_it_cannot_do():
    x, W, bias = torch.randn(4, 5), torch.randn(5, 3), torch.randn(3)
    for case in [
        (x.double(), W.double(), bias.double()),
        (x, W.requires_grad_(), bias),
        (x[:, ::2], torch.randn(3, 3), bias),
        (x[:0], torch.randn(5, 3), bias),
    ]:
        assert not kernels._onednn_takes(*case)
        torch.testing.assert_close(kernels.linear(*case, "sigmoid"), torch.sigmoid(case[0] @ case[1] + case[2]))
    kernels.linear(x, W, bias).sum().backward()
    torch.testing.assert_close(W.grad, x.sum(0)[:, None].expand(5, 3))
