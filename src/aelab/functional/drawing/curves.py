"""What happens over the epochs: the losses of one run, and of the stages of a chain."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from aelab.functional.drawing.sheet import (
    LINES,
    MARK,
    SMALL,
    Sheet,
    label,
    logarithmic,
    number,
    spans_decades,
    whole_numbers,
)

Rows = Sequence[dict[str, float]]
LOWER, UPPER = "val/log_likelihood_lower", "val/log_likelihood_upper"
SPLITS = ("train", "val")
COLUMNS = 4  # stages beside each other


def loss_curves(
    title: str, rows: Rows, unit: str, errors: str, constant: float = 0.0, apart: tuple[str, str] | None = None
) -> Sheet:
    """The loss less a ``constant`` (``unit``) in training and validation, beside it the ``errors`` of validation.

    ``apart`` says what the two losses are where they are two things; then each has a plot of its own. The epoch of the
    least validation loss is marked: that of best.ckpt, unless another metric is watched. The bounds of
    the log-likelihood follow, where they were measured.
    """
    shown: list[tuple[str, str, Sequence[str]]] = [("loss", unit, SPLITS)]
    if apart is not None:
        shown = [("loss", says, [split]) for says, split in zip(apart, SPLITS)]
    shown += [("squared_error", errors, SPLITS)] * any("val/squared_error" in row for row in rows)
    bounded = any(LOWER in row for row in rows)
    columns = len(shown) + bounded
    sheet = Sheet(title, 3.5 * columns, 3.2)
    plots = sheet.plots(1, columns)
    for axes, (name, says, splits) in zip(plots, shown):
        lines(axes, rows, name, constant if name == "loss" else 0.0, splits)
        label(axes, "epoch", says)
    if bounded:
        bounds(plots[-1], rows)
    return sheet


def bounds(axes: Axes, rows: Rows) -> None:
    """The log-likelihood of validation samples: its lower bound as a line, up to the upper one a band."""
    epochs, lower, upper = zip(*[(row["epoch"] + 1, row[LOWER], row.get(UPPER)) for row in rows if LOWER in row])
    if None not in upper:
        axes.fill_between(epochs, lower, upper, color=LINES[1], alpha=0.3, linewidth=0, label="up to the upper bound")
    axes.plot(epochs, lower, color=LINES[1], marker="." if len(epochs) < 3 else None, label="lower bound")
    whole_numbers(axes.xaxis)
    axes.legend(fontsize=SMALL)
    label(axes, "epoch", "log-likelihood, nats per validation sample")


def stages_losses(title: str, stages: Mapping[str, Rows], constants: Mapping[str, float]) -> Sheet:
    """A plot for each stage of a chain: its loss in training and validation, less its constant, on its own scale."""
    columns = min(COLUMNS, max(len(stages), 1))
    down = math.ceil(len(stages) / columns)
    sheet = Sheet(title, 3.1 * columns, 2.6 * down)
    plots = sheet.plots(down, columns, titled=True)
    for axes, (name, rows) in zip(plots, stages.items()):
        constant = constants.get(name, 0.0)
        lines(axes, rows, "loss", constant)
        label(axes, "epoch", f"loss less {number(constant)}, nats" if constant else "loss, nats per sample", name)
    for axes in plots[len(stages) :]:
        axes.set_axis_off()
    return sheet


def lines(axes: Axes, rows: Rows, name: str, constant: float = 0.0, splits: Sequence[str] = SPLITS) -> None:
    """``train/name`` and ``val/name`` less ``constant`` against the epoch, the best one marked; the first one is 1."""
    values: list[float] = []
    for colour, split in zip(LINES, SPLITS):
        if split not in splits:
            continue
        points = [(row["epoch"] + 1, row[f"{split}/{name}"] - constant) for row in rows if f"{split}/{name}" in row]
        points = [(epoch, value) for epoch, value in points if math.isfinite(value)]
        if not points:
            continue
        values += [value for _, value in points]
        words = {"train": "training", "val": "validation"}[split]
        axes.plot(*zip(*points), color=colour, label=words, marker="." if len(points) < 3 else None, linewidth=1.3)
        if split == "val":
            epoch, best = min(points, key=lambda point: point[1])
            axes.plot([epoch], [best], color=MARK, marker="o", markersize=5, fillstyle="none", linestyle="none",
                      label=f"best {number(best)}, epoch {epoch:g}")  # fmt: skip
    whole_numbers(axes.xaxis)
    if values and spans_decades(values):
        logarithmic(axes, "y", values)
    if values:
        axes.legend(fontsize=SMALL)
