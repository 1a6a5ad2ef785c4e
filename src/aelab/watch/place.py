"""A place that is told of a run."""

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint


class Watch(Checkpoint):
    """A place that is told of a run: its beginning, each epoch once, and its end.

    A ``Checkpoint`` for one reason: Lightning calls those last, so that an epoch is told only after it was saved, and
    a run that is killed and goes on tells none twice.
    """

    def on_fit_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.begin(trainer, model)

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.epoch(trainer, model, trainer.checkpoint_callback.rows)

    def begin(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """Training is about to start, or to go on."""

    def epoch(self, trainer: pl.Trainer, model: pl.LightningModule, rows: list[dict[str, float]]) -> None:
        """An epoch was saved; the last of ``rows`` is its own, and history.csv has the same."""

    def end(self, metrics: dict[str, float], pictures: dict[str, Path], failed: bool, reason: str) -> None:
        """The run is over: its final metrics, its pictures by name, and how it ended. Nothing where it never began."""
