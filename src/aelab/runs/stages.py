"""One stage of a chain: its two keys, the state of its folder, and how it is found, measured or run.

A stage is an ordinary run folder ``MODEL-KEY`` in the store. KEY is a hash of every setting that can change the
weights, so no process trains a stage that another one has trained. Where it was trained is no part of it, neither the
processor nor how many devices shared the work: what a cluster has pretrained, a laptop finds, with the cluster's draws.
What is measured on the weights (``evaluate``) is no part of it either: where that is something else the stage is
measured again, and not trained.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from aelab import files, locks
from aelab.config.overrides import plain
from aelab.config.schema import that_change
from aelab.errors import UserError
from aelab.runs import folder as run_folder

MATHEMATICS = 3  # raise it when a change of the code changes what a stage learns: old stages are then not found


class Stage(NamedTuple):
    """A finished stage: its folder, what it measured, what it took, and whether its weights were there already."""

    folder: Path
    key: str
    metrics: dict[str, float]
    timing: dict[str, float]
    found: bool


class Wanted(NamedTuple):
    """What a stage has to be: the config of its run, its key, and whether a later stage stands on its layers."""

    cfg: DictConfig
    key: str
    hands_on: bool


def key_of(cfg: DictConfig, data: str, below: str | None) -> str:
    """Hash of all that can change the weights: the resolved config, the ``data``'s fingerprint, the key ``below``."""
    content = [MATHEMATICS, of_weights(plain(cfg)), data, below]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def of_weights(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a plain config that the key is made of, with the data's fingerprint and the key below."""
    relevant = that_change("weights", config)
    for said_otherwise in ("below", "chain"):  # by the key of the stage below, and by the config itself
        relevant.pop(said_otherwise, None)
    if isinstance(data := relevant.get("data"), dict):  # in another's store it may be anything
        data.pop("source", None)  # the fingerprint stands for it
    return relevant


def measured_by(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a plain config that says what is measured on the weights."""
    return that_change("evaluation", config)


def find_or_run(
    folder: Path,
    wanted: Wanted,
    fresh: bool,
    run: Callable[[Path, bool], Any],
    say: Callable,
    bring: Callable[[Path, Wanted], Path | str | None] = lambda *_: None,
) -> Stage:
    """The stage in ``folder``: as it is when it is whole, else run there, going on where it was killed.

    ``bring(folder, wanted)`` may put one there that is absent, and says where it is from.

    ``run(folder, resume)`` does the run; a stage whose training is over is resumed only to be measured. Of several
    processes that want the stage at once one runs it, the others wait. ``fresh`` runs it beside the old one, which it
    replaces when it is whole.
    """
    lock = lock_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        if locks.is_held(lock):
            say("another process is at this stage; waiting for it")
        with locks.alone(lock):
            recover(folder)
            if not fresh and not folder.exists() and (there := bring(folder, wanted)):
                say(f"copied from {there}")
            place = folder.with_name(f"{folder.name}.fresh") if fresh else folder
            state = state_of(place, wanted)
            found = state in ("finished", "unmeasured") and not fresh
            if state == "damaged":
                say(f"{place} is damaged or half-written; it is run again")
                shutil.rmtree(place)
            elif state == "unmeasured":
                say(f"{place} is measured again, not trained")
                (place / "metrics.json").unlink(missing_ok=True)  # killed meanwhile, it is still to be measured
            elif state == "stopped":
                say(f"goes on from {place / 'last.ckpt'}")
            for part in place.glob(".*.part"):  # what a killed run was writing
                part.unlink()
            resumes = (place / "last.ckpt").exists()
            if resumes:
                run_folder.mend_history(place)
            if state != "finished":
                run(place, resumes)
            if fresh:
                replace(place, folder)
            os.utime(folder)  # its age is that of its last use
            return Stage(folder, wanted.key, *figures_of(folder), found)
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


def state_of(folder: Path, wanted: Wanted | None = None) -> str:
    """What is in a stage's folder.

    ``absent``; ``damaged``: to be run again; ``stopped``: to be resumed; ``unmeasured``: trained, but its figures or
    layers are not whole or measure something else than ``wanted``; ``finished``.
    """
    if not folder.exists():
        return "absent"
    try:
        said = run_folder.read_settings(folder, "stage")
        trains = said["train"]["epochs"] > 0
        for weights in ("last", "best") if trains else ():
            run_folder.read_checkpoint(folder, weights, "stage")
        if said["below"] is not None:
            run_folder.read_layers(folder, "stage", "below.pt")
        asked = measured_by(said)
    except (UserError, KeyError, TypeError):
        return "damaged"
    if not (folder / "metrics.json").exists():
        return "stopped" if trains else "damaged"
    try:
        figures_of(folder)
        if (wanted is not None and wanted.hands_on) or (folder / "layers.pt").exists():
            run_folder.read_layers(folder, "stage")
    except (UserError, ValueError, OSError):
        return "unmeasured"
    return "finished" if wanted is None or asked == measured_by(plain(wanted.cfg)) else "unmeasured"


def figures_of(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """metrics.json and timing.json. Raises ValueError for what is no mapping of numbers."""
    both = files.read_json(folder / "metrics.json"), files.read_json(folder / "timing.json")
    if not all(isinstance(figures, dict) for figures in both):
        raise ValueError("no mapping of figures")
    return both


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
