"""Who rated what how: MovieLens as published, or any table of user, item and rating; split by rating within user."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch

from aelab.data.batches import Data
from aelab.data.parts import Parts, Split
from aelab.data.schema import Samples, Schema, row_number
from aelab.data.sparse import SparseRows
from aelab.data.table_schema import is_number
from aelab.errors import UserError
from aelab.ranges import MOST, Inside, Interval, Natural, Seed
from aelab.rbm.layer import Layer

MOST_LEVELS = 20  # different ratings; more are no levels but a measurement
COLUMNS = {  # what the published files call them
    "user": ("user", "userid", "user_id", "user_id:token", "s"),
    "item": ("item", "itemid", "item_id", "item_id:token", "movieid", "movie_id", "d"),
    "rating": ("rating", "rating:float", "y"),
}


class Table(NamedTuple):
    """Ratings, one per row: ``user`` and ``item`` are numbers of ``users`` and ``items``, ``level`` of ``levels``."""

    user: np.ndarray
    item: np.ndarray
    level: np.ndarray
    users: list[str]
    items: list[str]
    levels: list[float]


@dataclass(kw_only=True)
class RatingSchema(Schema):
    """An input is what one row (a user, or an item) gave each column: 0 nothing, k the k-th of ``levels``."""

    kind = "ratings"
    levels: list[float]
    columns: list[str]

    @property
    def names(self) -> list[str]:
        return self.columns

    @property
    def features(self) -> list[str]:
        return self.columns

    def by_feature(self, values: np.ndarray) -> np.ndarray:
        return values

    def cells(self, rows: Any, place: np.ndarray) -> np.ndarray:
        return np.take_along_axis(np.asarray(rows), place[:, None], 1)[:, 0]

    def encode(self, rows: Any, at: str, first: int | np.ndarray = 0) -> Samples:
        """Ratings (n, columns) in their own units, NaN where there is none."""
        values = np.asarray(rows, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.columns):
            raise UserError(
                f"{at}: must be (rows, {len(self.columns)}), NaN where nothing is rated, got {values.shape}"
            )
        levels = np.array(self.levels)
        place = np.searchsorted(levels, values).clip(max=len(levels) - 1)
        strange = ~np.isnan(values) & (levels[place] != values)
        if strange.any():
            row, column = np.argwhere(strange)[0]
            raise UserError(
                f"{at}: {self.columns[column]!r} is rated {values[row, column]:g} in row {row_number(first, row)}; the "
                f"ratings are {self.levels}"
            )
        return Samples(torch.from_numpy(np.where(np.isnan(values), 0, place + 1).astype(np.float32)))

    def decode(self, x: np.ndarray) -> np.ndarray:
        return np.array([np.nan, *self.levels])[x.astype(np.int64)]

    def plain(self) -> dict[str, Any]:
        return super().plain() | {"levels": self.levels, "columns": self.columns}


class RatingData(Data):
    """Users and what they rated; see :class:`Ratings` for how they become inputs."""

    def __init__(
        self, path: str, name: str, user: str | None, item: str | None, rating: str | None,
        rows: Literal["users", "items"], folds: Annotated[int, Interval(2, MOST)], fold: Natural, test_seed: Seed,
        validation: Inside, seed: int, batch_size: int, below: list[Layer],
    ):  # fmt: skip
        if below:
            raise UserError("below: no layer takes ratings, which are mostly empty; take model=rating_rbm without it")
        super().__init__(
            Ratings(path, user, item, rating, rows, folds, fold, test_seed), name=name, root=None, cache="",
            download=False, validation=validation, train_size=None, labelled=None, binarize="none", shift=0,
            mirror="none", rotate=0.0, zoom=0.0, mix=0.0, seed=seed, batch_size=batch_size, below=below,
        )  # fmt: skip


@dataclass
class Ratings:
    """The source; conf/data/ratings.yaml says the keys. A sample is a user, or with ``rows="items"`` an item.

    Of each user's ratings one of ``folds`` equal parts, ``fold``, is for the test, the same whatever the seed of a
    run. What is to be predicted is the ``y`` of the validation and the test set, (rows, columns); its ``x`` are
    training ratings of the same rows, so nothing of any other part is ever an input.
    """

    path: str
    user: str | None
    item: str | None
    rating: str | None
    rows: Literal["users", "items"]
    folds: int
    fold: int
    test_seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.fold < self.folds:
            raise UserError(f"data.fold: must be from 0 to {self.folds - 1}, got {self.fold}")

    def parts(self, name: str, validation: int | float, train_size: int | None, draw: torch.Generator) -> Parts:
        table = read_ratings(Path(self.path).expanduser(), self.named)
        drawn = torch.Generator().manual_seed(self.test_seed)
        place = place_within(table.user, torch.rand(len(table.user), generator=drawn).numpy())
        test = np.floor(place * self.folds).astype(int) == self.fold
        rest = np.flatnonzero(~test)
        again = place_within(table.user[rest], torch.rand(len(rest), generator=draw).numpy())
        val = np.zeros(len(test), dtype=bool)
        val[rest[again >= 1 - validation]] = True
        for part, what in ((test, "test"), (val, "validation"), (~test & ~val, "training")):
            if not part.any():
                raise UserError(f"data.path: {self.path} leaves no {what} ratings of {len(test)}; give more ratings")
        x, val_y, test_y = (self.matrix(table, rows).part for rows in (~test & ~val, val, test))
        columns = table.items if self.rows == "users" else table.users
        schema = RatingSchema(shape=(len(columns),), unit_interval=False, levels=table.levels, columns=columns)
        return Parts(Split(x, None), Split(x, val_y), Split(x, test_y), schema)

    @property
    def named(self) -> dict[str, str | None]:
        return {"user": self.user, "item": self.item, "rating": self.rating}

    def matrix(self, table: Table, chosen: np.ndarray) -> SparseRows:
        """The ``chosen`` ratings, levels counted from 1."""
        sides = [(table.user, len(table.users)), (table.item, len(table.items))]
        (row, n_rows), (column, width) = sides if self.rows == "users" else sides[::-1]
        parts = (torch.from_numpy(values[chosen].astype(np.int64)) for values in (row, column, table.level))
        rows, columns, levels = parts
        return SparseRows.of(rows, columns, levels.float() + 1, (n_rows, width))

    def all_rows(self, schema: RatingSchema) -> SparseRows:
        """Every rating in the file, (rows, columns of ``schema``); what training never met is passed over."""
        table = read_ratings(Path(self.path).expanduser(), self.named)
        named = table.items if self.rows == "users" else table.users
        place = {name: i for i, name in enumerate(schema.columns)}
        level = {value: k for k, value in enumerate(schema.levels, 1)}
        columns = np.array([place.get(name, -1) for name in named])
        levels = np.array([level.get(value, 0) for value in table.levels])
        if (levels == 0).any():
            strange = table.levels[int((levels == 0).argmax())]
            raise UserError(f"data.path: {self.path} has a rating of {strange:g}; the run's are {schema.levels}")
        row, column = (table.user, table.item) if self.rows == "users" else (table.item, table.user)
        known = columns[column] >= 0
        n = len(table.users if self.rows == "users" else table.items)
        parts = (row[known], columns[column[known]], levels[table.level[known]])
        rows, places, values = (torch.from_numpy(part.astype(np.int64)) for part in parts)
        return SparseRows.of(rows, places, values.float(), (n, len(schema.columns)))


def place_within(group: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Where each entry stands among those of its group when they are ordered by ``drawn``: (rank + ½)/number."""
    order = np.lexsort((drawn, group))
    counts = np.bincount(group)
    start = np.repeat(counts.cumsum() - counts, counts)
    place = np.empty(len(group))
    place[order] = (np.arange(len(group)) - start + 0.5) / np.repeat(counts, counts)
    return place


def read_ratings(path: Path, named: dict[str, str | None]) -> Table:
    """The ratings in a file: a header and any separator, ``::``, or no header and user, item, rating in this order."""
    at = f"data.path: {path}"
    if not path.is_file():
        raise UserError(f"{at} does not exist; give a file of users, items and ratings")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{at} cannot be read as text ({error}); unpack it, or save it as CSV") from error
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise UserError(f"{at} is empty; give one rating per line")
    separator = next((mark for mark in ("::", "\t", ";", ",") if mark in lines[0]), None)
    if separator is None:
        raise UserError(f"{at} has one column; give user, item and rating")
    cells = (
        [line.split(separator) for line in lines] if separator == "::"
        else list(csv.reader(lines, delimiter=separator))
    )  # fmt: skip
    header, first = cells[0], 0
    if any(named.values()) or not is_number(header[2] if len(header) > 2 else ""):
        first = 1
    where = {key: column_of(header, key, name, at, with_header=first == 1) for key, name in named.items()}
    try:
        user, item, rating = ([row[where[key]] for row in cells[first:]] for key in ("user", "item", "rating"))
        values = np.array([float(text) for text in rating])
    except (IndexError, ValueError) as error:
        raise UserError(f"{at} has a row that is no user, item and number ({error}); mend it") from error
    return numbered(user, item, values, at)


def column_of(header: list[str], key: str, name: str | None, at: str, with_header: bool) -> int:
    """Where the column ``name``, or the one that is usually called ``key``, stands."""
    if not with_header:
        return ("user", "item", "rating").index(key)
    wanted = COLUMNS[key] if name is None else (name.lower(),)
    for i, title in enumerate(header):
        if title.strip().lower() in wanted:
            return i
    raise UserError(f"data.{key}: {at.partition(': ')[2]} has {', '.join(header)}, no {name or key}; name one")


def numbered(user: list[str], item: list[str], rating: np.ndarray, at: str) -> Table:
    """Names and ratings as numbers; raises ``UserError`` for a pair that is rated twice."""
    users, user_number = np.unique(user, return_inverse=True)
    items, item_number = np.unique(item, return_inverse=True)
    levels, level = np.unique(rating, return_inverse=True)
    if not np.isfinite(levels).all():
        raise UserError(f"{at} has ratings that are no finite numbers; mend it")
    if not 2 <= len(levels) <= MOST_LEVELS:
        raise UserError(f"{at} has {len(levels)} different ratings; from 2 to {MOST_LEVELS} can be levels")
    pairs = user_number.astype(np.int64) * len(items) + item_number
    if len(np.unique(pairs)) < len(pairs):
        values, counts = np.unique(pairs, return_counts=True)
        twice = int(values[counts > 1][0])
        who, what = str(users[twice // len(items)]), str(items[twice % len(items)])
        raise UserError(f"{at} has several ratings of {what!r} by {who!r}; leave one of them")
    return Table(user_number, item_number, level, users.tolist(), items.tolist(), levels.tolist())
