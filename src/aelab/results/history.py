"""What papers printed beside what was measured here: the history table, and what makes a figure one to believe.

An experiment carries the printed figure in its YAML, under ``paper``; what runs gave stands in conf/measured.json, with
the command, the machine, the versions and the keys of the stages behind it. Nothing else is a source of the table.
"""

import csv
import hashlib
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from aelab.errors import UserError
from aelab.results import tables
from aelab.results.page.document import Cell, Section, Table, document

REPEATS = ("seed", "data.fold")  # keys that only repeat a run, to see how a result spreads
MARKS = ("seen", "second-hand", "computed", "memory")
EQUAL, TOLERANCE = 1e-6, 0.01  # of a figure: what rounding may change, and what another processor may
COLUMNS = ("year", "system", "data", "figure", "printed", "ours", "status", "command", "minutes")


class Paper(NamedTuple):
    """A printed figure: ``metric`` of metrics.json it is held against, where it was read, and how it is counted."""

    name: str
    year: int
    system: str
    data: str
    metric: str
    figure: str  # the metric in words, with its unit
    printed: str | None  # the number as it stands there, with its digits; None where the paper shows none
    better: str  # lower | higher
    source: str
    link: str
    mark: str  # seen | second-hand | computed | memory
    counted: str  # the set, and how it was summed or averaged
    new: str = ""  # what was new, in a sentence
    picture: str = ""  # the figure of a run that shows it, by its file's name
    beside: str = ""  # name of the result that it stands beside, to be compared with; empty: it stands for itself


class Measured(NamedTuple):
    """What runs of one experiment gave: a value for each seed and fold, and what they were made by."""

    values: dict[str, float]  # seed, or "seed, fold n" → value
    command: str
    seconds: float  # of one run, training and test
    processor: str
    date: str
    versions: dict[str, str]
    keys: dict[str, str]  # stage → key of its weights
    parts: dict[str, str] = {}  # of the last run: root key of its config that can change weights → hash of what it said


class Study(NamedTuple):
    """A sweep that the history's page shows where its folder is there: its picture, and what there is to see on it."""

    name: str
    year: int
    title: str
    says: str  # a sentence
    picture: str  # a figure of the sweep, by its file's name
    command: str


def read_studies(folder: Path) -> list[Study]:
    """The ``study`` of every experiment in conf/experiment, by year."""
    studies = []
    for path in sorted(folder.glob("*.yaml")):
        node = said_of(path).get("study")
        if node is not None:
            odd = sorted(set(node) ^ set(Study._fields))
            if odd:
                raise UserError(f"study: {path.name} must have {', '.join(Study._fields)}; look at {', '.join(odd)}")
            studies.append(Study(**node))
    return sorted(studies, key=lambda study: (study.year, study.name))


def said_of(path: Path) -> dict[str, Any]:
    """What a YAML file says, with nothing resolved."""
    from omegaconf import OmegaConf

    said: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return said


def read_papers(folder: Path) -> list[Paper]:
    """The ``paper`` of every experiment in conf/experiment, by year; one that stands beside another comes after it."""
    paths = [path for path in sorted(folder.glob("*.yaml")) if said_of(path).get("paper") is not None]
    papers = [paper_of(paper_said_in(path), path.name) for path in paths]
    names = {paper.name for paper in papers if not paper.beside}
    for paper in papers:
        if paper.beside and paper.beside not in names:
            raise UserError(f"paper.beside: {paper.name} stands beside {paper.beside!r}, which no experiment is called")
    return sorted(papers, key=lambda paper: (paper.year, paper.beside or paper.name, bool(paper.beside), paper.name))


def paper_said_in(path: Path) -> dict[str, Any]:
    """The ``paper`` that an experiment says, over those of the experiments it stands on, as Hydra merges them."""
    said = said_of(path)
    parents = [path.with_name(f"{entry}.yaml") for entry in said.get("defaults") or () if isinstance(entry, str)]
    merged: dict[str, Any] = {}
    for parent in parents:
        merged |= paper_said_in(parent) if parent.exists() else {}
    return merged | (said.get("paper") or {})


def paper_of(node: dict[str, Any], where: str) -> Paper:
    """A checked ``paper`` node."""
    fields = set(Paper._fields)
    odd = sorted((set(node) - fields) | (fields - set(node) - set(Paper._field_defaults)))
    if odd:
        raise UserError(f"paper: {where} must have {', '.join(Paper._fields)}; look at {', '.join(odd)}")
    if node["mark"] not in MARKS:
        raise UserError(f"paper.mark: {where} has {node['mark']!r}; take one of {', '.join(MARKS)}")
    if node["better"] not in ("lower", "higher"):
        raise UserError(f"paper.better: {where} has {node['better']!r}; take lower or higher")
    return Paper(**node)


def read_measured(path: Path) -> dict[str, Measured]:
    """Name → figures; raises ``UserError`` for an entry that was changed by hand."""
    found = {}
    for name, entry in json.loads(path.read_text()).items() if path.exists() else ():
        digest = entry.pop("digest", None)
        if digest != digest_of(entry):
            raise UserError(f"result: the figures of {name} in {path.name} are not as a run left them; measure again")
        found[name] = Measured(**entry)
    return found


def as_text(measured: dict[str, Measured]) -> str:
    """The file that ``read_measured`` reads."""
    entries = {name: m._asdict() | {"digest": digest_of(m._asdict())} for name, m in sorted(measured.items())}
    return json.dumps(entries, indent=1, sort_keys=True) + "\n"


def digest_of(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True).encode()).hexdigest()[:16]


def status(paper: Paper, measured: Measured) -> str:
    """better | as good | within the seeds' spread | missed by …: of the mean, to the digits that the paper prints."""
    if paper.printed is None:
        return "–"
    values = list(measured.values.values())
    sign = 1 if paper.better == "lower" else -1
    gap = sign * (statistics.mean(values) - float(paper.printed))
    digits = len(paper.printed.partition(".")[2])
    if round(gap, digits) < 0:
        return "better"
    if round(gap, digits) == 0:
        return "as good"
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return "within the seeds' spread" if gap <= spread else f"missed by {gap:.2g}"


def verdict(measured: Measured, which: str, value: float) -> str:
    """equal | within the seeds' spread | within 1 % | different: ``value`` beside what that repetition gave."""
    before = measured.values.get(which, statistics.mean(measured.values.values()))
    gap = abs(value - before)
    if which in measured.values and gap <= EQUAL * abs(before):
        return "equal"
    if len(measured.values) > 1 and gap <= statistics.stdev(measured.values.values()):
        return "within the seeds' spread"
    return "within 1 %" if gap <= TOLERANCE * abs(before) else "different"


def ours(measured: Measured) -> str:
    """The mean over seeds and folds, with its standard deviation where there are several."""
    values = list(measured.values.values())
    mean = statistics.mean(values)
    digits = max(0, 3 - math.floor(math.log10(abs(mean)))) if mean else 2
    text = f"{mean:.{min(digits, 4)}f}"
    return f"{text} ± {statistics.stdev(values):.2g} ({len(values)})" if len(values) > 1 else text


def rows(papers: list[Paper], measured: dict[str, Measured]) -> list[dict[str, Any]]:
    """One row per experiment; one that has not been measured says so."""
    table = []
    for paper in papers:
        found = measured.get(paper.name)
        printed = paper.printed or "–"
        printed += "" if paper.mark == "seen" or paper.printed is None else f" ({paper.mark})"
        table.append(
            dict(
                zip(
                    COLUMNS,
                    (
                        paper.year, f"[{paper.system}]({paper.link})", paper.data, paper.figure, printed,
                        ours(found) if found else "not measured", status(paper, found) if found else "",
                        f"`{found.command}`" if found else f"`aelab experiment={paper.name}`",
                        f"{found.seconds / 60:.0f}" if found else None,
                    ),
                )
            )
        )  # fmt: skip
    return table


def short_rows(papers: list[Paper], measured: dict[str, Measured]) -> list[dict[str, Any]]:
    """The same as a terminal of 80 columns holds it: by the name that ``experiment=`` takes."""
    table = []
    for paper in papers:
        found = measured.get(paper.name)
        known = (ours(found), status(paper, found)) if found else ("not measured", "")
        names = "year", "experiment", "figure", "printed", "ours", "status"
        table.append(dict(zip(names, (paper.year, paper.name, paper.figure, paper.printed or "–", *known))))
    return table


def page(
    papers: list[Paper], measured: dict[str, Measured], pictures: dict[str, Path], sweeps: Sequence[tuple[Study, Path]]
) -> str:
    """The history as one HTML page, year by year: what was new, the number then and now, the command, the picture.

    ``pictures``: name of an experiment → the figure of a run of it. ``sweeps`` come after the papers of their year,
    each with its folder.
    """
    told = []
    for paper in papers:
        if not paper.beside:
            beside = [other for other in papers if other.beside == paper.name]
            told.append((paper.year, _of_paper(paper, measured, pictures.get(paper.name), beside)))
    told += [(study.year, _of_study(study, folder)) for study, folder in sweeps]
    sections = [Section("Then and now", table=Table(*_overview(papers, measured)))]
    sections += [section for _, section in sorted(told, key=lambda one: one[0])]
    first, last = papers[0].year, papers[-1].year
    known = sum(paper.name in measured for paper in papers)
    verdict = f"{len(papers)} results, {known} of them measured here; each by the command that stands beside it."
    return document(f"Autoencoders, {first} to {last}", verdict, sections)


def _overview(papers: list[Paper], measured: dict[str, Measured]) -> tuple[list[str], list[list[Cell]]]:
    table: list[list[Cell]] = [
        [paper.year, paper.system, paper.data, paper.printed, ours(found) if found else None,
         status(paper, found) if found else None]
        for paper in papers
        for found in [measured.get(paper.name)]
    ]  # fmt: skip
    return ["year", "system", "data", "printed", "here", "status"], table


def _of_paper(paper: Paper, measured: dict[str, Measured], picture: Path | None, beside: Sequence[Paper]) -> Section:
    found = measured.get(paper.name)
    then = f"Printed: {paper.printed} ({paper.source}; {paper.mark})" if paper.printed else f"After {paper.source}"
    now = f"here: {ours(found)}" if found else "not measured here"
    now += f", {status(paper, found)}" if found and paper.printed else ""
    words = f"{paper.new} {paper.figure[0].upper()}{paper.figure[1:]} ({paper.counted}). {then}; {now}.".strip()
    command = found.command if found else f"aelab experiment={paper.name}"
    title = f"{paper.year}  {paper.system}, {paper.data}"
    table = _side_by_side([paper, *beside], measured) if beside else None
    return Section(title, words, command, table, pictures=[picture] if picture else [])


def _side_by_side(papers: Sequence[Paper], measured: dict[str, Measured]) -> Table:
    cells: list[list[Cell]] = [
        [paper.system, paper.printed, ours(found) if found else None, found.command if found else None]
        for paper in papers
        for found in [measured.get(paper.name)]
    ]
    return Table(["system", "printed", "here", "command"], cells)


def _of_study(study: Study, folder: Path) -> Section:
    means, picture = _means(folder / "leaderboard.csv"), folder / f"{study.picture}.png"
    table = Table([*means[0]], [[*row.values()] for row in means]) if means else None
    pictures = [picture] if picture.exists() else []
    return Section(f"{study.year}  {study.title}", study.says, study.command, table, pictures=pictures)


def _means(leaderboard: Path) -> list[dict[str, Cell]]:
    """The rows of means over seeds or folds, the settings and mean ± standard deviation of each objective."""
    with leaderboard.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["folder"]]
    spreads = [name for name in (rows[0] if rows else ()) if f"{name} sd" in rows[0]]
    hidden = {"place", "seconds", "status", "folder", *REPEATS}
    hidden |= {f"{name} {part}" for name in spreads for part in ("sd", "n")}
    return [{name: _cell_of(row, name) for name in row if name not in hidden} for row in rows]


def _cell_of(row: dict[str, str], name: str) -> Cell:
    if f"{name} sd" not in row:
        return number(row[name])
    sd = row[f"{name} sd"]
    return tables.cell(tables.Spread(float(row[name]), float(sd) if sd else None, int(row[f"{name} n"])))


def number(text: str) -> str | float | None:
    """A cell of a table on disk."""
    try:
        return float(text) if text else None
    except ValueError:
        return text


def with_table(readme: str, table: str, begin: str, end: str) -> str:
    """``readme`` with ``table`` between the lines ``begin`` and ``end``."""
    if readme.count(begin) != 1 or readme.count(end) != 1:
        raise UserError(f"out: the README has no lines {begin} and {end} to put the table between")
    before, rest = readme.split(begin)
    return f"{before}{begin}\n{table}{end}{rest.split(end)[1]}"
