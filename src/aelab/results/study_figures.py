"""Figures of how deep nets learn: each layer's statistics in one run, and the runs of a chain side by side."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np

from aelab.functional.drawing.curves import stages_losses
from aelab.functional.drawing.sheet import SMALL, Sheet, label, line_colours, logarithmic, spans_decades, whole_numbers
from aelab.results.statistics import PREFIX, by_layer

History = dict[str, list[float]]  # column → values, one for each epoch


def statistics_figures(rows: list[dict[str, float]]) -> dict[str, Sheet]:
    """The figure ``statistics`` of a run, from its rows, one for each epoch; none where they were not asked for."""
    history = {name: [row[name] for row in rows] for name in (rows[0] if rows else {}) if name.startswith(PREFIX)}
    return {"statistics": layer_curves(history)} if history else {}


def chain_figures(histories: dict[str, History], constants: dict[str, float]) -> dict[str, Sheet]:
    """Of a chain's stages, by name: ``losses`` of all, and ``gradients`` where several ran with statistics.

    Of each stage's loss its part of ``constants``, which no weights can change, is left out.
    """
    trained = {name: history for name, history in histories.items() if "val/loss" in history}
    drawn = {}
    if trained:
        rows = {name: [dict(zip(h, values)) for values in zip(*h.values())] for name, h in trained.items()}
        drawn["losses"] = stages_losses("Losses of the stages, in order", rows, constants)
    watched = {name: h for name, h in trained.items() if any(column.startswith(PREFIX) for column in h)}
    if len(watched) > 1:
        drawn["gradients"] = starts_compared(watched)
    return drawn


def layer_curves(history: History) -> Sheet:
    """Gradient norm, spread of the activation and saturated fraction against the epoch, a line for each layer."""
    layers = by_layer(history)
    panels = {
        "gradient_norm": "‖∂loss/∂W‖, nats per weight",
        "activation_std": "standard deviation of the activation",
        "saturated": "share of saturated units",
    }
    sheet = Sheet(f"Each of {len(layers)} layers as each epoch begins, first training samples", 11, 3.4, fitted=True)
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(layers)))
    for axis, (name, title) in zip(sheet.plots(1, len(panels)), panels.items()):
        for (layer, columns), colour in zip(layers.items(), colours):
            _line(axis, columns[name], colour, layer)
        label(axis, "epoch", title)
        whole_numbers(axis.xaxis)
        if name == "gradient_norm":
            _logarithmic(axis, [value for columns in layers.values() for value in columns[name]])
    sheet.legend(*sheet.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    return sheet


def starts_compared(histories: dict[str, History]) -> Sheet:
    """Several starts of one net: gradient norm of every layer before the first step, then of the lowest, and the loss.

    A gradient that dies falls by a factor per layer on its way back from the output: a straight line on the log scale.
    """
    sheet = Sheet("One net from several starts: does the gradient reach the input?", 11, 3.4, fitted=True)
    start, lowest, loss = sheet.plots(1, 3)
    firsts, lows = [], []
    for (name, history), colour in zip(histories.items(), line_colours(len(histories))):
        norms = [columns["gradient_norm"] for columns in by_layer(history).values()]
        firsts += [norm[0] for norm in norms]
        lows += norms[0]
        start.plot(range(1, len(norms) + 1), firsts[-len(norms) :], color=colour, marker="o", markersize=4, label=name)
        _line(lowest, norms[0], colour, name)
        _line(loss, history["val/loss"], colour, name, first=1)
    label(start, "layer, from input to output", "‖∂loss/∂W‖, nats per weight", "before the first step")
    label(lowest, "epoch", "‖∂loss/∂W‖, nats per weight", "lowest layer")
    label(loss, "epoch", "validation loss, nats per sample", "learning")
    _logarithmic(start, firsts)
    _logarithmic(lowest, lows)
    for axis in sheet.axes:
        whole_numbers(axis.xaxis)
    sheet.legend(*start.get_legend_handles_labels(), loc="outside right center", fontsize=SMALL)
    return sheet


def _line(axis: Any, values: Sequence[float], colour: Any, name: str, first: int = 0) -> None:
    axis.plot(
        range(first, first + len(values)), values, color=colour, label=name, marker="." if len(values) < 3 else None
    )


def _logarithmic(axis: Any, values: Sequence[float]) -> None:
    above = [value for value in values if value > 0]
    if above and spans_decades(above):
        logarithmic(axis, "y", above)
