"""A study that several processes work on, and that a kill at any moment neither shortens nor repeats.

A trial is Optuna's record plus a lock that its process holds. A record that says "running" whose lock is free belongs
to nobody: its process was killed, and the next process that asks is given that very trial, number and values.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aelab import locks
from aelab.config.schema import role_of_override
from aelab.errors import UserError
from aelab.sweep.jobs import Outcome, Status
from aelab.sweep.space import grid, suggest
from aelab.sweep.storage import import_optuna, make_pruner, make_sampler, open_storage, storage_name

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

RETRY_OF = "retry of"


class SharedStudy:
    """Trials are taken and told; the study itself is in the storage, and nothing that matters is in this object."""

    def __init__(
        self,
        folder: Path,
        name: str,
        storage: str,
        directions: Sequence[str],
        space: "dict[str, BaseDistribution]",
        fixed: Sequence[str],
        sampler: dict[str, Any],
        pruner: dict[str, Any],
        n_trials: int | None,
        retry: bool,
        seeds: int = 1,
    ) -> None:
        """Begin or reopen the study. Raises UserError when it was begun with another search space or direction."""
        optuna = import_optuna()
        self.folder, self.space, self.sampler, self.seeds = folder, space, sampler, seeds
        self.grid = grid(space) if sampler["name"] == "grid" else {}
        size = _size(self.grid)
        if self.grid:
            self.n_trials = min(n_trials or size, size)
        elif n_trials is not None:
            self.n_trials = n_trials
        else:
            raise UserError("hydra.sweeper.n_trials: only a grid has an end of its own; give a number of trials")
        if len(directions) > 1 and (sampler["name"] == "cmaes" or pruner["name"] != "none"):
            raise UserError(
                "hydra.sweeper.direction: CMA-ES and pruning know one objective; give one direction, or "
                "hydra.sweeper.sampler=tpe hydra.sweeper.pruner=none"
            )
        self.storage = storage_name(folder, storage)
        self._mine: dict[int, Any] = {}
        asked: dict[str, Any] = {
            "search": {k: repr(d) for k, d in space.items()},
            "fixed": _telling(fixed),
            "direction": [*directions],
        }
        asked |= {"seeds": seeds} if seeds > 1 else {}
        with locks.alone(folder / ".locks" / "study"):
            self._records = open_storage(self.storage)
            self.study = optuna.create_study(
                study_name=name,
                storage=self._records,
                directions=directions,
                sampler=make_sampler(**sampler, number=0, grid=self.grid),
                pruner=make_pruner(**pruner),
                load_if_exists=True,
            )
            begun = self.study.user_attrs.get("asked")
            if begun is not None and json.loads(begun) != asked:
                raise UserError(
                    f"hydra.sweeper.study_name: the study {name!r} in {folder} was begun with another search space, "
                    "other fixed overrides, seeds or another direction; give another name, or delete the folder"
                )
            self.study.set_user_attr("asked", json.dumps(asked))
            self.study.set_user_attr("pruner", json.dumps(pruner))
            self._second_chances(retry)

    def take(self, most: int, ended: Callable[[int, list[str]], Outcome | None]) -> list[tuple[int, list[str]]]:
        """Up to ``most`` trials with consecutive numbers, each (number, overrides), to be run by this process.

        First those whose process was killed, then retries, then new ones until all processes together have the number
        asked. A trial that turns out to have ``ended`` is told at once and not run again. An empty list: nothing is
        left to begin.
        """
        taken: list[tuple[int, list[str]]] = []
        with locks.alone(self.folder / ".locks" / "study"):
            while len(taken) < most:
                number = self._next_number()
                if number is None or (taken and number != taken[-1][0] + 1):
                    break
                overrides = self._claim(number)
                if outcome := ended(number, overrides):
                    self.tell(number, *outcome)
                else:
                    taken.append((number, overrides))
        return taken

    def tell(self, number: int, status: Status, values: Sequence[float], reason: str) -> None:
        """Record how a trial ended, and let it go."""
        from optuna.trial import TrialState

        state = {"done": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(status, TrialState.FAIL)
        if status == "done" and len(values) != len(self.study.directions):
            state = TrialState.FAIL
            reason = f"the job returned {len(values)} numbers for {len(self.study.directions)} objectives"
        if reason:
            self._records.set_trial_user_attr(self.study.get_trials(deepcopy=False)[number]._trial_id, "reason", reason)
        self.study.tell(number, list(values) if state == TrialState.COMPLETE else None, state=state)
        self._mine.pop(number).release()

    def at_work_elsewhere(self) -> list[int]:
        """The trials that other processes are running now."""
        from optuna.trial import TrialState

        return [trial.number for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]

    def _next_number(self) -> int | None:
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        left = [t.number for t in trials if t.state == TrialState.RUNNING and not self._at_work(t.number)]
        trials = self.study.get_trials(deepcopy=False)  # told before it was let go, a trial is now no more running
        left = [number for number in left if trials[number].state == TrialState.RUNNING]
        waiting = [t.number for t in trials if t.state == TrialState.WAITING]
        if left or waiting:
            return min(left or waiting)
        begun = len(trials) - sum(RETRY_OF in t.user_attrs for t in trials)  # a retry stands for what it retries
        return len(trials) if begun < self.n_trials else None

    def _claim(self, number: int) -> list[str]:
        from optuna.trial import Trial, TrialState

        self._mine[number] = locks.take(locks.of_trial(self.folder, number), wait=-1)
        trials = self.study.get_trials(deepcopy=False)
        left = trials[number] if number < len(trials) and trials[number].state == TrialState.RUNNING else None
        if left is not None and left.params.keys() == self.space.keys():
            return [f"{key}={left.params[key]}" for key in self.space]
        self.study.sampler = make_sampler(**self.sampler, number=number, grid=self.grid)
        return suggest(Trial(self.study, left._trial_id) if left is not None else self.study.ask(), self.space)

    def _second_chances(self, retry: bool) -> None:
        """Queue failed trials once more, under a new number; without ``retry`` killed ones stay recorded as failed."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        retried = {t.user_attrs.get(RETRY_OF) for t in trials}
        for trial in trials:
            whole = trial.params.keys() == self.space.keys()
            if retry and whole and trial.state == TrialState.FAIL and trial.number not in retried:
                self.study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
            if not retry and trial.state == TrialState.RUNNING and not self._at_work(trial.number):
                self.study.tell(trial.number, state=TrialState.FAIL)

    def _at_work(self, number: int) -> bool:
        jobs = range(number * self.seeds, (number + 1) * self.seeds)
        places = locks.of_trial(self.folder, number), *(locks.of_job(self.folder, job) for job in jobs)
        return number in self._mine or any(map(locks.is_held, places))  # a job may outlive its sweep


def _size(grid: dict[str, list[Any]]) -> int:
    size = 1
    for values in grid.values():
        size *= len(values)
    return size


def _telling(overrides: Sequence[str]) -> list[str]:
    """Fixed overrides that change results: two processes may well share a study on different devices."""
    return sorted(override for override in overrides if role_of_override(override).changes != "nothing")
