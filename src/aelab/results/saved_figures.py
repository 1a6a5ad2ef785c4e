"""How figures are saved, those of runs, chains, sweeps and comparisons; nothing here needs PyTorch."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from aelab.files import write_whole
from aelab.functional.drawing.sheet import save as save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Style(NamedTuple):
    """How figures are saved: PNG at ``dpi``, and ``format`` beside it where that is another one."""

    format: Literal["png", "pdf", "svg"]
    dpi: int


def save(figures: "Mapping[str, Figure]", folder: Path, style: Style) -> dict[str, Path]:
    """Write each as ``folder/NAME.png``, and beside it in another format asked for; name → path of the PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        for kind in dict.fromkeys(("png", style.format)):
            write_whole(folder / f"{name}.{kind}", partial(save_figure, figure, kind=kind, dpi=style.dpi))
    return {name: folder / f"{name}.png" for name in figures}
