"""What a person looks at: every figure a function of numbers, drawn with matplotlib, saved as PNG."""

import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from aelab.data.batches import Data
from aelab.layer import decode_through
from aelab.metrics import codes
from aelab.models.base import Base
from aelab.pca import fit_pca, project
from aelab.pca import reconstruct as reconstruct_pca
from aelab.run_folder import write_whole

COLUMNS = 10  # images in a row
MAX_FILTERS = 100
MAX_POINTS = 5000  # of a scatter plot


@torch.no_grad()
def run_figures(model: Base, data: Data, rows: list[dict[str, float]]) -> dict[str, Figure]:
    """File name → figure: reconstructions, filters both ways, the code in two dimensions, loss curves, the model's own."""
    figures = {"loss": loss_curves(rows)}
    shape = data.pixel_shape
    x = data.test.x[:COLUMNS]
    to_pixels = pixel_map(data)
    if len(shape) == 2 and model.reconstructs:
        rows = {"input": x}
        corruption = model.training_plan.corruption if model.training_plan else None
        if corruption is not None:
            torch.manual_seed(0)
            corrupted = corruption(x)
            if bool(corrupted.touched.any()):
                rows |= {"corrupted": corrupted.x, "restored": model.reconstruct(corrupted.x)}
        rows["reconstruction"] = model.reconstruct(x)
        n_code = model.encode(x).shape[1]
        if n_code < min(data.train.x.shape):
            rows[f"PCA, {n_code}"] = reconstruct_pca(data.pca(n_code), x).to(x)
        figures["reconstructions"] = image_rows({k: to_pixels(v) for k, v in rows.items()}, shape)
    if len(shape) == 2:
        sides = {"encoder_filters": model.encoder_filters()}
        sides |= {"decoder_filters": model.decoder_filters()} if model.reconstructs else {}
        for name, weights in sides.items():
            if weights is not None:
                figures[name] = image_grid(project_filters(weights[:MAX_FILTERS], data), shape)
    figures["code"] = code_scatter(codes(model, data.test), data.test.y)
    return figures | model.figures(data)


def pixel_map(data: Data):
    """Inputs of this model → pixels: the identity, or down through the layers below."""
    return lambda x: decode_through(data.below, x) if data.below else x


def project_filters(weights: Tensor, data: Data) -> Tensor:
    """Weights (filters, input) of a layer → pixels (filters, pixels): the linear product with the layers below."""
    for layer in reversed(data.below):
        weights = weights @ layer.W.to(weights).t()
    return weights


def save(figures: dict[str, Figure], folder: Path) -> dict[str, Path]:
    """Write each as ``folder/NAME.png``; name → path."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        write_whole(paths[name], lambda part, figure=figure: figure.savefig(part, dpi=110, format="png"))
    return paths


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
    dots = axis.scatter(xy[:, 0], xy[:, 1], c=colours, s=5, cmap="tab10" if colours is not None else None)
    if colours is not None and len(np.unique(colours)) <= 20:
        axis.legend(*dots.legend_elements(num=None), title="label", fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.set_xlabel(f"{name} 1")
    axis.set_ylabel(f"{name} 2")
    return figure


def loss_curves(rows: list[dict[str, float]]) -> Figure:
    """Training and validation loss against the epoch."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    for name in ("train/loss", "val/loss"):
        points = [(row["epoch"], row[name]) for row in rows if name in row]
        if points:
            axis.plot(*zip(*points), label=name, marker="." if len(points) < 3 else None)
    axis.set_xlabel("epoch")
    axis.set_ylabel("loss")
    if axis.has_data():
        axis.legend()
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
    return (0.0, 1.0) if float(images.min()) >= 0 and float(images.max()) <= 1 else (float(images.min()), float(images.max()))


def _bare(axis) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)
