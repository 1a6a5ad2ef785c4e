"""Several runs in one picture: learning curves side by side, a setting against objectives over the seeds."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from aelab.functional.drawing.settings import fences, value_ticks, with_room
from aelab.functional.drawing.sheet import (
    EM,
    LINES,
    SMALL,
    Sheet,
    label,
    line_colours,
    shortened,
    whole_numbers,
)

History = dict[str, list[float]]  # column → values, one for each epoch
COLUMNS = 3  # panels beside each other
STYLES: tuple[Literal["-", "--"], ...] = ("-", "--")  # of the first eight runs, of the next
NAMED = len(LINES) * len(STYLES)  # runs whose names stand in the legend, those first in order
LONGEST = 40  # letters of a name


class Curves(NamedTuple):
    """A run's name and its history."""

    name: str
    history: History


def learning_curves(title: str, runs: Sequence[Curves], metrics: Sequence[str]) -> Sheet:
    """A panel for each metric, a line for each run against the epoch; the first runs are named, the others grey.

    The limits are those of the runs that lie near each other: one that exploded leaves the panel at its edge.
    """
    columns = min(COLUMNS, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    named = runs[:NAMED]
    names = [shortened(run.name, LONGEST) for run in named]
    wide = max(3.6 * columns, 6.0)
    across = max(1, int(wide / (max(map(len, names)) * EM * SMALL / 72 + 0.5)))
    sheet = Sheet(title, wide, 2.7 * rows + 0.18 * math.ceil((len(names) + 1) / across), fitted=True)
    others = len(runs) - len(named)
    colours = [LINES[i % len(LINES)] for i in range(len(named))] + ["0.75"] * others
    dashes = [STYLES[i // len(LINES)] for i in range(len(named))] + [STYLES[0]] * others
    panels = sheet.plots(rows, columns)
    for axes, metric in zip(panels, metrics):
        values: list[float] = []
        for run, colour, dash in reversed(list(zip(runs, colours, dashes))):
            if metric in run.history:
                y = run.history[metric]
                values += [value for value in y if math.isfinite(value)]
                epochs = [epoch + 1 for epoch in run.history["epoch"]]
                axes.plot(epochs, y, color=colour, marker="o" if len(y) == 1 else None, linewidth=1.2, linestyle=dash)
        scale(axes, values)
        whole_numbers(axes.xaxis)
        label(axes, "epoch", metric)
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    handles = [Line2D([], [], color=colour, linestyle=dash) for colour, dash in zip(colours, dashes[: len(named)])]
    if others:
        handles, names = [*handles, Line2D([], [], color="0.75")], [*names, f"{others} others"]
    sheet.legend(handles, names, loc="outside lower center", fontsize=SMALL, ncols=across)
    return sheet


def scale(axes: Axes, values: Sequence[float]) -> None:
    """Limits that one exploded run does not set."""
    if not values:
        return
    low, high = fences(values)
    if (low, high) != (min(values), max(values)):
        axes.set_ylim(*with_room(low, high))


class Series(NamedTuple):
    """One line: at each ``x`` the values of the runs that differ in the seed alone, by seed."""

    name: str
    points: dict[float, dict[int | float | str | None, float]]


def over_seeds(title: str, x: str, series: Sequence[Series]) -> Sheet:
    """A line for each series, mean ± standard deviation over the seeds; of two also their difference, seed by seed."""
    both = len(series) == 2
    sheet = Sheet(title, 9.5 if both else 5.5, 3.8, fitted=True)
    axes = sheet.plots(1, 2 if both else 1)
    for line, colour in zip(series, line_colours(len(series))):
        draw(axes[0], line, colour)
    label(axes[0], x, "mean and standard deviation over seeds")
    if both:
        draw(axes[1], difference(*series), LINES[2])
        axes[1].axhline(0, color="0.6", linewidth=1, zorder=0)
        label(axes[1], x, "difference, seed by seed")
    values = list(series[0].points)
    for axis in axes:
        axis.legend(fontsize=SMALL)
        value_ticks(axis, np.asarray(values, dtype=float), [])
    return sheet


def difference(one: Series, other: Series) -> Series:
    """``other`` − ``one`` at each x and seed that both have."""
    points = {
        x: {seed: other.points[x][seed] - value for seed, value in by_seed.items() if seed in other.points[x]}
        for x, by_seed in one.points.items()
        if x in other.points
    }
    return Series(f"{other.name} − {one.name}", {x: by_seed for x, by_seed in points.items() if by_seed})


def draw(axis: Axes, series: Series, colour: str) -> None:
    """Mean and standard deviation (n − 1; none of a single seed) as a line with bars, every seed a dot."""
    values = [list(by_seed.values()) for by_seed in series.points.values()]
    x = list(series.points)
    mean = [float(np.mean(v)) for v in values]
    spread = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for v in values]
    axis.errorbar(x, mean, spread, color=colour, marker="o", markersize=4, capsize=3, label=series.name)
    for here, seeds in zip(x, values):
        axis.scatter([here] * len(seeds), seeds, s=8, color=colour, alpha=0.5)
