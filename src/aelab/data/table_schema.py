"""The schema of a table: numbers scaled, categories one-hot with an input for the unseen, by the columns' names."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch

from aelab.data.scaling import Scaling
from aelab.data.schema import Missing, Samples, Schema, present, row_number, scaled
from aelab.errors import UserError

if TYPE_CHECKING:
    from pyarrow import Array, Table

UNSEEN = "(other)"  # what a value that training never met is called


class Category(NamedTuple):
    """A column of categories: its name, the training part's values by how often they occur, the commonest first."""

    name: str
    values: list[str]

    @property
    def size(self) -> int:
        return len(self.values) + 1  # one more, for the unseen


@dataclass(kw_only=True)
class TableSchema(Schema):
    """Inputs are the columns ``numbers``, in that order, then one group of one-hot inputs per column of categories.

    ``order``: the columns as they stood in the file. ``unseen``: whether a value that training never met is an input
    of its own, ``other``, or refused.
    """

    kind = "table"
    order: list[str]
    numbers: list[str]
    columns: list[Category]
    scaling: Scaling
    missing: Missing
    unseen: Literal["other", "refuse"]
    clip: tuple[float, float] | None

    @property
    def names(self) -> list[str]:
        return self.numbers + [f"{c.name}={value}" for c in self.columns for value in (*c.values, UNSEEN)]

    @property
    def features(self) -> list[str]:
        return self.order

    def by_feature(self, values: np.ndarray) -> np.ndarray:
        starts = np.cumsum([len(self.numbers), *(column.size for column in self.columns)])
        found = {name: values[:, i] for i, name in enumerate(self.numbers)}
        found |= {c.name: values[:, s:e].sum(1) for c, s, e in zip(self.columns, starts, starts[1:])}
        return np.stack([found[name] for name in self.order], 1)

    def cells(self, rows: Any, place: np.ndarray) -> np.ndarray:
        table = as_table(rows, "rows")
        found = np.empty(len(place), object)
        for i in np.unique(place):
            here = np.flatnonzero(place == i)
            found[here] = table[self.order[i]].take(here).to_pylist()
        if self.columns:
            return np.array(["" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in found])
        return found.astype(float)

    def encode(self, rows: Any, at: str, first: int | np.ndarray = 0) -> Samples:
        """``rows``: a pyarrow table, a data frame, or a mapping of columns; columns it has besides are passed over."""
        table = as_table(rows, at)
        there = set(table.column_names)
        lacking = [name for name in self.order if name not in there]
        if lacking:
            more = f" nor {len(lacking) - 1} others" if lacking[1:] else ""
            raise UserError(f"{at} has no column {lacking[0]!r}{more}, on which the model was trained; add what lacks")
        values = np.empty((len(table), len(self.numbers)))
        for i, name in enumerate(self.numbers):
            values[:, i] = as_numbers(table[name], name, at, first)
        values, seen = present(values, self.scaling, self.missing, at, first, lambda i: repr(self.numbers[i]))
        x = np.zeros((len(table), self.n_input), np.float32)
        x[:, : len(self.numbers)] = scaled(values, self.scaling, self.clip)
        self.refuse_outside(x[:, : len(self.numbers)], at, first, lambda i: repr(self.numbers[i]))
        observed = np.ones(x.shape, bool)
        if seen is not None:
            observed[:, : len(self.numbers)] = seen
        start = len(self.numbers)
        for column in self.columns:
            place = self.places(table[column.name], column, at, first)
            rows_there = np.flatnonzero(place >= 0)
            x[rows_there, start + place[rows_there]] = 1.0
            observed[place < 0, start : start + column.size] = False
            start += column.size
        return Samples(torch.from_numpy(x), None if observed.all() else torch.from_numpy(observed))

    def places(self, values: Any, column: Category, at: str, first: int | np.ndarray) -> np.ndarray:
        """Place of each value among the column's, the last for one that is unseen, −1 for one that is missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = as_texts(values)
        place = pc.index_in(texts, value_set=pa.array(column.values, pa.string()))
        missing = pc.is_null(texts).to_numpy(zero_copy_only=False)
        place = pc.fill_null(place, len(column.values)).to_numpy().astype(np.int64)
        if missing.any() and self.missing != "mask":
            if self.missing == "refuse":
                raise UserError(
                    f"{at}: {column.name!r} is missing in row {row_number(first, int(missing.argmax()))}, the first of "
                    f"{int(missing.sum())} such rows; mend the file, or train with data.missing=fill or "
                    "data.missing=mask"
                )
            place[missing] = 0
        elif missing.any():
            place[missing] = -1
        unseen = place == len(column.values)
        if unseen.any() and self.unseen == "refuse":
            row = int(unseen.argmax())
            raise UserError(
                f"{at}: {column.name!r} is {texts[row].as_py()!r} in row {row_number(first, row)}, which training "
                "never met; mend it, or train with data.unseen=other"
            )
        return place

    def decode(self, x: np.ndarray) -> "Table":
        """The expected number, the likeliest category; columns in the file's order."""
        import pyarrow as pa

        x = np.asarray(x)
        numbers = self.scaling.undo(x[:, : len(self.numbers)])
        found: dict[str, Any] = {name: numbers[:, i] for i, name in enumerate(self.numbers)}
        start = len(self.numbers)
        for column in self.columns:
            likeliest = x[:, start : start + column.size].argmax(1)
            found[column.name] = np.array([*column.values, UNSEEN], dtype=object)[likeliest]
            start += column.size
        return pa.table({name: found[name] for name in self.order})

    def plain(self) -> dict[str, Any]:
        columns = [column._asdict() for column in self.columns]
        own = {"order": self.order, "numbers": self.numbers, "columns": columns, "scaling": self.scaling.plain()}
        return super().plain() | own | {"missing": self.missing, "unseen": self.unseen, "clip": self.clip}


def as_table(rows: Any, at: str) -> "Table":
    """A pyarrow table of ``rows``: itself, or made of a data frame (pandas, polars) or of a mapping of columns."""
    pa = pyarrow()
    if isinstance(rows, pa.Table):
        return rows
    try:
        if hasattr(rows, "to_arrow"):  # polars
            return rows.to_arrow()
        if hasattr(rows, "iloc"):
            return pa.Table.from_pandas(rows, preserve_index=False)
        return pa.table(rows)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UserError(f"{at} cannot be read as a table ({str(error).splitlines()[0]}); give a data frame") from error


def as_numbers(values: Any, name: str, at: str, first: int | np.ndarray = 0) -> np.ndarray:
    """A column as float64, NaN where it is missing."""
    pa = pyarrow()
    try:
        return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        texts = as_texts(values).to_pylist()
        row = next((i for i, text in enumerate(texts) if text is not None and not is_number(text)), None)
        got = f"holds {values.type}" if row is None else f"is {texts[row]!r} in row {row_number(first, row)}"
        raise UserError(f"{at}: {name!r} {got}, which is no number; mend it") from None


def as_texts(values: Any) -> "Array":
    """A column of categories as text; a whole number is the same text whether it stood there as 1 or as 1.0."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
        values = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
        whole = pc.all(pc.equal(values, pc.trunc(values))).as_py()
        values = values.cast(pa.int64()) if whole in (True, None) else values
    return values.cast(pa.string())


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def pyarrow() -> Any:
    """The library that reads tables; a line that says how to get it where it is missing."""
    try:
        library = import_module("pyarrow")
        import_module("pyarrow.compute")
    except ImportError as error:
        raise UserError(
            "data: tables are read by pyarrow, which is not installed; pip install 'aelab[data]'"
        ) from error
    return library
