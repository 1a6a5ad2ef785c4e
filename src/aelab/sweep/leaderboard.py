"""The end of a multirun: its jobs, best first, and means over seeds, on the terminal, in files, W&B, and pictures."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from aelab.files import write_text
from aelab.log import phase, place
from aelab.results import tables
from aelab.results.history import REPEATS
from aelab.sweep.board import Board

log = logging.getLogger(__name__)


def publish(board: Board, folder: Path, config: DictConfig) -> None:
    """Write and print the board into the multirun's ``folder``; the failed jobs after it, each with its one line."""
    from aelab.results.saved_figures import Style
    from aelab.sweep.pictures import draw
    from aelab.sweep.seeds import enough, mean_rows
    from aelab.sweep.summary_run import log_summary

    means, answers = mean_rows(board), enough(board)
    rows = [*board.rows(folder), *means]
    failed = [f"job {job.number} {job.status}: {job.reason}  ({' '.join(job.overrides)})" for job in board.failures]
    write_text(folder / "leaderboard.csv", tables.comma_separated(rows))
    write_text(folder / "leaderboard.md", _page(board, rows, failed, answers))
    best = [0, *([len(rows) - len(means)] if means else [])]
    asked = [key for key in board.swept if key not in REPEATS]
    first = ["place", board.objectives[0], *asked, *board.objectives[1:]]
    tables.show(rows, f"{folder}: {', '.join(board.objectives)}, {board.direction}", first, best)
    if board.common:
        print("every job: " + " ".join(board.common))
    for line in [*failed, *answers]:
        print(line)
    with phase("drawing figures"):
        pictures = _or_say_why(draw, board, folder, Style(**config.figures)) or []
    print(f"leaderboard.md, leaderboard.csv{''.join(', ' + p.name for p in pictures)} in")
    print(place(folder))
    with phase("telling what watches the sweep"):
        _or_say_why(log_summary, rows, pictures, folder, config)


def _page(board: Board, rows: list[tables.Row], failed: list[str], answers: list[str]) -> str:
    parts = [f"# {', '.join(board.objectives)}: {board.direction}", tables.markdown(rows)]
    parts += ["\n".join(f"- {line}" for line in answers) + "\n"] * bool(answers)
    if board.common:
        parts.append("Every job: `" + " ".join(board.common) + "`\n")
    if failed:
        parts.append("## Failed\n\n" + "\n".join(f"- {line}" for line in failed) + "\n")
    return "\n".join(parts)


def _or_say_why(make: Any, *arguments: Any) -> Any:
    """The table is there by now: a picture that cannot be drawn must not cost the sweep its exit status."""
    try:
        return make(*arguments)
    except Exception as error:
        log.warning("%s: %s: %s", make.__name__, type(error).__name__, error)
        return None
