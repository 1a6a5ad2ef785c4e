"""Parallel tempering, and log Z between two bounds: they hold the truth, and say so where they may not."""

import pytest
import torch
from test_annealing import exact_samples
from test_energy import states
from test_partition import two_modes, yardstick

from aelab.rbm.annealing import ais
from aelab.rbm.bracket import Sampling, bracket_log_z, log_likelihood
from aelab.rbm.energy import free_energy
from aelab.rbm.partition import log_z_exact
from aelab.rbm.path import Path, path_to
from aelab.rbm.temperatures import by_sample_size, linear
from aelab.rbm.tempering import parallel_tempering

SAMPLING = Sampling(ensembles=20, burn_in=100, draws=5, thin=5)
MACHINES = {
    "yardstick": yardstick(12, 8),
    "yardstick, weights × 3": yardstick(12, 8, scale=3.0),
    "two modes": two_modes(),
}


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_bracket_holds_the_truth(name, seed):
    torch.manual_seed(seed)
    path = path_to(MACHINES[name], None)
    bracket = bracket_log_z(path, by_sample_size(path, 0.999, 100), 100, SAMPLING, None)
    low, high = bracket.bounds
    assert low < log_z_exact(path.rbm) < high and high - low < 2.5


def test_tempered_samples_are_the_machines():
    """Both modes at their own masses, where a Gibbs chain stays in the one it began in."""
    torch.manual_seed(0)
    rbm = two_modes()
    tempered = parallel_tempering(path_to(rbm, None), linear(8), torch.zeros(200, 12).double(), 60, 1, 1)
    p_ones = (-free_energy(states(12), rbm)).softmax(0)[states(12).mean(1) > 0.5].sum().item()
    found = (tempered.samples.mean(-1) > 0.5).double().mean().item()
    assert found == pytest.approx(p_ones, abs=3 * (p_ones * (1 - p_ones) / 200) ** 0.5)
    assert tempered.round_trips.min() > 0 and 0 < tempered.swap_rates.min() <= tempered.swap_rates.max() <= 1


def test_every_temperature_is_left_unchanged():
    """The mean of each unit at the middle of the ladder is that of the machine there, not only at β = 1."""
    torch.manual_seed(0)
    rbm = yardstick(6, 4)
    start = exact_samples(rbm, 3000)[:, 0]
    samples = parallel_tempering(path_to(rbm, None), [0.0, 0.6, 1.0], start, 20, 1, 1).samples[:, 0]
    v = states(6)
    expected = (-free_energy(v, rbm)).softmax(0) @ v
    torch.testing.assert_close(samples.mean(0), expected, rtol=0, atol=0.04)


def test_a_base_that_fools_annealing_is_warned_of():
    """Every run of AIS ends in the mode that the base rates are near, with a small error: the data say otherwise."""
    torch.manual_seed(0)
    rbm, log_z = two_modes(), log_z_exact(two_modes())
    path = Path(rbm, torch.full((12,), -8.0, dtype=torch.float64))
    betas = linear(200)
    alone = ais(path, betas, 100)
    assert alone.value + 3 * alone.standard_error < log_z - 1
    bracket = bracket_log_z(path, betas, 100, SAMPLING, torch.ones(5, 12))
    low, high = bracket.bounds
    assert low < log_z < high
    assert any("apart" in words for words in bracket.warnings)


def test_chains_that_do_not_move_are_warned_of():
    torch.manual_seed(0)
    path = path_to(two_modes(), None)
    bracket = bracket_log_z(path, linear(500), 50, SAMPLING._replace(burn_in=2, draws=1, thin=1), None)
    assert any("saw no chain come from" in words for words in bracket.warnings)


def test_a_good_machine_raises_no_warning():
    torch.manual_seed(0)
    path = path_to(yardstick(6, 4), None)
    bracket = bracket_log_z(path, by_sample_size(path, 0.9999, 100), 100, SAMPLING, exact_samples(path.rbm, 50)[:, 0])
    assert bracket.warnings == () and bracket.gap < 0.3


def test_bounds_of_log_z_change_places_for_a_log_likelihood():
    torch.manual_seed(0)
    rbm = yardstick(6, 4)
    v, path = states(6), path_to(rbm, None)
    log_z = bracket_log_z(path, by_sample_size(path, 0.9999, 100), 100, SAMPLING, None)
    exact = float((-free_energy(v, rbm)).mean()) - log_z_exact(rbm)
    bracket = log_likelihood(log_z, float((-free_energy(v, rbm)).mean()))
    low, high = bracket.bounds
    assert low < exact < high and bracket.gap == pytest.approx(log_z.gap)
    assert (bracket.lower.side, bracket.upper.side) == ("lower", "upper")
