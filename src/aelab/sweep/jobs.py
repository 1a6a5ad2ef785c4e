"""What one job of a multirun leaves for the leaderboard: ``job.json`` in its folder, whatever machine it ran on."""

import json
import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Literal, NamedTuple

from aelab import locks
from aelab.config.overrides import shortest
from aelab.errors import Pruned, UserError
from aelab.files import write_text
from aelab.log import duration

Status = Literal["running", "done", "pruned", "failed", "killed"]
Outcome = tuple[Status, list[float], str]  # how it ended, its objectives, the one line that says why
LONGEST = 8  # characters of a number that are said as they are
VARIABLE = "AELAB_SWEEP"  # in which a job, in whatever process it runs, is told of its sweep


@dataclass
class Job:
    """One job: its number, what it was asked (``key=value``), how it ended, its objectives, and how long it took.

    ``seconds`` is wall-clock time; ``reason`` is the one line that says why it failed or was given up.
    """

    number: int
    folder: Path
    overrides: list[str]
    status: Status
    values: list[float]
    seconds: float
    reason: str

    @property
    def settings(self) -> dict[str, str]:
        return settings(self.overrides)

    def write(self) -> None:
        write_text(self.folder / "job.json", json.dumps(asdict(self) | {"folder": str(self.folder)}, indent=2))


class Sweep(NamedTuple):
    """What a job needs to know to say its place: how many ``jobs`` there are, and with which this start ``began``.

    ``first`` is that job's number; ``keys`` are those that differ from job to job; ``at_once`` run together.
    """

    jobs: int
    first: int
    began: float
    keys: list[str]
    at_once: int

    def as_environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(self)}

    def words(self, settings: dict[str, str]) -> list[str]:
        """``n_code=8``, ``fraction=0.25``: of a job's ``settings`` those that differ, by their shortest names."""
        names = shortest([key for key in settings if key in self.keys])
        return [f"{name}={short(settings[key])}" for key, name in names.items()]

    def line(self, job: Job, objectives: Sequence[str]) -> str:
        """``3/6  n_code=8 fraction=0.25  val/loss 18.4  8 s  24 s left``."""
        parts = [f"{job.number + 1}/{self.jobs}", " ".join(self.words(job.settings))]
        parts += [f"{name} {value:.4g}" for name, value in zip(objectives, job.values)]
        parts += [f"{job.status}: {job.reason}"] if job.status != "done" else []
        parts += [duration(job.seconds)]
        done, left = job.number + 1 - self.first, self.jobs - job.number - 1
        parts += [f"{duration((time.time() - self.began) / done * left)} left"] if left > 0 else []
        return "  ".join(filter(None, parts))


def this_sweep() -> Sweep | None:
    """The sweep that this process runs a job of; None where a launcher brought no word of it."""
    return Sweep(*json.loads(os.environ[VARIABLE])) if VARIABLE in os.environ else None


def short(value: str) -> str:
    """A value as it is read: of a number with many digits four, 0.004044 of 0.004043878009515107."""
    with suppress(ValueError):
        return f"{float(value):.4g}" if len(value) > LONGEST and "." in value else value
    return value


def settings(overrides: Sequence[str]) -> dict[str, str]:
    """Overrides as key -> value as written."""
    return {key.lstrip("+~"): value for key, _, value in (override.partition("=") for override in overrides)}


def differing(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys of which not all ``jobs``, each a list of overrides, have the same value, in their order."""
    asked = [settings(job) for job in jobs]
    keys = dict.fromkeys(key for job in asked for key in job)
    return [key for key in keys if len({job.get(key) for job in asked}) > 1]


def read_job(folder: Path) -> Job | None:
    """The job that ran in a folder, or None where no job was begun."""
    try:
        fields = json.loads((folder / "job.json").read_text())
    except FileNotFoundError:
        return None
    return Job(**fields | {"folder": folder})  # where it lies now: a sweep may have been moved


def read_jobs(sweep_folder: Path) -> list[Job]:
    """All jobs begun in a multirun's folder, by number; one that says "running" and has no process is "killed"."""
    found = [_read_settled(path.parent, sweep_folder) for path in sweep_folder.rglob("job.json")]
    return sorted((job for job in found if job is not None), key=lambda job: job.number)


def _read_settled(folder: Path, sweep_folder: Path) -> Job | None:
    job = read_job(folder)
    if job is None or job.status != "running" or locks.is_held(locks.of_job(sweep_folder, job.number)):
        return job
    job = read_job(folder)  # its process writes how it ended before it lets the lock go: what it says now is its last
    if job is not None and job.status == "running":
        job.status, job.reason = "killed", "its process ended without a word; the same command runs it again"
    return job


def outcome(returned: Any) -> Outcome:
    """How a job ended, from what it returned or raised: (status, objectives, reason).

    A result that is no finite number is a failure: it can neither be ranked nor be searched on.
    """
    if isinstance(returned, Pruned):
        return "pruned", [], str(returned)
    if isinstance(returned, BaseException):
        return "failed", [], first_line(returned)
    if returned is None:
        return "done", [], ""
    values = list(returned) if isinstance(returned, Sequence) and not isinstance(returned, str) else [returned]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return "failed", [], f"the objective is {returned}, no finite number"
    return "done", [float(value) for value in values], ""


def mean_outcome(ended: Sequence[Outcome]) -> Outcome:
    """How a trial of several jobs ended: as the first that was not done, or with the means of what they returned."""
    for one in ended:
        if one[0] != "done":
            return one
    return "done", [mean(column) for column in zip(*(values for _, values, _ in ended))], ""


def names(text: str | Sequence[str]) -> list[str]:
    """``"a, b"`` or a list of a and b: several objectives, or directions, in one value of a config."""
    return [name.strip() for name in (text.split(",") if isinstance(text, str) else text)]


def first_line(error: BaseException) -> str:
    """The first line of an error; its type as well, unless it was written for a person."""
    text = (str(error).strip().splitlines() or [""])[0]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
