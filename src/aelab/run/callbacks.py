"""Callbacks that a person may choose."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping


class Patience(EarlyStopping):
    """Stop after ``patience`` epochs without a better ``monitor``; a run that stopped stays stopped when resumed."""

    def __init__(self, monitor: str, patience: int):
        super().__init__(monitor, patience=patience)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict({**state, "patience": self.patience})  # a resumed run may be given another one

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        trainer.should_stop = self.wait_count >= self.patience
