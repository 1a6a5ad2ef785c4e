"""Where samples lie: the code in two dimensions, and samples of two or three values in space."""

import math
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from torch import Tensor

from aelab.functional.drawing.sheet import EM, MARKERS, SMALL, TEXT, Sheet, class_colours, label, shortened
from aelab.functional.pca import fit_pca, project

LEGEND = 0.9  # inches beside the plot
MAX_POINTS = 5000  # of a scatter plot
LONGEST = 16  # letters of a label
FEW = 20  # labels that have a colour each
PRIOR = 2.0  # standard deviations of the circle: 86 % of N(0, 1) in two dimensions lies within


def code_scatter(
    title: str, code: Tensor, labels: Tensor | None, normal_prior: bool, name: Callable[[int], str] = str
) -> Sheet:
    """``code`` (samples, units) as it is, or its first two principal components, on equal axes; one colour per label.

    A label is written as its ``name``.
    With a ``normal_prior`` N(0, 1) of the code, the circle that holds 86 % of it, seen from the same side.
    """
    code = code[:MAX_POINTS].float().cpu()
    labels = None if labels is None else labels[:MAX_POINTS].cpu()
    classes = [] if labels is None else labels.unique().tolist()
    words = [shortened(name(label), LONGEST) for label in classes] if len(classes) <= FEW else []
    letters = max(map(len, words), default=0) * EM * SMALL / 72
    if code.shape[1] == 1:
        sheet = Sheet(title, 5.6, 4.4, fitted=True)
        strips(sheet.plots()[0], code[:, 0], labels, words)
        return sheet
    right = max(LEGEND, 0.4 + letters)
    sheet = Sheet(title, 5.6 + right - LEGEND, 4.4)
    (axes,) = sheet.plots(right=right)
    points, centre, names = plane(code)
    scatter(sheet, axes, points, labels, words)
    if normal_prior:
        edge = f"prior N(0, 1), {PRIOR:g} sd"
        axes.add_patch(Circle(centre, PRIOR, fill=False, linestyle="--", edgecolor="0.4", label=edge))
        axes.plot([centre[0] - PRIOR, centre[0] + PRIOR], [centre[1]] * 2, alpha=0)  # so that all of it is seen
        axes.legend(handles=axes.patches, fontsize=SMALL, loc="upper left", framealpha=0.7)
    axes.set_aspect("equal", adjustable="datalim")
    label(axes, *names)
    return sheet


def plane(code: Tensor) -> tuple[np.ndarray, tuple[float, float], list[str]]:
    """The code's points in two dimensions, where its origin lies there, and what the two axes are."""
    if code.shape[1] == 2:
        return code.numpy(), (0.0, 0.0), ["code unit 1", "code unit 2"]
    if len(code) < 2:
        return code[:, :2].numpy(), (0.0, 0.0), ["code unit 1", "code unit 2"]
    pca = fit_pca(code, 2)
    whole = float(code.double().var(0, correction=0).sum()) or 1.0
    shares = [100 * float(variance) / whole for variance in pca.variances]
    origin = project(pca, torch.zeros(1, code.shape[1]))[0]
    names = [f"principal component {i} of the code ({share:.0f} % of its variance)" for i, share in zip((1, 2), shares)]
    return project(pca, code).numpy(), (float(origin[0]), float(origin[1])), names


def scatter(sheet: Sheet, axes: Axes, points: np.ndarray, labels: Tensor | None, words: list[str]) -> None:
    """Dots that stay apart however many there are; a legend of the labels, or a colour bar where they are many."""
    size = min(14.0, max(5.0, 4000 / max(len(points), 1)))
    alpha = 0.8 if len(points) < 1000 else 0.45
    style: dict[str, Any] = {"s": size, "alpha": alpha, "linewidths": 0, "rasterized": True}
    x, y = points.T
    classes = [] if labels is None else labels.unique().tolist()
    if labels is None:
        axes.scatter(x, y, color=class_colours(1)[0], **style)
    elif len(classes) <= FEW:
        colours = np.array(class_colours(len(classes)))
        place = np.searchsorted(classes, labels.numpy())
        for number, marker in enumerate(MARKERS[: (len(classes) - 1) // 10 + 1]):
            here = place // 10 == number
            axes.scatter(x[here], y[here], c=colours[place[here]], marker=marker, **style)
        key(axes, words)
    else:
        dots = axes.scatter(x, y, c=labels.numpy(), cmap="viridis", **style)
        bar = sheet.colorbar(dots, ax=axes, fraction=0.05)
        bar.set_label("label", fontsize=TEXT)
        bar.ax.tick_params(labelsize=SMALL)


def key(axes: Axes, words: list[str]) -> None:
    """Which colour and marker is which label, beside the plot: a dot and a word each, cheaper than a legend."""
    heights = 0.5 + (len(words) / 2 - 0.5 - np.arange(len(words))) * min(0.06, 1 / len(words))
    for height, place, colour in zip(heights, range(len(words)), class_colours(len(words))):
        axes.plot([1.04], [height], color=colour, marker=MARKERS[place // 10], markersize=4, transform=axes.transAxes,
                  clip_on=False, linestyle="none")  # fmt: skip
        axes.text(1.07, height, words[place], fontsize=SMALL, va="center", transform=axes.transAxes)
    axes.text(1.02, heights[0] + 0.05, "label", fontsize=SMALL, va="bottom", transform=axes.transAxes)


def strips(axes: Axes, code: Tensor, labels: Tensor | None, words: list[str]) -> None:
    """A code of one unit: where on it the samples of each label lie, or how often each value occurs."""
    classes = [] if labels is None else labels.unique().tolist()
    if not 0 < len(classes) <= FEW:
        axes.hist(code.numpy(), bins=50, color=class_colours(1)[0])
        label(axes, "code", "samples")
        return
    for place, (name, colour) in enumerate(zip(classes, class_colours(len(classes)))):
        here = code[labels == name].numpy()
        height = place + 0.6 * (np.arange(len(here)) * (math.sqrt(5) - 1) / 2 % 1 - 0.5)  # evenly, in no order
        axes.scatter(here, height, color=colour, s=8, alpha=0.7, linewidths=0, rasterized=True)
    axes.set_yticks(range(len(classes)), words)
    label(axes, "code", "label")


def point_clouds(title: str, clouds: dict[str, Tensor], labels: Tensor | None) -> Sheet:
    """Samples of two or three values as points in space, one picture for each name, all with the same limits."""
    sheet = Sheet(title, 3.4 * len(clouds), 3.2, fitted=True)
    colours = None if labels is None else labels[:MAX_POINTS].cpu().numpy()
    everything = torch.cat([points[:MAX_POINTS] for points in clouds.values()]).float().cpu()
    low, high = everything.amin(0).tolist(), everything.amax(0).tolist()
    for i, (name, points) in enumerate(clouds.items(), 1):
        solid = {"projection": "3d"} if points.shape[1] == 3 else {}
        axes: Any = sheet.add_subplot(1, len(clouds), i, **solid)  # Axes, or Axes3D where solid
        if solid:
            axes.set_box_aspect(None, zoom=0.68)  # room for the names, of which the layout knows nothing
        style: dict[str, Any] = {"color": class_colours(1)[0]} if colours is None else {"c": colours, "cmap": "viridis"}
        axes.scatter(*points[:MAX_POINTS].t().cpu().float().numpy(), s=3, linewidths=0, rasterized=True, **style)
        for which, a, b in zip("xyz", low, high):
            room = 0.05 * (b - a) or 1.0
            getattr(axes, f"set_{which}lim")(a - room, b + room)
            getattr(axes, f"set_{which}label")(
                f"value {'xyz'.index(which) + 1}", fontsize=SMALL, labelpad=15 if solid else 3
            )
            getattr(axes, f"{which}axis").set_major_locator(matplotlib.ticker.MaxNLocator(4))
        axes.tick_params(labelsize=7)
        axes.set_title(name, fontsize=TEXT)
    return sheet
