"""What every figure is drawn with: numbers in, a matplotlib figure out."""

import math

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from aelab.functional.pca import fit_pca, project

LOWER, UPPER = "val/log_likelihood_lower", "val/log_likelihood_upper"  # a band in the picture of the loss
MAX_POINTS = 5000  # of a scatter plot


def image_rows(rows: dict[str, Tensor], shape: tuple[int, ...]) -> Figure:
    """One row of images a name, all on one grey scale."""
    n = len(next(iter(rows.values())))
    figure = Figure(figsize=(1.6 + 0.75 * n, 0.85 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    low, high = _range(next(iter(rows.values())))
    for axis, (name, images) in zip(axes, rows.items()):
        axis.imshow(_tiles(images, shape, columns=n, fill=high), cmap="gray", vmin=low, vmax=high)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        _bare(axis)
    return figure


def image_grid(images: Tensor, shape: tuple[int, ...], columns: int | None = None) -> Figure:
    """Filters in a square, each on its own symmetric scale: blue below zero, red above."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    scaled = images / images.abs().amax(1, keepdim=True).clamp(min=1e-12)
    figure = Figure(figsize=(6, 6 * math.ceil(len(images) / columns) / columns + 0.1), layout="constrained")
    axis = figure.subplots()
    axis.imshow(_tiles(scaled, shape, columns, fill=0.0), cmap="RdBu_r", vmin=-1, vmax=1)
    _bare(axis)
    return figure


def image_mosaic(images: Tensor, shape: tuple[int, ...], columns: int) -> Figure:
    """Images (n, pixels) edge to edge, left to right and down, on one grey scale."""
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(7, 7 * rows * shape[0] / (columns * shape[1]) + 0.1), layout="constrained")
    axis = figure.subplots()
    low, high = _range(images)
    axis.imshow(_tiles(images, shape, columns, fill=high), cmap="gray", vmin=low, vmax=high)
    _bare(axis)
    return figure


def histogram(values: Tensor, xlabel: str, ylabel: str) -> Figure:
    """How often each value occurs."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    axis.hist(values.cpu().float().numpy(), bins=50)
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    return figure


def bars(values: Tensor, xlabel: str, ylabel: str) -> Figure:
    """One bar a value, in the order given."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    axis.bar(range(len(values)), values.cpu().float().numpy())
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    return figure


def code_scatter(code: Tensor, labels: Tensor | None) -> Figure:
    """The code in two dimensions, as it is or its first two principal components, a colour a label."""
    points = code[:MAX_POINTS].float()
    name = "code"
    if points.shape[1] > 2:
        points, name = project(fit_pca(points, 2), points), "principal component of the code"
    elif points.shape[1] == 1:
        points, name = torch.cat([points, torch.zeros_like(points)], 1), "code"
    xy = points.cpu().numpy()
    figure = Figure(figsize=(6, 5), layout="constrained")
    axis = figure.subplots()
    colours = None if labels is None else labels[:MAX_POINTS].cpu().numpy()
    few = colours is not None and len(np.unique(colours)) <= 20
    coloured = {} if colours is None else {"c": colours, "cmap": "tab10" if few else "viridis"}
    dots = axis.scatter(xy[:, 0], xy[:, 1], s=5, **coloured)
    if few:
        legend = dots.legend_elements(num=None)
        axis.legend(*legend, title="label", fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    elif colours is not None:
        figure.colorbar(dots, label="label")
    axis.set_xlabel(f"{name} 1")
    axis.set_ylabel(f"{name} 2")
    return figure


def point_clouds(clouds: dict[str, Tensor], labels: Tensor | None) -> Figure:
    """Samples of two or three values as points in space, one picture a name, a colour a label."""
    figure = Figure(figsize=(4 * len(clouds), 4), layout="constrained")
    colours = None if labels is None else labels[:MAX_POINTS].cpu().numpy()
    for i, (name, points) in enumerate(clouds.items(), 1):
        solid = {"projection": "3d"} if points.shape[1] == 3 else {}
        axis = figure.add_subplot(1, len(clouds), i, **solid)
        axis.scatter(*points[:MAX_POINTS].t().cpu().float().numpy(), c=colours, s=3, cmap="viridis")
        axis.set_title(name, fontsize=9)
    return figure


def word_lists(lists: list[list[str]]) -> Figure:
    """One line of words per list, numbered."""
    figure = Figure(figsize=(11, 0.6 + 0.22 * len(lists)), layout="constrained")
    axis = figure.subplots()
    for number, words in enumerate(lists):
        axis.text(0, -number, f"{number + 1}", ha="right", va="center", fontsize=8, color="0.5")
        axis.text(0.2, -number, "  ".join(words), va="center", fontsize=8)
    axis.set_xlim(-0.5, 12)
    axis.set_ylim(-len(lists), 1)
    _bare(axis)
    return figure


def loss_curves(rows: list[dict[str, float]]) -> Figure:
    """Training and validation loss against the epoch; below them the log-likelihood's bounds, where it was measured."""
    bounds = [(row["epoch"], row[LOWER], row.get(UPPER)) for row in rows if LOWER in row]
    figure = Figure(figsize=(6, 7 if bounds else 4), layout="constrained")
    axis, *more = figure.subplots(2 if bounds else 1, squeeze=False, sharex=True)[:, 0]
    for name in ("train/loss", "val/loss"):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        if points:
            axis.plot(*zip(*points), label=name, marker="." if len(points) < 3 else None)
    axis.set_ylabel("loss")
    if axis.has_data():
        axis.legend()
    for band in more:
        epochs, lower, upper = zip(*bounds)
        if None not in upper:
            band.fill_between(epochs, lower, upper, alpha=0.4, label=f"{LOWER} to upper")
        band.plot(epochs, lower, marker="." if len(epochs) < 3 else None, label=LOWER)
        band.set_ylabel("nats per sample")
        band.legend()
    (more or [axis])[-1].set_xlabel("epoch")
    return figure


def _tiles(images: Tensor, shape: tuple[int, ...], columns: int, fill: float) -> np.ndarray:
    """(n, height × width) → one array, a pixel of ``fill`` between neighbours."""
    height, width = shape
    rows = math.ceil(len(images) / columns)
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), fill, dtype=np.float32)
    for i, image in enumerate(images.cpu().float().numpy()):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        canvas[top : top + height, left : left + width] = image.reshape(height, width)
    return canvas


def _range(images: Tensor) -> tuple[float, float]:
    low, high = float(images.min()), float(images.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _bare(axis) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)
