"""The end of an epoch on disk: checkpoints and history, so written that a kill loses one epoch at most."""

import math
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from aelab import files, log, signals
from aelab.errors import UserError
from aelab.results.directions import Mode
from aelab.runs import folder as run_folder
from aelab.runs.compared import Compared, miss
from aelab.runs.epochs import Epochs, Row, rows_of
from aelab.runs.folder import write_history

SYNC_SECONDS = 1.0  # a power cut may cost the epochs of so long; to wait for the disk after each one takes 5 to 10 ms


class EpochEnd(Checkpoint):
    """After each epoch: last.ckpt, best.ckpt when ``monitor`` got better, and history.csv, one row per epoch.

    A checkpoint is saved only when every weight is finite, so last.ckpt is always one to go on from. The rows are part
    of the checkpoint: a resumed run's history is that of an unbroken one. Before the first of them the folder is given
    ``settings``, the config.yaml of the run as it goes on: a run that is refused before has changed nothing. A metric
    that is ``compared`` by is missed here and not when training is over.
    """

    def __init__(self, folder: Path, monitor: str, mode: Mode, settings: str, compared: Compared):
        self.folder, self.monitor, self.mode, self.settings = folder, monitor, mode, settings
        self.compared = compared
        self.epochs = Epochs()
        self.best = math.inf if mode == "min" else -math.inf
        self.best_epoch: int | None = None
        self.begun = False
        self.synced = time.monotonic()

    @property
    def rows(self) -> list[Row]:
        """The metrics of each epoch so far."""
        return self.epochs.rows

    def state_dict(self) -> dict[str, Any]:
        return {"table": self.epochs.table, "best": self.best, "best_epoch": self.best_epoch, "monitor": self.watched}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = Epochs(rows_of(state["table"]) if "table" in state else state["rows"])  # rows: of an older run
        if state.get("monitor") == self.watched:
            self.best, self.best_epoch = state["best"], state["best_epoch"]
        else:
            log.say(f"train.monitor: best.ckpt is from now on the best by {self.monitor} ({self.mode}), begun anew")

    @property
    def watched(self) -> str:
        return f"{self.monitor} {self.mode}"

    def on_fit_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        signals.listen()  # Lightning has just put a handler of its own before ours, which waits for other processes

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        miss(self.compared, metrics)
        for name, weight in model.state_dict().items():
            if not bool(torch.isfinite(weight).all()):
                raise UserError(
                    f"{model.rate_key}: {name} is not finite after epoch {trainer.current_epoch + 1}; training "
                    f"stopped, last.ckpt is the last good one; lower {model.rate_key}"
                )
        self.epochs.add({"epoch": trainer.current_epoch, **metrics})
        value = metrics[self.monitor]
        better = value < self.best if self.mode == "min" else value > self.best
        if better:
            self.best, self.best_epoch = value, trainer.current_epoch
        last = self.folder / "last.ckpt"
        part = last.with_name(".last.ckpt.part")
        if trainer.is_global_zero and not self.begun:
            run_folder.begin(self.folder, self.settings)
        self.begun = True
        trainer.save_checkpoint(part)  # all ranks take part, the first one writes
        if trainer.is_global_zero:
            if time.monotonic() - self.synced >= SYNC_SECONDS:
                files.sync(part)
                self.synced = time.monotonic()
            if better:  # the same file under a second name: the next last.ckpt is a new file
                files.write_whole(self.folder / "best.ckpt", lambda path: os.link(part, path), durable=False)
            write_history(self.folder / "history.csv", self.epochs.table)
            os.replace(part, last)  # last: killed before this, the run does the epoch again and writes all three again
        signals.safe_point(lambda warned: trainer.strategy.reduce_boolean_decision(warned, all=False))

    def save_untrained(self, trainer: pl.Trainer) -> None:
        """last.ckpt and best.ckpt of a run that was asked for no epoch: its weights are those it starts from."""
        last = self.folder / "last.ckpt"
        files.write_whole(last, trainer.save_checkpoint)
        files.write_whole(self.folder / "best.ckpt", lambda path: os.link(last, path), durable=False)

    def on_train_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        if trainer.is_global_zero and self.begun:
            for name in ("last.ckpt", "best.ckpt"):
                files.sync(self.folder / name)
