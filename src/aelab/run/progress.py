"""What is printed while a run trains: one bar over all epochs; and what it took."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


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
