"""Where a run can be watched besides its own folder: Weights & Biases, TensorBoard, any Logger of Lightning's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from aelab import log
from aelab.config.build import asks_for, build
from aelab.errors import UserError
from aelab.ranges import Natural
from aelab.results.evaluation import alone
from aelab.watch import conventions
from aelab.watch.wandb_run import WandbRun
from aelab.watch.wandb_start import wanted


def build_loggers(node: dict[str, Any], folder: Path, settings: dict[str, Any]) -> list[Logger]:
    """The logger of the config node ``logger``, and those that stand in it by a name of their own.

    One that asks for ``folder`` or ``settings`` is given the run's.
    """
    own = {name: part for name, part in node.items() if isinstance(part, dict) and "_target_" in part}
    main = {name: part for name, part in node.items() if name not in own}
    built = []
    for key, part in {"logger": main, **{f"logger.{name}": part for name, part in own.items()}}.items():
        if part:
            offers = {"folder": folder, "settings": settings}
            built.append(build(part, key, **{name: value for name, value in offers.items() if asks_for(part, name)}))
            if not isinstance(built[-1], Logger):
                raise UserError(f"{key}: {type(built[-1]).__name__} is no pytorch_lightning Logger; leave it out")
    return built


def tensorboard_logger(folder: Path) -> Logger:
    """TensorBoard's event file in the run folder: each epoch's metrics, the final ones, and the figures."""
    try:
        return TensorBoard(folder, name="", version="")
    except ModuleNotFoundError as error:
        raise UserError("logger: tensorboard is not installed; pip install tensorboard, or take logger=csv") from error


class TensorBoard(TensorBoardLogger):
    def save(self) -> None:
        """Nothing but the events: config.yaml has the settings."""
        self.experiment.flush()

    def show(self, pictures: dict[str, Path], step: int) -> None:
        """The run's figures, as they lie in its folder."""
        import numpy as np
        from PIL import Image

        for name, path in pictures.items():
            with Image.open(path) as image:
                self.experiment.add_image(f"figures/{name}", np.asarray(image.convert("RGB")), step, dataformats="HWC")


def wandb_logger(
    project: str | None,
    entity: str | None,
    mode: Literal["auto", "online", "offline", "disabled"],
    name: str | None,
    notes: str | None,
    group: str | None,
    job_type: str | None,
    tags: list[str],
    pictures_every: Natural,
    histograms: bool,
    watch: bool,
    artifacts: bool,
    folder: Path,
    settings: dict[str, Any],
) -> Logger:
    """A W&B run of this run folder, see :mod:`aelab.watch.wandb_run`.

    Raises ``UserError`` for what W&B would refuse: a project's name, a tag, a mode.
    """
    name_of_project = conventions.asked("project") if project is None else project
    if name_of_project is not None:
        key = "logger.project" if project is not None else conventions.VARIABLES["project"]
        bad = [c for c in name_of_project if c in "/\\#?%:"]
        if bad or not 0 < len(name_of_project) <= 128:
            what = bad or "too few or too many characters"
            raise UserError(f"{key}: {name_of_project!r} has {what}; take letters and -")
    for key, given in (("logger.tags", tags), (conventions.VARIABLES["tags"], conventions.asked("tags") or [])):
        for tag in given:
            if not 0 < len(tag) <= 64:
                raise UserError(f"{key}: {tag!r} must have 1 to 64 characters; give another word")
    about: dict[str, Any] = {"project": project, "entity": entity, "name": name, "notes": notes}
    about |= {"group": group, "job_type": job_type, "tags": tags}
    return WandbRun(folder, settings, wanted(mode), about, pictures_every, histograms, watch, artifacts)


def finish(
    loggers: Sequence[Logger], metrics: dict[str, float], pictures: dict[str, Path], step: int, failed: bool = False,
    reason: str = "",
) -> None:  # fmt: skip
    """Tell everybody that the run is over and what it came to; one that fails at it costs a line of warning."""
    for logger in loggers:
        with alone(f"logger: {type(logger).__name__}"):
            if isinstance(logger, WandbRun):
                logger.end(metrics, pictures, failed, reason)
            else:
                tested = {name: value for name, value in metrics.items() if name.startswith("test/")}
                if tested:
                    logger.log_metrics(tested, step)
                if isinstance(logger, TensorBoard):
                    logger.show(pictures, step)
                logger.finalize("failed" if failed else "success")


def how_to_look(folder: Path) -> str:
    """The command that shows the run, and on a line of its own the one that sends it; or where its pictures are."""
    runs = [path.name for path in folder.glob("wandb/*run-*")]
    if any(name.startswith("offline") for name in runs):
        from aelab.watch.wandb_start import to_send

        return f"wandb leet {log.place(folder / 'wandb')}\nto send it  {to_send(Path(log.place(folder)))}"
    if any(folder.glob("events.out.tfevents.*")):
        return f"tensorboard --logdir {log.place(folder)}"
    pictures = log.place(folder / "figures")
    return f"the W&B page above, or {pictures}" if runs else pictures
