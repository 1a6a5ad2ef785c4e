"""What W&B's own reader finds in the offline files of a run folder."""

import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from wandb.util import get_core_path


class Part(NamedTuple):
    """One start of a W&B run: what it was begun with, its rows, the keys of its summary, how it ended."""

    run: dict[str, Any]
    rows: list[dict[str, Any]]
    summary: dict[str, Any]
    exit_code: int | None
    records: list[dict[str, Any]]

    @property
    def config(self) -> dict[str, Any]:
        return {key: value for key, value in self.run["config"]["update"].items() if key != "_wandb"}

    def epochs_of(self, metric: str) -> list[int]:
        return [row["epoch"] for row in self.rows if metric in row]

    def pictures(self) -> Counter:
        """How often each picture is shown, by its key; its file must be there, and its caption."""
        keys = [key.removesuffix("._type") for row in self.rows for key, v in row.items() if v == "image-file"]
        assert all(f"{key}.caption" in row for row in self.rows for key in keys if f"{key}._type" in row)
        return Counter(keys)


def read(folder: Path) -> list[Part]:
    """Every part below ``folder``/wandb, in the order in which they were begun."""
    return [read_part(path) for path in sorted((folder / "wandb").glob("*run-*/*.wandb"), key=lambda p: p.parent.name)]


def read_part(path: Path, patience: float = 30.0) -> Part:
    """What the file says once its writer, a process of its own that a busy machine may delay, has put the run there."""
    until = time.monotonic() + patience
    while True:
        records = [json.loads(line) for line in inspect("--json", path).splitlines()]
        of = {kind: [r[kind] for r in records if r["type"] == kind] for kind in ("run", "history")}
        if of["run"] or time.monotonic() > until:
            break
        time.sleep(0.5)
    about = json.loads(inspect("--json", path, "--summary"))
    (run,) = of["run"]
    return Part(run, [row["item"] for row in of["history"]], about["summary"], about.get("exit_code"), records)


def inspect(*options: str | Path) -> str:
    """What ``wandb leet inspect`` itself calls, without the second that its Python takes to start."""
    command = [get_core_path(), "leet", "inspect", options[0], *options[2:], "--run-file", options[1]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
