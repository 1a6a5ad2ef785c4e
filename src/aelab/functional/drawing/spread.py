"""Runs that only repeat each other, as means with their spread: objectives against a setting, and learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from aelab.functional.drawing.settings import value_ticks
from aelab.functional.drawing.sheet import (
    EM,
    LINES,
    SMALL,
    Sheet,
    label,
    line_colours,
    logarithmic,
    shortened,
    spans_decades,
    whole_numbers,
)

LONGEST = 60  # letters of a name
PANEL = 4.6, 3.4  # inches, width and height of one
ENTRY = 0.18  # inches, a line of the legend
DASHES = ("-", ":", "-.", (0, (1, 3)))  # of the first line of a group, of the next; a level is dashed
UPRIGHT = 36  # letters beside a vertical axis
ASIDE = 0.08  # of the distance of two words, between lines that would lie on each other
BAND = 0.15  # opacity of what lies between mean − sd and mean + sd

Place = float | str


class Series(NamedTuple):
    """One line: at each ``x``, numbers or words, the values of the runs that differ in the seed alone, by seed.

    Lines of one ``group`` share a colour and are compared with each other; without groups all are one. A ``level`` is
    the same at every ``x``.
    """

    name: str
    points: Mapping[Any, Mapping[Any, float]]
    group: str = ""
    level: bool = False


def over_seeds(title: str, x: str, series: Sequence[Series], y: str = "objective", errors: bool = False) -> Sheet:
    """A line for each series, mean ± standard deviation over the seeds, and every seed a dot; a level is dashed.

    Where each group has two lines, or there are two in all, their difference stands beside them, seed by seed.
    ``errors`` are seen on a logarithmic axis where they lie decades apart.
    """
    pairs = compared(series)
    sheet = sheet_for(title, 1 + bool(pairs), [line.name for line in series])
    axes = sheet.plots(1, 1 + bool(pairs))
    places = sorted({place for line in series for place in line.points}, key=by_size)
    colours, dashes = styles(series)
    aside = ASIDE * (np.arange(len(series)) - (len(series) - 1) / 2)
    handles = [draw(axes[0], line, places, *how) for line, how in zip(series, zip(colours, dashes, aside))]
    values = [value for line in series for by_seed in line.points.values() for value in by_seed.values()]
    if errors and spans_decades(values):
        logarithmic(axes[0], "y", values)
    label(axes[0], shortened(x, LONGEST), fitting(y))
    for one, other in pairs:
        colour = colours[series.index(one)] if len(pairs) > 1 else LINES[2]
        draw(axes[1], difference(one, other), places, colour, "-")
    if pairs:
        axes[1].axhline(0, color="0.6", linewidth=1, zorder=0)
        label(axes[1], shortened(x, LONGEST), "\n− ".join(reversed(apart(*pairs[0]))))
    words = [str(place) for place in places] if not all(map(_numeric, places)) else []
    for axis in axes:
        value_ticks(axis, np.asarray(range(len(words)) if words else places, dtype=float), words)
    levels_last = sorted(range(len(series)), key=lambda i: series[i].level)
    legend(sheet, [handles[i] for i in levels_last], 2 if len(pairs) > 1 else len(series))
    return sheet


def compared(series: Sequence[Series]) -> list[tuple[Series, Series]]:
    """The two lines of each group, or the only two that there are; none where some group has another number."""
    if len(series) == 2:
        return [(series[0], series[1])]
    groups = [[line for line in series if line.group == group] for group in dict.fromkeys(s.group for s in series)]
    return [(lines[0], lines[1]) for lines in groups] if all(len(lines) == 2 for lines in groups) else []


def apart(one: Series, other: Series) -> list[str]:
    """What tells two lines apart: their groups, or in one group the rest of their names; short enough for an axis."""
    if one.group != other.group:
        names = [line.group for line in (one, other)]
    else:
        names = [line.name.removesuffix(f", {line.group}") for line in (one, other)]
    return [shortened(name, UPRIGHT - 2) for name in names]


def styles(series: Sequence[Series]) -> tuple[list[Any], list[Any]]:
    """Colour and dashes of each line: of several groups one colour each, else a colour for each line."""
    groups = list(dict.fromkeys(line.group for line in series))
    if len(groups) in (1, len(series)):
        return line_colours(len(series)), ["--" if line.level else "-" for line in series]
    colours = dict(zip(groups, line_colours(len(groups))))
    taken = dict.fromkeys(groups, 0)
    dashes: list[Any] = []
    for line in series:
        dashes.append("--" if line.level else DASHES[taken[line.group] % len(DASHES)])
        taken[line.group] += not line.level
    return [colours[line.group] for line in series], dashes


def difference(one: Series, other: Series) -> Series:
    """``other`` − ``one`` at each x and seed that both have."""
    points = {
        x: {seed: other.points[x][seed] - value for seed, value in by_seed.items() if seed in other.points[x]}
        for x, by_seed in one.points.items()
        if x in other.points
    }
    return Series(f"{other.name} − {one.name}", {x: by_seed for x, by_seed in points.items() if by_seed}, one.group)


def draw(axis: Axes, series: Series, places: Sequence[Any], colour: Any, dash: Any, aside: float = 0.0) -> Any:
    """Mean and standard deviation (n − 1; none of a single seed) as a line with bars, every seed a dot; for the legend.

    A level is a line across, its seeds' spread a band. Words have no order: no line joins their means, and what would
    lie on another line's stands ``aside``.
    """
    name = shortened(series.name, LONGEST)
    if series.level:
        of_seed = {seed: value for by_seed in series.points.values() for seed, value in by_seed.items()}
        (height,), (half,) = mean_and_spread([[value] for value in of_seed.values()])
        axis.axhspan(height - half, height + half, color=colour, alpha=BAND / 2, linewidth=0)
        return axis.axhline(height, color=colour, linestyle=dash, linewidth=1.2, label=name)
    words = not all(map(_numeric, places))
    points = sorted(series.points.items(), key=lambda point: by_size(point[0]))
    at = [places.index(place) + aside if words else float(place) for place, _ in points]
    mean = [float(np.mean([*by_seed.values()])) for _, by_seed in points]
    sd = [float(np.std([*by_seed.values()], ddof=1)) if len(by_seed) > 1 else 0.0 for _, by_seed in points]
    bars = axis.errorbar(at, mean, sd, color=colour, marker="o", markersize=4, capsize=3, label=name,
                         linestyle="none" if words else dash)  # fmt: skip
    for here, (_, by_seed) in zip(at, points):
        axis.scatter([here] * len(by_seed), [*by_seed.values()], s=8, color=colour, alpha=0.5)
    return bars


def learning_curves_over_seeds(title: str, panels: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> Sheet:
    """A plot for each of ``panels`` against the epoch; of each of its lines the mean over the seeds, mean ± sd a band.

    ``panels``: what is measured → name of a line → for each seed a value of each epoch. Plots whose values lie in one
    range have one scale. The spread is that of the seeds that reached the epoch; NaN is left out.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    sheet = sheet_for(title, len(panels), names if len(names) > 1 else [])
    axes = sheet.plots(1, len(panels))
    colours = dict(zip(names, line_colours(len(names))))
    ranges = []
    for axis, (words, lines) in zip(axes, panels.items()):
        seen: list[float] = []
        for name, seeds in lines.items():
            mean, sd = mean_and_spread(seeds)
            epochs = np.arange(1, len(mean) + 1)
            axis.plot(epochs, mean, color=colours[name], label=name, linewidth=1.3,
                      marker="." if len(mean) < 3 else None)  # fmt: skip
            axis.fill_between(epochs, mean - sd, mean + sd, color=colours[name], alpha=BAND, linewidth=0)
            seen += [*(mean - sd), *(mean + sd)]
        ranges.append([value for value in seen if np.isfinite(value)])
        whole_numbers(axis.xaxis)
        label(axis, "epoch", fitting(words))
    together = overlap(ranges)
    for axis, values in zip(axes, ranges):
        values = [value for own in ranges for value in own] if together else values
        if values and spans_decades(values):
            logarithmic(axis, "y", values)
        elif together and values:
            room = 0.05 * (max(values) - min(values) or 1.0)
            axis.set_ylim(min(values) - room, max(values) + room)
    if len(names) > 1:
        legend(sheet, axes[0].get_legend_handles_labels()[0], len(names))
    return sheet


def mean_and_spread(seeds: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) over ``seeds`` at each epoch that any of them has; the latter 0 of a single value."""
    table = np.full((len(seeds), max(map(len, seeds), default=0)), np.nan)
    for row, values in zip(table, seeds):
        row[: len(values)] = values
    table[~np.isfinite(table)] = np.nan
    n = np.isfinite(table).sum(0)
    mean = np.where(n > 0, np.nansum(table, 0) / np.maximum(n, 1), np.nan)
    sd = np.sqrt(np.nansum((table - mean) ** 2, 0) / np.maximum(n - 1, 1))
    return mean, np.where(n > 0, sd, np.nan)


def overlap(ranges: Sequence[Sequence[float]]) -> bool:
    """Whether there are several ranges of values and all of them have a value in common."""
    whole = [values for values in ranges if values]
    return len(whole) > 1 and max(map(min, whole)) <= min(map(max, whole))


def sheet_for(title: str, panels: int, names: Sequence[str]) -> Sheet:
    """A sheet for plots beside each other, and below them a legend of ``names``."""
    return Sheet(title, PANEL[0] * panels + 0.6, PANEL[1] + ENTRY * (rows_of(names, panels) + 1), fitted=True)


def rows_of(names: Sequence[str], panels: int) -> int:
    across = beside(names, PANEL[0] * panels + 0.6)
    return -(-len(names) // across)


def beside(names: Sequence[str], wide: float) -> int:
    """How many entries of a legend stand beside each other in ``wide`` inches."""
    longest = max((min(len(name), LONGEST) for name in names), default=1)
    return max(1, int((wide - 0.2) / (longest * EM * SMALL / 72 + 0.5)))


def legend(sheet: Sheet, handles: Sequence[Any], columns: int) -> None:
    """Below the plots, where it lies on nothing, in so many ``columns`` or as many as fit."""
    ncols = min(columns, beside([handle.get_label() for handle in handles], sheet.get_size_inches()[0]))
    sheet.legend(handles=handles, loc="outside lower center", fontsize=SMALL, ncols=ncols)


def fitting(words: str) -> str:
    """The name of a vertical axis, in two lines where one would be longer than the axis, each short enough."""
    middle = words.rfind(" ", 0, UPRIGHT + 1)
    lines = [words] if len(words) <= UPRIGHT or middle < 0 else [words[:middle], words[middle + 1 :]]
    return "\n".join(shortened(line, UPRIGHT) for line in lines)


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def by_size(place: Any) -> tuple[bool, float, str]:
    """What sorts numbers by size, and words after them."""
    return (False, float(place), "") if _numeric(place) else (True, 0.0, str(place))
