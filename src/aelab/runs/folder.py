"""What a run leaves on disk, written whole or not at all, and how it is loaded back, safely.

config.yaml (resolved), command.txt, last.ckpt, best.ckpt, history.csv, metrics.json, timing.json, made_by.json,
layers.pt, figures/; log, all that was said; SHA256SUMS, by which it is noticed that a text has changed since.
"""

import csv
import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from aelab import files, locks, log
from aelab.clock import processor
from aelab.config.overrides import plain
from aelab.config.reading import read_plain
from aelab.config.targets import refuse_strangers
from aelab.errors import UserError
from aelab.runs.epochs import columns_of

if TYPE_CHECKING:
    from aelab.models.base import Model
    from aelab.rbm.layer import Layer

PACKAGES = ("torch", "pytorch-lightning", "scikit-learn")  # by which figures may change
SCORES = "training_scores.npz"  # the score of each training row, sorted, once task=score has asked for it
JOINT = "training_joint.npz"  # the same of score.by=joint, and the density


@contextmanager
def claimed(folder: Path, key: str) -> Iterator[None]:
    """Inside, no other process is at work in ``folder``; raises ``UserError`` naming ``key`` where one already is."""
    lock = locks.take(folder / ".lock", wait=1.0)
    if lock is None:
        raise UserError(f"{key}: another process is at work in {folder}; let it end, or choose another folder")
    try:
        yield
    finally:
        if [path.name for path in folder.iterdir()] == [".lock"]:  # the run was refused
            with suppress(OSError):
                (folder / ".lock").unlink()
        lock.release()


def holds_a_run(folder: Path) -> bool:
    """Whether ``folder`` has anything to lose: a run that ended, or one that was stopped after its first epoch."""
    return any((folder / name).exists() for name in ("last.ckpt", "metrics.json", "chain.json"))


def clear(folder: Path) -> None:
    """Take away what a run that never finished its first epoch has left."""
    for name in ("best.ckpt", "below.pt", "layers.pt", "history.csv"):
        (folder / name).unlink(missing_ok=True)


def begin(folder: Path, settings: str) -> None:
    """From here on ``folder``/config.yaml holds ``settings``, and what was measured in the folder before is void."""
    for part in folder.glob(".*.part"):  # what a killed process was writing
        part.unlink()
    config = folder / "config.yaml"
    if config.exists() and config.read_text() == settings and not (folder / "metrics.json").exists():
        return
    for name in (files.SUMS, "metrics.json", "made_by.json", SCORES, JOINT):
        (folder / name).unlink(missing_ok=True)
    files.write_text(config, settings)
    files.write_sums(folder, {"config.yaml": settings})


def finish(folder: Path, metrics: dict[str, float], timing: dict[str, float]) -> None:
    """timing.json, the sums of all texts and, last, metrics.json: a folder that has it is a finished run's."""
    texts = {"timing.json": files.as_json(timing), "metrics.json": files.as_json(metrics)}
    if not (folder / "made_by.json").exists():  # a run that is measured again was made before
        files.write_json(folder / "made_by.json", made_by())
    texts_of_before = "config.yaml", "history.csv", "made_by.json"
    there = {name: folder / name for name in texts_of_before if (folder / name).exists()}
    files.write_json(folder / "timing.json", timing)
    files.write_sums(folder, texts | {name: path.read_bytes() for name, path in there.items()})
    files.write_json(folder / "metrics.json", metrics)


def made_by() -> dict[str, Any]:
    """What a figure of a run is told with: the day, the processor and the packages' versions."""
    versions = {name: version(name) for name in PACKAGES}
    return {"date": datetime.now(UTC).date().isoformat(), "processor": processor(), "versions": versions}


def read_made_by(folder: Path) -> dict[str, Any]:
    """``made_by`` of a finished run; of one that an earlier aelab made, that of now."""
    path = folder / "made_by.json"
    return files.read_json(path, "runs") if path.exists() else made_by()


def write_history(path: Path, table: str) -> None:
    """The table of a run's epochs so far; a power cut may cost it, for last.ckpt has it too."""
    files.write_whole(path, lambda part: part.write_bytes(table.encode()), durable=False)


def read_history(folder: Path, key: str = "hydra.run.dir") -> dict[str, list[float]]:
    """Column → values of history.csv; an epoch that lacks a metric has NaN there. A run without epochs has none.

    Raises ``UserError`` naming ``key`` for a table that is damaged.
    """
    path = Path(folder) / "history.csv"
    if not path.exists():
        return {}
    try:
        return columns_of(files.as_written(path).decode())
    except (ValueError, csv.Error) as error:
        raise files.damaged(path, key, error) from error


def mend_history(folder: Path) -> None:
    """Write history.csv again from last.ckpt, which holds its table too, unless it is just that."""
    path = folder / "history.csv"
    callbacks = read_checkpoint(folder, "last", "resume").get("callbacks", {})
    table = next((state["table"] for state in callbacks.values() if "table" in state), None)
    if table is not None and not (path.exists() and path.read_bytes() == table.encode()):
        write_history(path, table)


def read_config(folder: str | Path, key: str = "resume") -> DictConfig:
    """The resolved config of a run, as ``read_settings`` reads it."""
    return OmegaConf.create(read_settings(folder, key))


def read_settings(folder: str | Path, key: str) -> dict[str, Any]:
    """The resolved config of a run, as plain values. Raises ``UserError`` naming ``key`` for a folder that is no run's.

    A ``DictConfig`` of it takes ten times as long to make.
    """
    path = Path(folder) / "config.yaml"
    if not path.is_file():
        raise UserError(f"{key}: {folder} is no run folder (it has no config.yaml); give the folder a run printed")
    config = read_plain(path, key)
    try:
        files.as_written(path)
    except ValueError:
        log.warn(f"{path} is not as the run wrote it, it was edited or is damaged; it is taken as it is")
    if not isinstance(config.get("model"), dict):
        raise UserError(f"{key}: {path} is not the config of a run; give the folder a run printed")
    return config


def read_checkpoint(folder: str | Path, weights: str, key: str) -> dict[str, Any]:
    """``last`` or ``best`` checkpoint as plain tensors and values; nothing in it can run."""
    path = Path(folder) / f"{weights}.ckpt"
    if not path.is_file():
        finished = (path.parent / "metrics.json").exists()
        how = "it is lost, put it back" if finished else "the run ended before its first epoch"
        raise UserError(f"{key}: {folder} has no {weights}.ckpt; {how}, or start the run anew")
    try:
        checkpoint = files.read_tensors(path)
        checkpoint["state_dict"], checkpoint["aelab"]["shape"]
    except Exception as error:  # a damaged file can raise nearly anything
        raise files.damaged(path, key, error) from error
    return checkpoint


def load(folder: str | Path, weights: str = "last", trust: Sequence[str] = (), key: str = "load") -> "Model":
    """The model of a finished (or stopped) run, in evaluation mode on the CPU, ready to encode, decode, reconstruct.

    Of a chain's folder it is the last stage's. ``weights`` is ``"last"`` or ``"best"``. Of code that is not aelab's
    only that of the packages in ``trust`` is run. Raises ``UserError`` for a folder that is no run's, a model of other
    code, a damaged checkpoint, or weights of another model; it names ``key``.
    """
    from aelab.config.build import build, build_model

    folder = last_stage(folder, key)
    cfg = read_config(folder, key)
    refuse_strangers({name: plain(cfg)[name] for name in ("model", "corruption")}, trust, key)
    checkpoint = read_checkpoint(folder, weights, key)
    layers = read_layers(folder, key, "below.pt") if (Path(folder) / "below.pt").exists() else []
    about = checkpoint["aelab"]
    model = build_model(cfg.model, tuple(about["shape"]), layers, about["n_classes"])
    model.corruption = build(cfg.corruption, "corruption")
    model.categories = tuple(about["categories"])
    put_weights(model, checkpoint, f"{key}: {folder}")
    return model.eval()


def last_stage(folder: str | Path, key: str = "load") -> Path:
    """The run that a chain's folder came to; any other folder is itself."""
    path = Path(folder) / "chain.json"
    if not path.exists():
        return Path(folder)
    link = files.read_json(path, key).get("link")
    if not isinstance(link, str):
        raise files.damaged(path, key, ValueError("it names no stage"))
    return Path(folder) / link


def matching(patterns: Sequence[str]) -> list[Path]:
    """Folders that match one of several globs (``**`` goes any depth).

    What is a folder's very name is no glob: ``run [c]`` is that folder.
    """
    paths = (path for p in patterns for path in ([p] if Path(p).is_dir() else sorted(glob.glob(p, recursive=True))))
    return [path for path in dict.fromkeys(map(Path, paths)) if path.is_dir()]


def run_folders(patterns: Sequence[str], others: bool = False) -> tuple[list[Path], list[Path]]:
    """The folders that match: those of runs and chains, and the others.

    Raises ``UserError`` when none of them is a run's, unless the ``others`` are of use by themselves.
    """
    folders = matching(patterns)
    runs = [folder for folder in folders if (folder / "config.yaml").is_file()]
    if not runs and not others:
        what = "no folder matches" if not folders else f"none of {len(folders)} folders is a run's among those of"
        raise UserError(f"runs: {what} {', '.join(patterns)}; give run folders, for instance runs='outputs/*/*'")
    return runs, [folder for folder in folders if folder not in runs]


def refuse_links(folder: Path, key: str) -> None:
    """Raise ``UserError`` for a link in ``folder`` that leads out of it: a run that goes on would write through it."""
    inside = folder.resolve()
    for path in folder.rglob("*"):
        if path.match("wandb/*/logs/*"):  # W&B's own, to the log of an earlier process: nothing writes there again
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(inside):
            raise UserError(f"{key}: {path} is a link to {path.resolve()}, and a run writes into its own folder only")


def put_weights(model: "Model", checkpoint: dict[str, Any], key: str) -> None:
    """Load the checkpoint's weights; another model's are refused in one line."""
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(
            f"{key} holds the weights of another model ({reason[:160]}); take it as a run left it"
        ) from error


def read_start(folder: str | Path) -> dict[str, Any]:
    """Name → tensor of the weights after the last epoch of the run in ``folder``, a chain's being its last stage's."""
    run = last_stage(folder, "start_from")
    read_settings(run, "start_from")
    return read_checkpoint(run, "last", "start_from")["state_dict"]


def start_from(model: "Model", weights: dict[str, Any], folder: str) -> None:
    """Give ``model`` the ``weights`` of another run, all but what its training alone had: momentum, chains of draws.

    Raises ``UserError`` naming the weights that differ.
    """
    passing = tuple(model.of_training)
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(passing)}
    theirs = {name: tensor for name, tensor in weights.items() if not name.startswith(passing)}
    unlike = [name for name in own | theirs if name not in own or name not in theirs]
    unlike = [f"{name} only {'there' if name in theirs else 'here'}" for name in unlike]
    both = [name for name in own if name in theirs and own[name].shape != theirs[name].shape]
    unlike += [f"{name} {tuple(theirs[name].shape)} there, {tuple(own[name].shape)} here" for name in both]
    if unlike:
        more = f" and {len(unlike) - 3} more" if len(unlike) > 3 else ""
        like = f"choose the model as in {Path(folder) / 'config.yaml'}, and data of its shape"
        raise UserError(f"start_from: the nets differ, {'; '.join(unlike[:3])}{more}; {like}")
    model.load_state_dict(theirs, strict=False)


def read_layers(folder: str | Path | None, key: str, name: str = "layers.pt") -> list["Layer"]:
    """The layers that a later run may stand on: those that ``folder`` stood on and its own. None gives none."""
    from aelab.rbm.layer import load_layers

    if folder is None:
        return []
    folder = last_stage(folder, key)
    read_settings(folder, key)
    path = Path(folder) / name
    if not path.is_file():
        raise UserError(f"{key}: {folder} has no {name}; that model hands no layer on, give the run of one that does")
    return load_layers(path)
