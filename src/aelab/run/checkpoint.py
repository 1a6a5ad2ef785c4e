"""The end of an epoch on disk: checkpoints and history, so written that a kill loses one epoch at most."""

import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint

from aelab.errors import UserError
from aelab.files import write_whole
from aelab.run.folder import write_history


class EpochEnd(Checkpoint):
    """After each epoch: last.ckpt, best.ckpt when ``monitor`` fell, and history.csv, a row an epoch.

    A checkpoint is saved only when every weight is finite, so last.ckpt is always one to go on from. The rows are part
    of the checkpoint: a resumed run's history is that of an unbroken one.
    """

    def __init__(self, folder: Path, monitor: str):
        self.folder, self.monitor = folder, monitor
        self.rows: list[dict[str, float]] = []
        self.best = float("inf")

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.best = state["rows"], state["best"]

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if self.monitor not in metrics:
            known = ", ".join(sorted(m for m in metrics if m.startswith("val/")))
            raise UserError(f"train.monitor: this model logs no {self.monitor}; take one of {known}")
        for name, weight in model.state_dict().items():
            if not bool(torch.isfinite(weight).all()):
                raise UserError(
                    f"{model.rate_key}: {name} is not finite after epoch {trainer.current_epoch}; training stopped, "
                    f"last.ckpt is the last good one; lower {model.rate_key}"
                )
        self.rows = [*self.rows, {"epoch": trainer.current_epoch, **metrics}]
        better = metrics[self.monitor] < self.best
        self.best = min(self.best, metrics[self.monitor])
        last = self.folder / "last.ckpt"
        part = last.with_name(".last.ckpt.part")
        trainer.save_checkpoint(part)  # all ranks take part, the first one writes
        if trainer.is_global_zero:
            if better:  # the same file under a second name: the next last.ckpt is a new file
                write_whole(self.folder / "best.ckpt", lambda path: os.link(part, path))
            write_history(self.folder / "history.csv", self.rows)
            os.replace(part, last)  # last: killed before this, the run does the epoch again and writes all three again
