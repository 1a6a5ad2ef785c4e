"""Optuna for Hydra: ``aelab -m hydra/sweeper=optuna 'optimizer.lr=tag(log,interval(1e-4,1e-1))'``."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from hydra.core.plugins import Plugins
from hydra.core.utils import env_override
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from aelab.ranges import Count, Natural, Seed


class OptunaSweeper(Sweeper):
    """A search that can be killed, joined and gone on with: each option is told of in conf/hydra/sweeper/optuna.yaml.

    A trial is the job of its number, in the folder of its number. With ``seeds`` it is as many jobs, and the search
    goes by their mean. Jobs are launched ``n_jobs`` at a time, and waited for together. To wait for none, start the
    same command several times: each process asks for its next trial when it is free.
    """

    config: DictConfig  # these three are there after ``setup``
    hydra_context: HydraContext
    launcher: Launcher
    first: int  # number of the first job that this process ran
    seed: int  # of the first of a trial's jobs, where it has several

    def __init__(
        self,
        study_name: str,
        n_trials: Count | None,
        n_jobs: Literal[-1] | Count,
        direction: str | list[str],
        sampler: Literal["tpe", "cmaes", "random", "grid"],
        seed: Seed,
        n_startup_trials: Natural,
        pruner: Literal["none", "median", "hyperband", "patience"],
        monitor: str,
        prune_after: Natural,
        patience: Natural,
        max_epochs: Natural,
        storage: str,
        retry: bool,
        seeds: Count,
        params: dict[str, Any],
    ) -> None:
        self.seeds = seeds
        self.study_name, self.storage, self.retry = study_name, storage, retry
        self.n_trials, self.n_jobs = n_trials, n_jobs
        self.direction, self.monitor = direction, monitor
        self.sampler = {"name": sampler, "seed": seed, "startup": n_startup_trials}
        self.pruner = {
            "name": pruner,
            "startup": n_startup_trials,
            "after": prune_after,
            "patience": patience,
            "max_epochs": max_epochs,
        }
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from aelab.config.check import check_node
        from aelab.config.overrides import plain
        from aelab.sweep.launching import check_counts

        check_counts(config)
        check_node(plain(config.hydra.sweeper), "hydra.sweeper")
        self.config, self.hydra_context = config, hydra_context
        self.folder = Path(config.hydra.sweep.dir)
        self.directions = directions(self.direction, OmegaConf.select(config, "objective", default=""))
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> int:
        """Run trials until there are ``n_trials``; returns how many this process ran."""
        from aelab import log
        from aelab.files import write_text
        from aelab.sweep.launching import cores, goes_on
        from aelab.sweep.storage import without_password

        with log.phase("opening the study"):  # Optuna itself is loaded too
            study, fixed = self._begin(arguments)
        text = OmegaConf.to_yaml(self.config).replace(self.storage, without_password(self.storage))
        write_text(self.folder / "multirun.yaml", text)
        trials = "trials" if study.n_trials is None else f"{study.n_trials} trials"
        log.say(f"{trials} → {log.place(self.folder)}")
        at_once = self.n_jobs if self.n_jobs > 0 else cores()
        self.began, ran = time.time(), 0
        with goes_on(self.config, in_same_folder=True):
            while batch := study.take(at_once, self._ended):
                for number, outcome in self._run(study, dict(batch), fixed, first=ran == 0).items():
                    study.tell(number, *outcome)
                ran += len(batch)
        if others := study.at_work_elsewhere():
            log.say(f"trials {others} are at work in other processes; this command again collects what they leave")
        return ran

    def _begin(self, arguments: list[str]) -> Any:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from aelab.errors import UserError

        if OmegaConf.select(self.config, "dry", default=False):
            raise UserError(
                "dry: a search chooses its trials by the results of others; only a grid can be told beforehand"
            )
        from aelab.sweep.space import refuse_misfits, search_space, suggest
        from aelab.sweep.storage import import_optuna
        from aelab.sweep.study import SharedStudy

        if self.study_name in ("", ".", "..") or set(self.study_name) & set("/\\\0"):
            raise UserError(
                f"hydra.sweeper.study_name: it names a folder in sweeps/, so it can be no path, got {self.study_name!r}"
            )
        optuna = import_optuna()
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        space, fixed = search_space(parser.parse_overrides([f"{k}={v}" for k, v in self.params.items()] + arguments))
        # A mistyped key is found here, before there is a study that holds it.
        sample = suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask(), space)
        refuse_misfits(self.hydra_context.config_loader.load_sweep_config(self.config, [*fixed, *sample]), space)
        if self.seeds > 1 and self.pruner["name"] != "none":
            raise UserError("hydra.sweeper.seeds: a training that is pruned is one; take seeds=1, or pruner=none")
        if self.seeds > 1 and "seed" in space:
            raise UserError("hydra.sweeper.seeds: the seed is searched already; leave one of them out")
        study = SharedStudy(
            folder=self.folder,
            name=self.study_name,
            storage=self.storage,
            directions=self.directions,
            space=space,
            fixed=fixed,
            sampler=self.sampler,
            pruner=self.pruner,
            n_trials=self.n_trials,
            retry=self.retry,
            seeds=self.seeds,
        )
        given = [int(word.partition("=")[2]) for word in fixed if word.startswith("seed=")]
        self.seed = [OmegaConf.select(self.config, "seed", default=0), *given][-1]
        return study, fixed

    def _run(self, study: Any, batch: dict[int, list[str]], fixed: list[str], first: bool) -> dict[int, Any]:
        """Launch trials, number -> swept overrides; returns their outcomes, number -> (status, objectives, reason)."""
        from aelab.sweep.jobs import Sweep, first_line, mean_outcome, outcome, read_job
        from aelab.sweep.launching import launch, returned
        from aelab.sweep.storage import VARIABLE

        self.first = min(batch) * self.seeds if first else self.first
        sweep = Sweep(
            study.n_trials * self.seeds, self.first, self.began, [*study.space, *["seed"] * (self.seeds > 1)], 1
        )
        asked = {
            job: [*fixed, *values, *seed, *self._pruning(study, number)]
            for number, values in batch.items() for job, seed in self._jobs(number)
        }  # fmt: skip
        found = {job: self._job_ended(job, words) for job, words in asked.items()} if self.seeds > 1 else {}
        found = {job: ended for job, ended in found.items() if ended}
        try:
            with env_override({VARIABLE: study.storage}):
                for stretch in stretches([job for job in asked if job not in found]):
                    returns = launch(self.launcher, self.config, [asked[job] for job in stretch], stretch[0], sweep)
                    found |= {job: outcome(returned(one)) for job, one in zip(stretch, returns, strict=True)}
        except Exception as error:  # the launcher's own: a worker out of memory, a job that the cluster cancelled
            if first and not any(read_job(self.folder / str(job)) for job in asked):
                raise  # no job has ever begun: no trial is at fault
            lost: tuple[str, list[float], str] = ("failed", [], first_line(error))
            return {number: self._ended(number, values) or lost for number, values in batch.items()}
        return {number: mean_outcome([found[job] for job, _ in self._jobs(number)]) for number in batch}

    def _jobs(self, number: int) -> list[tuple[int, list[str]]]:
        """The numbers of a trial's jobs, and the override that tells each from the others."""
        if self.seeds == 1:
            return [(number, [])]
        return [(number * self.seeds + i, [f"seed={self.seed + i}"]) for i in range(self.seeds)]

    def _ended(self, number: int, values: list[str]) -> Any:
        """The outcome of a trial whose jobs had ended when the sweep was killed, as their folders tell; else None."""
        from aelab.sweep.jobs import mean_outcome

        ended = [self._job_ended(job, [*values, *seed]) for job, seed in self._jobs(number)]
        return mean_outcome(ended) if all(ended) else None

    def _job_ended(self, job: int, overrides: list[str]) -> Any:
        from aelab.sweep.jobs import read_job

        known = read_job(self.folder / str(job))
        if known is None or known.status == "running" or not set(overrides) <= set(known.overrides):
            return None
        return known.status, known.values, known.reason

    def _pruning(self, study: Any, number: int) -> list[str]:
        """What a trial needs to report to its study; nothing where nothing is pruned."""
        if self.pruner["name"] == "none":
            return []
        from aelab.sweep.launching import override
        from aelab.sweep.storage import without_password

        where = {"storage": without_password(study.storage), "study": self.study_name, "monitor": self.monitor}
        about = [override(f"callbacks.pruning.{key}", text) for key, text in where.items()]
        return ["+callbacks@callbacks.pruning=_pruning", *about, f"callbacks.pruning.number={number}"]


def stretches(numbers: list[int]) -> list[list[int]]:
    """Ascending numbers as runs without a gap: jobs that are launched together are numbered from one on."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def directions(asked: str | Sequence[str], objective: str) -> list[str]:
    """A direction for every objective; one is for all. Raises UserError when they do not match."""
    from aelab.errors import UserError
    from aelab.sweep.jobs import names

    given, objectives = names(asked), names(objective)
    if unknown := [name for name in given if name not in ("minimize", "maximize")]:
        raise UserError(f"hydra.sweeper.direction: {unknown[0]!r} is neither minimize nor maximize; give one of them")
    if len(given) not in (1, len(objectives)):
        raise UserError(f"hydra.sweeper.direction: {len(given)} for {len(objectives)} objectives; give one for each")
    return given * len(objectives) if len(given) == 1 else given
