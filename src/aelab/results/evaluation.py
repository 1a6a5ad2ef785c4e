"""Measuring a trained model: evaluators in turn, each of which may fail alone."""

import logging
import math
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch

from aelab.config.build import build
from aelab.data.batches import Data
from aelab.errors import UserError
from aelab.log import note
from aelab.models.base import Model
from aelab.results.metrics import OfTheModel

PLAIN = ("weights", "nll_samples")  # keys of ``evaluate`` that are no evaluators
log = logging.getLogger("aelab")


class Evaluator(Protocol):
    """Measures a model: name → number; ``test/`` is put before a name unless it says another set, as ``val/…``.

    The latter stand in ``of_validation``, if it has that: they are no metrics of an epoch. With ``figures``, called
    alike, it draws: file name → figure. One that is a Lightning callback sees the training.
    """

    def __call__(self, model: Model, data: Data) -> dict[str, float]: ...


def build_evaluators(nodes: Mapping[str, Any]) -> dict[str, Evaluator]:
    """The evaluators of the config node ``evaluate``, those that are null left out."""
    built = {name: build(node, f"evaluate.{name}") for name, node in nodes.items() if name not in PLAIN and node}
    for name, evaluator in built.items():
        if not callable(evaluator):
            raise UserError(f"evaluate.{name}: a {type(evaluator).__name__} cannot be called with a model and data")
    return built


def of_epochs(objective: str, evaluators: Mapping[str, Evaluator]) -> list[str]:
    """The names in ``objective`` that are metrics of each epoch, and not of a test."""
    later = {name for evaluator in evaluators.values() for name in getattr(evaluator, "of_validation", ())}
    names = map(str.strip, objective.split(","))
    return [name for name in names if not name.startswith("test/") and name not in later]


@torch.no_grad()
def evaluate(model: Model, data: Data, evaluators: Mapping[str, Evaluator]) -> dict[str, float]:
    """``test/…`` → number, every one a function of weights and data alone (times are not among them).

    First what the model itself is measured by, then each of the ``evaluators``. One that fails costs a line of warning
    and its own figures; so does a figure that is no finite number.
    """
    model.eval()
    metrics: dict[str, float] = {}
    for name, evaluator in {"loss": OfTheModel(), **evaluators}.items():
        torch.manual_seed(0)  # a model that samples is tested on the same draws each time, whatever else is measured
        with alone(f"evaluate.{name}"):
            found = evaluator(model, data)
            metrics |= finite({name if "/" in name else f"test/{name}": float(found[name]) for name in found})
    return metrics


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """The finite ones of ``metrics``; JSON has no others. Those left out are said."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            log.warning(f"{name}: is {value}, no finite number; left out")
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


@contextmanager
def alone(what: str) -> Iterator[None]:
    """Whatever fails inside is said in one line and ends nothing else: a training that is whole is never lost."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:160]
        log.warning(f"{what}: failed ({type(error).__name__}: {reason}); the run goes on without it")
        note(traceback.format_exc().rstrip())
