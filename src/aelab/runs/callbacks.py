"""The callbacks that a config names: built, held against how aelab trains, and what they refuse said in one line."""

import traceback
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from pytorch_lightning import callbacks as theirs
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from aelab.config.build import build
from aelab.errors import UserError
from aelab.models.base import Model

# These drive Lightning's automatic optimisation, and here a model updates its weights itself.
AUTOMATIC = (
    theirs.StochasticWeightAveraging, theirs.GradientAccumulationScheduler, theirs.LearningRateFinder,
    theirs.BatchSizeFinder,
)  # fmt: skip
# What these find goes nowhere but to a logger.
NEED_A_LOGGER = (theirs.LearningRateMonitor, theirs.DeviceStatsMonitor)


def check_callbacks(callbacks: Mapping[str, Callback], logger: Mapping[str, Any], model: Model) -> None:
    """Raise ``UserError`` for a callback that cannot do its part in a run of ``model``, watched by ``logger``.

    One that has a method ``check_model`` is asked itself.
    """
    for name, callback in callbacks.items():
        if isinstance(callback, NEED_A_LOGGER) and not logger:
            kind = type(callback).__name__
            instead = "take logger=wandb or logger=tensorboard, or leave it out"
            raise UserError(f"callbacks.{name}: {kind} writes to a logger, and this run has none; {instead}")
        if hasattr(callback, "check_model"):
            callback.check_model(model)


def refuse_to_lose_the_average(checkpoint: dict[str, Any], built: list[Callback], folder: Path) -> None:
    """Raise ``UserError`` where a ``checkpoint``'s weights are an average and no callback knows those behind it."""
    if "current_model_state" in checkpoint and not any(isinstance(one, theirs.WeightAveraging) for one in built):
        raise UserError(
            f"callbacks: {folder} averages its weights, and would go on from the average as if it had been trained; "
            "leave callbacks as they are, or begin another run with start_from="
        )


def build_callbacks(nodes: dict[str, Any], folder: Path) -> dict[str, Callback]:
    """The callback of every node that is not null; what they save goes to ``folder``/checkpoints if it has no place."""
    built = {}
    for name, node in nodes.items():
        if node is None:
            continue
        key = f"callbacks.{name}"
        try:
            callback = build(node, key)
        except (MisconfigurationException, ValueError, TypeError) as error:
            raise UserError(f"{key}: {_first_line(error)}") from error
        kind = type(callback).__name__
        if not isinstance(callback, Callback):
            raise UserError(f"{key}: {kind} is no pytorch_lightning Callback; leave it out with {key}=null")
        if isinstance(callback, AUTOMATIC):
            instead = "take callbacks=weight_averaging" if "Averaging" in kind else f"leave it out with {key}=null"
            raise UserError(f"{key}: {kind} needs automatic optimisation; here a model updates itself; {instead}")
        if isinstance(callback, theirs.ModelCheckpoint) and callback.dirpath is None:
            file = PurePath(callback.filename or "")
            if file.is_absolute() or ".." in file.parts:
                raise UserError(f"{key}.filename: {file} leads out of the run folder; give a name, or a dirpath too")
            callback.dirpath = str(folder / "checkpoints")
        built[name] = callback
    return built


def refusal(error: Exception) -> UserError | None:
    """What one of Lightning's own callbacks says against a run, in one line; None for an error from elsewhere."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, UserError) or not any(name.startswith(theirs.__name__) for name in frames[-2:]):
        return None
    return UserError(f"callbacks: {_first_line(error).rstrip('.')}; leave it out")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
