"""The weights next to the pixels and what their units put out: what a picture of filters is drawn from."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from aelab.models.network import weight_of


class Filters(NamedTuple):
    """Of one layer: ``weights`` (units, input), or (channels, colours, height, width) of a convolution; and
    ``activity`` (samples, units), what these units put out, to see which of them never do anything.
    """

    weights: Tensor
    activity: Tensor


class Coder(Protocol):
    """What filters are taken of: :class:`aelab.models.base.Model`."""

    encoder: nn.Module
    decoder: nn.Module
    n_input: int

    def encode(self, x: Tensor) -> Tensor: ...

    def reconstruct(self, x: Tensor) -> Tensor: ...

    def code_activity(self, x: Tensor) -> Tensor: ...


def of_encoder(model: Coder, x: Tensor) -> Filters | None:
    """What the first hidden units of ``model.encoder`` look for, and put out for the samples ``x``."""
    modules = list(model.encoder.children())
    layers = [module for module in modules if has_weight(module)]
    if not layers:
        return None
    if len(layers) == 1:
        activity = model.code_activity(x)
    else:
        activity = passing(modules[modules.index(layers[0]) + 1], model.encode, x)[1]
    return checked(weight_of(layers[0]), activity, model.n_input)


def of_decoder(model: Coder, x: Tensor) -> Filters | None:
    """What the last hidden units before the output of ``model.decoder`` draw, and put out for the samples ``x``."""
    layers = [module for module in model.decoder.children() if has_weight(module)]
    if not layers:
        return None
    weight = weight_of(layers[-1])
    if weight.ndim == 2 and weight.shape[0] == model.n_input:
        weight = weight.t()
    activity = model.code_activity(x) if len(layers) == 1 else passing(layers[-1], model.reconstruct, x)[0]
    return checked(weight, activity, model.n_input)


def has_weight(module: nn.Module) -> bool:
    """Whether it is a layer: linear, transposed or convolutional."""
    return getattr(module, "weight", None) is not None


def passing(module: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """What goes into ``module`` and what comes out of it while ``run(x)`` is computed."""
    seen: list[tuple[Tensor, Tensor]] = []
    handle = module.register_forward_hook(lambda _, given, made: seen.append((given[0], made)))
    try:
        run(x)
    finally:
        handle.remove()
    return seen[-1]


def checked(weight: Tensor, activity: Tensor, n_input: int) -> Filters | None:
    """The filters of a layer that sees or makes the whole input, or of a convolution of its pixels; else None.

    A convolution's units are its channels, wherever they stand.
    """
    if weight.ndim == 4:
        activity = activity.flatten(2).transpose(1, 2).flatten(0, 1)
    whole = weight.ndim == 4 or (weight.ndim == 2 and weight.shape[1] == n_input)
    if not whole or activity.shape[1] != len(weight):  # an encoder of one layer may put out more than the code
        return None
    return Filters(weight.detach(), activity.detach())
