"""The deep belief network's bound against its exact likelihood, every state of every layer summed."""

import math

import pytest
import torch
from test_energy import states
from test_wake_sleep import layer

from aelab.errors import UserError
from aelab.rbm.energy import free_energy
from aelab.rbm.partition import log_z_exact
from aelab.rbm.variational_bound import log_density, log_unnormalised


def exact(v, top, below, log_f):
    """log Σ_s f(s) p(v | s) of every row of v, nats."""
    s = states(below.W.shape[1])
    total = s @ below.W.t() + below.b_visible
    log_p = log_density(v[:, None], total, below.visible, below.log_var_visible)
    return (log_p + log_f(s)).logsumexp(1)


@pytest.mark.parametrize("units", ["bernoulli", "gaussian"])
def test_many_samples_give_the_likelihood_and_one_a_bound_below_it(units):
    torch.manual_seed(0)
    top, below = layer(3, 4, 0), layer(4, 3, 1, units=units, log_var=torch.full((4,), -0.5).double())
    v = states(4)
    expected = exact(v, top, below, lambda s: -free_energy(s, top))
    many = log_unnormalised(v, [below], [below], top, 0, 4000)
    torch.testing.assert_close(many, expected, rtol=0, atol=0.2)
    one = torch.stack([log_unnormalised(v, [below], [below], top, 0, 1) for _ in range(300)]).mean(0)
    some = torch.stack([log_unnormalised(v, [below], [below], top, 0, 5) for _ in range(300)]).mean(0)
    assert (one < some).all() and (some < expected + 0.05).all()


def test_probabilities_of_all_inputs_sum_to_one():
    torch.manual_seed(0)
    top, below = layer(3, 4, 0), layer(4, 3, 1)
    log_p = exact(states(4), top, below, lambda s: -free_energy(s, top)) - log_z_exact(top)
    assert log_p.exp().sum().item() == pytest.approx(1)
    estimate = log_unnormalised(states(4), [below], [below], top, 0, 4000) - log_z_exact(top)
    assert estimate.exp().sum().item() == pytest.approx(1, abs=0.05)


def test_labels_are_summed_over():
    torch.manual_seed(0)
    top, below, label = layer(3 + 2, 4, 0), layer(4, 3, 1), torch.eye(2).double()

    def log_f(s):
        each = [-free_energy(torch.cat([s, y.expand(len(s), -1)], 1), top) for y in label]
        return torch.stack(each).logsumexp(0)

    many = log_unnormalised(states(4), [below], [below], top, 2, 4000)
    torch.testing.assert_close(many, exact(states(4), top, below, log_f), rtol=0, atol=0.2)


def test_a_machine_alone_is_exact_whatever_the_samples():
    top = layer(3, 4, 0)
    torch.testing.assert_close(log_unnormalised(states(3), [], [], top, 0, 7), -free_energy(states(3), top))


def test_relu_units_have_no_likelihood():
    top, below = layer(3, 4, 0), layer(4, 3, 1)._replace(hidden="relu")
    with pytest.raises(UserError, match="relu"):
        log_unnormalised(states(4), [below], [below], top, 0, 1)
    assert math.isfinite(float(log_unnormalised(states(4), [], [], layer(4, 3, 1), 0, 1).sum()))
