"""What a task that uses a finished run is given: its model, rows, folder, and the command's config."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from omegaconf import DictConfig

from aelab.data.incoming import Incoming
from aelab.data.schema import Samples
from aelab.models.applied import Applied
from aelab.progress import bar


class Job(NamedTuple):
    """A model, the rows it is applied to, and what the command says of how."""

    applied: Applied
    rows: Any  # an Incoming; None where the task takes no rows
    folder: Path
    cfg: DictConfig

    def blocks(self, words: str) -> Iterator[tuple[int, Any, Samples]]:
        """Number of the first row, rows as they stand in the file, inputs; some at a time."""
        n, step = self.rows.n, self.applied.at_once
        for start in bar(range(0, n, step), words):
            rows = self.rows.take(start, min(start + step, n))
            yield start, rows, self.applied.inputs(rows, self.rows.at, start)


def files_of(rows: Incoming, start: int, n: int) -> dict[str, np.ndarray]:
    return {} if rows.files is None else {"file": np.array(rows.files[start : start + n])}
