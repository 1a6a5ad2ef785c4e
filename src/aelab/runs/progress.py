"""What is said while a run trains: a bar on a terminal, elsewhere a line now and then; and what it took."""

import math
import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from aelab import log
from aelab.data.batches import data_of, epochs_of
from aelab.runs.checkpoint import EpochEnd

LINES = 10  # epochs of a whole training that are said where there is no bar
SECONDS = 10.0  # after so many without a line, the next epoch is said too
WIDE = 110  # columns of a terminal from which the bar has room for the images per second


class Clock(Callback):
    """Seconds of training, images per second, and when the first epoch began."""

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
        self.images += len(data_of(trainer).train.x)

    def timing(self, testing_started: float, process_started: float) -> dict[str, float]:
        """Seconds of training and of testing, images per second, seconds from the command to the first step."""
        return {
            "train_seconds": self.seconds,
            "images_per_second": self.images / self.seconds if self.seconds else 0.0,
            "test_seconds": time.perf_counter() - testing_started,
            "seconds_to_first_step": (self.first_step or time.time()) - process_started,
        }


class Told(Callback):
    """Each epoch's place, the monitor and what is left to wait for; when training is over, one line that stays.

    ``bar``: on a terminal, one bar over all epochs. Without it a line for about every tenth of the epochs, and at least
    every ten seconds. The lines are in the run's log in any case. The squared error stands beside the monitor; a loss
    of Gaussian inputs, which has a large constant in it, has as many digits as what is left of it without.
    """

    constant = 0.0  # of the loss

    takes_chunks = True  # it need not see single minibatches

    def __init__(self, clock: Clock, ends: EpochEnd, bar: bool):
        self.clock, self.ends, self.bar = clock, ends, bar
        self.progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, model: Any) -> None:
        if not trainer.is_global_zero:
            return
        self.first, self.constant = trainer.current_epoch, model.loss_constant(data_of(trainer))
        self.started = self.said = time.monotonic()
        if not self.bar:
            return
        self.progress = Progress(
            BarColumn(bar_width=None), TextColumn("{task.fields[text]}"), TimeElapsedColumn(), TextColumn("left"),
            TimeRemainingColumn(), transient=True, expand=True,
        )  # fmt: skip
        self.progress.start()
        steps = int(trainer.num_training_batches)
        total, done = epochs_of(trainer) * steps, trainer.current_epoch * steps
        self.task = self.progress.add_task("", total=total, completed=done, text="first epoch")

    def on_train_batch_end(self, *_: Any) -> None:
        if self.progress is not None:
            self.progress.advance(self.task)

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        text = self.text(trainer)
        if self.progress is not None:
            wide = self.progress.console.width >= WIDE
            rate = f"  {self.clock.images / max(self.clock.seconds, 1e-9):,.0f} images/s" if wide else ""
            self.progress.update(self.task, text=text + rate)
        now, done, epochs = time.monotonic(), trainer.current_epoch + 1, epochs_of(trainer)
        step = math.ceil(epochs / LINES)
        if done == self.first + 1 or done % step == 0 or now - self.said >= SECONDS:
            self.said = now
            seconds = (now - self.started) / (done - self.first) * (epochs - done)
            left = f"  {log.duration(seconds)} left" if done < epochs else ""
            (log.note if self.progress is not None else log.say)(text + left)

    def text(self, trainer: pl.Trainer) -> str:
        """``epoch 12/100  val/loss 18.43  squared error 3.127``."""
        shown = {self.ends.monitor: self.ends.monitor, "val/squared_error": "squared error"}
        values = [f"{word} {self.number(name, float(trainer.callback_metrics[name]))}" for name, word in shown.items()
                  if name in trainer.callback_metrics]  # fmt: skip
        return "  ".join([f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", *values])

    def number(self, metric: str, value: float) -> str:
        """Four digits, those of a loss counted without its constant: 59.36 of 58.81 + 0.5512 is 59.3612."""
        if not metric.endswith("/loss") or not self.constant or not math.isfinite(value):
            return f"{value:.4g}"
        digits = 3 - math.floor(math.log10(max(abs(value - self.constant), 1e-4)))
        most = 6 - math.floor(math.log10(max(abs(value), 1e-4)))  # of a float
        return f"{value:.{max(0, min(digits, most))}f}"

    def on_train_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        self._stop()
        if trainer.is_global_zero and self.ends.rows:
            best = ""
            if self.ends.best_epoch is not None:
                value = self.number(self.ends.monitor, self.ends.best)
                best = f", best {self.ends.monitor} {value} at epoch {self.ends.best_epoch + 1}"
            n = len(self.ends.rows)
            log.say(f"{n} epoch{'s' * (n != 1)}{best}, {log.duration(self.clock.seconds)}")

    def on_exception(self, *_: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None
