"""Handing jobs to a Hydra launcher: the cores shared out, and no job's failure the end of the others."""

import importlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus, env_override
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from aelab import log, signals
from aelab.config.overrides import said, typed
from aelab.errors import UserError
from aelab.loading import loading
from aelab.sweep.jobs import Job, Sweep, differing, read_jobs
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
    if name == "RayLauncher":  # one job per core that Ray counts, of this machine or of a cluster that is there
        init = launcher.ray.init
        return 0 if init.get("address") else min(n_jobs, init.get("num_cpus") or cores())
    asked = launcher.get("n_jobs", 1)
    return min(n_jobs, asked if asked > 0 else max(1, cores() + 1 + asked))  # joblib: -1 is all cores, -2 all but one


def in_processes_of_their_own(launcher: DictConfig) -> bool:
    """Whether the launcher starts a process even for a single job."""
    return str(launcher._target_).endswith(("LocalLauncher", "RayLauncher"))


def launch(
    launcher: Launcher, config: DictConfig, batch: Sequence[Sequence[str]], first_number: int, sweep: Sweep
) -> Sequence[JobReturn]:
    """Launch a batch as one group of W&B runs; n jobs at once are given cores // n threads each.

    Only where the config has the keys for it and leaves them null: a group or a number of threads of one's own stays.
    ``sweep`` is what each job says of itself when it ends; launchers repeat every override of every job, so they hush.
    """
    if str(config.hydra.launcher._target_).endswith("SlurmLauncher") and shutil.which("srun") is None:
        raise UserError("hydra/launcher: submitit_slurm needs SLURM, and there is no srun here; take submitit_local")
    for name in ("hydra", "hydra_plugins"):
        logging.getLogger(name).setLevel(logging.WARNING)
    mine = "group" in (config.get("logger") or {}) and config.logger.group is None
    if mine and "WANDB_RUN_GROUP" not in os.environ:
        batch = [[*job, override("logger.group", sweep_name(Path(config.hydra.sweep.dir)))] for job in batch]
    together = jobs_at_once(config.hydra.launcher, len(batch))
    environment = sweep._replace(at_once=together).as_environment()
    if together > 1 and OmegaConf.select(config, THREADS) is None:
        threads = max(1, cores() // together)
        if "hardware" in config and "threads" in config.hardware:
            batch = [[*job, f"{THREADS}={threads}"] for job in batch]
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    if together == 1 and not in_processes_of_their_own(config.hydra.launcher):
        if "model" in config:  # now; while a job runs nothing is said of it
            with loading():
                importlib.import_module("pytorch_lightning")
    elif together:
        log.say(f"{together} at once, each in a process that loads PyTorch first")
    if "ray" in config.hydra.launcher:  # its workers have the environment that they were started with
        join_ray(launcher, environment)
    with env_override(environment):
        return launcher.launch(batch, initial_job_idx=first_number)


def join_ray(launcher: Any, environment: dict[str, str]) -> None:
    """Have Ray give its workers, on whichever machine, ``environment``, but for what a person has said there.

    A cluster that is there is joined here: the launcher sizes the store of a Ray of its own, which a cluster refuses.
    """
    import ray

    init: Any = OmegaConf.to_container(launcher.ray_cfg.init, resolve=True)
    said = init.setdefault("runtime_env", {})
    said["env_vars"] = environment | (said.get("env_vars") or {})
    if init.get("address") and not ray.is_initialized():  # by an earlier batch of the sweep
        ray.init(**init)
    launcher.ray_cfg.init = init


def goes_on(config: DictConfig, in_same_folder: bool) -> AbstractContextManager[None]:
    """Inside, a sweep that is stopped says its own command, with its folder unless the command has it anyway."""
    given = any(item.lstrip("+").startswith("hydra.sweep.dir=") for item in said(config.hydra.overrides.hydra))
    known = given or in_same_folder
    folder = "" if known else " " + typed(override("hydra.sweep.dir", log.place(Path(config.hydra.sweep.dir))))
    return signals.goes_on_by(lambda: signals.own_command() + folder, again=known)


def override(key: str, text: str) -> str:
    """``key='text'``, whatever is in the text: a folder may hold a comma, a bracket or a quote."""
    return f"{key}={QuotedString(text, Quote.single).with_quotes()}"


def check_counts(config: DictConfig) -> None:
    """Raise ``UserError`` for a number of jobs that joblib, or Hydra's own sweeper, would end with a traceback at."""
    if OmegaConf.select(config, "hydra.launcher.n_jobs") == 0:
        raise UserError("hydra.launcher.n_jobs: must be at least 1, or -1 for one job per core, got 0")
    at_once = OmegaConf.select(config, "hydra.sweeper.max_batch_size")
    if at_once is not None and at_once < 1:
        raise UserError(f"hydra.sweeper.max_batch_size: must be at least 1, or null for all jobs, got {at_once}")


class Grid(Launcher):
    """A launcher for the jobs of a grid: those that a killed sweep has finished are found, the others run.

    It hands back the jobs that ended well; the leaderboard tells of the others.
    """

    def __init__(self, launcher: Launcher, config: DictConfig, total: Callable[[], int]) -> None:
        self.launcher, self.config, self.total, self.began = launcher, config, total, time.time()

    def setup(self, **_: Any) -> None:
        """Nothing: the launcher within was set up."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        folder = Path(self.config.hydra.sweep.dir)
        known = {job.number: job for job in read_jobs(folder)}
        jobs = dict(enumerate(job_overrides, initial_job_idx))
        for number in sorted(jobs.keys() & known.keys()):
            refuse_another(known[number], jobs[number], folder)
        rest = [number for number in jobs if number not in known or known[number].status != "done"]
        if len(rest) < len(jobs):
            log.say(f"{len(jobs) - len(rest)} of {len(jobs)} jobs were done before")
        elif initial_job_idx == 0:
            log.say(f"{self.total()} job{'s' * (self.total() != 1)} → {log.place(folder)}")
        keys = differing(list(jobs.values()))
        if swept := [key for key in keys if key in ("objective", "direction")]:
            raise UserError(
                f"{swept[0]}: a multirun compares its jobs by the same; give one, several as {swept[0]}='A,B' in quotes"
            )
        returns: list[JobReturn] = []
        for _, group in groupby(enumerate(rest), lambda item: item[1] - item[0]):  # numbers that follow each other
            numbers = [number for _, number in group]
            sweep = Sweep(self.total(), rest[0], self.began, keys, 1)
            returns += launch(self.launcher, self.config, [jobs[n] for n in numbers], numbers[0], sweep)
        return [job for job in returns if job.status == JobStatus.COMPLETED]


def refuse_another(job: Job, overrides: Sequence[str], folder: Path) -> None:
    """Raise ``UserError`` unless ``job``, found in the sweep's folder, was asked just this and is at work no more."""
    if not set(overrides) <= set(job.overrides):
        raise UserError(
            f"hydra.sweep.dir: {folder} holds another sweep, whose job {job.number} was {' '.join(job.overrides)}; "
            "choose another folder"
        )
    if job.status == "running":
        raise UserError(f"hydra.sweep.dir: job {job.number} in {folder} is still at work; let it end, then go on")


def returned(job: JobReturn) -> Any:
    """What a job returned or raised; Hydra's own property would raise it again."""
    return job._return_value
