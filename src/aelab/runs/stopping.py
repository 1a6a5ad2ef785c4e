"""Early stopping whose verdict is part of the run."""

from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning import callbacks

from aelab.ranges import Count, NonNegative
from aelab.results.directions import mode_of


class EarlyStopping(callbacks.EarlyStopping):
    """Stop after ``patience`` epochs without a better ``monitor``.

    A run that stopped stays stopped when it is resumed, unless it is given more patience.
    """

    validates_nothing = True

    def __init__(self, monitor: str, mode: Literal["auto", "min", "max"], patience: Count, min_delta: NonNegative):
        super().__init__(monitor, mode=mode_of(monitor, mode), patience=patience, min_delta=min_delta)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict({**state, "patience": self.patience})

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience
