"""The sheet that every figure is drawn on: what it shows and whose it is on top, below that pictures or plots."""

import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from PIL import Image

STRIP = 0.52  # inches on top: a line that says what is shown, a line that says of which run
EDGE = 0.1  # inches left free round everything
CAPTION = 0.2  # inches, a line of text
LEFT, BELOW, TITLE = 0.72, 0.45, 0.25  # inches beside a plot for what is written there: values and names
NARROWEST = 5.0  # inches: a title has to fit
TEXT, SMALL, SMALLEST = 9, 8, 6  # points
EM = 0.6  # mean width of a letter, in its own height: an estimate from above for words and numbers
LOG_FROM = 5  # largest over smallest value from which on an axis is logarithmic
DECADE = 10.0  # the same where 0 is among the values

# Okabe & Ito 2008, yellow last: eight colours that any two of remain apart for the colour-blind.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
# Paul Tol's "muted" and black, for classes.
CLASSES = (
    "#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE", "#882255", "#44AA99", "#999933", "#AA4499", "#000000",
)  # fmt: skip
MARK = "#D55E00"  # of what is pointed out
MARKERS = ("o", "^", "s", "D")


class Sheet(Figure):
    """``title`` says what is shown, and of which samples; ``sign`` puts below it whose figure it is.

    ``width`` and ``height`` are of the space below, inches. ``fitted`` finds room for whatever labels there will be;
    otherwise everything stands where it is put, which takes half the time.
    """

    def __init__(self, title: str, width: float, height: float, fitted: bool = False):
        width = max(width, NARROWEST)
        layout = ConstrainedLayoutEngine(rect=(0, 0, 1, height / (height + STRIP))) if fitted else None
        super().__init__(figsize=(width, height + STRIP), layout=layout)
        self.head(title, 0.3, 10, weight="bold")

    def sign(self, subject: str) -> None:
        """Say whose figure it is: model, data, figure of merit."""
        self.head(subject, 0.08, SMALL, color="0.3")

    def head(self, text: str, above: float, size: float, **style: Any) -> None:
        """A line ``above`` the lower edge of the strip, smaller where it would not fit the width, in the end cut."""
        width, height = self.get_size_inches()
        room = (width - 2 * EDGE) * 72 / EM
        most = int(room / SMALLEST)
        text = text if len(text) <= most else text[: most - 1] + "…"
        fits = room / max(len(text), 1)
        at = EDGE / width, 1 - (STRIP - above) / height
        self.text(*at, text, fontsize=min(size, fits), in_layout=False, **style)

    def place(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes without ticks, in inches from the lower left corner."""
        w, h = self.get_size_inches()
        axes = self.add_axes((left / w, bottom / h, width / w, height / h))
        axes.set_axis_off()
        return axes

    def plots(self, rows: int = 1, columns: int = 1, right: float = EDGE, titled: bool = False) -> list[Axes]:
        """Axes in rows, the first row first, with room for what is written round them, ``right`` of them in inches."""
        width, height = self.get_size_inches()
        room = {}
        if self.get_layout_engine() is None:
            across = (width - LEFT - right - (columns - 1) * LEFT) / columns
            above = TITLE if titled else 0.06
            up = (height - STRIP - rows * (BELOW + above)) / rows
            room = {"left": LEFT / width, "right": 1 - right / width, "wspace": LEFT / across}
            room |= {"bottom": BELOW / height, "top": 1 - (STRIP + above) / height, "hspace": (BELOW + above) / up}
        axes = list(self.subplots(rows, columns, squeeze=False, gridspec_kw=room).flat)
        for one in axes:
            few_ticks(one)
        return axes


def save(figure: Figure, path: Path, kind: Literal["png", "pdf", "svg"], dpi: int) -> None:
    """Write a figure; a PNG is drawn once and not squeezed as hard as matplotlib does, in half of its time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a person's name in a script that the font lacks
        if kind != "png":
            figure.savefig(path, format=kind, dpi=dpi)
            return
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.save(path, format="png", dpi=(dpi, dpi), compress_type=zlib.Z_RLE)


def few_ticks(axes: Axes) -> None:
    """At most five ticks an axis, in small letters: a fifth of the time of a figure goes into its ticks."""
    axes.tick_params(labelsize=SMALL)
    axes.locator_params(nbins=5)


def label(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Name both axes, with units, and the plot where there are several."""
    axes.set_xlabel(x, fontsize=TEXT)
    axes.set_ylabel(y, fontsize=TEXT)
    if title:
        axes.set_title(title, fontsize=TEXT)


def whole_numbers(axis: Any) -> None:
    """Ticks at whole numbers only."""
    axis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))


def spans_decades(values: Sequence[float] | np.ndarray) -> bool:
    """Whether ``values`` are better seen on a logarithmic axis: all above 0, and not all of one size."""
    low, high = np.min(values), np.max(values)
    return bool(low > 0 and high / low >= LOG_FROM)


def logarithmic(axes: Axes, which: str, values: Sequence[float] | np.ndarray) -> None:
    """A logarithmic axis with room round ``values`` and few ticks, as numbers that one reads."""
    low, high = float(np.min(values)), float(np.max(values))
    room = (high / low) ** 0.05
    decades = np.log10(high / low)
    axis = getattr(axes, f"{which}axis")
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low / room, high * room)
    subs = (1.0,) if decades >= 2 else (1.0, 2.0, 5.0) if decades >= 1 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    axis.set_major_locator(LogLocator(subs=subs, numticks=6 if decades >= 2 else 12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def spans_decades_from_zero(values: Sequence[float] | np.ndarray) -> bool:
    """Whether ``values`` are 0 and others that are better seen on a logarithmic axis: a decade or more apart."""
    above = np.unique([value for value in values if value > 0])
    return bool(np.min(values) == 0 and len(above) > 1 and above[-1] >= DECADE * above[0])


def logarithmic_from_zero(axes: Axes, values: Sequence[float] | np.ndarray) -> None:
    """A horizontal axis that is logarithmic above the least positive value, with 0 one step of ``values`` before it."""
    above = np.unique([value for value in values if value > 0])
    step = float(np.log10(above[-1] / above[0])) / (len(above) - 1)
    axes.set_xscale("symlog", linthresh=above[0], linscale=step * (1 - 1 / DECADE))  # in matplotlib's own unit
    axes.set_xlim(-0.3 * above[0], above[-1] * (above[-1] / above[0]) ** 0.05)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def number(value: float) -> str:
    """Four digits at most, powers of ten as 10⁻⁴ would be typed: 1e-4."""
    mantissa, _, exponent = f"{value:.4g}".partition("e")
    if not exponent and 0 < abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:.3e}".partition("e")
        mantissa = f"{float(mantissa):g}"
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def class_colours(n: int) -> list[Any]:
    """A colour for each of ``n`` classes; of more than ten, some share one (and differ in their marker)."""
    return [CLASSES[i % len(CLASSES)] for i in range(n)]


def line_colours(n: int) -> list[Any]:
    """A colour for each of ``n`` lines: eight that anybody can tell apart, or steps of viridis."""
    return list(LINES[:n]) if n <= len(LINES) else list(matplotlib.colormaps["viridis"](np.linspace(0, 0.93, n)))


def shortened(text: str, most: int) -> str:
    """At most ``most`` letters, the middle left out: both ends of a setting tell it apart."""
    if len(text) <= most:
        return text
    front = (most - 1) // 2
    return f"{text[:front]}…{text[len(text) - (most - 1 - front) :]}"
