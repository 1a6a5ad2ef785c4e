"""Giving up a trial that the study's pruner finds hopeless, while it trains, in whatever process it trains."""

from typing import Any

import pytorch_lightning as pl

from aelab.errors import Pruned, UserError
from aelab.sweep.storage import load_study


class PruneCallback(pl.Callback):
    """After each validation report ``monitor`` to trial ``number`` of ``study`` in ``storage``; raise ``Pruned`` when
    the pruner says so.

    ``monitor`` must get better in the direction of the study's objective. Raises UserError when it is not logged.
    """

    validates_nothing = True
    monitor_key = "hydra.sweeper.monitor"

    def __init__(self, storage: str, study: str, number: int, monitor: str) -> None:
        from optuna.trial import Trial

        loaded = load_study(storage, study)
        self.trial = Trial(loaded, loaded.get_trials(deepcopy=False)[number]._trial_id)
        self.monitor = monitor

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            known = ", ".join(sorted(trainer.callback_metrics))
            raise UserError(f"hydra.sweeper.monitor: training measures no {self.monitor!r}; take one of {known}")
        # One process decides for all: ranks that saw different pruners would wait for each other for ever.
        if trainer.strategy.broadcast(trainer.is_global_zero and self.hopeless(float(value), trainer.current_epoch)):
            raise Pruned(f"epoch {trainer.current_epoch + 1}: {self.monitor} {float(value):.4g} is hopeless")

    def hopeless(self, value: float, epoch: int) -> Any:
        """Report one value and ask the pruner. A trial that was killed and runs again has reported before."""
        if epoch not in self.trial.storage.get_trial(self.trial._trial_id).intermediate_values:
            self.trial.report(value, epoch)
        return self.trial.should_prune()
