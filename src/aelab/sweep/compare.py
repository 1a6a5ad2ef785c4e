"""``aelab task=compare runs='outputs/2026-*/*'``: the learning curves and the test metrics of any runs on disk."""

import glob
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aelab.config.overrides import leaves
from aelab.config.schema import role_of
from aelab.errors import UserError
from aelab.files import read_json, write_text
from aelab.results import tables
from aelab.run.folder import read_history
from aelab.sweep.pictures import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = 6


class Run(NamedTuple):
    """A run folder as it is compared: its shortest telling name, curves, final metrics, and settings by dotted key."""

    name: str
    history: dict[str, list[float]]
    metrics: dict[str, float]
    settings: dict[str, Any]


def compare(runs_glob: str, out_folder: Path) -> list[tables.Row]:
    """Draw compare.png and write compare.md and compare.csv into ``out_folder``; print and return the table.

    A row a run: the settings in which the runs differ, and every ``test/`` metric. Raises UserError when the pattern
    matches no folder, or one that is no run.
    """
    runs = read_runs(runs_glob)
    rows = table(runs)
    out_folder.mkdir(parents=True, exist_ok=True)
    write_text(out_folder / "compare.md", tables.markdown(rows))
    write_text(out_folder / "compare.csv", tables.comma_separated(rows))
    written = ["compare.md", "compare.csv"]
    if any(run.history for run in runs):
        written.append(save(learning_curves(runs), out_folder / "compare.png").name)
    tables.show(rows, f"{len(runs)} runs")
    print(f"{', '.join(written)} in {out_folder}")
    return rows


def read_runs(pattern: str) -> list[Run]:
    """The runs whose folders match ``pattern`` (``**`` goes any depth), by name; files that match are passed over."""
    folders = sorted(Path(path) for path in glob.glob(pattern, recursive=True) if Path(path).is_dir())
    if not folders:
        raise UserError(f"runs: no folder matches {pattern}; give run folders, for instance runs='outputs/*/*'")
    for folder in folders:
        if not (folder / "config.yaml").is_file():
            raise UserError(f"runs: {folder} is no run folder (it has no config.yaml); narrow the pattern")
    parts = [folder.absolute().parts for folder in folders]
    shared = next((i for i, names in enumerate(zip(*parts)) if len(set(names)) > 1), len(parts[0]) - 1)
    return [read_run(folder, "/".join(names[shared:])) for folder, names in zip(folders, parts)]


def read_run(folder: Path, name: str) -> Run:
    """One run; what it has not written yet is empty. Raises UserError for a file that cannot be read."""
    import yaml

    try:
        cfg = yaml.safe_load((folder / "config.yaml").read_text())
        settings = {key: value if isinstance(value, int | float) else str(value) for key, value in leaves(cfg)}
        return Run(
            name,
            read_history(folder, "runs") if (folder / "history.csv").exists() else {},
            read_json(folder / "metrics.json", "runs") if (folder / "metrics.json").exists() else {},
            settings,
        )
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"runs: {folder} is damaged ({str(error).splitlines()[0]}); leave it out") from error


def table(runs: Sequence[Run]) -> list[tables.Row]:
    """A row a run: name, the settings that differ, the test metrics (all metrics, where no run has a test metric)."""
    keys = dict.fromkeys(key for run in runs for key in run.settings if role_of(key).changes == "weights")
    differ = [key for key in keys if len({str(run.settings.get(key)) for run in runs}) > 1]
    names = sorted({name for run in runs for name in run.metrics})
    shown = [name for name in names if name.startswith("test/")] or names
    return [
        {"run": run.name}
        | {key: run.settings.get(key) for key in differ}
        | {name: run.metrics.get(name) for name in shown}
        for run in runs
    ]


def learning_curves(runs: Sequence[Run]) -> "Figure":
    """A panel a metric, a line a run against the epoch; the losses first, then what most runs have."""
    import matplotlib
    import numpy as np
    from matplotlib.figure import Figure

    count = Counter(name for run in runs for name in run.history if name != "epoch")
    losses_first = sorted(count, key=lambda name: (not name.endswith("/loss"), name[:4] != "val/", -count[name], name))
    metrics = losses_first[:PANELS]
    columns = min(3, len(metrics))
    lines = -(-len(metrics) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * lines + 0.2 * len(runs)), layout="constrained")
    colours = matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, len(runs)))
    for axes, metric in zip(figure.subplots(lines, columns, squeeze=False).flat, metrics):
        for run, colour in zip(runs, colours):
            if metric in run.history:
                one_point = "o" if len(run.history["epoch"]) == 1 else None
                axes.plot(run.history["epoch"], run.history[metric], color=colour, marker=one_point)
        axes.set(title=metric, xlabel="epoch")
    for axes in figure.axes[len(metrics) :]:
        axes.set_axis_off()
    handles = [matplotlib.lines.Line2D([], [], color=colour) for colour in colours]
    figure.legend(handles, [run.name for run in runs], loc="outside lower center", fontsize=8)
    return figure
