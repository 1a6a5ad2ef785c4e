"""A table of one's own, CSV or Parquet: which columns are numbers and which categories, and what is refused by name."""

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from aelab.config.messages import suggest
from aelab.config.overrides import quoted
from aelab.data.augmentation import Degrees, Mirror, Zoom
from aelab.data.batches import Data
from aelab.data.delimited import Format, read_table
from aelab.data.own import Own, Where
from aelab.data.scaling import Scale, fit
from aelab.data.schema import Missing, is_unit_interval, scaled
from aelab.data.table_schema import Category, TableSchema, as_numbers, as_texts, is_number, pyarrow
from aelab.errors import UserError
from aelab.ranges import Count, Fraction, Limits, Natural, Seed, Share
from aelab.rbm.layer import Layer

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, Table

ID = re.compile(r"(^|[_ .-])(id|uuid|guid|rowid)$|[a-z](Id|ID|UUID|GUID)$")
DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}([ T].*)?")
GROUPED = re.compile(r"[+-]?\d{1,3}([.,' ]\d{3})+([.,]\d+)?")  # 1,234,567.8
AT_ONCE = 100_000  # rows that are converted together
ENOUGH = 10  # rows from which on it is no chance that a column counts them


class Columns(NamedTuple):
    """Which columns are taken and how, as the config says it; see conf/data/table.yaml."""

    shape: list[Count] | None
    columns: list[str] | None
    exclude: list[str]
    categories: list[str]
    numbers: list[str]
    max_categories: int
    scale: Scale
    clip: Limits | None
    missing: Missing
    unseen: Literal["other", "refuse"]
    label: str | None


class TableData(Data):
    """Rows of a table; see :class:`TableSource` for how they become inputs."""

    def __init__(
        self, path: str, name: str, shape: list[Count] | None, columns: list[str] | None, exclude: list[str],
        categories: list[str], numbers: list[str], max_categories: Count, scale: Scale, clip: Limits | None,
        missing: Missing, unseen: Literal["other", "refuse"], label: str | None, delimiter: str | None,
        decimal: str | None, encoding: str, missing_words: list[str], test: Share, test_path: str | None,
        test_seed: Seed, split_column: str | None, split_index: str | None, group: str | None,
        stream: str | None, validation: Share, train_size: Count | None, labelled: Count | None,
        binarize: Literal["none", "threshold", "bernoulli"], shift: Natural, mirror: Mirror, rotate: Degrees,
        zoom: Zoom, mix: Fraction, seed: int, batch_size: int, below: list[Layer],
    ):  # fmt: skip
        chosen = Columns(
            shape, columns, exclude, categories, numbers, max_categories, scale, clip, missing, unseen, label
        )  # fmt: skip
        where = Where(test, test_path, test_seed, split_column, split_index, group, stream)
        source = TableSource(path, where, chosen, Format(delimiter, decimal, encoding, missing_words))
        super().__init__(
            source, name=name, root=None, cache="", download=False, validation=validation, train_size=train_size,
            labelled=labelled, binarize=binarize, shift=shift, mirror=mirror, rotate=rotate, zoom=zoom, mix=mix,
            seed=seed, batch_size=batch_size, below=below,
        )  # fmt: skip


class TableSource(Own):
    """Numbers are scaled, categories become one-hot inputs; dates, ids and what mixes kinds are refused by name.

    Whole numbers count as numbers, texts and true/false as categories. Raises ``UserError`` at the key to mend.
    """

    def __init__(self, path: str, where: Where, chosen: Columns, form: Format):
        super().__init__(path, where)
        self.chosen, self.form = chosen, form
        self.table = read_table(self.path, form, self.at)
        aside = [n for n in (chosen.label, where.split_column, where.group) if n is not None]
        for key, name in (("label", chosen.label), ("split_column", where.split_column), ("group", where.group)):
            if name is not None:
                self.known(name, f"data.{key}")
        if len(self) < 3:
            raise UserError(f"{self.at} has {len(self)} rows, which can't be split into training, validation and test")
        self.numbers, self.categories = self.sorted_columns(aside)
        learned = {*self.numbers, *self.categories}
        order = [name for name in self.table.column_names if name in learned]
        if len(order) < 2:
            raise UserError(
                f"{self.at} has {len(order) or 'no'} column to learn from, of {self.table.column_names[:5]}; an "
                "autoencoder needs two or more; if cells stand in one column, give data.delimiter"
            )
        self.order = order
        if chosen.missing == "refuse":
            self.refuse_missing()

    def __len__(self) -> int:
        return len(self.table)

    def known(self, name: str, key: str) -> None:
        if name not in self.table.column_names:
            raise UserError(f"{key}: {self.path} has no column {name!r}{suggest(name, self.table.column_names)}")

    def column(self, name: str, key: str) -> np.ndarray:
        self.known(name, key)
        values = as_texts(self.table[name])
        if values.null_count and key != "data.split_column":
            row = values.is_null().index(True).as_py()
            raise UserError(f"{key}: {name!r} is missing in row {row}, the first of {values.null_count}; fill it in")
        return np.array(values.to_pylist(), dtype=object)

    def labels(self) -> np.ndarray | None:
        name = self.chosen.label
        if name is None or name not in self.table.column_names:
            return None
        return self.column(name, "data.label")

    def elsewhere(self, path: str) -> "TableSource":
        other = object.__new__(TableSource)
        other.__dict__ |= self.__dict__ | {"path": Path(path).expanduser(), "at": f"data.test_path: {path}"}
        other.table = read_table(other.path, self.form, other.at)
        return other

    def blocks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, "Table"]]:
        there = set(self.table.column_names)
        table = self.table.select([name for name in self.order if name in there])
        for start in range(0, len(rows), AT_ONCE):
            numbers = rows[start : start + AT_ONCE]
            yield numbers, table.take(numbers)

    def fit(self, rows: np.ndarray) -> TableSchema:
        part, chosen = self.table.take(rows), self.chosen
        x = np.empty((len(part), len(self.numbers)))
        for i, name in enumerate(self.numbers):
            x[:, i] = as_numbers(part[name], name, self.at)
        empty = np.isnan(x).all(0)
        if empty.any():
            name = self.numbers[int(empty.argmax())]
            raise UserError(f"data.exclude: {name!r} is missing in every training row; leave it out, exclude=[{name}]")
        scaling = fit([x], len(x), chosen.scale, chosen.missing != "refuse", levels=1.0)
        columns = [Category(name, by_frequency(as_texts(part[name]))) for name in self.categories]
        clip = None if chosen.clip is None else (chosen.clip[0], chosen.clip[1])
        n_input = len(self.numbers) + sum(column.size for column in columns)
        shape = (n_input,) if chosen.shape is None else tuple(chosen.shape)
        if prod(shape) != n_input:
            raise UserError(f"data.shape: {list(shape)} is {prod(shape)} inputs, the columns make {n_input}; give null")
        return TableSchema(
            shape=shape, unit_interval=is_unit_interval(scaled(x, scaling, clip), chosen.scale, clip), order=self.order,
            categories=[column.size for column in columns], numbers=self.numbers, columns=columns, scaling=scaling,
            missing=chosen.missing, unseen=chosen.unseen, clip=clip,
        )  # fmt: skip

    # --- which column is what -----------------------------------------------------------------------------------------

    def sorted_columns(self, aside: list[str]) -> tuple[list[str], list[str]]:
        """The columns of numbers and those of categories, each in the file's order."""
        chosen, names = self.chosen, self.table.column_names
        taken = set(names if chosen.columns is None else self.matching(chosen.columns, "data.columns"))
        left = {*self.matching(chosen.exclude, "data.exclude"), *aside}
        said = {name: "number" for name in self.matching(chosen.numbers, "data.numbers")}
        said |= {name: "category" for name in self.matching(chosen.categories, "data.categories")}
        kinds = {name: self.kind(name, said.get(name)) for name in names if name in taken and name not in left}
        refused = {name: kind for name, kind in kinds.items() if kind not in ("number", "category")}
        if refused:
            what = ", ".join(f"{name!r} {kind}" for name, kind in list(refused.items())[:5])
            more = f" and {len(refused) - 5} more" if len(refused) > 5 else ""
            raise UserError(
                f"data.columns: {what}{more}; leave it out, data.exclude={quoted(list(refused)[:5])}, or say what "
                "it is, data.numbers=[…] or data.categories=[…]"
            )
        numbers = [name for name, kind in kinds.items() if kind == "number"]
        return numbers, [name for name, kind in kinds.items() if kind == "category"]

    def matching(self, patterns: list[str], key: str) -> list[str]:
        """The columns that any of the names or patterns means."""
        found: list[str] = []
        for pattern in patterns:
            names = [n for n in self.table.column_names if n == pattern or fnmatchcase(n, pattern)]
            if not names:
                raise UserError(
                    f"{key}: {self.path} has no column {pattern!r}{suggest(pattern, self.table.column_names)}"
                )
            found += names
        return found

    def kind(self, name: str, said: str | None) -> str:
        """``number``, ``category``, or why the column ``name`` is neither, as a person reads it."""
        types = pyarrow().types
        values = self.table[name]
        kind = values.type
        if types.is_temporal(kind):
            return "holds dates or times"
        if types.is_nested(kind):
            return "holds lists"
        if types.is_null(kind) or values.null_count == len(values):
            return "is empty"
        numeric = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        if said is not None:
            return said if said == "category" or numeric or not texts_that_are_no_numbers(values) else "holds text"
        if numeric:
            self.refuse_infinite(name)
            return "looks like an id" if types.is_integer(kind) and counts_or_names_rows(name, values) else "number"
        return "category" if types.is_boolean(kind) else self.kind_of_text(name, values)

    def kind_of_text(self, name: str, values: "ChunkedArray") -> str:
        texts = [text for text in values.unique().to_pylist() if text is not None]
        dates = sum(bool(DATE.fullmatch(text)) for text in texts)
        numbers = sum(map(is_number, texts))
        grouped = sum(bool(GROUPED.fullmatch(text)) for text in texts if not is_number(text))
        if numbers == len(texts):
            return "number"
        if dates > 0.9 * len(texts):
            return "holds dates or times"
        if grouped and grouped + numbers > 0.9 * len(texts):
            return "writes numbers with separators of thousands"
        if numbers >= 0.5 * len(texts):
            odd = next(text for text in texts if not is_number(text))
            return f"mixes numbers and text such as {odd!r} (a missing value? data.missing_words=[…])"
        if len(texts) > ENOUGH and len(texts) == len(values) - values.null_count:
            return "looks like an id"
        if len(texts) > self.chosen.max_categories:
            return f"has {len(texts)} different texts (data.max_categories={self.chosen.max_categories})"
        return "category"

    def refuse_missing(self) -> None:
        """Raise ``UserError`` that names every column where something is missing."""
        import pyarrow.compute as pc

        gone = {name: pc.is_null(self.table[name], nan_is_null=True) for name in self.order}
        holes = {name: pc.sum(values).as_py() for name, values in gone.items()}
        holes = {name: count for name, count in holes.items() if count}
        if holes:
            named = ", ".join(f"{name!r} in {count}" for name, count in list(holes.items())[:5])
            row = min(pc.index(gone[name], True).as_py() for name in holes)
            raise UserError(
                f"data.missing: {len(holes)} columns of {self.path} lack values: {named} rows, the first in row {row}; "
                "choose fill (median, commonest category) or mask (out of the loss)"
            )

    def refuse_infinite(self, name: str) -> None:
        import pyarrow.compute as pc

        if pyarrow().types.is_floating(self.table[name].type):
            infinite = pc.fill_null(pc.is_inf(self.table[name]), False)
            row = pc.index(infinite, True).as_py()
            if row >= 0:
                count = pc.sum(infinite).as_py()
                raise UserError(
                    f"{self.at}: {name!r} is infinite in row {row}, the first of {count}; mend it, or leave it empty"
                )


def counts_or_names_rows(name: str, values: "ChunkedArray") -> bool:
    """Whether whole numbers are row numbers, or all different under a name that says id."""
    import pyarrow.compute as pc

    if values.null_count or len(values) < ENOUGH or len(values.unique()) < len(values):
        return False
    ends = pc.min_max(values).as_py()
    return ends["max"] - ends["min"] == len(values) - 1 or bool(ID.search(name))


def texts_that_are_no_numbers(values: "ChunkedArray") -> bool:
    return any(not is_number(text) for text in as_texts(values).unique().to_pylist() if text is not None)


def by_frequency(texts: Any) -> list[str]:
    """The different texts, the commonest first; of equally common ones by the alphabet."""
    counts = {item["values"]: item["counts"] for item in texts.drop_null().value_counts().to_pylist()}
    return sorted(counts, key=lambda text: (-counts[text], text))
