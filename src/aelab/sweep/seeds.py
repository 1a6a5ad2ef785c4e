"""Means and spreads over what only repeats a run, seeds and folds, and a setting against the objectives with them."""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from aelab.results import tables
from aelab.results.history import REPEATS
from aelab.sweep.board import Board, Value, value_of
from aelab.sweep.jobs import Job

if TYPE_CHECKING:
    from aelab.functional.drawing.comparison import Series

MOST_LINES = 8
EXPLAINED = "explained_variance"  # in the name of such an objective
LEVELS = (0.8, 0.9, 0.95)  # what is asked of it


def series_of(board: Board) -> "tuple[str, list[Series]] | None":
    """The setting on the axis, the first numeric one beside the seed, and a line for each objective and other setting.

    None where no seed or fold was swept, nothing numeric beside it, or the lines would be too many to tell apart.
    """
    from aelab.functional.drawing.comparison import Series

    others = [key for key in board.swept if key not in REPEATS]
    numeric = [key for key in others if all(isinstance(value_of(job, key), int | float) for job in board.done)]
    if not repeated(board) or not numeric:
        return None
    x = numeric[0]
    lines: dict[str, dict[Any, dict[Any, float]]] = {}
    for job in board.done:
        rest = ", ".join(f"{key}={value_of(job, key)}" for key in others if key != x)
        for objective, value in zip(board.objectives, job.values):
            points = lines.setdefault(", ".join(filter(None, (objective, rest))), {})
            points.setdefault(value_of(job, x), {})[repeat(board, job)] = value
    series = [Series(name, dict(sorted(points.items()))) for name, points in sorted(lines.items())]
    return (x, series) if len(series) <= MOST_LINES else None


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
