"""Jobs of a multirun in order, best first, and what they were asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aelab.results import tables
from aelab.sweep.jobs import Job, differing

Value = int | float | str | None
ORDER = ("done", "pruned", "running", "killed", "failed")


@dataclass
class Board:
    """Jobs and what they are judged by: the names of the objectives, and whether to minimize or maximize the first.

    The first objective sorts. A failed job that was run again under another number counts no more as a failure.
    """

    jobs: Sequence[Job]
    objectives: Sequence[str]
    direction: str

    @cached_property
    def ranked(self) -> list[Job]:
        """All jobs, the best first; those without a result follow, the failed ones last."""
        sign = -1 if self.direction == "maximize" else 1
        return sorted(
            self.jobs, key=lambda job: (ORDER.index(job.status), sign * job.values[0] if job.values else 0, job.number)
        )

    @cached_property
    def done(self) -> list[Job]:
        """The jobs with a result, the best first."""
        return [job for job in self.ranked if job.status == "done" and job.values]

    @cached_property
    def failures(self) -> list[Job]:
        """The jobs that failed or were killed and that no later job stands for."""
        again = {(*job.overrides,): job.number for job in sorted(self.jobs, key=lambda job: job.number)}
        lost = [job for job in self.jobs if job.status in ("failed", "killed")]
        return [job for job in lost if again[(*job.overrides,)] == job.number]

    @cached_property
    def swept(self) -> list[str]:
        """The keys that differ between jobs, in the order of the command line."""
        return differing([job.overrides for job in self.jobs])

    @property
    def common(self) -> list[str]:
        """The overrides that every job was given."""
        return [f"{key}={value}" for key, value in self.jobs[0].settings.items() if key not in self.swept]

    def rows(self, folder: Path) -> list[tables.Row]:
        """The table: place, objectives, swept settings, seconds, how it ended, the job's folder within ``folder``."""
        return [
            {"place": place if job.values else None}
            | {name: job.values[i] if i < len(job.values) else None for i, name in enumerate(self.objectives)}
            | {key: value_of(job, key) for key in self.swept}
            | {"seconds": round(job.seconds, 2), "status": job.status, "folder": str(job.folder.relative_to(folder))}
            for place, job in enumerate(self.ranked, start=1)
        ]


def value_of(job: Job, key: str) -> Value:
    """One setting of a job, as a number where it is one; None where the job was not given it."""
    text = job.settings.get(key)
    if text is None:
        return None
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
