"""A sweep's own run in Weights & Biases: the leaderboard as a table, and the pictures, in the group of its jobs."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aelab.results.tables import Row, cell, in_numbers


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

    from aelab.watch import wandb_start

    name = sweep_name(folder)
    logger = {key: OmegaConf.select(config, f"logger.{key}", default=None) for key in ("project", "entity")}
    mode = wandb_start.wanted(OmegaConf.select(config, "logger.mode", default="auto"))
    run_id = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    with wandb_start.harmless(folder):
        run = wandb_start.start(folder, mode, {}, run_id, group=name, job_type="sweep", name=f"sweep {name}", **logger)
        rows = in_numbers(rows)
        table = wandb.Table(columns=list(rows[0]), data=list(zip(*(_of_one_type(rows, key) for key in rows[0]))))
        run.log({"leaderboard": table} | {f"sweep/{p.stem}": wandb.Image(str(p), caption=p.stem) for p in pictures})
        run.summary["best"] = next((value for key, value in rows[0].items() if key != "place"), None)
        run.summary["jobs"] = sum(row["folder"] is not None for row in rows)
        wandb_start.finish(run, folder, failed=False)


def _of_one_type(rows: list[Row], key: str) -> list[Any]:
    """A column as W&B wants it: numbers, or text where there is any text."""
    values = [row[key] for row in rows]
    return [cell(value) for value in values] if any(isinstance(value, str) for value in values) else values
