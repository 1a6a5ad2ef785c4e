"""``task=results``: figures of finished runs into conf/measured.json, and the history table out of it.

``task=verify``: one of these figures, from the weights behind it or from a run.
"""

import hashlib
import json
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aelab import files
from aelab.clock import processor
from aelab.config.targets import refuse_strangers
from aelab.errors import UserError
from aelab.results import tables
from aelab.results.history import (
    REPEATS,
    Measured,
    Paper,
    Study,
    as_text,
    page,
    paper_of,
    read_measured,
    read_papers,
    read_studies,
    rows,
    short_rows,
    verdict,
    with_table,
)
from aelab.runs import folder as run_folder
from aelab.runs import stages
from aelab.runs.again import evaluate_again

BEGIN, END = "<!-- made by: aelab task=results out=README.md -->", "<!-- end of the table -->"


def results(conf: Path, runs: list[str] | None, out: Path | None) -> None:
    """Take the figures of ``runs``, if any, and show the table, or put it into the markdown file ``out``."""
    path = conf / "measured.json"
    measured = read_measured(path)
    if runs is not None:
        measured |= collected(runs)
        files.write_text(path, as_text(measured))
    papers = read_papers(conf / "experiment")
    if out is None:
        first = "experiment", "printed", "ours", "status", "year"
        tables.show(short_rows(papers, measured), "printed and measured", first, bold=())
    else:
        files.write_text(out, with_table(out.read_text(), tables.markdown(rows(papers, measured)), BEGIN, END))


def collected(runs: list[str]) -> dict[str, Measured]:
    """Name → figures of the finished runs and chains that the globs match and that hold themselves against a paper."""
    by_name: dict[str, list[tuple[Paper, Path]]] = {}
    for folder in run_folder.run_folders(runs)[0]:
        if (folder / "metrics.json").exists():
            node = OmegaConf.select(run_folder.read_config(folder, "runs"), "paper")
            if node is not None:
                said: Any = OmegaConf.to_container(node)
                paper = paper_of(said, str(folder))
                by_name.setdefault(paper.name, []).append((paper, folder))
    if not by_name:
        raise UserError(f"runs: no finished run of an experiment with a paper matches {', '.join(runs)}")
    return {name: figures([folder for _, folder in found], found[0][0].metric) for name, found in by_name.items()}


def write_page(conf: Path, runs: list[str], out: Path) -> None:
    """The page of the whole history, with a picture of each experiment that has a run or a sweep among ``runs``."""
    papers = read_papers(conf / "experiment")
    shown = {paper.name: paper.picture for paper in papers}
    pictures = {}
    sweeps = sweeps_of(read_studies(conf / "experiment"), run_folder.matching(runs))
    for folder in run_folder.run_folders(runs, others=bool(sweeps))[0] if runs else ():
        last = run_folder.last_stage(folder, "runs")
        name = OmegaConf.select(run_folder.read_config(last, "runs"), "paper.name")
        picture = next((place / "figures" / f"{shown.get(name)}.png" for place in (folder, last)
                        if (place / "figures" / f"{shown.get(name)}.png").exists()), None)  # fmt: skip
        if picture is not None:
            pictures[name] = picture
    files.write_text(out, page(papers, read_measured(conf / "measured.json"), pictures, sweeps))


def sweeps_of(studies: list[Study], folders: list[Path]) -> list[tuple[Study, Path]]:
    """Those of ``studies`` of which a finished sweep is among ``folders``, the last one counting."""
    found = {}
    for folder in folders:
        job = next(folder.glob("*/config.yaml"), None) if (folder / "leaderboard.csv").exists() else None
        if job is not None:
            found[OmegaConf.select(run_folder.read_config(job.parent, "runs"), "study.name")] = folder
    return [(study, found[study.name]) for study in studies if study.name in found]


def figures(folders: list[Path], metric: str) -> Measured:
    """What the runs of one experiment, which differ by their seed or fold alone, gave."""
    values, seconds = {}, []
    for folder in folders:
        metrics = files.read_json(folder / "metrics.json")
        if metric not in metrics:
            raise UserError(f"paper.metric: {folder} has no {metric}")
        values[repeat_of(run_folder.read_config(folder, "runs"))] = metrics[metric]
        seconds.append(seconds_of(folder))
    command = (folders[0] / "command.txt").read_text().strip()
    if len(values) > 1:
        words = [word for word in shlex.split(command) if word.partition("=")[0] not in REPEATS]
        command = shlex.join(words)
    by = run_folder.read_made_by(run_folder.last_stage(folders[-1], "runs"))
    keys, parts = keys_of(folders[0]), parts_of(folders[0])
    return Measured(values=values, command=command, seconds=max(seconds), keys=keys, parts=parts, **by)


def seconds_of(folder: Path) -> float:
    """Of training and testing, over all stages of a chain, those that were found too."""
    chain = stages_of(folder)
    timings = [s["timing"] for s in chain.values()] if chain else [files.read_json(folder / "timing.json")]
    return sum(timing["train_seconds"] + timing["test_seconds"] for timing in timings)


def repeat_of(cfg: DictConfig) -> str:
    """Which repetition a run is: its seed, and its fold where its data have folds."""
    fold = OmegaConf.select(cfg, "data.fold")
    return str(cfg.seed) if fold is None else f"{cfg.seed}, fold {fold}"


def keys_of(folder: Path) -> dict[str, str]:
    return {name: stage["key"] for name, stage in stages_of(folder).items()}


def stages_of(folder: Path) -> dict[str, Any]:
    path = folder / "chain.json"
    return files.read_json(path)["stages"] if path.exists() else {}


# --- task=verify --------------------------------------------------------------------------------------------------


def verify(conf: Path, name: str, run: Path | None, own: Path, trust: list[str]) -> str:
    """Measure ``name`` again and hold it against conf/measured.json: the line that says how they agree.

    From the weights in ``run``, or those that its command's store of stages has under the figure's keys; where neither
    is there, that command is run in ``own``. Raises ``UserError``, which names what has changed, for another figure.
    """
    measured = read_measured(conf / "measured.json")
    papers = {paper.name: paper for paper in read_papers(conf / "experiment")}
    if name not in measured or name not in papers:
        known = ", ".join(sorted(set(measured) & set(papers)))
        raise UserError(f"result: there is no figure of {name}; take one of {known}")
    entry, metric = measured[name], papers[name].metric
    folder = run or in_store(store_of(entry.command, conf), entry.keys)
    if folder is None:
        folder = run_anew(entry.command, own)
        found = files.read_json(run_folder.last_stage(folder, "run") / "metrics.json")
    else:
        folder = run_folder.last_stage(folder, "run")
        nodes = run_folder.read_settings(folder, "run")["evaluate"]
        refuse_strangers({"evaluate": nodes}, trust, "run")
        found = evaluate_again(folder, nodes, None, trust)
    if metric not in found:
        raise UserError(f"run: {folder} has no {metric}, which {name} is about; give a run of experiment={name}")
    which, now = repeat_of(run_folder.read_config(run_folder.last_stage(folder, "run"), "run")), found[metric]
    said = verdict(entry, which, now)
    before = entry.values.get(which, next(iter(entry.values.values())))
    line = f"{name}: {metric} is {now:.6g}, measured on {entry.date} ({entry.processor}): {before:.6g}"
    if said == "different":
        raise UserError(f"result: {line}; different{changed(entry, folder)}")
    return f"{line}; {said}"


def store_of(command: str, conf: Path) -> Path:
    """The folder of stages of an experiment's ``command``."""
    given = [word.partition("=")[2] for word in shlex.split(command) if word.startswith("chain.store=")]
    return Path(given[-1] if given else OmegaConf.load(conf / "chain" / "_base.yaml").store).expanduser()


def in_store(store: Path, keys: dict[str, str]) -> Path | None:
    """The finished stage of these ``keys`` that no other one stands on; None where it is not there."""
    named = [folder for folder in store.glob("*-*") if folder.name.rpartition("-")[2] in keys.values()]
    there = [folder for folder in named if stages.state_of(folder) in ("finished", "unmeasured")]
    below = {Path(str(run_folder.read_settings(folder, "chain.store")["below"])).name for folder in there}
    last = [folder for folder in there if folder.name not in below]
    return last[0] if len(last) == 1 else None


def run_anew(command: str, folder: Path) -> Path:
    """Run an experiment's command in ``folder``; of one that is repeated, the first repetition."""
    words = [word for word in shlex.split(command)[1:] if not word.startswith("hydra.run.dir=")]
    place = folder / "again"
    done = subprocess.run([sys.executable, "-m", "aelab.app", *words, "hydra.mode=RUN", f"hydra.run.dir={place}"])
    if done.returncode:
        raise UserError(f"result: its command ended with status {done.returncode}: {command}")
    return place


def parts_of(folder: Path) -> dict[str, str]:
    """Root key of the config of a run, or of a chain's last one, that can change its weights → hash of its value."""
    said = stages.that_change("weights", run_folder.read_settings(run_folder.last_stage(folder, "runs"), "runs"))
    return {key: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
            for key, value in said.items() if key not in ("below", "seed", "chain")}  # fmt: skip


def changed(entry: Measured, folder: Path) -> str:
    """What is not as it was: parts of the config, packages, processor."""
    now = parts_of(folder)
    parts = [key for key, digest in entry.parts.items() if now.get(key) != digest]
    packages = [f"{name} {was} → {version(name)}" for name, was in entry.versions.items() if version(name) != was]
    machine = [f"processor {entry.processor} → {processor()}"] if processor() != entry.processor else []
    told = [f"the config's {', '.join(parts)}"] if parts else []
    return f"; changed since: {'; '.join([*told, *packages, *machine]) or 'nothing that is known'}"
