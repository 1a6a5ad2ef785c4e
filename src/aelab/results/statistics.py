"""Gradient and activation of each layer, on request (``callbacks=statistics``): can a deep net learn at all?"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from aelab.data.batches import data_of
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.functional.activation import ACTIVATIONS
from aelab.models.base import Model
from aelab.models.network import TransposedLinear
from aelab.models.training import total

PREFIX = "statistics/"
LINEAR = (nn.Linear, TransposedLinear)
SATURATED = 0.1  # of the activation's steepest slope: a logistic unit outside (0.026, 0.974), a rectifier at 0
STEEPEST: dict[type[nn.Module], float] = {nn.Sigmoid: 0.25}  # slope of 1 for all the others


class LayerStatistics(NamedTuple):
    """Of one linear layer and the activation that follows it, over a batch; scalars."""

    gradient_norm: Tensor  # ‖∂loss/∂W‖, Frobenius, of the mean loss
    activation_mean: Tensor  # over samples and units
    activation_std: Tensor
    saturated: Tensor  # fraction of samples and units where the activation's slope is below SATURATED


def layer_statistics(model: Model, batch: Batch) -> dict[str, LayerStatistics]:
    """Name of each linear layer, in the order of computation → what it does with ``batch``, as at a validation.

    Neither weights nor their ``.grad`` nor the random state change, so a run goes the same way with and without.
    Weights that are held fixed get the gradient they would have. A last layer that puts out logits counts as linear.
    """
    with at_rest(model, batch.x), outputs_of(model) as outputs:
        loss = total(model.batch_terms(batch, model(batch.x)).values())
        measured = {}
        for (name, layer, a), (_, after, h) in pairwise([*outputs, ("", nn.Module(), loss)]):  # nothing is after it
            if isinstance(layer, LINEAR) and a.requires_grad:
                h = h if type(after) in ACTIVATIONS.values() else a
                slope = torch.ones_like(a) if h is a else torch.autograd.grad(h.sum(), a, retain_graph=True)[0]
                gradient = torch.autograd.grad(loss, layer.weight, retain_graph=True, allow_unused=True)[0]
                norm = torch.zeros_like(loss) if gradient is None else gradient.norm()
                flat = slope < SATURATED * STEEPEST.get(type(after), 1.0)
                values = norm, h.mean(), h.std(unbiased=False), flat.float().mean()
                measured[name] = LayerStatistics(*(value.detach() for value in values))
    return measured


@contextmanager
def at_rest(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Every weight differentiable, no dropout, a random state of its own: and afterwards all as it was."""
    training, free = model.training, [(p, p.requires_grad) for p in model.parameters()]
    with torch.enable_grad(), torch.random.fork_rng([x.device] if x.is_cuda else []):
        torch.manual_seed(0)
        model.eval().requires_grad_(True)
        try:
            yield
        finally:
            model.train(training)
            for parameter, learns in free:
                parameter.requires_grad_(learns)


@contextmanager
def outputs_of(model: nn.Module) -> Iterator[list[tuple[str, nn.Module, Tensor]]]:
    """(name, module, output) of the modules that have no parts, in the order in which they are computed."""
    outputs: list[tuple[str, nn.Module, Tensor]] = []

    def keep(name: str):
        return lambda module, _, output: outputs.append((name, module, output))

    parts = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    handles = [module.register_forward_hook(keep(name)) for name, module in parts]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


class Statistics(Callback):
    """As each epoch begins, the statistics of the first training samples; the first row is that of the start itself."""

    validates_nothing = True

    def check_model(self, model: Model) -> None:
        """Raise ``UserError`` for a model that has no linear layers."""
        if not any(isinstance(layer, LINEAR) for layer in model.modules()):
            raise UserError(
                f"callbacks.statistics: {type(model).__name__} has no linear layers to measure; leave it out"
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, model: Any) -> None:
        measured = layer_statistics(model, next(data_of(trainer).train_for_evaluation.batches()))
        self.row = {f"{PREFIX}{layer}/{n}": v for layer, s in measured.items() for n, v in s._asdict().items()}

    def on_train_epoch_end(self, trainer: pl.Trainer, model: Any) -> None:
        model.log_dict(self.row)


def by_layer(columns: Any) -> dict[str, dict[str, Any]]:
    """``statistics/LAYER/NAME`` → value, among other columns, as LAYER → NAME → value: encoder first, then upwards."""
    layers: dict[str, dict[str, Any]] = {}
    for column, value in columns.items():
        if column.startswith(PREFIX):
            layer, name = column.removeprefix(PREFIX).rsplit("/", 1)
            layers.setdefault(layer, {})[name] = value
    return dict(sorted(layers.items(), key=lambda item: depth(item[0])))


def depth(layer: str) -> tuple:
    """encoder.2 before encoder.10 before decoder.0."""
    parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in layer.split(".")]
    return layer.split(".")[0] != "encoder", parts
