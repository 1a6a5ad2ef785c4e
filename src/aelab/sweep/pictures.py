"""Pictures of a finished sweep: each setting against the objective, all settings at once, the best runs' images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aelab.files import write_whole
from aelab.results.tables import cell
from aelab.sweep.board import Board, value_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEST_SHOWN = 6
FEW = 8  # values of a setting that each get a tick of their own


def draw(board: Board, folder: Path) -> list[Path]:
    """Draw parameters.png, parallel.png, seeds.png and best.png into ``folder``, those that have something to show."""
    from aelab.sweep.seeds import over_seeds, series_of

    pictures = []
    if board.done and board.swept:
        pictures.append(save(parameters(board), folder / "parameters.png"))
    if len(board.done) > 1 and len(board.swept) > 1:
        pictures.append(save(parallel_coordinates(board), folder / "parallel.png"))
    seeds = series_of(board) if board.done else None
    if seeds:
        pictures.append(save(over_seeds(*seeds), folder / "seeds.png"))
    shown = [job for job in board.done if (job.folder / "figures" / "reconstructions.png").exists()][:BEST_SHOWN]
    if shown:
        pictures.append(save(reconstructions(board, shown), folder / "best.png"))
    return pictures


def parameters(board: Board) -> "Figure":
    """One panel a setting: every job a dot, a line through the best job at each value."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(board.swept), 3.2), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(board.swept), squeeze=False)[0], board.swept):
        x, labels = positions(board, key)
        y = [job.values[0] for job in board.done]
        best = {}
        for here, value in zip(x, y):
            best.setdefault(here, value)  # the jobs come best first
        axes.plot(*zip(*sorted(best.items())), color="0.6", zorder=1)
        axes.scatter(x, y, s=18, zorder=2)
        axes.set(xlabel=key, ylabel=board.objectives[0] if axes.get_subplotspec().is_first_col() else "")
        if not labels and _spans_decades(x):
            axes.set_xscale("log")
        if labels or len(best) <= FEW:
            axes.set_xticks(sorted(best), labels or [f"{here:g}" for here in sorted(best)])
            axes.minorticks_off()
    return figure


def parallel_coordinates(board: Board) -> "Figure":
    """A line a job through its settings to its objective; the darkest line is the best."""
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    columns = [*board.swept, board.objectives[0]]
    figure = Figure(figsize=(1.8 * len(columns) + 1, 3.6), layout="constrained")
    axes = figure.subplots()
    heights = []
    for place, key in enumerate(columns):
        values, labels = positions(board, key) if key in board.swept else ([job.values[0] for job in board.done], [])
        values = np.log10(values) if not labels and _spans_decades(values) else np.asarray(values, dtype=float)
        low, span = values.min(), np.ptp(values) or 1.0
        heights.append((values - low) / span)
        ends = dict(enumerate(labels)) if labels else {v: _number(v, key, board) for v in (low, low + span)}
        for value, label in ends.items():
            axes.annotate(label, (place, (value - low) / span), xytext=(4, 0), textcoords="offset points", fontsize=7)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(board.done)))
    for job, line in reversed(list(enumerate(np.array(heights).T))):
        axes.plot(range(len(columns)), line, color=colours[job], linewidth=2 if job == 0 else 1, alpha=0.8)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks([])
    axes.grid(axis="x")
    return figure


def reconstructions(board: Board, shown: list[Any]) -> "Figure":
    """The reconstructions of the best jobs, one above the other, best first."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    images = [imread(job.folder / "figures" / "reconstructions.png") for job in shown]
    heights = [8 * image.shape[0] / image.shape[1] + 0.3 for image in images]
    figure = Figure(figsize=(8, sum(heights)), layout="constrained")
    for axes, job, image in zip(
        figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0], shown, images
    ):
        axes.imshow(image)
        axes.set_axis_off()
        what = " ".join(f"{key}={cell(value_of(job, key))}" for key in board.swept)
        axes.set_title(f"#{job.number}  {board.objectives[0]} {job.values[0]:.4g}  {what}", fontsize=8)
    return figure


def positions(board: Board, key: str) -> tuple[list[float], list[str]]:
    """Where each finished job stands on the axis of a setting: its number, or its place among the ``labels``."""
    values = [job.settings.get(key, "default") for job in board.done]
    try:
        return [float(value) for value in values], []
    except ValueError:
        labels = sorted(set(values))
        return [float(labels.index(value)) for value in values], labels


def save(figure: "Figure", path: Path) -> Path:
    """Write a PNG whole or not at all."""
    write_whole(path, lambda part: figure.savefig(part, dpi=130, format="png"))
    return path


def _spans_decades(values: Any) -> bool:
    return min(values) > 0 and max(values) / min(values) >= 100


def _number(value: float, key: str, board: Board) -> str:
    values = positions(board, key)[0] if key in board.swept else [job.values[0] for job in board.done]
    return f"{10**value if _spans_decades(values) else value:.3g}"
