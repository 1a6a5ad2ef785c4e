"""log Z exactly: published yardsticks, and enumeration of either side."""

import pytest
import torch
from test_energy import joint, small_rbm, states

from aelab.errors import UserError
from aelab.rbm.energy import free_energy
from aelab.rbm.layer import Layer
from aelab.rbm.partition import enumerable_units, log_likelihood_exact, log_z_exact


def yardstick(n_visible, n_hidden, scale=1.0):
    """W = sin(1 + 3i + 7j), a = ½ cos(2 + 5i), b = ½ sin(3 + 4j): no random numbers."""
    i, j = torch.arange(n_visible, dtype=torch.float64), torch.arange(n_hidden, dtype=torch.float64)
    W = scale * torch.sin(1 + 3 * i[:, None] + 7 * j)
    return Layer(W, 0.5 * torch.sin(3 + 4 * j), 0.5 * torch.cos(2 + 5 * i), "bernoulli", "bernoulli")


def two_modes():
    """All twelve visible units off (a sixth of the mass) or all on, with hardly anything between."""
    W, b_hidden = torch.full((12, 2), 4.0), torch.full((2,), -23.7)
    return Layer(W, b_hidden, torch.full((12,), -3.9), "bernoulli", "bernoulli").to(torch.float64)


@pytest.mark.parametrize(
    ("shape", "log_z", "free_energy_of_zero"),
    [
        ((4, 3), 6.331981584693, -2.073950323254),
        ((6, 4), 9.271681782270, -2.942826481448),
        ((12, 8), 17.507563469953, -5.735736127536),
    ],
)
def test_exact_yardsticks(shape, log_z, free_energy_of_zero):
    rbm = yardstick(*shape)
    assert log_z_exact(rbm) == pytest.approx(log_z, abs=1e-9)
    zero = torch.zeros(1, shape[0], dtype=torch.float64)
    assert free_energy(zero, rbm).item() == pytest.approx(free_energy_of_zero, abs=1e-9)


@pytest.mark.parametrize("shape", [(3, 7), (7, 3)])
def test_either_side_gives_the_sum_over_the_joint(shape):
    rbm = small_rbm(n_visible=shape[0], n_hidden=shape[1])
    assert enumerable_units(rbm) == 3
    expected = joint(states(shape[0]), states(shape[1]), rbm).flatten().logsumexp(0)
    assert log_z_exact(rbm) == pytest.approx(expected.item(), abs=1e-9)


def test_many_chunks_are_summed():
    rbm = small_rbm(n_visible=16, n_hidden=16, scale=0.2)
    expected = torch.logsumexp(-free_energy(states(16), rbm), 0)
    assert log_z_exact(rbm) == pytest.approx(expected.item(), abs=1e-9)


def test_probabilities_sum_to_one():
    assert log_likelihood_exact(states(6), yardstick(6, 4)).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_a_density_of_gaussian_units_integrates_to_one():
    rbm = small_rbm(visible="gaussian", n_visible=1)
    grid = torch.linspace(-40, 40, 20001, dtype=torch.float64)[:, None]
    assert log_likelihood_exact(grid, rbm).exp().sum().item() * 80 / 20000 == pytest.approx(1, abs=1e-9)


def test_what_cannot_be_enumerated_is_refused_with_the_reason():
    big = Layer(torch.zeros(30, 40), torch.zeros(40), torch.zeros(30), "bernoulli", "bernoulli")
    with pytest.raises(UserError, match=r"2\^30"):
        log_z_exact(big)
    with pytest.raises(UserError, match="no exact log Z"):
        log_z_exact(small_rbm(hidden="relu"))
    assert enumerable_units(small_rbm(hidden="gaussian", visible="gaussian")) is None


def test_a_group_of_label_units_leaves_the_hidden_side_to_enumerate():
    assert enumerable_units(small_rbm(n_visible=3, n_hidden=7), group=2) == 7
