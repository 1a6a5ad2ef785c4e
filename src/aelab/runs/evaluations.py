"""Evaluators that are asked while a run trains: on the validation set, every few epochs."""

import copy
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from aelab.data.batches import data_of
from aelab.results.evaluation import Evaluator, alone, finite


class WhileTraining(Callback):
    """``val/…`` of an evaluator with ``every``: after the first epoch, every so many, and the last.

    Between measurements the last one stands, so each epoch has a value to be compared and kept by.
    """

    takes_chunks = True  # it need not see single minibatches

    def __init__(self, name: str, evaluator: Evaluator, every: int):
        self.name, self.evaluator, self.every = name, evaluator, every
        self.last: dict[str, float] = {}

    @property
    def state_key(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def state_dict(self) -> dict[str, Any]:
        return {"last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.last = state["last"]

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, model: Any) -> None:
        epoch = trainer.current_epoch
        if epoch == 0 or (epoch + 1) % self.every == 0 or epoch + 1 == trainer.max_epochs:
            data = copy.copy(data_of(trainer))
            data.test = data.val
            with alone(f"evaluate.{self.name}"), torch.random.fork_rng():
                torch.manual_seed(0)
                found = {f"val/{figure}": float(value) for figure, value in self.evaluator(model, data).items()}
                self.last = finite(found)
        model.log_dict(self.last)


def while_training(evaluators: dict[str, Evaluator]) -> list[Callback]:
    """A callback for each of the ``evaluators`` that says ``every`` how many epochs it is to be asked, and those that
    are callbacks themselves."""
    asked = {name: getattr(evaluator, "every", None) for name, evaluator in evaluators.items()}
    timed: list[Callback] = [WhileTraining(name, evaluators[name], every) for name, every in asked.items() if every]
    return timed + [evaluator for evaluator in evaluators.values() if isinstance(evaluator, Callback)]
