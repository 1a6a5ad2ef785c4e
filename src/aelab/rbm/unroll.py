"""Unrolling (Hinton & Salakhutdinov 2006): a stack of layers becomes an encoder and its mirror image, the decoder."""

from typing import Literal

import torch
from torch import Tensor, nn

from aelab.errors import UserError
from aelab.functional.activation import UNITS, Unit, activation
from aelab.functional.initialization import initialize_units
from aelab.rbm.layer import Layer, check_fit, weights_down, weights_up

Code = Literal["as_layers", "linear", "logistic"]
CODE_UNITS: dict[Code, Unit] = {"linear": "gaussian", "logistic": "bernoulli"}


def unroll(stack: list[Layer], code: Code) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder: x ↦ g(b_hidden + (x/σ²) W) through the stack, so at first it equals ``encode_through``.

    Decoder: the same layers downwards, its weights copies of the transposes (of ``W_down`` where a layer has it) and
    from then on free of them. Its last layer gives logits for Bernoulli visible units, means for the others. The code
    is as the last layer's hidden units say (Gaussian: linear; Bernoulli: logistic), or as ``code`` does. Raises
    ``UserError`` if the stack is empty or its widths do not fit.
    """
    if not stack:
        raise UserError("below: there are no layers to unroll; name a pretrained stack")
    check_fit(stack, "chain.widths")
    up: list[nn.Module] = []
    down: list[nn.Module] = []
    for layer, unit in zip(stack, units_up(stack, code)):
        up += [_linear(weights_up(layer), layer.b_hidden), activation(UNITS[unit])]
    for layer in reversed(stack):
        down += [_linear(weights_down(layer).t(), layer.b_visible), activation(UNITS[layer.visible])]
    if stack[0].visible == "bernoulli":
        down[-1] = nn.Identity()  # logits: the likelihood is exact where the logistic function saturates
    return nn.Sequential(*up), nn.Sequential(*down)


def units_up(stack: list[Layer], code: Code) -> list[Unit]:
    """The units that each layer of the encoder feeds, upwards; the last are the code's."""
    units = [layer.hidden for layer in stack]
    return units if code == "as_layers" else [*units[:-1], CODE_UNITS[code]]


def forget(encoder: nn.Sequential, decoder: nn.Sequential | None, stack: list[Layer], code: Code, scheme: str) -> None:
    """Random weights by ``scheme`` in place of the stack's: the same net without pretraining.

    Each layer gets the gain of the units that it feeds, so that signals keep their size whatever the units are.
    """
    initialize_units(encoder, scheme, units_up(stack, code))
    if decoder is not None:
        initialize_units(decoder, scheme, [layer.visible for layer in reversed(stack)])


def _linear(W: Tensor, bias: Tensor) -> nn.Linear:
    visible, hidden = W.shape
    module = nn.Linear(visible, hidden, device=W.device, dtype=W.dtype)
    with torch.no_grad():
        module.weight.copy_(W.t())
        module.bias.copy_(bias)
    return module
