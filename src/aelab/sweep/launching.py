"""Handing jobs to a Hydra launcher: the cores shared out, and no job's failure the end of the others."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus, env_override
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from aelab.sweep.summary_run import sweep_name

THREADS = "hardware.threads"


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_at_once(launcher: DictConfig, n_jobs: int) -> int:
    """How many of ``n_jobs`` the launcher runs on this machine at one time (0: on other machines)."""
    name = str(launcher._target_).rsplit(".", 1)[-1]
    if name == "SlurmLauncher":
        return 0
    if name == "LocalLauncher":  # submitit_local starts everything it is given
        return n_jobs
    asked = launcher.get("n_jobs", 1)
    return min(n_jobs, asked if asked > 0 else max(1, cores() + 1 + asked))  # joblib: -1 is all cores, -2 all but one


def launch(
    launcher: Launcher, config: DictConfig, batch: Sequence[Sequence[str]], first_number: int
) -> Sequence[JobReturn]:
    """Launch a batch as one group of W&B runs; n jobs at once are given cores // n threads each.

    Only where the config has the keys for it and leaves them null: a group or a number of threads of one's own stays.
    """
    if "group" in (config.get("logger") or {}) and config.logger.group is None:
        batch = [[*job, override("logger.group", sweep_name(Path(config.hydra.sweep.dir)))] for job in batch]
    together = jobs_at_once(config.hydra.launcher, len(batch))
    if together <= 1 or OmegaConf.select(config, THREADS) is not None:
        return launcher.launch(batch, initial_job_idx=first_number)
    threads = max(1, cores() // together)
    if "hardware" in config and "threads" in config.hardware:
        batch = [[*job, f"{THREADS}={threads}"] for job in batch]
    with env_override({"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}):
        return launcher.launch(batch, initial_job_idx=first_number)


def override(key: str, text: str) -> str:
    """``key='text'``, whatever is in the text: a folder may hold a comma, a bracket or a quote."""
    return f"{key}={QuotedString(text, Quote.single).with_quotes()}"


class KeepGoing:
    """A launcher that hands back the jobs that ended well; the leaderboard tells of the others."""

    def __init__(self, launcher: Launcher, config: DictConfig) -> None:
        self.launcher, self.config = launcher, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        returns = launch(self.launcher, self.config, job_overrides, initial_job_idx)
        return [job for job in returns if job.status == JobStatus.COMPLETED]


def returned(job: JobReturn) -> Any:
    """What a job returned or raised; Hydra's own property would raise it again."""
    return job._return_value
