"""The store of finished stages: a stage that anybody wants again is found, not run.

A stage is an ordinary run folder under the name ``MODEL-KEY``. The key is a hash of everything that can change the
result, so an equal key means an equal result, and a stage is never run twice, by nobody.
"""

import errno
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from aelab import files, locks
from aelab.config.schema import that_change
from aelab.errors import UserError
from aelab.run import folder as run_folder

MATHEMATICS = 2  # raise it when a change of the code changes what a stage learns: old stages are then not found

_fingerprints: dict[str, str] = {}


class Stage(NamedTuple):
    """A finished stage: its folder, what it measured, what it took, and whether it was there already."""

    folder: Path
    key: str
    metrics: dict[str, float]
    timing: dict[str, float]
    found: bool


def key_of(cfg: DictConfig, below: str | None) -> str:
    """Hash of the resolved config that can change the result, of the data's bytes and of the stage below."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    relevant = [that_change(what, plain) for what in ("weights", "evaluation")]
    del relevant[0]["below"], relevant[0]["chain"]  # the key of the stage below; what a chain has of a stage is ``cfg``
    relevant[0]["data"].pop("source", None)  # what it gives stands for it
    content = [MATHEMATICS, *relevant, data_fingerprint(plain["data"]["source"]), below]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def data_fingerprint(source: dict[str, Any]) -> str:
    """Hash of the data that ``source`` gives; read once a process."""
    from aelab.config.build import build
    from aelab.data.arrays import fingerprint

    name = json.dumps(source, sort_keys=True)
    if name not in _fingerprints:
        _fingerprints[name] = fingerprint(build(source, "data.source"))
    return _fingerprints[name]


def find_or_run(
    folder: Path, key: str, fresh: bool, hands_on: bool, run: Callable[[Path, bool], Any], say: Callable
) -> Stage:
    """The stage in ``folder``: as it is when it is whole, else run there, going on where it was killed.

    ``run(folder, resume)`` does the run. Of several processes that want the stage at once one runs it, the others wait.
    ``fresh`` runs it beside the old one, which it replaces when it is whole. ``hands_on``: a later stage stands on it,
    so that it is not whole without its layers.
    """
    lock = lock_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        if locks.is_held(lock):
            say("another process is at this stage; waiting for it")
        with locks.alone(lock):
            recover(folder)
            if not fresh and state_of(folder, hands_on) == "finished":
                return Stage(folder, key, *figures_of(folder), found=True)
            place = folder.with_name(f"{folder.name}.fresh") if fresh else folder
            state = state_of(place, hands_on)
            if state == "damaged":
                say(f"{place} is damaged or half-written; it is run again")
                shutil.rmtree(place)
            elif state == "stopped":
                say(f"goes on from {place / 'last.ckpt'}")
                for part in place.glob(".*.part"):  # what the killed run was writing
                    part.unlink()
            if state != "finished":
                run(place, state == "stopped")
            if fresh:
                replace(place, folder)
            return Stage(folder, key, *figures_of(folder), found=False)
    except OSError as error:
        where = Path(error.filename) if isinstance(error.filename, str) else None
        inside = where is not None and (where.is_relative_to(folder.parent) or folder.parent.is_relative_to(where))
        if not inside and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = f"cannot write {where or folder.parent} ({error.strerror})"
        raise UserError(f"chain.store: {reason}; free space or give another folder") from error


def lock_of(folder: Path) -> Path:
    """What whoever is at work on a stage holds, also on its fresh or replaced neighbour."""
    return folder.with_name(f".{folder.name.removesuffix('.fresh').removesuffix('.replaced')}.lock")


def state_of(folder: Path, hands_on: bool = False) -> str:
    """``absent``, ``finished``, ``stopped`` (to be resumed) or ``damaged`` (to be run again)."""
    if not folder.exists():
        return "absent"
    try:
        epochs = run_folder.read_config(folder, "stage").train.epochs
        for weights in ("last", "best"):
            if (weights == "last" and epochs) or (folder / f"{weights}.ckpt").exists():
                run_folder.read_checkpoint(folder, weights, "stage")
        if not (folder / "metrics.json").exists():
            return "stopped" if epochs else "damaged"
        figures_of(folder)
        if hands_on or (folder / "layers.pt").exists():
            run_folder.read_layers(folder, "stage")
        return "finished"
    except (UserError, ValueError, OSError):
        return "damaged"


def figures_of(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """metrics.json and timing.json."""
    return files.read_json(folder / "metrics.json"), files.read_json(folder / "timing.json")


def replace(new: Path, old: Path) -> None:
    """Put ``new`` where ``old`` is; killed in between, ``recover`` brings the old one back."""
    away = old.with_name(f"{old.name}.replaced")
    if old.exists():
        old.rename(away)
    new.rename(old)
    shutil.rmtree(away, ignore_errors=True)


def recover(folder: Path) -> None:
    """Finish or take back a replacement that was killed: at most one of the two folders is left."""
    away = folder.with_name(f"{folder.name}.replaced")
    if away.exists() and folder.exists():
        shutil.rmtree(away)
    elif away.exists():
        away.rename(folder)
