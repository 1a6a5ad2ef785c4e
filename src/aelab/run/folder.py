"""What a run leaves on disk, written whole or not at all, and how it is loaded back, safely.

config.yaml (resolved), command.txt, last.ckpt, best.ckpt, history.csv, metrics.json, timing.json, layers.pt, figures/.
"""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from aelab.errors import UserError
from aelab.files import read_json, write_whole

if TYPE_CHECKING:
    from aelab.models.base import Base
    from aelab.rbm.layer import Layer


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """One row per epoch; the columns are all names that any epoch has, ``epoch`` first."""
    write_whole(path, lambda part: part.write_bytes(_table(rows)))


def _table(rows: list[dict[str, float]]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, ["epoch", *sorted({name for row in rows for name in row} - {"epoch"})])
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


def read_history(folder: Path) -> dict[str, list[float]]:
    """Column → values of history.csv; an epoch that lacks a metric has NaN there. A run without epochs has none."""
    path = Path(folder) / "history.csv"
    if not path.exists():
        return {}
    with path.open() as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name] or "nan") for row in rows] for name in (rows[0] if rows else {})}


def mend_history(folder: Path) -> None:
    """Write history.csv again from last.ckpt, which holds its rows too, unless it is what they give."""
    path = folder / "history.csv"
    callbacks = read_checkpoint(folder, "last", "resume").get("callbacks", {})
    rows = next((state["rows"] for state in callbacks.values() if "rows" in state), None)
    if rows is not None and not (path.exists() and path.read_bytes() == _table(rows)):
        write_history(path, rows)


def read_config(folder: str | Path, key: str = "resume") -> DictConfig:
    """The resolved config of a run. Raises ``UserError`` naming ``key`` when the folder is no run's."""
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise UserError(f"{key}: {folder} is no run folder (it has no config.yaml); give the folder a run printed")
    try:
        config = OmegaConf.load(path)
    except Exception as error:  # whatever the YAML reader found
        raise UserError(f"{key}: {path} cannot be read ({str(error).splitlines()[0]})") from error
    if not isinstance(config, DictConfig) or "model" not in config:
        raise UserError(f"{key}: {path} is not the config of a run; give the folder a run printed")
    return config


def read_checkpoint(folder: str | Path, weights: str, key: str) -> dict[str, Any]:
    """``last`` or ``best`` checkpoint as plain tensors and values; nothing in it can run."""
    import torch

    path = Path(folder) / f"{weights}.ckpt"
    if not path.is_file():
        raise UserError(f"{key}: {folder} has no {weights}.ckpt; the run ended before its first epoch, start it anew")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        checkpoint["state_dict"], checkpoint["aelab"]["shape"]
    except Exception as error:  # a damaged file can raise nearly anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{key}: {path} is damaged or no checkpoint of aelab ({reason[:120]})") from error
    return checkpoint


def load(folder: str | Path, weights: str = "last") -> "Base":
    """The model of a finished (or stopped) run, in evaluation mode on the CPU, ready to encode, decode, reconstruct.

    Of a chain's folder it is the last stage's. ``weights`` is ``"last"`` or ``"best"``. Raises ``UserError`` for a
    folder that is no run's, a damaged checkpoint, or weights of another model.
    """
    from aelab.config.build import build, build_model

    folder = last_stage(folder, "load")
    cfg = read_config(folder, "load")
    checkpoint = read_checkpoint(folder, weights, "load")
    layers = read_layers(folder, "load", "below.pt") if (Path(folder) / "below.pt").exists() else []
    about = checkpoint["aelab"]
    model = build_model(cfg.model, tuple(about["shape"]), layers, about["n_classes"])
    model.corruption = build(cfg.corruption, "corruption")
    put_weights(model, checkpoint, f"load: {folder}")
    return model.eval()


def last_stage(folder: str | Path, key: str) -> Path:
    """The run that a chain's folder came to; any other folder is itself."""
    path = Path(folder) / "chain.json"
    if not path.exists():
        return Path(folder)
    try:
        return Path(folder) / read_json(path)["link"]
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{key}: {path} is damaged; give the chain's command again, it finds its stages") from error


def put_weights(model: "Base", checkpoint: dict[str, Any], key: str) -> None:
    """Load the checkpoint's weights; another model's are refused in one line."""
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"{key} holds the weights of another model ({reason[:160]}); take it as a run left it"
        ) from error


def read_layers(folder: str | Path | None, key: str, name: str = "layers.pt") -> list["Layer"]:
    """The layers a run hands on: those it stood on and its own. None gives none."""
    from aelab.rbm.layer import load_layers

    if folder is None:
        return []
    folder = last_stage(folder, key)
    read_config(folder, key)
    path = Path(folder) / name
    if not path.is_file():
        raise UserError(f"{key}: {folder} has no {name}; that model hands no layer on, give the run of one that does")
    return load_layers(path)
