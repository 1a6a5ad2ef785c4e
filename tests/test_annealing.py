"""Annealed importance sampling in both directions, its temperatures and RAISE, against exact values."""

import math
from itertools import pairwise

import pytest
import torch
from test_energy import small_rbm, states
from test_partition import two_modes, yardstick

from aelab.errors import UserError
from aelab.rbm.annealing import ais, annealed_log_likelihood, log_mean, reverse_ais
from aelab.rbm.energy import free_energy
from aelab.rbm.layer import Layer
from aelab.rbm.partition import log_z_exact
from aelab.rbm.path import FINE, Path, path_to
from aelab.rbm.temperatures import by_sample_size, linear, paper, sample_size_kept

UNITS = [("bernoulli", "bernoulli"), ("bernoulli", "gaussian"), ("gaussian", "bernoulli")]


def exact_samples(rbm, n):
    """(n, 1, visible) independent draws of a machine with few Bernoulli visible units."""
    v = states(rbm.W.shape[0])
    return v[torch.multinomial((-free_energy(v, rbm)).softmax(0), n, replacement=True)][:, None]


def labelled(n_labels=3, draws=1):
    """A machine whose last visible units are one softmax group, and its log Z by enumeration of the hidden units."""
    rbm, h = small_rbm(n_visible=7, n_hidden=4, scale=1.0), states(4)
    total = h @ rbm.W.t() + rbm.b_visible
    words = draws * total[:, -n_labels:].logsumexp(1)
    bits = torch.nn.functional.softplus(total[:, :-n_labels]).sum(1)
    return rbm, float((h @ rbm.b_hidden + bits + words).logsumexp(0))


@pytest.mark.parametrize(("hidden", "visible"), UNITS)
def test_annealing_finds_the_exact_value_for_every_unit(hidden, visible):
    torch.manual_seed(0)
    rbm = small_rbm(hidden, visible, n_visible=14, n_hidden=10, scale=0.5)
    estimate = ais(Path(rbm, 0.5 * rbm.b_visible), linear(800), runs=300)
    assert abs(estimate.value - log_z_exact(rbm)) < 3 * estimate.standard_error < 0.3
    assert 50 < estimate.effective_sample_size <= 300


@pytest.mark.parametrize("draws", [1, 9])
def test_a_softmax_group_is_annealed_and_summed_like_any_unit(draws):
    torch.manual_seed(0)
    rbm, log_z = labelled(draws=draws)
    assert log_z_exact(rbm, group=3, draws=draws) == pytest.approx(log_z, abs=1e-9)
    estimate = ais(path_to(rbm, None, group=3, draws=draws), linear(800), runs=300)
    assert abs(estimate.value - log_z) < 3 * estimate.standard_error < 0.3


def test_reverse_annealing_of_exact_samples_finds_it_from_above():
    torch.manual_seed(0)
    rbm = yardstick(12, 8)
    estimate = reverse_ais(path_to(rbm, None), linear(400), exact_samples(rbm, 300))
    assert abs(estimate.value - log_z_exact(rbm)) < 3 * estimate.standard_error < 0.3
    assert estimate.side == "upper"


def test_few_temperatures_err_to_their_own_sides():
    """With 3 temperatures the weights are heavy-tailed: the two directions miss by much, each on its own side."""
    torch.manual_seed(0)
    rbm = yardstick(12, 8, scale=3.0)
    path, log_z = path_to(rbm, None), log_z_exact(rbm)
    lower = [ais(path, linear(3), runs=10).value for _ in range(20)]
    upper = [reverse_ais(path, linear(3), exact_samples(rbm, 10)).value for _ in range(20)]
    assert sum(lower) / 20 < log_z - 1 and sum(upper) / 20 > log_z + 1


def test_raise_is_unbiased_for_a_distribution_and_below_the_machines_log_likelihood():
    """Σ_v E[p̂(v)] = 1 over all visible states, and on the machine's own samples E log p̂ ≤ log p_annealed."""
    torch.manual_seed(0)
    rbm = yardstick(6, 4)
    path, v = path_to(rbm, None), states(6)
    estimates = annealed_log_likelihood(path, linear(5), v.repeat(400, 1)).view(400, -1)
    assert estimates.exp().mean(0).sum().item() == pytest.approx(1, abs=0.05)
    log_p = -free_energy(v, rbm) - log_z_exact(rbm)
    p = log_p.exp()
    assert (p * estimates.mean(0)).sum() < (p * log_p).sum()
    fine = annealed_log_likelihood(path, linear(1000), v.repeat(20, 1)).view(20, -1).mean(0)
    assert (p * fine).sum().item() == pytest.approx((p * log_p).sum().item(), abs=0.05)


def test_raise_of_gaussian_units_is_a_density():
    torch.manual_seed(0)
    rbm = small_rbm(visible="gaussian", n_visible=1)
    grid = torch.linspace(-30, 30, 3001, dtype=torch.float64)[:, None]
    log_p = -free_energy(grid, rbm) - log_z_exact(rbm)
    fine = annealed_log_likelihood(Path(rbm, rbm.b_visible), linear(300), grid)
    weight = log_p.exp() / log_p.exp().sum()
    assert (weight * fine).sum().item() == pytest.approx((weight * log_p).sum().item(), abs=0.02)


def test_annealing_an_independent_machine_has_no_error():
    rbm = small_rbm(n_visible=5, scale=0.0)
    rbm = rbm._replace(b_hidden=torch.zeros_like(rbm.b_hidden))
    expected = math.log(2) * 3 + torch.nn.functional.softplus(rbm.b_visible).sum().item()
    assert ais(Path(rbm, rbm.b_visible), [0.0, 0.5, 1.0], 7)[:3] == pytest.approx((expected, 0.0, 7.0), abs=1e-6)


def test_one_run_cannot_tell_its_error():
    assert ais(path_to(yardstick(4, 3), None), linear(5), runs=1).standard_error == math.inf


def test_the_error_is_that_of_independent_chains():
    """Twenty copies of one draw are one draw: the error must not shrink with them."""
    log_w = torch.randn(10, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    once, copies = log_mean(log_w, "lower", 0.0), log_mean(log_w.repeat(1, 20), "lower", 0.0)
    assert copies.value == pytest.approx(once.value)
    assert copies.standard_error == pytest.approx(once.standard_error)


def test_a_float32_machine_is_annealed_as_well_as_a_float64_one():
    torch.manual_seed(0)
    rbm = yardstick(12, 8).to(torch.float32)
    estimate = ais(path_to(rbm, None), linear(2000), runs=200)
    assert abs(estimate.value - log_z_exact(rbm)) < 3 * estimate.standard_error < 0.1


def test_the_papers_temperatures_are_14500():
    betas = paper()
    assert len(betas) in (14_500, 14_501) and betas == sorted(set(betas)) and (betas[0], betas[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("ess", [0.5, 0.99])
def test_temperatures_keep_the_sample_size_that_is_asked_for(ess):
    torch.manual_seed(0)
    path = path_to(yardstick(12, 8, scale=3.0), None)
    betas = by_sample_size(path, ess, runs=500)
    kept, state, visible = [], path.draw_base(2000), True
    for beta, following in pairwise(betas):
        field = path.field(state, visible)
        kept.append(sample_size_kept(path, state, field, visible, beta, following))
        state, visible = path.draw(path.total(field, visible, following), not visible), not visible
    inner = torch.tensor(kept[:-1])
    assert inner.min() > 1 - 2.5 * (1 - ess) and inner.median() < 1 - (1 - ess) / 4


def test_a_harder_machine_gets_more_temperatures():
    torch.manual_seed(0)
    easy, hard = (len(by_sample_size(path_to(yardstick(12, 8, scale=s), None), 0.9, 200)) for s in (1.0, 3.0))
    assert easy < hard


def test_base_rates_are_the_datas_and_never_certain():
    rbm = yardstick(4, 3)
    data = torch.tensor([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    rates = path_to(rbm, data).base.sigmoid()
    assert rates.tolist() == pytest.approx([0.75, 0.25, 0.5, 0.25])


def test_betas_and_units_that_make_no_sense_are_refused():
    rbm = yardstick(4, 3)
    for betas in ([0.0, 0.5], [0.1, 1.0], [0.0, 0.7, 0.3, 1.0], [0.0]):
        with pytest.raises(UserError, match="betas"):
            ais(path_to(rbm, None), betas, runs=2)
    with pytest.raises(UserError, match="relu"):
        path_to(small_rbm(hidden="relu"), None)
    with pytest.raises(UserError, match="ask for less"):
        by_sample_size(path_to(Layer(*two_modes()[:5]), None), 1 - 1e-12, 10)


@pytest.mark.parametrize("visible", [True, False])
def test_a_fine_steps_integral_is_the_difference(visible):
    rbm = yardstick(12, 8, scale=3.0)
    path, state = path_to(rbm, None), states(12 if visible else 8)
    beta, field = 0.4, path.field(state, visible)
    other = beta + FINE / path.largest_field(visible)
    plain, fine = (path.log_ratio(state, field, visible, beta, other, fine=fine) for fine in (False, True))
    torch.testing.assert_close(fine, plain, rtol=0, atol=2e-9)
