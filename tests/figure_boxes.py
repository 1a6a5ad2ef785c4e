"""What is written on a figure, and where: to hold that nothing overlaps, nothing is cut off, and axes have names."""

from itertools import combinations
from unittest.mock import patch

from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

Written = list[tuple[str, Bbox]]


def written(figure: Figure) -> Written:
    """(words, box in pixels) of all that can be read on ``figure`` as it is saved, in the order of drawing."""
    drawn: list[Text] = []
    canvas = FigureCanvasAgg(figure)
    with patch.object(Text, "draw", lambda text, renderer: drawn.append(text)):  # letters would take half of the time
        canvas.draw()
    seen = [text for text in drawn if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in seen]


def overlaps(figure: Figure, there: Written | None = None) -> list[tuple[str, str]]:
    """Pairs of words that lie on each other by more than a hair, half a point each way; ``there``, as ``written``."""
    hair = figure.dpi / 72 / 2
    there = written(figure) if there is None else there
    boxes = [(words, Bbox([[b.x0 + hair, b.y0 + hair], [b.x1 - hair, b.y1 - hair]])) for words, b in there]
    return [(one, other) for (one, box), (other, that) in combinations(boxes, 2) if box.overlaps(that)]


def cut_off(figure: Figure, there: Written | None = None) -> list[str]:
    """Words that do not lie on the figure."""
    edge = figure.bbox.padded(1)
    there = written(figure) if there is None else there
    return [words for words, b in there if not (edge.x0 <= b.x0 and b.x1 <= edge.x1) or not
            (edge.y0 <= b.y0 and b.y1 <= edge.y1)]  # fmt: skip


def nameless(figure: Figure) -> list[list[str]]:
    """The names of axes that have values at their ticks and do not all say of what; a colour bar has but one."""
    bad = []
    for axes in figure.axes:
        sides = [getattr(axes, f"{name}axis") for name in "xyz" if hasattr(axes, f"{name}axis")]
        names = [side.get_label_text() for side in sides]
        ticked = 1 if axes.get_label() == "<colorbar>" else sum(map(valued, sides))
        if axes.axison and sum(map(bool, names)) < ticked:
            bad.append(names)
    return bad


def valued(side: Axis) -> bool:
    """Whether anything is written at the ticks of one side of axes."""
    return any(text.get_visible() and text.get_text() for text in side.get_ticklabels())


def assert_readable(figure: Figure, name: str) -> None:
    """Nothing on it overlaps or is cut off, and every axis has a name."""
    there = written(figure)
    assert not overlaps(figure, there), (name, overlaps(figure, there))
    assert not cut_off(figure, there), (name, cut_off(figure, there))
    assert not nameless(figure), (name, nameless(figure))
