"""``aelab task=compare runs='outputs/2026-*/*'``: the learning curves and the test metrics of any runs on disk."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aelab import log
from aelab.config.overrides import leaves, shortest
from aelab.config.reading import read_plain
from aelab.config.schema import role_of
from aelab.errors import UserError
from aelab.files import read_json, write_text
from aelab.results import tables
from aelab.runs.folder import last_stage, read_history, run_folders
from aelab.watch.provenance import kind_of

if TYPE_CHECKING:
    from aelab.results.saved_figures import Style

PANELS = 6
FIRST, LAST = ("model.kind", "data.name", "data.kind"), ("below", "start_from")  # of the settings, in a table


class Run(NamedTuple):
    """A run folder as it is compared: its shortest telling name, curves, final metrics, and settings by dotted key.

    Of a chain these are its last stage's, and ``chain`` its stages.
    """

    name: str
    history: dict[str, list[float]]
    metrics: dict[str, float]
    settings: dict[str, Any]


def compare(patterns: Sequence[str], out_folder: Path, style: "Style") -> list[tables.Row]:
    """Draw compare.png and write compare.md and compare.csv into ``out_folder``; print and return the table.

    One row for each run: the settings in which the runs differ and the test metrics, those that all of them have;
    what only some have is in compare.csv. Raises UserError when no folder that matches is a run's.
    """
    runs = read_runs(patterns)
    rows, everything = table(runs), table(runs, whole=True)
    out_folder.mkdir(parents=True, exist_ok=True)
    write_text(out_folder / "compare.md", tables.markdown(rows))
    write_text(out_folder / "compare.csv", tables.comma_separated(everything))
    written = ["compare.md", "compare.csv"]
    if any(run.history for run in runs):
        with log.phase("drawing figures"):
            written.append(draw(runs, out_folder, style).name)
    metrics = [name for name in rows[0] if "/" in name]
    first = ["run", *metrics[:1], *shortest(FIRST).values(), *metrics[1:]]
    tables.show(rows, f"{len(runs)} runs", first, bold=())
    more = len(everything[0]) - len(rows[0])
    if more:
        print(f"{more} more columns in compare.csv")
    print(f"{', '.join(written)} in")
    print(log.place(out_folder))
    return rows


def read_runs(patterns: Sequence[str]) -> list[Run]:
    """The runs whose folders match one of the ``patterns``, by name; what matches and is no run is passed over."""
    folders, others = run_folders(patterns)
    if others:
        print(f"no run folders, passed over: {', '.join(map(str, others[:5]))}{', …' * (len(others) > 5)}")
    parts = [folder.absolute().parts for folder in folders]
    shared = next((i for i, names in enumerate(zip(*parts)) if len(set(names)) > 1), min(map(len, parts)) - 1)
    return [read_run(folder, "/".join(names[shared:])) for folder, names in zip(folders, parts)]


def read_run(folder: Path, name: str) -> Run:
    """One run; what it has not written yet is empty. Raises UserError for a file that cannot be read."""
    last = last_stage(folder, "runs")
    try:
        config = read_plain(last / "config.yaml", "runs")
        settings = {kind_of(key): value for key, value in leaves(config)}
        chain = (config.get("chain") or {}).get("stages") or stages_of(folder)
        return Run(
            name,
            read_history(last, "runs") if (last / "history.csv").exists() else {},
            read_json(folder / "metrics.json", "runs") if (folder / "metrics.json").exists() else {},
            settings | ({"chain": " → ".join(chain)} if chain else {}),
        )
    except (ValueError, AttributeError, FileNotFoundError) as error:
        raise UserError(f"runs: {folder} is damaged ({str(error).splitlines()[0]}); leave it out") from error


def stages_of(folder: Path) -> list[str]:
    """The stages of a finished chain; of a run none."""
    return list(read_json(folder / "chain.json")["stages"]) if (folder / "chain.json").exists() else []


def table(runs: Sequence[Run], whole: bool = False) -> list[tables.Row]:
    """One row for each run: name, the settings that differ, the test metrics (all, where no run has a test metric).

    Only those that all (finished) runs have, unless it is to be ``whole``.
    """
    every = dict.fromkeys(key for run in runs for key in run.settings)
    keys = [key for key in every if key == "data.name" or role_of(key).changes == "weights"]
    if "data.name" in keys and "data.kind" in keys:
        keys.remove("data.kind")  # the name says more
    differ = [key for key in keys if len({str(run.settings.get(key)) for run in runs}) > 1]
    differ.sort(key=lambda key: (key in LAST) - (key in FIRST))  # on a narrow terminal the last are left out
    names = sorted({name for run in runs for name in run.metrics})
    shown = [name for name in names if name.startswith("test/")] or names
    if not whole:
        differ = [key for key in differ if key == "chain" or all(key in run.settings for run in runs)]
        finished = [run for run in runs if run.metrics]
        shown = [name for name in shown if all(name in run.metrics for run in finished)]
    return [
        {"run": run.name}
        | {short: plain(run.settings.get(key)) for key, short in shortest(differ).items()}
        | {name: run.metrics.get(name) for name in shown}
        for run in runs
    ]


def plain(value: Any) -> Any:
    """A setting as a cell."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if value is None or number else str(value).removeprefix("aelab.").rsplit(".", 1)[-1]


def draw(runs: Sequence[Run], folder: Path, style: "Style") -> Path:
    """The learning curves: losses first, then what most runs have; runs that reached less are named last."""
    from aelab.functional.drawing.comparison import Curves, learning_curves
    from aelab.results.saved_figures import save

    count = Counter(name for run in runs for name in run.history if name != "epoch")
    losses_first = sorted(count, key=lambda name: (not name.endswith("/loss"), name[:4] != "val/", -count[name], name))
    curves = [Curves(run.name, run.history) for run in runs if run.history]
    sheet = learning_curves(f"Learning curves of {len(curves)} runs", curves, losses_first[:PANELS])
    sheet.sign("after each epoch, from history.csv")
    return save({"compare": sheet}, folder, style)["compare"]
