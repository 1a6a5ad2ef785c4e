"""What single units do, and how samples are spread: ranked bars, histograms, spectra, a confusion matrix."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from aelab.functional.drawing.images import TILE, coloured, grey_scale, remark, show, sides, tiles
from aelab.functional.drawing.sheet import (
    CAPTION,
    EDGE,
    LINES,
    MARK,
    SMALL,
    TEXT,
    Sheet,
    few_ticks,
    label,
    number,
    shortened,
    whole_numbers,
)

FEW = 40  # bars that are drawn one by one
MOST_LETTERS = 24  # of a feature's name
LONGEST, ACROSS = 16, 40  # letters of a class's name; of those of all, beside each other
COUNTED = 15  # classes whose confusions have room for a number


def ranked(title: str, values: Tensor, x: str, y: str, limits: tuple[float, float] | None = None) -> Sheet:
    """One bar for each value, the largest first: as readable for 8 as for 800."""
    ordered = values.float().cpu().sort(descending=True).values.numpy()
    sheet = Sheet(title, 5.4, 3.2)
    (axes,) = sheet.plots()
    places = np.arange(1, len(ordered) + 1)
    if len(ordered) <= FEW:
        axes.bar(places, ordered, color=LINES[0])
    else:
        axes.fill_between(places, ordered, step="mid", color=LINES[0])
    axes.set_xlim(0.5, len(ordered) + 0.5)
    axes.set_ylim(*(limits or (min(0.0, float(ordered.min())) * 1.05, max(float(ordered.max()), 1e-12) * 1.05)))
    whole_numbers(axes.xaxis)
    label(axes, x, y)
    return sheet


def lifetimes(title: str, share: Tensor, x: str, y: str, samples: int) -> Sheet:
    """How many units are active for which ``share`` (units,) of the samples; those that never are stand apart."""
    share = share.float().cpu()
    dead, alive = int((share == 0).sum()), share[share > 0].numpy()
    sheet = Sheet(title, 5.4, 3.2)
    (axes,) = sheet.plots()
    top = float(alive.max()) if len(alive) else 1.0
    bins = np.linspace(0, top, min(40, max(8, math.isqrt(len(share)) * 2)) + 1).tolist()
    axes.hist(alive, bins=bins, color=LINES[0], label=f"active for some of the {samples} samples: {len(alive)}")
    width = bins[1]
    axes.bar([-2 * width], [dead], width=width, color=MARK, label=f"for none, dead: {dead}")
    axes.set_xlim(-3 * width, top + width)
    ticks = [tick for tick in axes.get_xticks() if 0 <= tick <= top and tick != 0] or [top]
    axes.set_xticks([-2 * width, *ticks], ["none", *map(number, ticks)])
    whole_numbers(axes.yaxis)
    axes.legend(fontsize=SMALL)
    label(axes, x, y)
    return sheet


def spectrum(title: str, values: Tensor, x: str, y: str) -> Sheet:
    """The mean over samples of ranked ``values`` (samples, rank), and the band that holds 80 % of the samples."""
    values = values.float().cpu()
    low, high = torch.quantile(values, torch.tensor([0.1, 0.9]), dim=0).numpy()
    places = np.arange(1, values.shape[1] + 1)
    sheet = Sheet(title, 5.4, 3.2)
    (axes,) = sheet.plots()
    axes.fill_between(places, low, high, color=LINES[0], alpha=0.25, linewidth=0, label="80 % of the samples")
    axes.plot(places, values.mean(0).numpy(), color=LINES[0], label="mean", marker="." if len(places) < 3 else None)
    axes.set_ylim(bottom=0)
    whole_numbers(axes.xaxis)
    axes.legend(fontsize=SMALL)
    label(axes, x, y)
    return sheet


def errors(
    title: str, error: Tensor, shown: list[tuple[str, Tensor, dict[str, Tensor]]], shape: tuple[int, ...], unit: str
) -> Sheet:
    """The errors of all samples (samples,) as a histogram, and blocks of images ``shown`` below it.

    A block is what it is called, its samples' numbers (n,), and a row of images (n, input) of ``shape`` for each name.
    """
    error = error.float().cpu()
    count = max(len(samples) for _, samples, _ in shown)
    high, wide = sides(shape)
    left, tall = 1.05, TILE * high / wide
    note, scale = grey_scale(next(iter(shown[0][2].values())))
    blocks = [len(rows) * tall + 2 * CAPTION for _, _, rows in shown]
    base = CAPTION if note else EDGE
    sheet = Sheet(title, left + count * TILE + EDGE, base + sum(blocks) + 2.1)
    width = sheet.get_size_inches()[0]
    histogram = sheet.place(left, base + sum(blocks) + 0.55, width - left - EDGE - 0.1, 1.45)
    histogram.set_axis_on()
    few_ticks(histogram)
    histogram.hist(error.numpy(), bins=40, color=LINES[0])
    histogram.axvline(float(error.mean()), color=MARK, linewidth=1.2, label=f"mean {number(float(error.mean()))}")
    whole_numbers(histogram.yaxis)
    histogram.legend(fontsize=SMALL)
    label(histogram, unit, "samples")
    for place, (name, samples, rows) in enumerate(shown):
        n, bottom = len(samples), base + sum(blocks[place + 1 :])
        axes = sheet.place(left, bottom, n * TILE, len(rows) * tall)
        pictures = np.concatenate([coloured(images, shape, scale) for images in rows.values()])
        show(axes, tiles(pictures, (high, wide), n))
        h, w = high + 1, wide + 1
        axes.text(-0.08 * w, -0.1 * h, name, ha="right", va="bottom", fontsize=SMALL, fontweight="bold")
        for i, row in enumerate(rows):
            axes.text(-0.08 * w, (i + 0.5) * h, row, ha="right", va="center", fontsize=SMALL)
        for i, value in enumerate(error[samples.cpu()].tolist()):
            words = number(float(f"{value:.3g}"))
            axes.text((i + 0.5) * w - 1, -0.1 * h, words, ha="center", va="bottom", fontsize=SMALL)
    remark(sheet, note)
    return sheet


def feature_errors(title: str, names: list[str], errors: dict[str, Tensor], unit: str) -> Sheet:
    """The mean error of each feature (feature,), those of the largest first, beside each other for each of ``errors``.

    The order is that of the first of ``errors``.
    """
    first = next(iter(errors.values())).cpu()
    order = first.argsort(descending=True)[:FEW].tolist()
    sheet = Sheet(title, 6.4, 1.1 + 0.22 * len(order), fitted=True)
    (axes,) = sheet.plots()
    tall = 0.8 / len(errors)
    for i, (name, values) in enumerate(errors.items()):
        places = np.arange(len(order)) + (i - (len(errors) - 1) / 2) * tall
        axes.barh(places, values.cpu()[order].numpy(), tall, color=LINES[i], label=name)
    axes.set_yticks(range(len(order)), [shortened(names[i], MOST_LETTERS) for i in order])
    axes.invert_yaxis()
    axes.legend(fontsize=SMALL)
    few = f", the {len(order)} largest of {len(names)}" if len(order) < len(names) else ""
    label(axes, unit, f"feature{few}")
    return sheet


def confusion(title: str, counts: Tensor, name: Callable[[int], str] = str) -> Sheet:
    """``counts`` (true class, predicted class), each row coloured by its share; numbers and names if they have room."""
    counts = counts.cpu()
    n = len(counts)
    share = (counts / counts.sum(1, keepdim=True).clamp(min=1)).numpy()
    sheet = Sheet(title, 5.8, 4.8, fitted=True)
    (axes,) = sheet.plots()
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if n <= COUNTED:
        names = [shortened(name(i), LONGEST) for i in range(n)]
        axes.set_xticks(range(n), names, rotation=90 if max(map(len, names)) * n > ACROSS else 0)
        axes.set_yticks(range(n), names)
        for true, predicted in counts.nonzero().tolist():
            dark = share[true, predicted] > 0.5
            text = str(int(counts[true, predicted]))
            axes.text(predicted, true, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    bar = sheet.colorbar(drawn, ax=axes, fraction=0.05)
    bar.set_label("share of the true label's samples", fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    label(axes, "predicted label", "true label")
    return sheet
