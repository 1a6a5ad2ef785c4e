"""Rows and mosaics of images on one scale; what was corrupted, and what is given beside what was made, marked."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from aelab.functional.drawing.sheet import CAPTION, EDGE, EM, MARK, SMALL, Sheet, number

TILE = 0.62  # inches, an image of a row
MOSAIC = 6.5  # inches, the longer side of a mosaic
TINT = np.array([0.84, 0.37, 0.0])  # of a corrupted pixel: MARK
COLOURS = (3, 4)  # sizes of a first axis that is one: red, green, blue, and something that is not drawn


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether samples of ``shape`` can be looked at: (height, width), or colours or layers of (height, width)."""
    return len(shape) in (2, 3)


def sides(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a sample as it is drawn; one with depth has its layers side by side."""
    if len(shape) == 3 and shape[0] not in COLOURS:
        return shape[1], shape[0] * shape[2]
    return shape[-2], shape[-1]


def arranged(images: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Samples (n, input) of ``shape`` → as they are drawn, (n, height × width, 1), or with three colours."""
    values = images.detach().float().cpu().numpy().reshape(len(images), *shape)
    if len(shape) == 2:
        return values.reshape(len(values), -1, 1)
    if shape[0] in COLOURS:
        return values[:, :3].reshape(len(values), 3, -1).swapaxes(1, 2)
    return values.swapaxes(1, 2).reshape(len(values), -1, 1)


def image_rows(
    title: str, rows: dict[str, Tensor], shape: tuple[int, ...], above: Sequence[str] = (),
    touched: dict[str, Tensor] | None = None, given: Sequence[int] = (), one_scale: bool = False,
) -> Sheet:  # fmt: skip
    """A row of images (n, input) of ``shape`` for each name, on the scale of the first row, or ``one_scale`` of all.

    ``above`` names the columns; ``touched`` (n, input), Boolean, are the entries of a row that a corruption touched:
    they are tinted. Columns that are ``given``, not made, have a frame.
    """
    n = len(next(iter(rows.values())))
    left = EDGE + max(map(len, rows)) * EM * SMALL / 72
    tall, wide = sides(shape)
    width, height = n * TILE, len(rows) * TILE * tall / wide
    note, scale = grey_scale(torch.cat(list(rows.values())) if given or one_scale else next(iter(rows.values())))
    below = CAPTION if note else EDGE
    sheet = Sheet(title, left + width + EDGE, below + height + (CAPTION if above else 0.02))
    axes = sheet.place(left, below, width, height)
    touched = touched or {}
    pictures = [coloured(images, shape, scale, touched.get(name)) for name, images in rows.items()]
    show(axes, tiles(np.concatenate(pictures), (tall, wide), n))
    h, w = tall + 1, wide + 1
    for i, name in enumerate(rows):
        axes.text(-0.08 * w, (i + 0.5) * h, name, ha="right", va="center", fontsize=SMALL)
    for i, text in enumerate(above):
        axes.text((i + 0.5) * w - 1, -0.1 * h, text, ha="center", va="bottom", fontsize=SMALL)
    for i in given:
        axes.plot(*frame(i * w, len(rows) * h, w), color=MARK, linewidth=1.5, clip_on=False)
    remark(sheet, note)
    return sheet


def image_mosaic(title: str, images: Tensor, shape: tuple[int, ...], columns: int, x: str = "", y: str = "") -> Sheet:
    """Images (n, input) edge to edge, left to right and down, on one scale; ``x`` and ``y`` name the sides."""
    rows, (tall, wide) = math.ceil(len(images) / columns), sides(shape)
    side = MOSAIC / max(rows * tall, columns * wide)
    width, height = columns * wide * side, rows * tall * side
    note, scale = grey_scale(images)
    left, below = (EDGE + CAPTION if y else EDGE), EDGE + (CAPTION if x or note else 0)
    sheet = Sheet(title, left + width + EDGE, below + height)
    axes = sheet.place(left, below, width, height)
    show(axes, tiles(coloured(images, shape, scale), (tall, wide), columns))
    axes.text(0.5, -0.01, x, ha="center", va="top", fontsize=SMALL, transform=axes.transAxes)
    axes.text(-0.01, 0.5, y, ha="right", va="center", rotation=90, fontsize=SMALL, transform=axes.transAxes)
    remark(sheet, note)
    return sheet


def grey_scale(images: Tensor) -> tuple[str, tuple[float, float]]:
    """What black and white stand for, said where it is not 0 and 1, and the two values."""
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        return "", (0.0, 1.0)
    return f"black {number(low)}, white {number(high)}", (low, high)


def coloured(
    images: Tensor, shape: tuple[int, ...], scale: tuple[float, float], touched: Tensor | None = None
) -> np.ndarray:
    """(n, input) → (n, pixels, 3) in [0, 1]: grey levels or colours, tinted where any of a pixel was ``touched``."""
    low, high = scale
    levels = ((arranged(images, shape) - low) / max(high - low, 1e-12)).clip(0, 1)
    levels = levels.repeat(3 // levels.shape[2], 2)
    if touched is None:
        return levels
    return np.where(arranged(touched, shape).any(2, keepdims=True), 0.35 * levels + 0.65 * TINT, levels)


def tiles(images: np.ndarray, shape: tuple[int, ...], columns: int, fill: float = 1.0) -> np.ndarray:
    """(n, height × width, colours) → one picture, a pixel of ``fill`` between neighbours."""
    height, width = shape
    rows = math.ceil(len(images) / columns)
    padded = np.full((rows * columns, height + 1, width + 1, images.shape[-1]), fill, dtype=np.float32)
    padded[: len(images), :height, :width] = images.reshape(len(images), height, width, -1)
    sheet = padded.reshape(rows, columns, height + 1, width + 1, -1).swapaxes(1, 2)
    return sheet.reshape(rows * (height + 1), columns * (width + 1), -1)[:-1, :-1]


def show(axes: Axes, picture: np.ndarray) -> None:
    """A picture (height, width, 3) whose pixels have whole coordinates at their upper left corner."""
    height, width = picture.shape[:2]
    painted = (255 * picture + 0.5).astype(np.uint8)  # an eighth of the time of floats
    axes.imshow(painted, extent=(0, width, height, 0), aspect="auto", interpolation="nearest")


def frame(left: float, height: float, width: float) -> tuple[list[float], list[float]]:
    """The outline of one column of tiles, as a closed line."""
    right, bottom = left + width - 1, height - 1
    return [left, right, right, left, left], [0, 0, bottom, bottom, 0]


def remark(sheet: Sheet, text: str) -> None:
    """A line at the lower left."""
    if text:
        width, height = sheet.get_size_inches()
        sheet.text(EDGE / width, 0.05 / height, text, fontsize=SMALL, color="0.3")
