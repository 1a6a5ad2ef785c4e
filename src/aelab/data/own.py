"""A person's own data: what tables, arrays and folders of images have in common on the way from files to parts."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from aelab.data import disk
from aelab.data.arrays import first
from aelab.data.parts import Parts, Split
from aelab.data.schema import Schema
from aelab.data.splitting import Rows, Told, parts_of_index, parts_of_words, split
from aelab.errors import UserError

FILES = ("path", "test_path", "split_index", "split_column", "label", "group")  # what may name a file


class Where(NamedTuple):
    """How rows become parts, as the config says it; see conf/data/_own.yaml."""

    test: int | float
    test_path: str | None
    test_seed: int
    split_column: str | None
    split_index: str | None
    group: str | None
    stream: str | None = None


class Own:
    """Rows in a person's units. A kind of data says how to ``fit`` a schema on some of them and to read them by it."""

    def __init__(self, path: str, where: Where):
        self.path, self.where = Path(path).expanduser(), where
        self.at = f"data.path: {self.path}"
        self.stream = None if where.stream is None else Path(where.stream).expanduser()
        if where.split_column is not None and where.split_index is not None:
            raise UserError("data.split_column: and data.split_index both say which rows are the test set; give one")

    def __len__(self) -> int:
        raise NotImplementedError

    def column(self, name: str, key: str) -> np.ndarray:
        """The values (n,) of what ``name`` names, which is no input: labels, groups, parts; None where missing."""
        raise NotImplementedError

    def labels(self) -> np.ndarray | None:
        """A label for each row (n,), or None."""
        raise NotImplementedError

    def fit(self, rows: np.ndarray) -> Schema:
        """The schema of these rows: nothing of any other row is in it."""
        raise NotImplementedError

    def blocks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
        """These rows, some at a time: their numbers, and the rows as they stand in the file."""
        raise NotImplementedError

    def elsewhere(self, path: str) -> "Own":
        """The same kind of data in other files."""
        raise NotImplementedError

    def test_files(self, path: str) -> "Own":
        """``elsewhere``, whatever is wrong there said of data.test_path."""
        try:
            other = self.elsewhere(path)
        except UserError as error:
            raise UserError(re.sub(r"^data\.path: ", "data.test_path: ", str(error))) from error
        other.at = f"data.test_path: {path}"
        return other

    def parts(self, name: str, validation: int | float, train_size: int | None, draw: torch.Generator) -> Parts:
        """Split first, then fitted on the training part alone, then read."""
        labels, other = self.labels(), None
        if self.where.test_path is not None:
            other = self.test_files(self.where.test_path)
        rows = self.split(labels, validation, draw)
        rows = rows._replace(train=first(rows.train, train_size))
        if self.stream is not None:
            rows = rows._replace(
                train=np.sort(rows.train)
            )  # read in the file's order, shuffled when they are trained on
        schema = self.fit(rows.train)
        if labels is not None:
            known = np.concatenate([labels[rows.train], labels[rows.val]])
            schema.labels, schema.n_classes = classes(known, labels if other is None else other.labels())
        train, val = self.part(rows.train, schema), self.part(rows.val, schema)
        test = self.part(rows.test, schema) if other is None else other.part(np.arange(len(other)), schema)
        return Parts(train, val, test, schema, self.stream)

    def split(self, labels: np.ndarray | None, validation: int | float, draw: torch.Generator) -> Rows:
        where, n = self.where, len(self)
        part = None
        if where.split_column is not None:
            part = parts_of_words(self.column(where.split_column, "data.split_column"), where.split_column)
        elif where.split_index is not None:
            part = parts_of_index(where.split_index, n)
        group = None if where.group is None else texts(self.column(where.group, "data.group"))
        test = None if where.test_path is not None or part is not None else where.test
        return split(
            Told(n, part, group, None if labels is None else texts(labels)), test, validation, where.test_seed, draw
        )

    def part(self, rows: np.ndarray, schema: Schema) -> Split:
        """These rows by ``schema``."""
        labels, done = self.labels(), 0
        x, observed = disk.empty((len(rows), schema.n_input), self.stream), None
        for numbers, block in self.blocks(rows):
            samples = schema.encode(block, self.at, numbers)
            here = slice(done, done := done + len(samples.x))
            x[here] = samples.x
            if samples.observed is not None:
                if observed is None:
                    observed = disk.empty(tuple(x.shape), self.stream, torch.bool).fill_(True)
                observed[here] = samples.observed
        return Split(x, None if labels is None else numbered(labels[rows], schema.labels), observed)


def classes(known: np.ndarray, every: np.ndarray | None) -> tuple[list[str], int]:
    """What the class numbers stand for, those of ``known`` rows in order, then others; and how many are known."""
    names = in_order(set(texts(known).tolist()))
    more = set() if every is None else set(texts(every).tolist()) - set(names)
    return names + in_order(more), len(names)


def numbered(labels: np.ndarray, names: list[str] | None) -> torch.Tensor | None:
    """Labels (n,) → their numbers; None if there are no names for them."""
    if names is None:
        return None
    number = {name: i for i, name in enumerate(names)}
    return torch.tensor([number[text] for text in texts(labels).tolist()], dtype=torch.int64)


def in_order(names: set[str]) -> list[str]:
    """Numbers by their value, then words by the alphabet."""

    def place(name: str) -> tuple[int, float, str]:
        try:
            return 0, float(name), name
        except ValueError:
            return 1, 0.0, name

    return sorted(names, key=place)


def texts(values: np.ndarray) -> np.ndarray:
    """Labels or groups as text; a whole number reads the same whether it came as 1 or as 1.0."""
    if values.dtype.kind == "f" and bool((values == np.trunc(values)).all()):
        values = values.astype(np.int64)
    return np.array([str(value) for value in values.tolist()], dtype=object).astype(str)


def files_below(root: Path, *suffixes: str) -> list[Path]:
    """The files below ``root`` of these suffixes, all for none, in the order of their names.

    None of those that are hidden, or in a hidden folder: what other programs keep there are copies and thumbnails.
    """
    below = (path for path in root.rglob("*") if not any(part.startswith(".") for part in path.relative_to(root).parts))
    return sorted(path for path in below if path.is_file() and (not suffixes or path.suffix.lower() in suffixes))


def fingerprint(data: dict[str, Any]) -> str:
    """128 bits of what lies in the files and folders that a config of one's own data names, wherever they lie."""
    digest = hashlib.blake2b(digest_size=16)
    roots = {key: Path(str(data[key])).expanduser() for key in FILES if data.get(key) is not None}
    for key, root in roots.items():
        digest.update(key.encode())
        if not root.exists():
            continue  # the name of a column or an array; what does not exist at all is said when it is read
        for file in files_below(root) if root.is_dir() else [root]:
            digest.update(f"{file.relative_to(root) if root.is_dir() else ''}\n".encode())
            try:
                with file.open("rb") as stream:
                    digest.update(hashlib.file_digest(stream, "blake2b").digest())
            except OSError as error:
                raise UserError(f"data.path: cannot read {file} ({error.strerror}); check it and its rights") from error
    return digest.hexdigest()
