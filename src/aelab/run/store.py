"""The store of finished stages as a person looks at it: what is in it, how large, and what may go."""

import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from aelab import locks
from aelab.errors import UserError
from aelab.run import folder as run_folder
from aelab.run import stages


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
    """Of one stage, whatever state it is in; sizes count a file with two names once."""
    try:
        data = str(run_folder.read_config(folder).data.name)
    except (UserError, AttributeError):
        data = ""
    state = "at work" if locks.is_held(stages.lock_of(folder)) else stages.state_of(folder)
    command = folder / "command.txt"
    return Entry(folder.name, state, data, size_of(folder), command.read_text().strip() if command.exists() else "")


def size_of(folder: Path) -> int:
    """Bytes of all files below ``folder``; one that a run at work takes away meanwhile counts nothing."""
    sizes: dict[int, int] = {}
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            about = file.lstat()
            if stat.S_ISREG(about.st_mode):
                sizes[about.st_ino] = about.st_size
    return sum(sizes.values())


def delete(store: Path, names: list[str]) -> list[str]:
    """Delete the named stages (``all``: every one; ``unfinished``: those that nobody is at and that are not whole).

    Returns the names deleted. Raises ``UserError``, with nothing deleted, for a stage that is not there or at work.
    """
    known = {e.name: e.state for e in entries(store)}
    unfinished = [name for name, state in known.items() if state not in ("finished", "at work")]
    wanted: list[str] = []
    for name in names:
        if name not in (*known, "all", "unfinished"):
            raise UserError(f"delete: {store} holds no stage {name}; aelab task=stages lists them")
        wanted += {"all": list(known), "unfinished": unfinished}.get(name, [name])
    for name in wanted:
        if known[name] == "at work":
            raise UserError(f"delete: a process is at work on {name}; wait for it or stop it")
    for name in dict.fromkeys(wanted):
        with locks.alone(stages.lock_of(store / name)):  # the lock stays: somebody may be waiting for it
            shutil.rmtree(store / name, ignore_errors=True)
    return list(dict.fromkeys(wanted))
