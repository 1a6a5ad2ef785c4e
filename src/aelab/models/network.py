"""Encoder and decoder networks that every autoencoder can be given: ``model/network=mlp`` or ``conv``."""

from itertools import pairwise
from math import prod
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aelab.errors import UserError
from aelab.functional.activation import ACTIVATIONS, UNITS, Activation, Unit
from aelab.functional.activation import activation as activation_by_name
from aelab.functional.initialization import Initialization, initialize
from aelab.ranges import Count, Length, Widths
from aelab.rbm.layer import Layer


def weight_of(layer: nn.Module) -> Tensor:
    """The weights of a layer, be it linear, transposed or convolutional."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def last_bias(net: nn.Module) -> Tensor:
    """The bias of the last layer that has one."""
    biases = [getattr(module, "bias", None) for module in net.modules()]
    return [bias for bias in biases if isinstance(bias, Tensor)][-1]


class MLP:
    """x → widths[0] → … → widths[-1] → code, and the mirror image back; the last layer of each is linear.

    ``tied``: the decoder uses the transposed weights of the encoder, with biases of its own.
    """

    def __init__(self, widths: Widths, activation: Activation, initialization: Initialization, tied: bool):
        self.widths, self.activation, self.initialization, self.tied = widths, activation, initialization, tied

    def encoder(self, shape: tuple[int, ...], n_code: int) -> nn.Sequential:
        return self._stack([prod(shape), *self.widths, n_code])

    def decoder(self, n_code: int, shape: tuple[int, ...], encoder: nn.Sequential) -> nn.Sequential:
        if not self.tied:
            return self._stack([n_code, *reversed(self.widths), prod(shape)])
        layers = [m for m in encoder if isinstance(m, nn.Linear)]
        if layers[-1].out_features != n_code:
            raise UserError("model.network.tied: this model's encoder puts out more than the code; set it to false")
        modules: list[nn.Module] = []
        for linear in reversed(layers):
            modules += [TransposedLinear(linear), activation_by_name(self.activation)]
        return nn.Sequential(*modules[:-1])

    def _stack(self, sizes: list[int]) -> nn.Sequential:
        modules: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            modules += [nn.Linear(n_in, n_out), activation_by_name(self.activation)]
        stack = nn.Sequential(*modules[:-1])
        initialize(stack, self.initialization, self.activation)
        return stack


class Single(MLP):
    """x → code and code → x by one linear layer each; untied, the decoder only starts as the encoder's transpose."""

    def __init__(self, initialization: Initialization, tied: bool):
        super().__init__([], "linear", initialization, tied)

    def decoder(self, n_code: int, shape: tuple[int, ...], encoder: nn.Sequential) -> nn.Sequential:
        decoder = super().decoder(n_code, shape, encoder)
        weight = weight_of(encoder[0])
        if not self.tied and len(weight) == n_code:
            weight_of(decoder[0]).data.copy_(weight.t())
        return decoder


class TransposedLinear(nn.Module):
    """h → h W + b, with W (out, in) of another Linear layer and a bias of its own."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight = linear.weight  # the same Parameter: state dict and optimiser know it once
        self.bias = nn.Parameter(torch.zeros(linear.in_features, dtype=linear.weight.dtype))

    def forward(self, h: Tensor) -> Tensor:
        return F.linear(h, self.weight.t(), self.bias)


def as_layer(encoder: nn.Sequential, code: nn.Module, decoder: nn.Sequential, likelihood: str) -> Layer | None:
    """An autoencoder without hidden layers as a layer for a stack; None if it has some, or a code no layer can have."""
    ups, downs = list(encoder.children()), list(decoder.children())
    hidden = next((unit for unit, name in UNITS.items() if type(code) is ACTIVATIONS[name]), None)
    if len(ups) != 1 or len(downs) != 1 or hidden is None:
        return None
    W, b_hidden, b_visible = weight_of(ups[0]).detach().t(), last_bias(encoder).detach(), last_bias(decoder).detach()
    W_down = None if isinstance(downs[0], TransposedLinear) else weight_of(downs[0]).detach()
    visible: Unit = "bernoulli" if likelihood == "bernoulli" else "gaussian"
    return Layer(W, b_hidden, b_visible, hidden, visible, W_down=W_down)


class Conv:
    """Strided 4 × 4 convolutions, halving the image once per entry of ``channels``, and the mirror image back.

    Images are (height, width) or (colour, height, width).
    """

    def __init__(
        self, channels: Annotated[list[Count], Length(1, 20)], activation: Activation, initialization: Initialization
    ):
        self.channels, self.activation, self.initialization = channels, activation, initialization

    def encoder(self, shape: tuple[int, ...], n_code: int) -> nn.Sequential:
        sizes, colours = self._sizes(shape), prod(shape[:-2])
        modules: list[nn.Module] = [nn.Unflatten(1, (colours, *shape[-2:]))]
        for n_in, n_out in zip([colours, *self.channels], self.channels):
            modules += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), activation_by_name(self.activation)]
        stack = nn.Sequential(*modules, nn.Flatten(), nn.Linear(self.channels[-1] * prod(sizes[-1]), n_code))
        initialize(stack, self.initialization, self.activation)
        return stack

    def decoder(self, n_code: int, shape: tuple[int, ...], encoder: nn.Sequential) -> nn.Sequential:
        sizes = self._sizes(shape)
        top = self.channels[-1]
        modules: list[nn.Module] = [nn.Linear(n_code, top * prod(sizes[-1])), nn.Unflatten(1, (top, *sizes[-1]))]
        down = list(reversed([prod(shape[:-2]), *self.channels]))
        for i, (n_in, n_out) in enumerate(pairwise(down)):
            small, large = sizes[-1 - i], sizes[-2 - i]
            odd = large[0] - 2 * small[0], large[1] - 2 * small[1]  # an odd side loses a pixel on its way down
            modules += [
                activation_by_name(self.activation),
                nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1, output_padding=odd),
            ]
        stack = nn.Sequential(*modules, nn.Flatten())
        initialize(stack, self.initialization, self.activation)
        return stack

    def _sizes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        if len(shape) not in (2, 3):
            raise UserError(f"model/network: conv needs images, these samples have shape {shape}; take mlp")
        sizes = [tuple(shape[-2:])]
        for _ in self.channels:
            sizes.append(tuple(side // 2 for side in sizes[-1]))
        if min(sizes[-1]) < 1:
            raise UserError(
                f"model.network.channels: {len(self.channels)} halvings leave nothing of {shape}; give fewer"
            )
        return sizes
