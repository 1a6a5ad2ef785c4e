"""What a generative model of images draws as it learns: kept after a few epochs of training, one picture at the end."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from aelab.data.batches import Data, data_of, epochs_of
from aelab.functional.drawing.images import image_rows, is_image
from aelab.functional.drawing.sheet import Sheet
from aelab.models.base import Model
from aelab.ranges import Count
from aelab.results.evaluation import alone


def spread_epochs(total: int, n: int) -> list[int]:
    """At most ``n`` of the epochs 1 … ``total``, the first and the last among them, evenly spaced in their logarithm.

    >>> spread_epochs(100, 8)
    [1, 2, 4, 7, 14, 27, 52, 100]
    """
    return sorted({total, *(round(total ** (i / (n - 1))) for i in range(n - 1))})


class SamplesOverTime(Callback):
    """``samples_over_time``: what the model draws from the same noise after each of about ``epochs`` epochs.

    ``n`` samples each time, of Boltzmann machines ``steps`` Gibbs steps after the noise. They are part of the
    checkpoint, so a resumed run has those of its first part too. Training draws no other numbers with it than without.
    """

    validates_nothing = True

    def __init__(self, epochs: Count, n: Count, steps: Count):
        self.epochs, self.n, self.steps = epochs, n, steps
        self.kept: dict[int, Tensor] = {}  # epoch, from 1 → samples (n, input) as the model expects them

    def __call__(self, model: Model, data: Data) -> dict[str, float]:
        """It measures nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kept = state["kept"]

    @torch.no_grad()
    def on_validation_epoch_end(self, trainer: pl.Trainer, model: Any) -> None:
        """Here weights that are averaged are the averaged ones."""
        epoch = trainer.current_epoch + 1
        if not trainer.is_global_zero or epoch not in spread_epochs(epochs_of(trainer), self.epochs):
            return
        if not draws(model) or not is_image(data_of(trainer).pixel_shape):
            return
        with alone("evaluate.samples"), torch.random.fork_rng([model.device] if model.device.type == "cuda" else []):
            torch.manual_seed(0)
            self.kept = {**self.kept, epoch: model.sample(self.n, self.steps, None).cpu().half()}

    @torch.no_grad()
    def figures(self, model: Model, data: Data) -> dict[str, Sheet]:
        """One row of samples for each epoch that they were kept of; nothing of one epoch alone."""
        if len(self.kept) < 2:
            return {}
        device = data.test.x.device
        rows = {f"epoch {k}": data.to_pixels(x.float().to(device)) for k, x in sorted(self.kept.items())}
        title = "Samples from the same noise, as training went on"
        return {"samples_over_time": image_rows(title, rows, data.pixel_shape, one_scale=True)}


def draws(model: Model) -> bool:
    """Whether a model is a distribution that can be drawn from."""
    return type(model).sample is not Model.sample
