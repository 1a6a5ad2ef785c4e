"""What can be wrong in any stage of a chain, found before the first one starts.

All that a run builds is built, but for the training: the data, split as they will be; optimiser, schedule and
corruption with their values; the model on torch's device ``meta``, where tensors have shapes and no numbers.
"""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback
from torch import nn

from aelab.config.build import made_from_layers
from aelab.config.check import check
from aelab.config.memory import TooLarge
from aelab.config.messages import one_line
from aelab.config.overrides import plain
from aelab.data.batches import Data
from aelab.data.parts import Split
from aelab.errors import UserError
from aelab.models.base import Model
from aelab.models.training import make_optimizer
from aelab.rbm.layer import Layer
from aelab.results.evaluation import Evaluator, build_evaluators
from aelab.results.report import refuse_misspelt
from aelab.runs.assembly import build_data, build_in_training, training_of
from aelab.runs.callbacks import build_callbacks, check_callbacks
from aelab.runs.compared import compared_of, miss_before, monitored_by
from aelab.runs.evaluations import while_training
from aelab.runs.plan import Plan
from aelab.runs.sources import Sources
from aelab.runs.train import check_devices


@contextmanager
def speaking_of(stage: Plan) -> Iterator[None]:
    """What a person can mend in ``stage`` is said of the chain's keys."""
    try:
        yield
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        raise UserError(stage.of_chain(line)) from error


def rehearse(plans: list[Plan], sources: Sources, folder: Path) -> None:
    """Raise ``UserError`` for what a stage would refuse once it runs; what only its training can show is left."""
    split: dict[str, Data] = {}
    layers_of: dict[str | None, list[Layer] | None] = {None: []}
    above = {plan.below: plan.name for plan in plans}
    for plan in plans:
        with speaking_of(plan):
            cfg = OmegaConf.create(plan.config)
            check(cfg)
            check_devices(cfg)
            refuse_misspelt(cfg.objective)
            callbacks, evaluators = build_callbacks(cfg.callbacks, folder), build_evaluators(cfg.evaluate)
            node = plain(cfg.data)
            asked = json.dumps([node, cfg.seed, cfg.train.batch_size])
            if asked not in split:
                split[asked] = build_data(cfg, [], sources.of(node))
            training = training_of(cfg, split[asked])
            make_optimizer(training.optimizer, [nn.Parameter(torch.zeros(1))])
            for progress in (0.0, 0.5, 1.0):
                training.schedule(progress)
            layers = layers_of[plan.below]
            if layers is None:  # one below could only be built with numbers: this one is checked when it runs
                layers_of[plan.name] = None
                continue
            data = split[asked] if made_from_layers(cfg.model) else standing_on(layers, split[asked])
            model = on_meta(plan, cfg, data, layers)
            if model is not None:
                rehearse_epochs(cfg, model, data, evaluators, callbacks)
            layers_of[plan.name] = None if model is None else layers_without_numbers(model)
            if plan.name in above and layers_of[plan.name] == []:
                assert model is not None
                refuse_no_layer(model, above[plan.name])


def rehearse_epochs(
    cfg: DictConfig, model: Model, data: Data, evaluators: dict[str, Evaluator], callbacks: dict[str, Callback]
) -> None:
    """Raise ``UserError`` for a callback that ``model`` has no use for, or a metric that none of its epochs has."""
    check_callbacks(callbacks, cfg.logger, model)
    compared = {**compared_of(cfg, evaluators), **monitored_by(callbacks)}
    with suppress(RuntimeError):  # as in on_meta
        miss_before(compared, model, without_numbers(data), [*while_training(evaluators), *callbacks.values()])


def refuse_no_layer(model: Model, above: str) -> None:
    """Raise ``UserError``: the stage ``above`` is to stand on ``model``, which is no layer."""
    if model.categories:
        raise UserError(
            f"data: no layer that {above} could stand on gives back columns of categories; leave them out with "
            "data.exclude=[…], or train a single model"
        )
    raise UserError(f"model: {type(model).__name__} has no layer that {above} could stand on; take another")


def layers_without_numbers(model: Model) -> list[Layer] | None:
    """The layers that ``model`` leaves to later stages, without numbers; None where finding them needs numbers."""
    try:
        return model.learned_layers()
    except NotImplementedError:  # torch's word for a tensor on ``meta`` that is asked for its numbers
        return None


def without_numbers(data: Data) -> Data:
    """``data`` with the shapes of its sets alone."""
    data = copy.copy(data)
    data.train, data.val, data.test = (part.to("meta") for part in (data.train, data.val, data.test))
    return data


def standing_on(layers: list[Layer], data: Data) -> Data:
    """``data`` as a model on top of ``layers`` sees them, without numbers."""
    if not layers:
        return data
    data = copy.copy(data)
    data.below = layers
    units = layers[-1].W.shape[1]
    for name in ("train", "val", "test"):
        part = getattr(data, name)
        setattr(data, name, Split(torch.empty(len(part.x), units, device="meta"), part.y))
    return data


def on_meta(plan: Plan, cfg: DictConfig, data: Data, layers: list[Layer]) -> Model | None:
    """The model of ``plan`` in training, without numbers; None where it cannot be built so.

    Raises ``UserError`` for what it refuses, and for its size.
    """
    try:
        with torch.device("meta"):
            model = build_in_training(cfg, data, layers)
        size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
        torch.empty(size, dtype=torch.uint8, device="cpu")  # no page of it is touched
    except TooLarge as error:
        raise UserError(f"{size_key(plan)}:{str(error).partition(':')[2]}") from error
    except (RuntimeError, OverflowError, TypeError) as error:
        text = str(error).lower()
        if not any(word in text for word in ("overflow", "allocate", "memory")):
            return None
        raise UserError(f"{size_key(plan)}: a model of this size does not fit into memory; give fewer units") from error
    with suppress(RuntimeError):  # it may want numbers that are not there; what it refuses by name comes through
        model.initialize_from(data)
    return model


def size_key(plan: Plan) -> str:
    """The stage's key for its number of units, in whose place the chain's own key is typed."""
    return next((key for part in plan.parts for key in part.by_key if part.place_of(key)), "model")
