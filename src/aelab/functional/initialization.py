"""Random weights that let a deep net learn from scratch: W (output, input), biases 0 unless said otherwise.

``gain`` is what an activation needs for signals to keep their size: 4 for logistic units, whose slope is at most 1/4,
√2 for rectifiers, which let half of the signal through, 1 for units of slope 1 at the origin.
"""

import math
from typing import Annotated

import torch
from torch import Tensor, nn

from aelab.functional.activation import UNITS, Activation, Unit
from aelab.ranges import OneOf

INCOMING = 15  # weights per unit, Martens 2010
SPECTRAL_RADIUS = 1.1  # Sutskever et al. 2013
_GAIN = {"sigmoid": 4.0, "softplus": 2.0, "relu": 2**0.5, "leaky_relu": 2**0.5, "gelu": 2**0.5, "silu": 2**0.5}


def glorot(n_out: int, n_in: int, gain: float) -> Tensor:
    """W ~ U(−a, a), a = gain √(6 / (n_in + n_out)) (Glorot & Bengio 2010, equation 16)."""
    return torch.empty(n_out, n_in).uniform_(-1, 1) * (gain * math.sqrt(6 / (n_in + n_out)))


def he(n_out: int, n_in: int, gain: float) -> Tensor:
    """W ~ N(0, gain² / n_in) (He et al. 2015, equation 10, where gain² is 2)."""
    return torch.randn(n_out, n_in) * (gain / math.sqrt(n_in))


def sparse(n_out: int, n_in: int, incoming: int) -> Tensor:
    """Each unit takes ``incoming`` weights ~ N(0, 1) at random places, the rest are 0 (Martens 2010, section 5).

    How far a unit is driven does not depend on the width of the layer below. A unit with fewer inputs takes them all.
    """
    # a row's argsort of noise is a random permutation: exactly ``incoming`` of its entries are below ``incoming``
    return torch.randn(n_out, n_in) * (torch.rand(n_out, n_in).argsort(dim=1) < incoming)


def echo_state(n_out: int, n_in: int, radius: float) -> Tensor:
    """A random (semi-)orthogonal matrix times ``radius``: every singular value, so the spectral radius, is ``radius``.

    A little above 1 the signal neither dies nor explodes (Jaeger & Haas 2004; Sutskever et al. 2013 take 1.1); being
    orthogonal it holds for layers that are not square too (Saxe et al. 2014).
    """
    return nn.init.orthogonal_(torch.empty(n_out, n_in)) * radius


def small(n_out: int, n_in: int, std: float) -> Tensor:
    """W ~ N(0, std²): the start from which deep logistic nets do not learn (Hinton & Salakhutdinov 2006)."""
    return torch.randn(n_out, n_in) * std


SCHEMES = {
    "glorot": glorot,
    "he": he,
    "sparse": lambda n_out, n_in, gain: sparse(n_out, n_in, INCOMING) * (gain / 4),
    "echo_state": lambda n_out, n_in, gain: echo_state(n_out, n_in, SPECTRAL_RADIUS * gain),
    "small": lambda n_out, n_in, gain: small(n_out, n_in, 0.01),
}
Initialization = Annotated[str, OneOf(*SCHEMES, "none")]


@torch.no_grad()
def initialize(module: nn.Module, scheme: Initialization, activation: Activation) -> None:
    """Draw anew, from torch's default generator, every ``nn.Linear`` in ``module``, itself included; biases become 0.

    ``scheme`` is one of :data:`SCHEMES` or ``none`` (torch's own start stays); ``activation`` names what follows the
    layers. The sparse weights are meant for logistic units, others get theirs by the ratio of the gains; so tanh gets a
    quarter, and biases of ½ (Sutskever et al. 2013, section 3).
    """
    bias = 0.5 if scheme == "sparse" and activation == "tanh" else 0.0
    for linear in module.modules():
        if isinstance(linear, nn.Linear) and scheme != "none":
            W = SCHEMES[scheme](linear.out_features, linear.in_features, _GAIN.get(activation, 1.0))
            linear.weight.copy_(W)
            if linear.bias is not None:
                linear.bias.fill_(bias)


def initialize_units(net: nn.Module, scheme: str, units: list[Unit]) -> None:
    """:func:`initialize` the layers of ``net`` in order, each for the type of the units that it feeds."""
    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    for layer, unit in zip(layers, units, strict=True):
        initialize(layer, scheme, UNITS[unit])
