"""A trained model as numbers that a page can compute with: its way from code to input, and its Gibbs chain.

A part is a mapping that live.js reads: a *program* is a list of steps, each a linear layer, a transposed convolution or
an activation by name; arrays are base64 of float32 in row-major order.
"""

import base64
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from aelab.data.batches import Data
from aelab.functional.activation import ACTIVATIONS, UNITS, activation
from aelab.functional.pca import fit_pca, project
from aelab.models.base import Model
from aelab.models.classification_rbm import ClassificationRBM
from aelab.models.deep_belief_network import DeepBeliefNetwork
from aelab.models.hierarchical_vae import HierarchicalVAE
from aelab.models.linear import Linear
from aelab.models.network import TransposedLinear, last_bias, weight_of
from aelab.models.rbm import RBM
from aelab.rbm.layer import Layer, encode_through
from aelab.rbm.unroll import unroll
from aelab.results.page.document import Part

POINTS = 800  # test samples on a map
SLIDERS = 24  # code units that have one, those of the largest variance
STARTS = 10  # samples that a Gibbs chain can start from
MOST_WEIGHTS = 4_000_000  # in a page: 16 MB, a third more as text
AGREES = 1e-4  # how near the program must come to the model, as a part of the data's range
NAMES = {kind: name for name, kind in ACTIVATIONS.items()}  # the last name of a kind is the usual one
NAMES[nn.Identity] = "identity"


@torch.no_grad()
def decoder_part(model: Model, data: Data) -> Part | None:
    """The map of test codes and the decoder; None for a model without one, too large, or not made of known layers."""
    if not model.reconstructs:
        return None
    decoder = decoder_modules(model)
    if decoder is None:
        return None
    modules = [*decoder, *downward(data.below)]
    code = torch.cat([model.encode(batch.x) for batch in data.test.batches()])[:POINTS].float().cpu()
    steps = program(modules, code.shape[1])
    if steps is None or not agrees(modules, model, data, code):
        return None
    mean, plane = plane_of(code)
    points = (code - mean) @ plane.T
    spread = code.std(0, correction=0)
    shown = spread.argsort(descending=True)[:SLIDERS].sort().values if code.shape[1] > 2 else torch.arange(0)
    limits = code.aminmax(dim=0)
    sliders = [{"unit": int(j), "low": float(limits.min[j]), "high": float(limits.max[j])} for j in shown]
    title = f"{type(model).__name__}, {code.shape[1]} code units"
    return {
        **_common("code", title, data), "kind": "decoder", "program": steps, "mean": text(mean),
        "plane": text(plane), "points": text(points), "labels": labels_of(data), "sliders": sliders,
        "axes": "the code's two units" if code.shape[1] == 2 else "the code's first two principal components",
    }  # fmt: skip


@torch.no_grad()
def pca_part(data: Data) -> Part | None:
    """The same for PCA's own plane: two components of the training set; None where the data have fewer."""
    if min(data.train.x.shape) < 3:
        return None
    pca = fit_pca(data.train_for_evaluation.x, 2)
    points = project(pca, data.test.x[:POINTS]).cpu()
    linear = nn.Linear(2, len(pca.mean))
    linear.weight.data.copy_(pca.components.T)
    linear.bias.data.copy_(pca.mean)
    steps = program([linear, *downward(data.below)], 2)
    about = {"kind": "decoder", "program": steps, "mean": text(torch.zeros(2)), "plane": text(torch.eye(2))}
    return {
        **_common("pca", "PCA, 2 components", data), **about, "points": text(points), "labels": labels_of(data),
        "sliders": [], "axes": "PCA's two components",
    }  # fmt: skip


@torch.no_grad()
def chain_part(model: Model, data: Data) -> Part | None:
    """The Gibbs chain of an RBM, or of a deep belief network's top, by label where it has labels; else None."""
    if isinstance(model, DeepBeliefNetwork):
        top, below, n_labels = model.top_rbm(), model.generative(), model.n_labels or 0
        start = encode_through(model.recognition(), data.test.x[:STARTS])
        start = torch.cat([start, start.new_zeros(len(start), n_labels)], 1)
    elif isinstance(model, RBM):
        top, below, n_labels, start = model.layer(), [], 0, data.test.x[:STARTS]
    else:
        return None
    if top.log_var_visible is not None or "relu" in (top.visible, top.hidden) or top.W.numel() > MOST_WEIGHTS:
        return None
    up = program([linear_of(top.W, top.b_hidden), activation(UNITS[top.hidden])], len(top.W))
    down = program([linear_of(top.W.t(), top.b_visible), activation(UNITS[top.visible])], top.W.shape[1])
    to_pixels = program([*downward(below), *downward(data.below)], len(top.W) - n_labels)
    if to_pixels is None:
        return None
    return {
        **_common("chain", "Gibbs chain", data), "kind": "chain", "up": up, "down": down, "below": to_pixels,
        "visible": len(top.W), "hidden_unit": top.hidden, "visible_unit": top.visible, "n_labels": n_labels,
        "start": text(start.float().cpu()),
    }  # fmt: skip


def _common(name: str, title: str, data: Data) -> Part:
    x = data.to_pixels(data.test.x[:POINTS])
    low, high = (0.0, 1.0) if data.unit_interval else (float(x.min()), float(x.max()))
    return {"name": name, "title": title, "shape": list(data.pixel_shape), "range": [low, max(high, low + 1e-6)]}


def plane_of(code: Tensor) -> tuple[Tensor, Tensor]:
    """Origin (code,) and two axes (2, code) of the map: the code itself where it is two units, else its PCA."""
    n = code.shape[1]
    if n == 1:
        return torch.zeros(1), torch.tensor([[1.0], [0.0]])
    if n == 2:
        return torch.zeros(2), torch.eye(2)
    pca = fit_pca(code, 2)
    return pca.mean.float(), pca.components.float()


def labels_of(data: Data) -> list[int] | None:
    return None if data.test.y is None else data.test.y[:POINTS].tolist()


def decoder_modules(model: Model) -> list[nn.Module] | None:
    """What turns a code into the expected input, as modules of torch; None where a model of one's own has none."""
    if isinstance(model, Linear):
        return [linear_of(model.span.t(), model.center)]
    if isinstance(model, (RBM, ClassificationRBM)):
        return downward([model.layer()])
    if isinstance(model, DeepBeliefNetwork):
        return downward([*model.generative(), model.top_rbm(labels=False)])
    decoder = getattr(model, "decoder", None)
    if not isinstance(decoder, nn.Module):
        return None
    modules = [decoder]
    if isinstance(model, HierarchicalVAE):
        *hidden, last = model.top_decoder.children()
        weight, bias = weight_of(last), last_bias(last)
        half = len(weight) // 2  # of mean and log variance the mean
        modules = [*hidden, linear_of(weight[:half].t(), bias[:half]), decoder]
    return [*modules, nn.Sigmoid()] if model.likelihood == "bernoulli" else modules


def downward(layers: list[Layer]) -> list[nn.Module]:
    """The means of each layer's visible units given those above it, as modules."""
    if not layers:
        return []
    return [*unroll(layers, "as_layers")[1], activation(UNITS[layers[0].visible])]


def linear_of(W: Tensor, bias: Tensor) -> nn.Linear:
    """x ↦ x W + bias, W (in, out)."""
    module = nn.Linear(*W.shape)
    with torch.no_grad():
        module.weight.copy_(W.t())
        module.bias.copy_(bias)
    return module


def program(modules: Iterable[nn.Module], n_input: int) -> list[Part] | None:
    """Steps for live.js; None where a layer is of a kind that it does not know, or the weights are too many."""
    steps: list[Part] = []
    shape: tuple[int, ...] = (n_input,)
    flat = [module for top in modules for module in top.modules() if not any(module.children())]
    if sum(p.numel() for module in flat for p in module.parameters()) > MOST_WEIGHTS:
        return None
    for module in flat:
        if isinstance(module, (nn.Linear, TransposedLinear)):
            weight = module.weight.t() if isinstance(module, TransposedLinear) else module.weight
            steps.append({"op": "linear", "W": text(weight), "b": text(module.bias)})
            shape = (len(module.bias),)
        elif isinstance(module, nn.Unflatten):
            shape = tuple(module.unflattened_size)
        elif isinstance(module, nn.ConvTranspose2d) and len(shape) == 3:
            out = tuple(module(torch.zeros(1, *shape)).shape[1:])
            kernel, stride, padding = (pair[0] for pair in (module.kernel_size, module.stride, module.padding))
            sizes = {"in": shape, "out": out, "kernel": kernel, "stride": stride, "padding": padding}
            steps.append({"op": "up_convolution", "W": text(module.weight), "b": text(last_bias(module)), **sizes})
            shape = out
        elif type(module) in NAMES:
            steps.append({"op": NAMES[type(module)]})
        elif not isinstance(module, (nn.Flatten, nn.Dropout)):
            return None
    return steps


@torch.no_grad()
def agrees(modules: list[nn.Module], model: Model, data: Data, code: Tensor) -> bool:
    """Whether the modules give what the model's own ``decode`` gives."""
    try:
        x = nn.Sequential(*modules).eval()(code)
    except RuntimeError:  # of a model of one's own: its decoder wants more than the code, say
        return False
    expected = data.to_pixels(model.decode(code))
    scale = max(float(expected.abs().max()), 1e-6)
    return x.shape == expected.shape and float((x - expected).abs().max()) < AGREES * scale


def text(values: Tensor) -> str:
    """Base64 of float32."""
    return base64.b64encode(values.detach().cpu().float().contiguous().numpy().tobytes()).decode()
