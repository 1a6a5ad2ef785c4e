"""What happens round the training step: the end of an epoch on disk, and the one progress bar."""

import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, Checkpoint, EarlyStopping
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

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


class Patience(EarlyStopping):
    """Stop after ``patience`` epochs without a better ``monitor``; a run that stopped stays stopped when resumed."""

    def __init__(self, monitor: str, patience: int):
        super().__init__(monitor, patience=patience)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict({**state, "patience": self.patience})  # a resumed run may be given another one

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience


class Clock(Callback):
    """Seconds of training, images a second, and when the first epoch began."""

    def __init__(self) -> None:
        self.first_step: float | None = None
        self.seconds = 0.0
        self.images = 0

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "images": self.images}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds, self.images = state["seconds"], state["images"]

    def on_train_epoch_start(self, *_: Any) -> None:
        self.first_step = self.first_step or time.time()
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        self.seconds += time.perf_counter() - self._started
        self.images += len(trainer.datamodule.train.x)

    def timing(self, testing_started: float, process_started: float) -> dict[str, float]:
        """Seconds of training and of testing, images a second, seconds from the command to the first step."""
        return {
            "train_seconds": self.seconds,
            "images_per_second": self.images / self.seconds if self.seconds else 0.0,
            "test_seconds": time.perf_counter() - testing_started,
            "seconds_to_first_step": (self.first_step or time.time()) - process_started,
        }


class Bar(Callback):
    """One bar over all epochs, with validation loss and images a second; nothing where the output is no terminal."""

    takes_chunks = True  # it need not see single minibatches

    def __init__(self, title: str, clock: Clock):
        self.title, self.clock = title, clock
        self.progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        if not trainer.is_global_zero or not Console().is_terminal:
            return
        columns = ("[bold]{task.description}", BarColumn(), "{task.fields[text]}", TimeElapsedColumn(), "of")
        self.progress = Progress(
            *(TextColumn(c) if isinstance(c, str) else c for c in columns), TimeRemainingColumn(), transient=True
        )
        self.progress.start()
        total = trainer.max_epochs * trainer.num_training_batches
        done = trainer.current_epoch * trainer.num_training_batches
        self.task = self.progress.add_task(self.title, total=total, completed=done, text="first epoch")

    def on_train_batch_end(self, *_: Any) -> None:
        if self.progress is not None:
            self.progress.advance(self.task)

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        if self.progress is not None:
            loss = trainer.callback_metrics.get("val/loss")
            rate = self.clock.images / max(self.clock.seconds, 1e-9)
            text = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {rate:,.0f} images/s"
            if loss is not None:
                text += f"  val/loss {float(loss):.4g}"
            self.progress.update(self.task, text=text)

    def on_train_end(self, *_: Any) -> None:
        self._stop()

    def on_exception(self, *_: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
