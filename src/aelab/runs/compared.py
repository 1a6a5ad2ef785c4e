"""The metrics that epochs are compared by, and those that are missed before a run begins."""

from collections.abc import Collection, Iterable, Mapping

from omegaconf import DictConfig
from pytorch_lightning import callbacks as theirs
from pytorch_lightning.callbacks import Callback

from aelab.data.batches import Data
from aelab.errors import UserError
from aelab.models.base import Model
from aelab.results.evaluation import Evaluator, of_epochs

Compared = Mapping[str, list[str]]  # key that a person types → metrics of an epoch that it names


def compared_of(cfg: DictConfig, evaluators: Mapping[str, Evaluator]) -> Compared:
    """What every epoch of the run has to have: what best.ckpt is kept by, and a sweep's runs are compared by."""
    return {"train.monitor": [cfg.train.monitor], "objective": of_epochs(cfg.objective, evaluators)}


def monitored_by(callbacks: Mapping[str, Callback]) -> Compared:
    """What callbacks look at, those apart that say themselves (``strict=False``) that it may be missing."""
    found = {}
    for name, callback in callbacks.items():
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and getattr(callback, "strict", True):
            found[getattr(callback, "monitor_key", f"callbacks.{name}.monitor")] = [monitor]
    return found


def miss(compared: Compared, logged: Collection[str]) -> None:
    """Raise ``UserError`` for the first metric of ``compared`` that is not ``logged``."""
    for key, names in compared.items():
        for name in names:
            if name not in logged:
                known = ", ".join(sorted(m for m in logged if m.startswith("val/")))
                raise UserError(f"{key}: this model logs no {name}; take one of {known}")


def miss_before(compared: Compared, model: Model, data: Data, others: Iterable[Callback]) -> None:
    """Raise ``UserError`` for a metric that no epoch will have, where this is known before the first one.

    That is of the validation set, where ``others`` add nothing to it. Of a model of ours it is also known that each
    name has a ``/``: no epoch has a ``val_loss``.
    """
    ours = type(model).__module__.startswith("aelab.")
    asked = {
        key: [name for name in names if name.startswith("val/") or (ours and "/" not in name)]
        for key, names in compared.items()
    }
    if any(set(names) - {"val/loss"} for names in asked.values()) and all(map(validates_nothing, others)):
        miss(asked, model.names_validated(data))


def validates_nothing(callback: Callback) -> bool:
    """Whether the callback adds no ``val/…``, and no name without a ``/``; of Lightning's own one adds ``lr-…``."""
    if isinstance(callback, theirs.LearningRateMonitor):
        return False
    return type(callback).__module__.startswith(theirs.__name__) or getattr(callback, "validates_nothing", False)
