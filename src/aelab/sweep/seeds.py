"""Means and spreads over what only repeats a run, seeds and folds, and a setting against the objectives with them."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING

from aelab.config.overrides import shortest
from aelab.results import tables
from aelab.results.history import REPEATS
from aelab.sweep.board import Board, Value, value_of
from aelab.sweep.jobs import Job

if TYPE_CHECKING:
    from aelab.functional.drawing.spread import Series

MOST_LINES = 8
EXPLAINED = "explained_variance"  # in the name of such an objective
LEVELS = (0.8, 0.9, 0.95)  # what is asked of it


def series_of(board: Board) -> "tuple[str, list[Series]] | None":
    """The setting on the axis, and a line for each objective and other setting; those of one other setting are a group.

    On the axis is the first numeric setting beside the seed, or the first of all where none is numeric. None where no
    seed or fold was swept, nothing beside it, or the lines would be too many to tell apart.
    """
    from aelab.functional.drawing.spread import Series, by_size

    others = [key for key in board.swept if key not in REPEATS]
    if not repeated(board) or not others:
        return None
    numeric = [key for key in others if all(isinstance(setting(job, key), int | float) for job in board.done)]
    x = [*numeric, *others][0]
    names = {key: name for key, name in shortest(board.swept).items() if key in others and key != x}
    lines: dict[tuple[tuple[Value, ...], str], dict[Value, dict[Value, float]]] = {}
    for job in board.done:
        group = tuple(setting(job, key) for key in names)
        for objective, value in zip(board.objectives, job.values):
            lines.setdefault((group, objective), {}).setdefault(setting(job, x), {})[repeat(board, job)] = value
    series = []
    for group, objective in sorted(lines, key=lambda line: (*map(by_size, line[0]), board.objectives.index(line[1]))):
        points = dict(sorted(lines[group, objective].items(), key=lambda point: by_size(point[0])))
        words = ", ".join(f"{name}={value}" for name, value in zip(names.values(), group))
        series.append(Series(", ".join(filter(None, (objective, words))), points, words, is_level(points)))
    return (x, series) if len(series) <= MOST_LINES else None


def is_level(points: Mapping[Value, Mapping[Value, float]]) -> bool:
    """Whether each repetition has one value wherever the axis's setting stands: that does not reach the objective."""
    of_repeat: dict[Value, list[float]] = {}
    for by_repeat in points.values():
        for which, value in by_repeat.items():
            of_repeat.setdefault(which, []).append(value)
    return any(len(values) > 1 for values in of_repeat.values()) and all(
        len(set(values)) == 1 for values in of_repeat.values()
    )


def setting(job: Job, key: str) -> Value:
    """What a job was asked of ``key``, by the name of what a job has that was asked nothing."""
    return value_of(job, key) if key in job.settings else "default"


def enough(board: Board) -> list[str]:
    """For each objective that is an explained variance: from which value of the setting on the axis it is enough."""
    found = series_of(board) if board.done else None
    if found is None:
        return []
    x, series = found
    said = []
    for line in series:
        if EXPLAINED in line.name:
            means = {value: mean(points.values()) for value, points in line.points.items()}
            reached = {level: next((v for v, m in means.items() if m >= level), None) for level in LEVELS}
            parts = [f"{100 * level:.0f} % {'by none' if v is None else f'from {v}'}" for level, v in reached.items()]
            said.append(f"{line.name}: of {x}, {', '.join(parts)}")
    return said


def mean_rows(board: Board) -> list[tables.Row]:
    """Rows for the end of the board: each setting of a sweep over seeds or folds, mean ± standard deviation.

    The best comes first; there are none where neither was swept.
    """
    if not repeated(board) or not board.done:
        return []
    others = [key for key in board.swept if key not in REPEATS]
    groups: dict[tuple[Value, ...], list[Job]] = {}
    for job in board.done:
        groups.setdefault(tuple(value_of(job, key) for key in others), []).append(job)
    sign = -1 if board.direction == "maximize" else 1
    ranked = sorted(groups.values(), key=lambda jobs: sign * mean(job.values[0] for job in jobs))
    return [
        {"place": None}
        | {name: spread([job.values[i] for job in jobs]) for i, name in enumerate(board.objectives)}
        | {key: "all" if key in REPEATS else value_of(jobs[0], key) for key in board.swept}
        | {"seconds": round(sum(job.seconds for job in jobs), 2), "status": "mean ± sd (n)", "folder": None}
        for jobs in ranked
    ]


def repeated(board: Board) -> list[str]:
    """The keys of REPEATS that were swept."""
    return [key for key in REPEATS if key in board.swept]


def repeat(board: Board, job: Job) -> Value:
    """Which of the repetitions ``job`` is: its seed, its fold, or both."""
    values = [value_of(job, key) for key in repeated(board)]
    return values[0] if len(values) == 1 else ", ".join(map(str, values))


def spread(values: Sequence[float]) -> tables.Spread:
    return tables.Spread(mean(values), stdev(values) if len(values) > 1 else None, len(values))
