"""The folder of finished stages as a person looks at it: what is in it, how good, how large, how old; what may go.

Only stages are listed and deleted, whatever else lies in that folder.
"""

import re
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from aelab import locks
from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs import stages

NAME = re.compile(r".+-[0-9a-f]{16}(\.fresh|\.replaced)?")  # MODEL-KEY, and its neighbours while it is run anew
ERRORS = ("test/class_error", "test/squared_error", "test/nll", "test/loss")  # the first that there is tells how good


class Entry(NamedTuple):
    """What the store says of one stage: ``what`` it is, its ``error`` figure, bytes, seconds since it changed, users.

    ``used_by`` are the names of the stages in the store that stand on it.
    """

    name: str
    state: str
    what: str
    error: str
    n_bytes: int
    age: float
    used_by: tuple[str, ...] = ()


def entries(store: Path) -> list[Entry]:
    """Every stage in the store, by name."""
    if not store.is_dir():
        return []
    found = [entry(folder) for folder in sorted(store.iterdir()) if is_stage(folder)]
    users = {e.name: tuple(other.name for other in found if other.what.endswith(f"on {e.name}")) for e in found}
    return [e._replace(used_by=users[e.name]) for e in found]


def is_stage(folder: Path) -> bool:
    """Whether a folder is a stage's, whole or not: by its name, and by what only a stage's has in it or beside it."""
    ours = (folder / "config.yaml", folder / "command.txt", stages.lock_of(folder))
    return bool(
        NAME.fullmatch(folder.name)
        and folder.is_dir()
        and not folder.is_symlink()
        and any(path.exists() for path in ours)
    )


def entry(folder: Path) -> Entry:
    """Of one stage, whatever state it is in; sizes count a file with two names once."""
    state = "at work" if locks.is_held(stages.lock_of(folder)) else stages.state_of(folder)
    try:
        what = what_it_is(run_folder.read_config(folder))
    except UserError:
        what = ""
    figures = stages.figures_of(folder)[0] if state == "finished" else {}
    error = next((f"{figures[name]:.4g} {name.removeprefix('test/')}" for name in ERRORS if name in figures), "")
    age = time.time() - max(path.stat().st_mtime for path in (folder, *folder.glob("*.json")))
    return Entry(folder.name, state, what, error, size_of(folder), age)


def what_it_is(cfg: DictConfig) -> str:
    """``64 units on digits, seed 0, on rbm-…``, as far as the config says it."""
    units = next((n for key in ("n_hidden", "n_code") if (n := OmegaConf.select(cfg, f"model.{key}"))), None)
    data, seed, below = (OmegaConf.select(cfg, key) for key in ("data.name", "seed", "below"))
    words = [f"{units} units" if units else "", f"{data}" if data else "", f"seed {seed}" if seed is not None else ""]
    return ", ".join([*filter(None, words), *([f"on {Path(below).name}"] if below else [])])


def size_of(folder: Path) -> int:
    """Bytes of all files below ``folder``; files that vanish meanwhile, because a run is at work, count nothing."""
    sizes: dict[int, int] = {}
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            about = file.lstat()
            if stat.S_ISREG(about.st_mode):
                sizes[about.st_ino] = about.st_size
    return sum(sizes.values())


def delete(store: Path, names: list[str]) -> list[str]:
    """Delete the named stages, or those that a word stands for.

    ``all``: every one; ``unfinished``: those that nobody is at and that are not whole; ``30d``: those that nobody has
    used for so many days; ``2GB``: those longest unused, until the others take no more than that. Returns the names
    deleted. Raises ``UserError``, with nothing deleted, for a stage that is not there or at work.
    """
    there = entries(store)
    known = {e.name: e.state for e in there}
    wanted: list[str] = []
    for name in names:
        found = [name] if name in known else stands_for(name, there)
        if found is None:
            raise UserError(f"delete: {store} holds no stage {name}; aelab task=stages lists them")
        wanted += found
    for name in wanted:
        if known[name] == "at work":
            raise UserError(f"delete: a process is at work on {name}; wait for it or stop it")
    for name in dict.fromkeys(wanted):
        with locks.alone(stages.lock_of(store / name)):  # the lock stays: somebody may be waiting for it
            try:
                shutil.rmtree(store / name)
            except OSError as error:
                raise UserError(f"delete: {name} is not deleted, {error.filename}: {error.strerror}") from error
    return list(dict.fromkeys(wanted))


def stands_for(word: str, there: list[Entry]) -> list[str] | None:
    """The stages that a word of ``delete`` stands for; None for a word that stands for none."""
    idle = [entry for entry in there if entry.state != "at work"]
    days, size = re.fullmatch(r"(\d+)d", word), re.fullmatch(r"(\d+(?:\.\d+)?)(MB|GB)", word)
    if word == "all":
        return [entry.name for entry in there]
    if word == "unfinished":
        return [entry.name for entry in idle if entry.state != "finished"]
    if days:
        return [entry.name for entry in idle if entry.age > int(days[1]) * 86_400]
    if size is None:
        return None
    left = sum(entry.n_bytes for entry in there) - float(size[1]) * {"MB": 1e6, "GB": 1e9}[size[2]]
    gone = []
    for entry in sorted(idle, key=lambda entry: -entry.age):
        if left <= 0:
            break
        gone.append(entry.name)
        left -= entry.n_bytes
    return gone
