"""The value one stage of a chain hands to the next: a layer of units and the weights between them."""

import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from aelab.errors import UserError
from aelab.files import read_tensors, write_whole
from aelab.functional.activation import UNITS, Unit
from aelab.rbm.kernels import linear

FORMAT = "aelab.layers.2"
READABLE = (FORMAT, "aelab.layers.1")  # the older one has no W_down
DAMAGE = (  # what torch.load and the checks after it raise on a file that is cut, altered or something else
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    pickle.UnpicklingError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


class Layer(NamedTuple):
    """Two layers of units and their connection.

    ``W`` (visible, hidden), ``b_hidden`` (hidden,), ``b_visible`` (visible,); ``hidden`` and ``visible`` name the unit
    types; ``log_var_visible`` (visible,) is the log variance of Gaussian visible units (None: unit variance) and is
    ignored for the others. ``W_down`` (visible, hidden) are the weights on the way down where they differ from W, the
    decoder of an autoencoder with untied weights; None: the connection is symmetric.
    """

    W: Tensor
    b_hidden: Tensor
    b_visible: Tensor
    hidden: Unit
    visible: Unit
    log_var_visible: Tensor | None = None
    W_down: Tensor | None = None

    def to(self, *args) -> "Layer":
        """The layer with every tensor moved: ``Tensor.to``'s arguments, a device or a dtype."""
        return self._each(lambda tensor: tensor.to(*args))

    def detach(self) -> "Layer":
        """The layer as a value: the same tensors, without gradients."""
        return self._each(Tensor.detach)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Layer":
        changed: dict[str, Any] = {k: change(t) for k, t in self._asdict().items() if isinstance(t, Tensor)}
        return self._replace(**changed)


def scaled_visible(v: Tensor, layer: Layer) -> Tensor:
    """v/σ² for Gaussian visible units, v for the others: what the hidden units see of v (batch, visible)."""
    if layer.visible != "gaussian" or layer.log_var_visible is None:
        return v
    return v * torch.exp(-layer.log_var_visible)


def mean_h_given_v(v: Tensor, layer: Layer) -> Tensor:
    """g(b_hidden + (v/σ²) W), (batch, hidden): g is logistic, the identity or max(0, ·) by the hidden units' type.

    For a rectified unit it is the value without its noise.
    """
    return linear(scaled_visible(v, layer), layer.W, layer.b_hidden, UNITS[layer.hidden])


def mean_v_given_h(h: Tensor, layer: Layer) -> Tensor:
    """g(b_visible + W h), (batch, visible), with ``W_down`` where it differs from W."""
    return linear(h, weights_down(layer).t(), layer.b_visible, UNITS[layer.visible])


def weights_up(layer: Layer) -> Tensor:
    """(visible, hidden): W/σ² row by row, the division that p(h | v) makes taken into the weights."""
    if layer.visible != "gaussian" or layer.log_var_visible is None:
        return layer.W
    return layer.W * torch.exp(-layer.log_var_visible)[:, None]


def weights_down(layer: Layer) -> Tensor:
    """(visible, hidden): the weights by which the hidden units draw the visible ones."""
    return layer.W if layer.W_down is None else layer.W_down


def encode_through(layers: list[Layer], x: Tensor) -> Tensor:
    """The means of each layer's hidden units given those below it, from x (batch, input) up to the code."""
    for layer in layers:
        x = mean_h_given_v(x, layer)
    return x


def decode_through(layers: list[Layer], code: Tensor) -> Tensor:
    """The means of each layer's visible units given those above it, from the code (batch, code) down to the input."""
    for layer in reversed(layers):
        code = mean_v_given_h(code, layer)
    return code


@torch.no_grad()
def encode_all(layers: list[Layer], x: Tensor, batch: int = 4096) -> Tensor:
    """``encode_through`` in pieces of ``batch`` rows on the layers' device; the codes lie where x does."""
    if not layers:
        return x
    code = x.new_empty(len(x), layers[-1].W.shape[1])
    for rows, out in zip(x.split(batch), code.split(batch)):
        out.copy_(encode_through(layers, rows.to(layers[0].W.device)))
    return code


def check_fit(layers: list[Layer], key: str, n_input: int | None = None) -> None:
    """Raises ``UserError`` at ``key`` unless each layer's visible units are as many as the units below it."""
    below, what = n_input, "the data"
    for number, layer in enumerate(layers, 1):
        visible, hidden = layer.W.shape
        if below is not None and below != visible:
            raise UserError(
                f"{key}: layer {number} takes {visible} units, but {what} has {below}; stack layers whose widths fit"
            )
        below, what = hidden, f"layer {number}"


def save_layers(path: str | os.PathLike, layers: list[Layer]) -> None:
    """Writes the layers whole or not at all: plain tensors and strings, the same bytes for the same layers."""
    cpu = [
        {k: t.detach().cpu().contiguous().clone() if isinstance(t, Tensor) else t for k, t in layer._asdict().items()}
        for layer in layers
    ]
    buffer = io.BytesIO()  # through a buffer: torch writes a file's own name into the file
    torch.save({"format": FORMAT, "digest": _digest(cpu), "layers": cpu}, buffer)
    write_whole(Path(path), lambda part: part.write_bytes(buffer.getvalue()))


def load_layers(path: str | os.PathLike) -> list[Layer]:
    """The layers that ``save_layers`` wrote, on the CPU; executes nothing. A file that is not whole: ``UserError``."""
    try:
        saved = read_tensors(Path(path))
        if saved["format"] not in READABLE:
            raise ValueError(f"format {saved['format']!r}")
        if saved["digest"] != _digest(saved["layers"]):
            raise ValueError("its numbers are not those that were written")
        layers = [_validated(Layer(**fields)) for fields in saved["layers"]]
    except FileNotFoundError as error:
        raise UserError(f"below: {path} does not exist; name the folder of a finished run") from error
    except DAMAGE as error:
        reason = str(error).split("\n")[0][:120]
        raise UserError(f"below: {path} is damaged or no layer file ({reason}); run that stage again") from error
    check_fit(layers, "below")
    return layers


def _digest(layers: list[dict]) -> str:
    """SHA-256 of every value in order: torch reads a file whose numbers have rotted without a word."""
    digest = hashlib.sha256()
    for name, value in (item for layer in layers for item in layer.items()):
        if isinstance(value, Tensor):
            digest.update(value.contiguous().flatten().view(torch.uint8).numpy().tobytes())
            value = (value.dtype, tuple(value.shape))
        digest.update(f"{name} {value}".encode())
    return digest.hexdigest()


def _validated(layer: Layer) -> Layer:
    visible, hidden = layer.W.shape[:1], layer.W.shape[1:]
    expected = {"b_hidden": hidden, "b_visible": visible, "log_var_visible": visible, "W_down": layer.W.shape}
    for name in ("W", *expected):
        tensor = getattr(layer, name)
        if name in ("log_var_visible", "W_down") and tensor is None:
            continue
        if not (isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.isfinite().all()):
            raise ValueError(f"{name} is not a tensor of finite numbers")
        if tensor.shape != expected.get(name, tensor.shape) or layer.W.ndim != 2:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}")
    if layer.hidden not in get_args(Unit) or layer.visible not in get_args(Unit):
        raise ValueError(f"unit types {layer.hidden!r}, {layer.visible!r}")
    return layer
