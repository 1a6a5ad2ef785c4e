"""Where a run can be watched besides its own folder: Weights & Biases, TensorBoard, or nowhere."""

import netrc
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from pytorch_lightning.loggers import Logger

from aelab.errors import UserError


def no_logger(folder: Path, settings: dict[str, Any]) -> None:
    """None: history.csv and figures/ are written by every run."""


def tensorboard_logger(folder: Path, settings: dict[str, Any]) -> Logger:
    """TensorBoard's event file in the run folder."""
    from pytorch_lightning.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder, name="", version="")
    except ModuleNotFoundError as error:
        raise UserError("logger: tensorboard is not installed; pip install tensorboard, or take logger=csv") from error


def wandb_logger(
    project: str,
    entity: str | None,
    mode: Literal["auto", "online", "offline", "disabled"],
    name: str | None,
    group: str | None,
    job_type: str,
    tags: list[str],
    folder: Path,
    settings: dict[str, Any],
) -> Logger:
    """A W&B run of this run folder, offline unless there is a key or ``mode`` says otherwise.

    The run's id is a function of nothing but the folder's first start, so a resumed run goes on in the same W&B run.
    """
    from pytorch_lightning.loggers import WandbLogger

    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if has_key() else "offline")
    logger = WandbLogger(
        project=project, entity=entity, name=name or folder.name, group=group, job_type=job_type, tags=tags,
        save_dir=folder, id=run_id(folder), mode=mode, config=settings, log_model=False, resume="allow",
    )  # fmt: skip
    logger.experiment.define_metric("epoch")
    logger.experiment.define_metric("*", step_metric="epoch")
    return logger


def has_key() -> bool:
    """Whether wandb would find an API key without asking for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def run_id(folder: Path) -> str:
    """The id of this folder's W&B run: drawn at its first start, kept in the folder."""
    import secrets

    path = folder / "wandb-id"
    if not path.exists():
        path.write_text(secrets.token_hex(4))
    return path.read_text()


def finish(loggers: list[Logger], metrics: dict[str, float], figures: dict[str, Path], failed: bool = False) -> None:
    """Hand over the final metrics and pictures and end the run, so that the next one in this process is its own."""
    from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger

    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb

            run = logger.experiment
            run.log({f"figures/{name}": wandb.Image(str(path), caption=name) for name, path in figures.items()})
            run.summary.update(metrics)
            run.finish(exit_code=1 if failed else 0)
        elif isinstance(logger, TensorBoardLogger):
            logger.log_metrics(metrics)
            logger.finalize("failed" if failed else "success")


def how_to_look(folder: Path) -> str:
    """The command that shows the run, given what it left."""
    runs = sorted((folder / "wandb").glob("*run-*")) if (folder / "wandb").exists() else []
    if runs and runs[-1].name.startswith("offline"):
        return f"wandb leet {folder / 'wandb'}    (to send it: wandb sync {runs[-1]})"
    return f"the W&B page above, or {folder / 'figures'}" if runs else f"look at {folder / 'figures'}"


