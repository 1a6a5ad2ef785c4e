"""A sweep's own run in Weights & Biases: the leaderboard as a table, and the pictures, in the group of its jobs."""

import logging
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aelab.sweep.tables import Row, cell

log = logging.getLogger(__name__)


def sweep_name(folder: Path) -> str:
    """What a sweep's jobs are grouped under: the path of its folder below ``sweeps``, else the folder's name."""
    parts = folder.absolute().parts
    return "/".join(parts[parts.index("sweeps") + 1 :]) if "sweeps" in parts[:-1] else folder.name


def log_summary(rows: list[Row], pictures: list[Path], folder: Path, config: DictConfig) -> None:
    """Write the summary run, ``job_type`` "sweep", where the jobs themselves are logged to Weights & Biases.

    The run has one id for one folder, so that a sweep gone on with has one summary run. Nobody waits for the network:
    without a key, or with WANDB_MODE=offline, the run is a folder below ``folder``/wandb to be synced later.
    """
    if OmegaConf.select(config, "hydra.runtime.choices.logger", default=None) != "wandb":
        return
    import hashlib

    import wandb

    name = sweep_name(folder)
    run = wandb.init(
        dir=folder,
        project=OmegaConf.select(config, "logger.project", default=None),
        entity=OmegaConf.select(config, "logger.entity", default=None),
        mode=_mode(config),
        group=name,
        job_type="sweep",
        name=f"sweep {name}",
        id=hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16],
        resume="allow",
        reinit="finish_previous",
        settings=wandb.Settings(silent=True, init_timeout=10),
    )
    try:
        table = wandb.Table(columns=list(rows[0]), data=list(zip(*(_of_one_type(rows, key) for key in rows[0]))))
        run.log({"leaderboard": table} | {f"sweep/{p.stem}": wandb.Image(str(p), caption=p.stem) for p in pictures})
        run.summary["best"] = next((value for key, value in rows[0].items() if key != "place"), None)
        run.summary["jobs"] = len(rows)
    finally:
        run.finish()


def _of_one_type(rows: list[Row], key: str) -> list[Any]:
    """A column as W&B wants it: numbers, or text where there is any text."""
    values = [row[key] for row in rows]
    return [cell(value) for value in values] if any(isinstance(value, str) for value in values) else values


def _mode(config: DictConfig) -> str:
    """As the jobs' own runs: what the logger's config asks, else WANDB_MODE, else online where there is a key."""
    from aelab.watch import has_key

    asked = OmegaConf.select(config, "logger.mode", default="auto")
    return asked if asked != "auto" else os.environ.get("WANDB_MODE") or ("online" if has_key() else "offline")
