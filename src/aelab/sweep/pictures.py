"""Pictures of a finished sweep: settings against objectives, over seeds, learning curves, the best runs' images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aelab.config.overrides import shortest
from aelab.results.tables import cell
from aelab.sweep.board import Board, value_of
from aelab.sweep.seeds import repeated, series_of, setting

if TYPE_CHECKING:
    from aelab.functional.drawing.sheet import Sheet
    from aelab.results.saved_figures import Style

BEST_SHOWN = 6
LONGEST = 50  # letters of the objectives' names in a title
REPEATED = {"seed": "seeds", "data.fold": "folds"}
WIDE = 8.0  # inches of a run's images among the best


def draw(board: Board, folder: Path, style: "Style") -> list[Path]:
    """Draw parameters, parallel, seeds, curves and best into ``folder``, where there is something to show; the PNGs."""
    from aelab.functional.drawing.settings import against_settings, parallel_coordinates

    asked, objective = columns(board)
    runs = f"{len(board.done)} runs" if len(board.done) > 1 else "1 run"
    drawn = {}
    if board.done and asked:
        drawn["parameters"] = against_settings(f"{objective.name} of {runs}, by setting", asked, objective)
    if len(board.done) > 1 and len(asked) > 1:
        drawn["parallel"] = parallel_coordinates(f"The settings of {runs}, and what came of them", asked, objective)
    if board.done and repeated(board):
        drawn |= over_repeats(board)
    shown = [job for job in board.done if (job.folder / "figures" / "reconstructions.png").exists()][:BEST_SHOWN]
    if shown:
        drawn["best"] = reconstructions(board, shown)
    whose = f"sweep {folder.name}  ·  {board.objectives[0]}, {board.direction}"
    for sheet in drawn.values():
        sheet.sign(" ".join([whose, *(["  ·  every job:", *board.common] if board.common else [])]))
    return [save(sheet, folder, name, style) for name, sheet in drawn.items()]


def over_repeats(board: Board) -> "dict[str, Sheet]":
    """``seeds``: objectives against a setting, and ``curves``: losses against the epoch; mean and spread over seeds."""
    from aelab.functional.drawing.sheet import shortened
    from aelab.functional.drawing.spread import learning_curves_over_seeds, over_seeds
    from aelab.sweep.curves import curves_of

    drawn = {}
    what = f"mean ± sd over {' and '.join(REPEATED[key] for key in repeated(board))}"
    if series := series_of(board):
        names = shortened(" and ".join(board.objectives), LONGEST)
        figure, errors = figure_of(board.objectives), board.direction == "minimize"
        drawn["seeds"] = over_seeds(f"{names} of {len(board.done)} runs, {what}", *series, figure, errors)
    if panels := curves_of(board):
        drawn["curves"] = learning_curves_over_seeds(f"Learning curves of {len(board.done)} runs, {what}", panels)
    return drawn


def figure_of(objectives: Sequence[str]) -> str:
    """In words, where the objectives are one figure of several models: test/class_error, test/scratch_class_error."""
    from aelab.results.report import LINES

    least = min((name.rpartition("/")[2] for name in objectives), key=len)
    if all(name.rpartition("/")[2].endswith(least) for name in objectives):
        return LINES.get(f"test/{least}", least)
    return " and ".join(objectives)


def columns(board: Board) -> tuple[list[Any], Any]:
    """The swept settings, by their shortest names, and the first objective; each with its value in every done run."""
    from aelab.functional.drawing.settings import Setting

    asked = [Setting(name, [setting(job, key) for job in board.done]) for key, name in shortest(board.swept).items()]
    return asked, Setting(board.objectives[0], [job.values[0] for job in board.done])


def reconstructions(board: Board, shown: list[Any]) -> "Sheet":
    """The reconstructions of the best jobs, one above the other, best first."""
    from PIL import Image

    from aelab.functional.drawing.sheet import CAPTION, EDGE, SMALL, STRIP, Sheet

    images = [cropped(Image.open(job.folder / "figures" / "reconstructions.png"), STRIP) for job in shown]
    heights = [WIDE * image.height / image.width for image in images]
    sheet = Sheet(
        f"Reconstructions of the best {len(shown)}", WIDE + 2 * EDGE, sum(heights) + len(shown) * 1.5 * CAPTION
    )
    top = sheet.get_size_inches()[1] - STRIP
    names = shortest(board.swept)
    for job, image, height in zip(shown, images, heights):
        top -= 1.5 * CAPTION + height
        axes = sheet.place(EDGE, top, WIDE, height)
        axes.imshow(image, aspect="auto")
        what = ", ".join(f"{name}={cell(value_of(job, key))}" for key, name in names.items())
        axes.set_title(f"#{job.number}  {board.objectives[0]} {job.values[0]:.4g}  {what}", fontsize=SMALL, loc="left")
    return sheet


def cropped(image: Any, inches: float) -> Any:
    """Without the strip on top, which says what is said here once more."""
    strip = round(inches * image.info.get("dpi", (0, 0))[1])
    return image.crop((0, strip, image.width, image.height)) if strip < image.height else image


def save(sheet: "Sheet", folder: Path, name: str, style: "Style") -> Path:
    """Write a picture as every other one; the PNG."""
    from aelab.results.saved_figures import save as save_figures

    return save_figures({name: sheet}, folder, style)[name]
