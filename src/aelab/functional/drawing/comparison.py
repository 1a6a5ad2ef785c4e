"""Several runs in one picture: learning curves side by side."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from aelab.functional.drawing.settings import fences, with_room
from aelab.functional.drawing.sheet import (
    EM,
    LINES,
    SMALL,
    Sheet,
    label,
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
