"""The store of finished stages: a stage that anybody wants again is found, not run.

A stage is an ordinary run folder under the name ``MODEL-KEY``. The key is a hash of everything that can change the
result, so an equal key means an equal result, and a stage is never run twice, by nobody.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from aelab import run_folder
from aelab.errors import UserError
from aelab.sweep import locks

MATHEMATICS = 1  # raise it when a change of the code changes what a stage learns: old stages are then not found
NO_INFLUENCE = ("task", "resume", "below", "objective", "direction", "trial", "logger", "chain", "delete", "runs")
WHERE_FROM = ("name", "root", "cache", "download", "source")  # of data: its fingerprint stands for them

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
    relevant = {name: node for name, node in plain.items() if name not in NO_INFLUENCE}
    relevant["data"] = {name: value for name, value in plain["data"].items() if name not in WHERE_FROM}
    content = [MATHEMATICS, relevant, data_fingerprint(plain["data"]["source"]), below]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def data_fingerprint(source: dict[str, Any]) -> str:
    """Hash of the data that ``source`` gives; read once a process."""
    from aelab import config
    from aelab.data.arrays import fingerprint

    name = json.dumps(source, sort_keys=True)
    if name not in _fingerprints:
        _fingerprints[name] = fingerprint(config.build(source, "data.source"))
    return _fingerprints[name]


def find_or_run(folder: Path, key: str, fresh: bool, run: Callable[[Path, bool], Any], say: Callable) -> Stage:
    """The stage in ``folder``: as it is when it is whole, else run there, going on where it was killed.

    ``run(folder, resume)`` does the run. Of several processes that want the stage at once one runs it, the others wait.
    ``fresh`` runs it beside the old one, which it replaces when it is whole.
    """
    lock = folder.with_name(f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise UserError(f"chain.store: cannot write {folder.parent} ({error.strerror}); give another folder") from error
    if locks.is_held(lock):
        say("another process is at this stage; waiting for it")
    with locks.alone(lock):
        state = state_of(folder)
        if state == "finished" and not fresh:
            return Stage(folder, key, *figures_of(folder), found=True)
        place = folder.with_name(f"{folder.name}.fresh") if fresh else folder
        state = state_of(place)
        if state == "damaged":
            say(f"{place} is damaged or half-written; it is run again")
            shutil.rmtree(place)
        elif state == "stopped":
            say(f"goes on from {place / 'last.ckpt'}")
        if state != "finished":
            run(place, state == "stopped")
        if fresh:
            replace(place, folder)
        return Stage(folder, key, *figures_of(folder), found=False)


def state_of(folder: Path) -> str:
    """``absent``, ``finished``, ``stopped`` (to be resumed) or ``damaged`` (to be run again)."""
    if not folder.exists():
        return "absent"
    try:
        if (folder / "metrics.json").exists():
            figures_of(folder)
            run_folder.read_checkpoint(folder, "last", "stage")
            if (folder / "layers.pt").exists():
                run_folder.read_layers(folder, "stage")
            return "finished"
        run_folder.read_checkpoint(folder, "last", "stage")
        run_folder.read_config(folder, "stage")
        return "stopped"
    except (UserError, ValueError, OSError):
        return "damaged"


def figures_of(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """metrics.json and timing.json."""
    return run_folder.read_json(folder / "metrics.json"), run_folder.read_json(folder / "timing.json")


def replace(new: Path, old: Path) -> None:
    """Put ``new`` where ``old`` is; at no moment is there neither."""
    if old.exists():
        away = old.with_name(f"{old.name}.replaced")
        shutil.rmtree(away, ignore_errors=True)
        old.rename(away)
        new.rename(old)
        shutil.rmtree(away)
    else:
        new.rename(old)


class Entry(NamedTuple):
    """What the store says of one stage."""

    name: str
    state: str
    data: str
    n_bytes: int
    command: str


def entries(store: Path) -> list[Entry]:
    """Every stage in the store, by name."""
    if not store.is_dir():
        return []
    return [entry(folder) for folder in sorted(store.iterdir()) if folder.is_dir()]


def entry(folder: Path) -> Entry:
    config = folder / "config.yaml"
    data = str(OmegaConf.load(config).data.name) if config.exists() else ""
    command = folder / "command.txt"
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return Entry(folder.name, state_of(folder), data, size, command.read_text().strip() if command.exists() else "")


def delete(store: Path, names: list[str]) -> list[str]:
    """Delete the named stages (``all``: every one; ``unfinished``: those that are not whole); the names deleted."""
    known = {e.name: e.state for e in entries(store)}
    wanted = []
    for name in names:
        matches = [
            n for n, state in known.items() if n == name or name == "all" or (name == "unfinished" and state != "finished")
        ]
        if not matches and name not in ("all", "unfinished"):
            raise UserError(f"delete: {store} holds no stage {name}; aelab task=stages lists them")
        wanted += matches
    for name in dict.fromkeys(wanted):
        lock = store / f".{name}.lock"
        if locks.is_held(lock):
            raise UserError(f"delete: a process is at work on {name}; wait for it or stop it")
        shutil.rmtree(store / name)
        lock.unlink(missing_ok=True)
    return list(dict.fromkeys(wanted))
