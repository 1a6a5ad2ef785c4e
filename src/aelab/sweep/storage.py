"""Where a study lives: a journal or an SQLite file beside the results; and what decides on trials: sampler, pruner."""

import io
import json
import os
import pickle
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aelab import locks
from aelab.errors import UserError

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "cmaes", "random", "grid")
PRUNERS = ("none", "median", "hyperband", "patience")
VARIABLE = "AELAB_STORAGE"  # in which a trial, in whatever process it runs, is given a URL that has a password
SECRET = re.compile(r"(://[^:/@\s]*:)[^/\s]+(?=@)|([?&;](?:password|passwd|pwd|token|secret)=)[^&;\s]+", re.IGNORECASE)
# What a CMA-ES optimiser is made of: all that its state in a study may name.
OF_CMAES = ("cmaes.", "numpy.random.", "numpy._core.", "numpy.core.")
NUMPY = ("ndarray", "dtype")


def import_optuna() -> Any:
    """The optuna package, silent; raises UserError, with what to install, where it is not."""
    try:
        import optuna
    except ImportError as error:
        raise UserError('hydra/sweeper=optuna: optuna is not installed; pip install "aelab[sweep]"') from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def storage_name(folder: Path, storage: str) -> str:
    """``journal`` and ``sqlite`` are files in the study's folder; anything with ``://`` is a database of one's own."""
    if "://" in storage:
        return storage
    names = {"journal": str(folder.absolute() / "study.journal"), "sqlite": f"sqlite:///{folder.absolute()}/study.db"}
    if storage not in names:
        raise UserError(f"hydra.sweeper.storage: {storage!r} is none of journal, sqlite or a database URL; give one")
    return names[storage]


def without_password(storage: str) -> str:
    """A database's URL as it may stand in files and be shown to others."""
    return SECRET.sub(lambda found: f"{found[1] or found[2]}***", storage)


def open_storage(name: str) -> "optuna.storages.BaseStorage":
    """The storage of that name (``storage_name``); a line that a power cut left half-written is dropped."""
    import_optuna()  # or its absence is said
    if "://" in name:
        return _database(name)
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    lock: Any = KernelLock(Path(f"{name}.lock"))  # one of Optuna's by its methods; its class would import Optuna
    with locks.alone(lock.path):
        _drop_half_line(Path(name))
    return JournalStorage(JournalFileBackend(name, lock_obj=lock))


def _database(url: str) -> "optuna.storages.BaseStorage":
    """Optuna's own storage at ``url``. Raises ``UserError`` for one that is not to be reached, without its password."""
    from sqlalchemy.exc import SQLAlchemyError

    optuna = import_optuna()
    try:
        return optuna.storages.RDBStorage(url)
    except (ImportError, ValueError, SQLAlchemyError) as error:
        reason = without_password(f"{error} ".splitlines()[0].strip())
        where = without_password(url)
        raise UserError(
            f"hydra.sweeper.storage: {where} cannot be opened ({reason[:160]}); mend the URL, install its driver, or "
            "take journal"
        ) from None


class KernelLock:
    """Optuna's own journal locks outlive a killed holder by 30 s; this one dies with it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def acquire(self) -> bool:
        self.inside = locks.alone(self.path)
        self.inside.__enter__()
        return True

    def release(self) -> None:
        self.inside.__exit__(None, None, None)


def _drop_half_line(journal: Path) -> None:
    text = journal.read_bytes() if journal.exists() else b""
    if text and not text.endswith(b"\n"):
        os.truncate(journal, text.rfind(b"\n") + 1)


def make_sampler(
    name: str, seed: int, number: int, startup: int, grid: dict[str, list[Any]]
) -> "optuna.samplers.BaseSampler":
    """The sampler of trial ``number``.

    Its random numbers come from (seed, number), never from how often this process has asked: a study that was killed
    and goes on, or that several processes share, draws no point twice and at random the same points as an unbroken one.
    """
    import numpy

    samplers = import_optuna().samplers
    own_seed = int(numpy.random.SeedSequence([seed, number]).generate_state(1)[0])
    if name == "tpe":
        return samplers.TPESampler(seed=own_seed, n_startup_trials=startup)
    if name == "cmaes":
        try:
            import cmaes  # noqa: F401
        except ImportError as error:
            raise UserError('hydra.sweeper.sampler: cmaes is not installed; pip install "aelab[sweep]"') from error

        from optuna.samplers import CmaEsSampler

        class CmaEs(CmaEsSampler):
            def _restore_optimizer(self, completed_trials: list[Any]) -> Any:
                """Optuna's own unpickles whatever the study holds, and a study's file may be anybody's."""
                for trial in reversed(completed_trials):
                    parts = {k: v for k, v in trial.system_attrs.items() if k.startswith(self._attr_key_optimizer)}
                    if parts:
                        return _optimizer(bytes.fromhex(self._concat_optimizer_attrs(parts)))
                return None

        return CmaEs(seed=own_seed, n_startup_trials=startup, warn_independent_sampling=False)
    if name == "random":
        return samplers.RandomSampler(seed=own_seed)
    if name == "grid":
        from optuna.samplers import GridSampler

        class Grid(GridSampler):
            def after_trial(self, *trial: Any) -> None:
                """Optuna's own ends the loop of Study.optimize, and there is none here."""

        return Grid(grid, seed=seed)  # the number picks the point of one shuffled grid
    raise UserError(f"hydra.sweeper.sampler: {name!r} is none of {', '.join(SAMPLERS)}; give one of them")


class _OptimizerOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (f"{module}.".startswith(OF_CMAES) and "." not in name) or (module == "numpy" and name in NUMPY):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it would call {module}.{name}")


def _optimizer(state: bytes) -> Any:
    """The optimiser that CMA-ES kept in a study; nothing else that a stranger's file may name is made."""
    try:
        return _OptimizerOnly(io.BytesIO(state)).load()
    except Exception as error:  # damaged bytes can raise nearly anything
        raise UserError(
            f"hydra.sweeper.study_name: the study's state of CMA-ES is not what Optuna wrote ({error}); "
            "give another name"
        ) from error


def make_pruner(name: str, startup: int, after: int, patience: int, max_epochs: int) -> "optuna.pruners.BasePruner":
    """``median``: worse than the median of the other trials at that epoch; ``hyperband``: not among the best third of
    its bracket; ``patience``: no better for that many epochs; ``none``."""
    optuna = import_optuna()
    pruners = optuna.pruners
    if name == "none":
        return pruners.NopPruner()
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=after)
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=max(1, after), max_resource=max(1, max_epochs))
    if name == "patience":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return pruners.PatientPruner(None, patience=patience)
    raise UserError(f"hydra.sweeper.pruner: {name!r} is none of {', '.join(PRUNERS)}; give one of them")


def load_study(storage: str, study: str) -> "optuna.Study":
    """A study that a sweep has begun, with the pruner it was begun with; this is what a trial's own process needs."""
    optuna = import_optuna()
    storage = os.environ.get(VARIABLE, storage) if "***" in storage else storage
    loaded = optuna.load_study(study_name=study, storage=open_storage(storage), sampler=optuna.samplers.RandomSampler())
    loaded.pruner = make_pruner(**json.loads(loaded.user_attrs["pruner"]))
    return loaded
