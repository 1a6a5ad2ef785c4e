"""The weights of single units as images, all on one stated scale, the largest first."""

import math

import matplotlib
import numpy as np
import torch
from torch import Tensor

from aelab.functional.drawing.images import arranged, remark, show, sides, tiles
from aelab.functional.drawing.sheet import CAPTION, EDGE, SMALL, Sheet, number

SIDE = 4.8  # inches of the square of filters
MOST = 100  # filters shown
CLIPPED = 0.998  # fraction of the weights that the scale holds, so that one large weight does not fade the others
DIVERGING = "RdBu_r"


def filters(title: str, weights: Tensor, shape: tuple[int, ...], silent: Tensor) -> Sheet:
    """``weights`` (units, input) of ``shape``, by their norm, blue below zero and red above, on one scale for all.

    Weights of colours are drawn in these colours, grey where they are zero.
    Units that are ``silent`` (units,), Boolean, are crossed out.
    """
    order = weights.norm(dim=1).argsort(descending=True)[:MOST]
    shown, crossed = weights[order].float().cpu(), silent[order].cpu().numpy()
    limit = float(torch.quantile(shown.abs().flatten()[:: max(1, shown.numel() // 10**6)], CLIPPED))
    limit = float(f"{limit:.2g}") or 1.0
    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    tall, wide = sides(shape)
    height = SIDE * rows * (tall + 1) / (columns * (wide + 1))
    sheet = Sheet(title, SIDE + 2 * EDGE, CAPTION + 2 * EDGE + height)
    axes = sheet.place(EDGE, CAPTION + 2 * EDGE, SIDE, height)
    levels = 0.5 + arranged(shown, shape) / (2 * limit)
    colours = matplotlib.colormaps[DIVERGING if levels.shape[2] == 1 else "gray"]
    # what is beyond either end has the end's colour
    painted = colours(levels[..., 0])[..., :3] if levels.shape[2] == 1 else levels.clip(0, 1)
    show(axes, tiles(painted, (tall, wide), columns))
    for place in np.flatnonzero(crossed):
        x, y = (place % columns) * (wide + 1), (place // columns) * (tall + 1)
        axes.plot([x, x + wide], [y, y + tall], color="black", linewidth=1)
    bar(sheet, colours, limit)
    count = f"{len(shown)} of {len(weights)}" if len(shown) < len(weights) else str(len(shown))
    dead = f"; crossed: {int(silent.sum())} silent" if silent.any() else ""
    remark(sheet, f"{count} by norm{dead}")
    return sheet


def bar(sheet: Sheet, colours: matplotlib.colors.Colormap, limit: float) -> None:
    """The scale at the lower right: which colour is which weight."""
    width = sheet.get_size_inches()[0]
    long, words = 0.8, ("weight", number(-limit), number(limit))
    right = width - EDGE - 0.45
    axes = sheet.place(right - long, EDGE, long, 0.13)
    show(axes, colours(np.linspace(0, 1, 64))[None, :, :3])
    axes.text(-2, 0.5, f"{words[0]}  {words[1]}", ha="right", va="center", fontsize=SMALL)
    axes.text(66, 0.5, words[2], ha="left", va="center", fontsize=SMALL)


def silent_units(activity: Tensor) -> Tensor:
    """(units,) Boolean: which of the units' outputs, ``activity`` (samples, units), do not change over the samples.

    Their standard deviation is below a thousandth of the liveliest unit's.
    """
    spread = activity.float().std(0, correction=0)
    return spread <= 1e-3 * spread.max()
