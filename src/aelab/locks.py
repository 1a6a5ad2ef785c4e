"""Locks that the kernel lets go when their holder dies, however it dies: so a killed job is known at once.

Each is held by one process, on a file of its own. A lock held through a timestamp or a heartbeat needs a guess at how
long is too long. In a folder that machines share the lock is the server's, also NFS's, unless it is mounted otherwise.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

ASKING_SECONDS = 0.02  # whoever only asks whether a lock is held has it for much less
TAKING_SECONDS = 10.0  # so whoever wants it is not turned away by one who asks, on a machine with too much to do
MOUNTS = Path("/proc/self/mounts")  # of Linux: device, folder, file system, options
# File systems, and options of others, whose locks hold among the processes of one machine only.
LOCAL_TYPES = ("fuse.sshfs", "9p", "vboxsf", "prl_fs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone")
LOCAL_OPTIONS = ("nolock", "local_lock=all", "local_lock=flock", "nobrl", "localflock")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until nobody else is inside, then be the only one."""
    with _lock(path):
        yield


def take(path: Path, wait: float = TAKING_SECONDS) -> "BaseFileLock | None":
    """Say "I am at work on this" until the returned lock is released or this process ends; None: another one is.

    ``wait`` is in seconds; -1 waits for as long as it takes.
    """
    from filelock import Timeout

    lock = _lock(path)
    try:
        lock.acquire(timeout=wait, poll_interval=0.01)
    except Timeout:
        return None
    return lock


def is_held(path: Path) -> bool:
    """Whether anybody, on this machine or one that shares the folder, is at work on this."""
    if not path.exists():
        return False
    lock = take(path, ASKING_SECONDS)
    if lock is not None:
        lock.release()
    return lock is None


def only_here(path: Path) -> str | None:
    """The kind of file system, as ``nfs4, nolock``, if a lock in ``path`` holds on this machine only; None: on all.

    Known from the mounts of Linux; elsewhere, and of an ordinary disk, None.
    """
    if not MOUNTS.is_file():
        return None
    place, nearest = path.expanduser().resolve(), ("", "", "")
    for line in MOUNTS.read_text(errors="replace").splitlines():
        _, folder, kind, options, *_ = line.split()
        folder = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), folder)  # a blank stands as \040
        if place.is_relative_to(folder) and len(folder) >= len(nearest[0]):  # of two on one folder the later one counts
            nearest = (folder, kind, options)
    _, kind, options = nearest
    if kind in LOCAL_TYPES:
        return kind
    local = next((option for option in options.split(",") if option in LOCAL_OPTIONS), None)
    return f"{kind}, {local}" if local else None


def of_job(sweep_folder: Path, number: int) -> Path:
    """The lock of one job of a sweep, held by the process that runs it."""
    return sweep_folder / ".locks" / str(number)


def of_trial(sweep_folder: Path, number: int) -> Path:
    """The lock of one trial of a study, held by the process that launches its job and waits for it."""
    return sweep_folder / ".locks" / f"{number}.trial"


def _lock(path: Path) -> "BaseFileLock":
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, thread_local=False)  # held by the process, whichever thread lets it go
