"""The metrics of a run, one row per epoch, and the table that they are on disk: history.csv."""

import csv
import io
from collections.abc import Iterable, Mapping

Row = Mapping[str, float]


class Epochs:
    """Rows, one per epoch, and their table; to add one takes as long after a thousand as after the first.

    The columns are all names that any epoch has, ``epoch`` first; an epoch that lacks a metric has an empty cell.
    """

    def __init__(self, rows: Iterable[Row] = ()):
        self.rows: list[Row] = []
        self._columns: list[str] = ["epoch"]
        self._lines: list[str] = []
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        columns = ["epoch", *sorted({*self._columns, *row} - {"epoch"})]
        known = len(self._lines) if columns == self._columns else 0  # a new column is one of every line
        self._columns = columns
        self._lines[known:] = [line_of([row.get(name) for name in columns]) for row in self.rows[known:]]

    @property
    def table(self) -> str:
        """As CSV: the names, then a line for each row, numbers as they are read back bit for bit."""
        return line_of(self._columns) + "".join(self._lines)


def line_of(cells: Iterable[object]) -> str:
    """One line of CSV, with its end."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()


def columns_of(table: str) -> dict[str, list[float]]:
    """Column → values of a table, NaN in an empty cell.

    Raises ``ValueError`` or ``csv.Error`` for one that is damaged.
    """
    names, *rows = csv.reader(io.StringIO(table), strict=True)
    if any(len(row) != len(names) for row in rows) or not table.endswith("\n"):
        raise ValueError("a row is cut")
    columns = {name: [float(row[i] or "nan") for row in rows] for i, name in enumerate(names)}
    if names[0] != "epoch" or columns["epoch"] != list(range(len(rows))):
        raise ValueError("it does not have one row per epoch")
    return columns


def rows_of(table: str) -> list[Row]:
    """The rows of a table, without the metrics that an epoch lacks."""
    names, *lines = csv.reader(io.StringIO(table))
    return [
        {name: int(cell) if name == "epoch" else float(cell) for name, cell in zip(names, line) if cell}
        for line in lines
    ]
