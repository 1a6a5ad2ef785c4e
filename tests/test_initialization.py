"""Initial weights: their variances, counts and singular values, and what they do to a deep net's gradient."""

import pytest
import torch
from torch import nn

from aelab.functional.activation import ACTIVATIONS, activation
from aelab.functional.initialization import INCOMING, SCHEMES, echo_state, glorot, he, initialize, sparse


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_glorot_is_uniform_within_its_bound():
    W = glorot(300, 200, gain=2.0)
    bound = 2 * (6 / 500) ** 0.5
    assert 0.99 * bound < W.abs().max().item() <= bound
    assert W.var().item() == pytest.approx(bound**2 / 3, rel=0.02)


def test_he_keeps_the_second_moment_through_rectifiers():
    x = torch.randn(2000, 400)
    for _ in range(5):
        x = (x @ he(400, 400, gain=2**0.5).T).relu()
    assert x.square().mean().item() == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize("n_in, expected", [(200, 15), (15, 15), (6, 6)])
def test_sparse_gives_each_unit_as_many_weights(n_in, expected):
    W = sparse(500, n_in, INCOMING)
    assert ((W != 0).sum(1) == expected).all()
    assert W[W != 0].var().item() == pytest.approx(1.0, rel=0.1)
    assert (W != 0).any(0).all()


@pytest.mark.parametrize("n_out, n_in", [(30, 30), (20, 50), (50, 20)])
def test_echo_state_has_singular_values_all_equal(n_out, n_in):
    torch.testing.assert_close(torch.linalg.svdvals(echo_state(n_out, n_in, 1.1)), torch.full((min(n_out, n_in),), 1.1))


def test_echo_state_of_a_square_layer_has_the_spectral_radius():
    eigenvalues = torch.linalg.eigvals(echo_state(40, 40, 1.1))
    torch.testing.assert_close(eigenvalues.abs().max(), torch.tensor(1.1))


def deep_net(name: str) -> nn.Sequential:
    return nn.Sequential(*[part for _ in range(7) for part in (nn.Linear(64, 64), activation(name))])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_initialize_draws_every_layer_anew_and_again_from_the_seed(scheme):
    net = deep_net("sigmoid")
    before = [parameter.clone() for parameter in net.parameters()]
    torch.manual_seed(1)
    initialize(net, scheme, "sigmoid")
    first = [parameter.clone() for parameter in net.parameters()]
    torch.manual_seed(1)
    initialize(net, scheme, "sigmoid")
    for old, new, again in zip(before, first, net.parameters()):
        assert not torch.equal(old, new)
        assert torch.equal(new, again)
    assert all((linear.bias == 0).all() for linear in net if isinstance(linear, nn.Linear))


def test_none_leaves_torch_s_own_start():
    net = deep_net("tanh")
    before = [parameter.clone() for parameter in net.parameters()]
    initialize(net, "none", "tanh")
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters()))


def test_initialize_takes_a_single_layer_without_bias():
    layer = nn.Linear(20, 10, bias=False)
    initialize(layer, "sparse", "identity")
    assert ((layer.weight != 0).sum(1) == INCOMING).all()


def test_sparse_tanh_net_is_the_logistic_net():
    """tanh(z / 2) = 2 sigmoid(z) − 1: a quarter of the weights, and biases of ½."""
    torch.manual_seed(3)
    logistic, hyperbolic = nn.Linear(30, 20), nn.Linear(30, 20)
    torch.manual_seed(4)
    initialize(logistic, "sparse", "sigmoid")
    torch.manual_seed(4)
    initialize(hyperbolic, "sparse", "tanh")
    torch.testing.assert_close(hyperbolic.weight, logistic.weight / 4)
    assert (hyperbolic.bias == 0.5).all()


def backpropagated(scheme: str, name: str) -> float:
    """Norm of the gradient that reaches the input over the norm of the one at the output."""
    net = deep_net(name)
    initialize(net, scheme, name)
    x = torch.rand(200, 64, requires_grad=True)
    net(x).backward(torch.randn(200, 64) / (200 * 64) ** 0.5)
    return x.grad.norm().item()


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "silu"])
@pytest.mark.parametrize("scheme", ["glorot", "he", "sparse", "echo_state"])
def test_the_gradient_dies_from_small_weights_and_lives_from_careful_ones(scheme, name):
    assert backpropagated("small", name) < 1e-6
    assert 1e-2 < backpropagated(scheme, name) < 10


def test_activations_by_name():
    x = torch.linspace(-3, 3, 7)
    assert torch.equal(activation("linear")(x), x)
    assert torch.equal(activation("sigmoid")(x), torch.sigmoid(x))
    assert all(activation(name)(x).shape == x.shape for name in ACTIVATIONS)
