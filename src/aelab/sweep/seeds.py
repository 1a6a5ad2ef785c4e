"""A setting against the objectives, mean and spread over the seeds: for a sweep over ``seed`` and something else."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aelab.sweep.board import Board, value_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 8
Value = int | float | str | None


class Series(NamedTuple):
    """One line: at each ``x`` the values of the jobs that differ in the seed alone, by seed."""

    name: str
    points: dict[Value, dict[Value, float]]


def series_of(board: Board) -> tuple[str, list[Series]] | None:
    """The setting on the axis, the first numeric one beside the seed, and a line for each objective and other setting.

    None where the seed was not swept, nothing numeric beside it, or the lines would be too many to tell apart.
    """
    others = [key for key in board.swept if key != "seed"]
    numeric = [key for key in others if all(isinstance(value_of(job, key), int | float) for job in board.done)]
    if "seed" not in board.swept or not numeric:
        return None
    x, lines = numeric[0], {}
    for job in board.done:
        rest = ", ".join(f"{key}={value_of(job, key)}" for key in others if key != x)
        for objective, value in zip(board.objectives, job.values):
            points = lines.setdefault(", ".join(filter(None, (objective, rest))), {})
            points.setdefault(value_of(job, x), {})[value_of(job, "seed")] = value
    series = [Series(name, dict(sorted(points.items()))) for name, points in sorted(lines.items())]
    return (x, series) if len(series) <= MOST_LINES else None


def over_seeds(x: str, series: Sequence[Series]) -> "Figure":
    """A line a series, mean ± standard deviation over the seeds; of two series also their difference, seed by seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10 if len(series) == 2 else 5.5, 4), layout="constrained")
    axes = figure.subplots(1, 2 if len(series) == 2 else 1, squeeze=False)[0]
    for number, line in enumerate(series):
        draw(axes[0], line, f"C{number}")
    axes[0].set_ylabel("mean and standard deviation over seeds")
    if len(series) == 2:
        draw(axes[1], difference(*series), "C2")
        axes[1].axhline(0, color="0.6", linewidth=1, zorder=0)
        axes[1].set_ylabel("difference, seed by seed")
    for axis in axes:
        axis.set_xlabel(x)
        axis.legend(fontsize=8)
        if min(series[0].points) > 0 and max(series[0].points) / min(series[0].points) >= 10:
            axis.set_xscale("log")
            axis.set_xticks(list(series[0].points), [f"{value:g}" for value in series[0].points])
            axis.minorticks_off()
    return figure


def difference(one: Series, other: Series) -> Series:
    """``other`` − ``one`` at each x and seed that both have."""
    points = {
        x: {seed: other.points[x][seed] - value for seed, value in by_seed.items() if seed in other.points[x]}
        for x, by_seed in one.points.items()
        if x in other.points
    }
    return Series(f"{other.name} − {one.name}", {x: by_seed for x, by_seed in points.items() if by_seed})


def draw(axis: "Axes", series: Series, colour: str) -> None:
    """Mean and standard deviation (n − 1; none of a single seed) as a line with bars, every seed a dot."""
    values = [list(by_seed.values()) for by_seed in series.points.values()]
    x = list(series.points)
    mean, spread = [np.mean(v) for v in values], [np.std(v, ddof=1) if len(v) > 1 else 0.0 for v in values]
    axis.errorbar(x, mean, spread, color=colour, marker="o", capsize=3, label=series.name)
    for here, seeds in zip(x, values):
        axis.scatter([here] * len(seeds), seeds, s=8, color=colour, alpha=0.5)
