"""Who listens to the single minibatches of a training: then the Trainer is given them one by one, not in chunks."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

AROUND = ("on_train_batch_start", "on_train_batch_end")
WITHIN = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


def listeners(trainer: pl.Trainer, hooks: tuple[str, ...]) -> list[Callback | pl.LightningModule]:
    """The callbacks, and the model, that have a hook of their own among ``hooks``; not those that ``take_chunks``."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # its connector sets it
    everybody = [*callbacks, trainer.lightning_module]
    return [one for one in everybody if not getattr(one, "takes_chunks", False) and any(_own(one, h) for h in hooks)]


def _own(listener: Callback | pl.LightningModule, hook: str) -> bool:
    """Whether its class, or the object itself as LambdaCallback's, has put something in the place of Lightning's."""
    base = pl.LightningModule if isinstance(listener, pl.LightningModule) else Callback
    return getattr(getattr(listener, hook), "__func__", None) is not getattr(base, hook)
