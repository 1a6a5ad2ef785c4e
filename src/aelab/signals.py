"""Signals that end a command: one line that says how it goes on, and the exit status that a shell expects.

SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal is gone) end it at once: what is on disk is whole at any moment.
SIGUSR1, by which SLURM warns of the end of a job's time, waits until the epoch is over and saved.
"""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aelab.errors import Stopped

AT_ONCE = ("SIGINT", "SIGTERM", "SIGHUP")
WARNING = "SIGUSR1"
SCONTROL_SECONDS = 60


class _Now:
    """Of this process: what a stopped command goes on by, whether a safe point is ahead, and whether one is awaited."""

    ways: list[tuple[Callable[[], str], bool]] = []
    hears = False
    training = False
    warned = False


@contextmanager
def heard() -> Iterator[None]:
    """Inside, the signals raise ``Stopped``; one that we were started to ignore, as by nohup, is ignored."""
    before = {number: signal.getsignal(number) for number in _numbers()}
    _Now.hears = True
    listen()
    try:
        yield
    finally:
        _Now.hears = False
        for number, handler in before.items():
            signal.signal(number, handler)


def listen() -> None:
    """Put our handlers where others may have put theirs meanwhile; nothing where nobody waits for ``Stopped``."""
    for number in _numbers() if _Now.hears else []:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _warned if signal.Signals(number).name == WARNING else _stop)


@contextmanager
def goes_on_by(command: Callable[[], str], again: bool) -> Iterator[None]:
    """Inside, a stopped command says ``command()``, or what was said around this: a sweep's command, not its run's.

    ``again``: the command as it was given goes on as well, so that SLURM can put it back in the queue.
    """
    _Now.ways.append((command, again))
    try:
        yield
    finally:
        _Now.ways.remove((command, again))


@contextmanager
def safe_points() -> Iterator[None]:
    """Inside, a warning waits for the next ``safe_point()``."""
    _Now.training = True
    try:
        yield
    finally:
        _Now.training = False


def safe_point(agreed: Callable[[bool], bool]) -> None:
    """All that was learned is on disk. ``agreed`` tells whether any process of the run was warned, given this one."""
    if agreed(_Now.warned):
        _Now.warned = False
        raise _stopped(signal.SIGUSR1)


def last_words(stop: Stopped) -> int:
    """Say that the command was stopped, put a SLURM job that was warned back in the queue; the exit status."""
    line = str(stop)
    if signal.Signals(stop.number).name == WARNING and "SLURM_JOB_ID" in os.environ:
        job = os.environ["SLURM_JOB_ID"]
        if "SLURM_ARRAY_JOB_ID" in os.environ:
            job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        trouble = not_requeued(job) if stop.again else "its command would start anew, give hydra.run.dir"
        line += f" (SLURM job {job} is {f'not requeued: {trouble}' if trouble else 'requeued'})"
    print(f"aelab: {line}", file=sys.stderr, flush=True)
    return stop.status


def not_requeued(job: str) -> str | None:
    """Put a SLURM job back in the queue, which runs its commands again; why it could not be done, or None."""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=SCONTROL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"scontrol ended with status {done.returncode}"])[0]


def own_command() -> str:
    """The command as it was given."""
    return shlex.join(["aelab", *sys.argv[1:]])


def _numbers() -> list[int]:
    """The signals that there are here (Windows has not all) and that this thread may have handlers for."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [getattr(signal, name) for name in (*AT_ONCE, WARNING) if hasattr(signal, name)]


def _stopped(number: int) -> Stopped:
    command, again = _Now.ways[0] if _Now.ways else (own_command, True)
    return Stopped(number, command(), again)


def _stop(number: int, frame: Any) -> None:
    raise _stopped(number)


def _warned(number: int, frame: Any) -> None:
    if not _Now.training:
        raise _stopped(number)
    _Now.warned = True
