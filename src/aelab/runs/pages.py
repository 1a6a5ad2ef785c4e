"""``task=report``: the page of a run, a chain or a sweep, out of what its folder holds."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from aelab import files
from aelab.config.build import build, made_from_layers
from aelab.config.overrides import plain
from aelab.config.targets import refuse_strangers
from aelab.data.batches import Data
from aelab.errors import UserError
from aelab.results.history import number
from aelab.results.page.document import Cell, Section, Table, document
from aelab.results.page.live import chain_part, decoder_part, pca_part
from aelab.results.report import LINES
from aelab.runs import folder as run_folder
from aelab.watch.provenance import code_state, settings

PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "torchmetrics", "wandb")
AS_GOOD = 0.98  # of PCA's error: with less gained than that, PCA is enough


def write_page(folder: Path, out: Path, trust: Sequence[str]) -> None:
    """Write the page of ``folder`` to ``out``, whole or not at all; ``trust`` as :func:`aelab.load` has it."""
    if (folder / "leaderboard.csv").exists():
        page = sweep_page(folder)
    elif (folder / "chain.json").exists():
        page = chain_page(folder, trust)
    else:
        page = run_page(folder, trust)
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(out, page)


def run_page(folder: Path, trust: Sequence[str]) -> str:
    """What was asked, what came of it beside PCA, the model live, every picture."""
    title, metrics = title_of(folder), metrics_of(folder)
    sections = [asked(folder), figures_of_merit(metrics), live(folder, trust), pictures(folder), configuration(folder)]
    return document(title, verdict(metrics), [section for section in sections if section is not None])


def chain_page(folder: Path, trust: Sequence[str]) -> str:
    """As a run's, with a table of the stages."""
    about = files.read_json(folder / "chain.json", "run")
    main = run_folder.last_stage(folder, "run")
    metrics = metrics_of(folder)
    try:
        measured = {name: dict(stage["metrics"]) for name, stage in about["stages"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise files.damaged(folder / "chain.json", "run", error) from error
    names = [name for name in LINES if any(name in stage for stage in measured.values())]
    rows = [[stage, *(values.get(name) for name in names)] for stage, values in measured.items()]
    stages = Section("Stages, in order", table=Table(["stage", *(LINES[name] for name in names)], rows))
    sections = [
        asked(folder),
        figures_of_merit(metrics),
        stages,
        live(main, trust),
        pictures(folder),
        configuration(main),
    ]
    return document(title_of(main), verdict(metrics), [section for section in sections if section is not None])


def sweep_page(folder: Path) -> str:
    """The leaderboard and its pictures."""
    import csv

    with (folder / "leaderboard.csv").open(newline="") as file:
        columns, *rows = csv.reader(file)
    cells = [[number(cell) for cell in row] for row in rows]
    board = Section("Jobs, the best first", table=Table(columns, cells))
    drawn = Section("Pictures", pictures=sorted(folder.glob("*.png")))
    return document(f"Sweep {folder.name}", f"{len(rows)} jobs.", [board, *([drawn] if drawn.pictures else [])])


def verdict(metrics: dict[str, float]) -> str:
    """One sentence: is the model better than PCA with as many code units, and by how much?"""
    ours, pca = metrics.get("test/squared_error"), metrics.get("test/pca_squared_error")
    if "test/class_error" in metrics:
        return f"{metrics['test/class_error']:.3g} % of the test samples are given a wrong label."
    if ours is None:
        return "This model is not measured by a reconstruction; see its figures of merit."
    if not pca:
        return f"The squared error of a test sample is {ours:.4g}; there is no PCA with as many code units to compare."
    if ours > AS_GOOD * pca:
        return f"PCA is enough here: its squared error of a test sample is {pca:.4g}, the model's {ours:.4g}."
    gained = 100 * (1 - ours / pca)
    return f"The squared error of a test sample is {ours:.4g}, {gained:.0f} % below PCA's {pca:.4g} with as many units."


def title_of(folder: Path) -> str:
    cfg = run_folder.read_config(folder, "run")
    return f"{str(cfg.model._target_).rsplit('.', 1)[-1]} on {cfg.data.name}"


def metrics_of(folder: Path) -> dict[str, Any]:
    if not (folder / "metrics.json").exists():
        raise UserError(f"run: {folder} has no metrics.json; the run is not finished, go on with resume={folder}")
    return files.read_json(folder / "metrics.json", "run")


def asked(folder: Path) -> Section | None:
    path = folder / "command.txt"
    return Section("What was asked", command=path.read_text().strip()) if path.exists() else None


def figures_of_merit(metrics: dict[str, float]) -> Section:
    """The table of the test set's figures, in words and by name."""
    rows: list[list[Cell]] = [[words, metrics[name], name] for name, words in LINES.items() if name in metrics]
    rows += [["", value, name] for name, value in metrics.items() if name.startswith("test/") and name not in LINES]
    return Section("Figures of merit, test set", table=Table(["what", "value", "name in metrics.json"], rows))


def live(folder: Path, trust: Sequence[str]) -> Section | None:
    """The decoder, PCA's plane and the Gibbs chain, where the page can compute them."""
    model, data = run_folder.load(folder, trust=trust, key="run"), data_of(folder, trust)
    parts = [decoder_part(model, data), chain_part(model, data)]
    parts += [pca_part(data)] if parts[0] is not None else []
    words = "The weights are in this page: what is shown is computed here, without a network."
    found = [part for part in parts if part is not None]
    return Section("The model, live", words, live=found) if found else None


def data_of(folder: Path, trust: Sequence[str]) -> Data:
    """The data that the run in ``folder`` was trained and tested on."""
    cfg = run_folder.read_config(folder, "run")
    refuse_strangers({"data": plain(cfg)["data"]}, trust, "run")
    below = folder / "below.pt"
    stands = below.exists() and not made_from_layers(cfg.model)
    layers = run_folder.read_layers(folder, "run", "below.pt") if stands else []
    return build(cfg.data, "data", seed=cfg.seed, batch_size=1, below=layers)


def pictures(folder: Path) -> Section | None:
    drawn = sorted((folder / "figures").glob("*.png"))
    return Section("Pictures", pictures=drawn) if drawn else None


def configuration(folder: Path) -> Section:
    """Every setting, and the versions of what ran."""
    cfg = run_folder.read_settings(folder, "run")
    state = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()} | code_state()
    rows = [[name, str(value)] for name, value in (settings(cfg) | state).items()]
    return Section("Settings and versions", table=Table(["setting", "value"], rows))
