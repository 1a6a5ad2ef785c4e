"""Unrolling (Hinton & Salakhutdinov 2006): a stack of layers becomes an encoder and its mirror image, the decoder."""

from typing import Literal

import torch
from torch import Tensor, nn

from aelab.errors import UserError
from aelab.rbm.layer import Layer, Unit, check_fit

ACTIVATION: dict[Unit, type[nn.Module]] = {"bernoulli": nn.Sigmoid, "gaussian": nn.Identity, "relu": nn.ReLU}


def unroll(stack: list[Layer], code: Literal["linear", "logistic"] | None) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder: x ↦ g(b_hidden + (x/σ²) W) through the stack, so at first it equals ``encode_through``.

    Decoder: the same layers downwards, its weights copies of the transposes and from then on free of them. Its last
    layer gives logits for Bernoulli visible units, means for the others. The code is as the last layer's hidden units
    say (Gaussian: linear; Bernoulli: logistic), or as ``code`` does. Raises ``UserError`` if the stack is empty or
    its widths do not fit.
    """
    if not stack:
        raise UserError("below: there are no layers to unroll; name a pretrained stack")
    check_fit(stack, "chain.widths")
    up: list[nn.Module] = []
    down: list[nn.Module] = []
    for layer in stack:
        up += [_linear(_scaled_weights(layer), layer.b_hidden), ACTIVATION[layer.hidden]()]
    for layer in reversed(stack):
        down += [_linear(layer.W.t(), layer.b_visible), ACTIVATION[layer.visible]()]
    if code is not None:
        up[-1] = nn.Identity() if code == "linear" else nn.Sigmoid()
    if stack[0].visible == "bernoulli":
        down[-1] = nn.Identity()  # logits: the likelihood is exact where the logistic function saturates
    return nn.Sequential(*up), nn.Sequential(*down)


def _scaled_weights(layer: Layer) -> Tensor:
    """W/σ² row by row: the division that p(h | v) makes, taken into the weights."""
    if layer.visible != "gaussian" or layer.log_var_visible is None:
        return layer.W
    return layer.W * torch.exp(-layer.log_var_visible)[:, None]


def _linear(W: Tensor, bias: Tensor) -> nn.Linear:
    module = nn.Linear(*W.shape, device=W.device, dtype=W.dtype)
    with torch.no_grad():
        module.weight.copy_(W.t())
        module.bias.copy_(bias)
    return module
