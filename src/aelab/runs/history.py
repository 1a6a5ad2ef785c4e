"""``task=results``: figures of finished runs into conf/measured.json, and the history table out of it."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from aelab import files
from aelab.clock import processor
from aelab.errors import UserError
from aelab.results import tables
from aelab.results.history import Measured, Paper, as_text, paper_of, read_measured, read_papers, rows, with_table
from aelab.runs import folder as run_folder

BEGIN, END = "<!-- made by: aelab task=results out=README.md -->", "<!-- end of the table -->"
PACKAGES = ("torch", "pytorch-lightning", "scikit-learn")


def results(conf: Path, runs: list[str] | None, out: Path | None) -> None:
    """Take the figures of ``runs``, if any, and show the table, or put it into the markdown file ``out``."""
    path = conf / "measured.json"
    measured = read_measured(path)
    if runs is not None:
        measured |= collected(runs)
        files.write_text(path, as_text(measured))
    table = rows(read_papers(conf / "experiment"), measured)
    if out is None:
        tables.show(table, "printed and measured")
    else:
        files.write_text(out, with_table(out.read_text(), tables.markdown(table), BEGIN, END))


def collected(runs: list[str]) -> dict[str, Measured]:
    """Name → figures of the finished runs and chains that the globs match and that hold themselves against a paper."""
    by_name: dict[str, list[tuple[Paper, Path]]] = {}
    for folder in run_folder.run_folders(runs)[0]:
        if (folder / "metrics.json").exists():
            node = OmegaConf.select(run_folder.read_config(folder, "runs"), "paper")
            if node is not None:
                paper = paper_of(OmegaConf.to_container(node), str(folder))
                by_name.setdefault(paper.name, []).append((paper, folder))
    if not by_name:
        raise UserError(f"runs: no finished run of an experiment with a paper matches {', '.join(runs)}")
    return {name: figures([folder for _, folder in found], found[0][0].metric) for name, found in by_name.items()}


def figures(folders: list[Path], metric: str) -> Measured:
    """What the runs of one experiment, which differ by their seed alone, gave."""
    values, seconds = {}, []
    for folder in folders:
        metrics = files.read_json(folder / "metrics.json")
        if metric not in metrics:
            raise UserError(f"paper.metric: {folder} has no {metric}")
        values[str(run_folder.read_config(folder, "runs").seed)] = metrics[metric]
        seconds.append(seconds_of(folder))
    return Measured(
        values=values, command=(folders[0] / "command.txt").read_text().strip(), seconds=max(seconds),
        processor=processor(), date=datetime.now(UTC).date().isoformat(),
        versions={name: version(name) for name in PACKAGES}, keys=keys_of(folders[0]),
    )  # fmt: skip


def seconds_of(folder: Path) -> float:
    """Of training and testing, over all stages of a chain, those that were found too."""
    chain = stages_of(folder)
    timings = [s["timing"] for s in chain.values()] if chain else [files.read_json(folder / "timing.json")]
    return sum(timing["train_seconds"] + timing["test_seconds"] for timing in timings)


def keys_of(folder: Path) -> dict[str, str]:
    return {name: stage["key"] for name, stage in stages_of(folder).items()}


def stages_of(folder: Path) -> dict[str, Any]:
    path = folder / "chain.json"
    return files.read_json(path)["stages"] if path.exists() else {}
