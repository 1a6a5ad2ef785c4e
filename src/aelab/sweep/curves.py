"""Learning curves of a sweep over seeds or folds alone: of a run its loss, of a chain its nets side by side."""

from pathlib import Path

from aelab.config.reading import read_plain
from aelab.files import read_json
from aelab.results.history import REPEATS
from aelab.runs import folder as run_folder
from aelab.runs.chain import loss_constant
from aelab.sweep.board import Board

SPLITS = {"train/loss": "training loss", "val/loss": "validation loss"}

Panels = dict[str, dict[str, list[list[float]]]]  # what is measured → name of a line → of each job a value per epoch


def curves_of(board: Board) -> Panels | None:
    """Training and validation loss of each epoch, for every job; None where the jobs do more than repeat each other.

    Of a chain the stage that it is about, and those that are compared with it, a line each. What of the loss no
    weights can change is left out.
    """
    if len(board.done) < 2 or not board.swept or not set(board.swept) <= set(REPEATS):
        return None
    of_jobs = [compared_runs(job.folder) for job in board.done]
    shared = [name for name in of_jobs[0] if all(name in runs for runs in of_jobs)]
    runs = [(name, run_folder.read_history(of[name]), loss_constant(of[name])) for name in shared for of in of_jobs]
    unit = " less its constant, nats per sample" if any(constant for *_, constant in runs) else ", nats per sample"
    panels: Panels = {}
    for metric, words in SPLITS.items():
        for name, history, constant in runs:
            if metric in history:
                values = [value - constant for value in history[metric]]
                panels.setdefault(words + unit, {}).setdefault(name, []).append(values)
    return panels or None


def compared_runs(folder: Path) -> dict[str, Path]:
    """Name → folder: of a chain its main stage and those that are only compared with it; of a run its own, nameless."""
    if not (folder / "chain.json").exists():
        return {"": folder}
    about = read_json(folder / "chain.json")
    chain = read_plain(folder / "config.yaml", "hydra.sweep.dir")["chain"]
    return {
        name: folder / "stages" / f"{number}-{name}"
        for number, name in enumerate(about["stages"], 1)
        if name == about["last"] or (chain.get(name) or {}).get("baseline")
    }
