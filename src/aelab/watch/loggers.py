"""Where a run can be watched besides its own folder: Weights & Biases, TensorBoard, or nowhere."""

from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl

from aelab.errors import UserError
from aelab.watch.place import Watch


def no_logger(folder: Path, settings: dict[str, Any]) -> None:
    """None: history.csv and figures/ are written by every run."""


def tensorboard_logger(folder: Path, settings: dict[str, Any]) -> Watch:
    """TensorBoard's event file in the run folder: each epoch's metrics, and the final ones."""
    from pytorch_lightning.loggers import TensorBoardLogger

    try:
        return TensorBoard(TensorBoardLogger(folder, name="", version=""))
    except ModuleNotFoundError as error:
        raise UserError("logger: tensorboard is not installed; pip install tensorboard, or take logger=csv") from error


class TensorBoard(Watch):
    def __init__(self, writer: Any):
        self.writer = writer
        self.epochs = 0

    def epoch(self, trainer: pl.Trainer, model: pl.LightningModule, rows: list[dict[str, float]]) -> None:
        row = dict(rows[-1])
        self.epochs = row.pop("epoch") + 1
        self.writer.log_metrics(row, step=self.epochs - 1)

    def end(self, metrics: dict[str, float], pictures: dict[str, Path], failed: bool, reason: str) -> None:
        tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
        self.writer.log_metrics(tested, step=self.epochs)
        self.writer.finalize("failed" if failed else "success")


def wandb_logger(
    project: str,
    entity: str | None,
    mode: Literal["auto", "online", "offline", "disabled"],
    name: str | None,
    group: str | None,
    job_type: str,
    tags: list[str],
    pictures_every: int,
    histograms: bool,
    watch: bool,
    artifacts: bool,
    folder: Path,
    settings: dict[str, Any],
) -> Watch:
    """A W&B run of this run folder, see :mod:`aelab.watch.wandb_run`.

    Raises ``UserError`` for what W&B would refuse: a project's name, a tag, a mode.
    """
    from aelab.watch.wandb_run import WandbRun
    from aelab.watch.wandb_start import wanted

    bad = [c for c in project if c in "/\\#?%:"]
    if bad or not 0 < len(project) <= 128:
        raise UserError(
            f"logger.project: {project!r} has {bad or 'too few or too many characters'}; take letters and -"
        )
    for tag in tags:
        if not 0 < len(tag) <= 64:
            raise UserError(f"logger.tags: {tag!r} must have 1 to 64 characters; give another word")

    if pictures_every < 0:
        raise UserError(
            f"logger.pictures_every: must be at least 0, got {pictures_every}; 0 shows them at the end only"
        )
    about = {"project": project, "entity": entity, "name": name, "group": group, "job_type": job_type, "tags": tags}
    return WandbRun(folder, settings, wanted(mode), about, pictures_every, histograms, watch, artifacts)


def finish(
    watching: list[Watch], metrics: dict[str, float], pictures: dict[str, Path], failed: bool = False, reason: str = ""
) -> None:
    """Tell every place that the run is over, so that the next run in this process is its own."""
    for place in watching:
        place.end(metrics, pictures, failed, reason)


def how_to_look(folder: Path) -> str:
    """The command that shows the run, or where its pictures are, given what it left."""
    runs = [path.name for path in folder.glob("wandb/*run-*")]
    if any(name.startswith("offline") for name in runs):
        from aelab.watch.wandb_start import to_send

        return f"wandb leet {folder / 'wandb'}    (to send it: {to_send(folder)})"
    if any(folder.glob("events.out.tfevents.*")):
        return f"tensorboard --logdir {folder}"
    return f"the W&B page above, or {folder / 'figures'}" if runs else str(folder / "figures")
