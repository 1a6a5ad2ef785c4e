"""The non-linearities, by the names papers give them, and the one that is the mean of each type of units."""

from typing import Annotated, Literal

from torch import nn

from aelab.ranges import OneOf

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "identity": nn.Identity,
    "linear": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}

Unit = Literal["bernoulli", "gaussian", "relu"]
UNITS: dict[Unit, str] = {"bernoulli": "sigmoid", "gaussian": "identity", "relu": "relu"}  # total input → mean


Activation = Annotated[str, OneOf(*ACTIVATIONS)]


def activation(name: Activation) -> nn.Module:
    """The module of that name, applied entry by entry."""
    return ACTIVATIONS[name]()
