"""Runs of a sweep against what they were asked: each setting by itself, and all of them at once."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from aelab.functional.drawing.sheet import (
    EM,
    MARK,
    SMALL,
    TEXT,
    Sheet,
    label,
    logarithmic,
    logarithmic_from_zero,
    number,
    shortened,
    spans_decades,
    spans_decades_from_zero,
)

COLUMNS = 4  # panels beside each other
PANEL = 3.0  # inches, the width of one
LONGEST = 16  # letters of a value
ACROSS = 30  # letters of a name below a panel
FEW = 8  # values that each get a tick, and a line through the best run at each
MOST_TICKS = 14  # of a setting that is no number
# Behind a value on a line.
LABEL: dict[str, Any] = {"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7}
FENCE = 5.0  # times the spread of the middle half, beyond which a run is drawn at the edge


class Setting(NamedTuple):
    """A setting and its value in each run, the best run first; not all numbers: they are words."""

    name: str
    values: Sequence[Any]

    def positions(self) -> tuple[np.ndarray, list[str]]:
        """Where each run stands on its axis: its number, or its place among the words."""
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values):
            return np.asarray(self.values, dtype=float), []
        words = sorted({str(value) for value in self.values})
        return np.asarray([words.index(str(value)) for value in self.values], dtype=float), words


def against_settings(title: str, settings: Sequence[Setting], objective: Setting) -> Sheet:
    """A panel for each setting: every run a dot, the best one ringed.

    A line goes through the best run at each value where a few values were each tried several times. Runs far off the
    others are triangles at the edge.
    """
    columns = min(COLUMNS, len(settings))
    rows = math.ceil(len(settings) / columns)
    sheet = Sheet(title, PANEL * columns + 0.3, 2.7 * rows, fitted=True)
    y = np.asarray(objective.values, dtype=float)
    low, high = fences(y)
    panels = sheet.plots(rows, columns)
    for place, (axes, setting) in enumerate(zip(panels, settings)):
        x, words = setting.positions()
        dots(axes, x, y, low, high)
        label(axes, shortened(setting.name, ACROSS), objective.name if place % columns == 0 else "")
        axes.tick_params(labelleft=place % columns == 0)
        value_ticks(axes, x, words)
        best: dict[float, float] = {}
        for here, value in zip(x, y):
            best.setdefault(here, value)  # the runs come best first
        if not words and len(best) <= FEW and len(best) < len(x):
            axes.plot(*zip(*sorted(best.items())), color="0.6", zorder=1, linewidth=1)
        axes.set_ylim(*with_room(low, high))
    for axes in panels[len(settings) :]:
        axes.set_axis_off()
    return sheet


def dots(axes: Axes, x: np.ndarray, y: np.ndarray, low: float, high: float) -> None:
    """Runs as dots, darker the better; those outside the fences as triangles at the edge."""
    inside = (y >= low) & (y <= high)
    ranks = np.arange(len(y)) / max(len(y) - 1, 1)
    style: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": 1.1, "zorder": 2, "linewidths": 0}
    style["rasterized"] = len(y) > 2000
    axes.scatter(x[inside], y[inside], c=ranks[inside], s=max(6.0, min(22.0, 4000 / len(y))), **style)
    for away, marker, edge in ((y > high, "^", high), (y < low, "v", low)):
        if away.any():
            axes.scatter(x[away], np.full(away.sum(), edge), c=ranks[away], s=30, marker=marker, **style)
    axes.scatter(x[:1], y[:1], s=70, facecolors="none", edgecolors=MARK, linewidths=1.4, zorder=3)


def value_ticks(axes: Axes, x: np.ndarray, words: Sequence[str]) -> None:
    """Ticks at the values where they are few, thinned out until none touches another."""
    if words:
        step = math.ceil(len(words) / MOST_TICKS)
        shown = range(0, len(words), step)
        texts = [shortened(words[i], LONGEST) for i in shown]
        upright = sum(map(len, texts)) * EM * SMALL / 72 > 0.75 * PANEL
        axes.set_xticks(list(shown), texts, rotation=90 if upright else 0)
        axes.set_xlim(-0.6, len(words) - 0.4)
        return
    values = np.unique(x)
    if spans_decades(values):
        logarithmic(axes, "x", values)
    elif spans_decades_from_zero(values):
        logarithmic_from_zero(axes, values)
    if len(values) <= FEW:
        places = axes.xaxis.get_transform().transform(values)
        span = np.ptp(places) or 1.0
        kept: list[float] = []
        end = -math.inf
        for value, place in zip(values, (places - places[0]) / span * 0.7 * PANEL):
            wide = len(number(value)) * EM * SMALL / 72 / 2
            if place - wide > end:
                kept.append(float(value))
                end = place + wide + 0.06
        axes.set_xticks(kept, [number(value) for value in kept])


def parallel_coordinates(title: str, settings: Sequence[Setting], objective: Setting) -> Sheet:
    """A line for each run through its settings to its objective, which gives its colour; the best is the thickest."""
    columns = [*settings, objective]
    width = max(1.5 * len(columns) + 1.2, 6.0)
    sheet = Sheet(title, width, 3.6, fitted=True)
    (axes,) = sheet.plots()
    room = int(1.3 / (EM * SMALL / 72))
    heights = []
    for place, setting in enumerate(columns):
        values, words = setting.positions()
        log = not words and spans_decades(values)
        scaled = np.log10(values) if log else values
        low, high = fences(scaled) if setting is objective else (scaled.min(), scaled.max())
        span = (high - low) or 1.0
        heights.append(np.clip((scaled - low) / span, 0, 1))
        numbers = np.unique(scaled).tolist() if setting is not objective else []
        numbers = apart([low, high] if not 0 < len(numbers) <= FEW else numbers, span / 12)
        ends = dict(enumerate(words)) if words else {v: number(10**v if log else v) for v in numbers}
        step = math.ceil(len(ends) / 12)
        for value, text in list(ends.items())[::step]:
            at = place, (value - low) / span
            axes.annotate(shortened(text, LONGEST), at, xytext=(4, 0), textcoords="offset points", fontsize=7,
                          va="center", bbox=LABEL, zorder=4)  # fmt: skip
    y = np.asarray(objective.values, dtype=float)
    low, high = fences(y)
    norm = matplotlib.colors.Normalize(low, high if high > low else low + 1)
    colours = matplotlib.colormaps["viridis"](norm(y))
    faint = min(0.9, max(0.15, 30 / len(y)))
    for job, line in reversed(list(enumerate(np.array(heights).T))):
        style: dict[str, Any] = {"linewidth": 2.5, "zorder": 3} if job == 0 else {"linewidth": 1, "alpha": faint}
        axes.plot(range(len(columns)), line, color=colours[job], **style)
    axes.set_xticks(range(len(columns)), [shortened(setting.name, room) for setting in columns])
    axes.set_xlim(-0.1, len(columns) - 0.4)
    axes.set_yticks([])
    label(axes, "setting; at the right, what came of it", "")
    axes.grid(axis="x")
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)
    bar = sheet.colorbar(matplotlib.cm.ScalarMappable(norm, "viridis"), ax=axes)
    bar.set_label(objective.name, fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    return sheet


def apart(values: Sequence[float], least: float) -> list[float]:
    """Those of the ascending ``values`` that are ``least`` or more from the one kept before; first and last always."""
    kept = [values[0]]
    for value in values[1:-1]:
        if value - kept[-1] >= least and values[-1] - value >= least:
            kept.append(value)
    return [*kept, values[-1]] if values[-1] > values[0] else kept


def fences(values: Any) -> tuple[float, float]:
    """The least and the largest of ``values`` that are not far off all others: one that exploded flattens no axis."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = FENCE * max(high - low, 1e-3 * abs(middle))
    inside = values[(values >= low - reach) & (values <= high + reach)]
    return float(inside.min()), float(inside.max())


def with_room(low: float, high: float) -> tuple[float, float]:
    """Limits round the fences, with a margin."""
    margin = 0.07 * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin
