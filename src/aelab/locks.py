"""Locks that the kernel lets go when their holder dies, however it dies: so a killed job is known at once.

flock(2) on a file of its own. A lock held through a timestamp or a heartbeat needs a guess at how long is too long.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until nobody else is inside, then be the only one."""
    with _open(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def hold(path: Path) -> IO:
    """Say "I am at work on this" until the returned file is closed or this process ends; several may say so."""
    file = _open(path)
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def is_held(path: Path) -> bool:
    """Whether anybody, on this machine or one that shares the folder, is at work on this."""
    if not path.exists():
        return False
    with _open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def of_job(sweep_folder: Path, number: int) -> Path:
    """The lock of one job of a sweep."""
    return sweep_folder / ".locks" / str(number)


def _open(path: Path) -> IO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "a")
