"""Figures of how deep nets learn: each layer's statistics in one run, and several starts of one net side by side."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from aelab.results.statistics import PREFIX, by_layer

History = dict[str, list[float]]  # column → values, one an epoch


def statistics_figures(rows: list[dict[str, float]]) -> dict[str, Figure]:
    """The figure ``statistics`` of a run, from its rows an epoch; none where statistics were not asked for."""
    history = {name: [row[name] for row in rows] for name in (rows[0] if rows else {}) if name.startswith(PREFIX)}
    return {"statistics": layer_curves(history)} if history else {}


def layer_curves(history: History) -> Figure:
    """Gradient norm, spread of the activation and saturated fraction against the epoch, a line a layer."""
    layers = by_layer(history)
    panels = {
        "gradient_norm": "‖∂loss/∂W‖",
        "activation_std": "activation, std",
        "saturated": "saturated",
    }
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(layers)))
    for axis, (name, title) in zip(figure.subplots(1, len(panels)), panels.items()):
        for (layer, columns), colour in zip(layers.items(), colours):
            _line(axis, columns[name], colour, layer)
        axis.set(title=title, xlabel="epoch")
        if name == "gradient_norm":
            axis.set_yscale("log")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return figure


def starts_compared(histories: dict[str, History]) -> Figure:
    """Several starts of one net: gradient norm of every layer before the first step, then of the lowest, and the loss.

    A gradient that dies falls by a factor a layer on its way back from the output: a straight line on the log scale.
    """
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    start, lowest, loss = figure.subplots(1, 3)
    for number, (name, history) in enumerate(histories.items()):
        layers, colour = by_layer(history), f"C{number}"
        norms = [columns["gradient_norm"] for columns in layers.values()]
        start.plot(range(1, len(norms) + 1), [norm[0] for norm in norms], color=colour, marker="o", label=name)
        _line(lowest, norms[0], colour, name)
        _line(loss, history["val/loss"], colour, name)
    start.set(title="before the first step", xlabel="layer, from input to output", ylabel="‖∂loss/∂W‖", yscale="log")
    lowest.set(title="lowest layer", xlabel="epoch", ylabel="‖∂loss/∂W‖", yscale="log")
    loss.set(title="learning", xlabel="epoch", ylabel="val/loss")
    figure.legend(*start.get_legend_handles_labels(), loc="outside right center")
    return figure


def _line(axis: Any, values: Sequence[float], colour: Any, label: str) -> None:
    axis.plot(values, color=colour, label=label, marker="." if len(values) < 3 else None)
