"""Which rows are for training, validation and test: by fraction, by a column, by given row numbers, by group."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from aelab.errors import UserError

WORDS = {"train": "train training learn", "val": "val valid validation dev", "test": "test testing holdout eval"}
PART_OF = {word: part for part, words in WORDS.items() for word in words.split()}


class Rows(NamedTuple):
    """Row numbers (n,) int64 of each part; no row is in two of them."""

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


class Told(NamedTuple):
    """What is known of ``n`` rows that are to be split.

    ``part`` (n,), or None: ``train``, ``val`` or ``test`` where it is given, ``rest`` where it is to be drawn, ``out``
    for rows that are left out. ``group`` (n,), or None: rows of one group stay together. ``label`` (n,), or None: the
    test set's shares of the labels are those of all rows.
    """

    n: int
    part: np.ndarray | None = None
    group: np.ndarray | None = None
    label: np.ndarray | None = None


def split(told: Told, test: int | float | None, validation: int | float, test_seed: int, draw: torch.Generator) -> Rows:
    """Test rows by ``test_seed``, so that they are the same in every run; validation rows by ``draw``.

    Either is a fraction (float) or a number (int) of rows; ``test`` None: there are none among these. Training rows
    come in the order of ``draw``.
    """
    part = np.full(told.n, "rest") if told.part is None else told.part
    rest = np.flatnonzero(part == "rest")
    chosen = {name: np.flatnonzero(part == name) for name in ("train", "val", "test")}
    if test is not None and not len(chosen["test"]):
        drawn = torch.Generator().manual_seed(test_seed)
        chosen["test"] = draw_rows(rest, test, "data.test", drawn, told.group, told.label)
        rest = np.setdiff1d(rest, chosen["test"])
    rest = rest if not len(chosen["train"]) else chosen["train"]
    if not len(chosen["val"]):
        chosen["val"] = draw_rows(rest, validation, "data.validation", draw, told.group, None)
        rest = np.setdiff1d(rest, chosen["val"])
    train = rest[torch.randperm(len(rest), generator=draw).numpy()]
    if told.group is not None:
        check_groups(told.group, train, chosen["val"], chosen["test"])
    return Rows(train, chosen["val"], chosen["test"])


def a_part_of(n: int) -> str:
    """What to give where a part of n samples was asked that is none or all of them."""
    return f"give a number of them, from 1 to {n - 1}" if n > 1 else "there have to be more"


def draw_rows(
    rows: np.ndarray, wanted: int | float, key: str, draw: torch.Generator, group: np.ndarray | None,
    label: np.ndarray | None,
) -> np.ndarray:  # fmt: skip
    """``wanted`` random ``rows``: whole groups where there are groups, each label's share where there are labels."""
    n = wanted if isinstance(wanted, int) else round(wanted * len(rows))
    if not 1 <= n < len(rows):
        few = f"{wanted} of {len(rows)} rows leaves none here or none to train on"
        raise UserError(f"{key}: {few}; {a_part_of(len(rows))}")
    shuffled = rows[torch.randperm(len(rows), generator=draw).numpy()]
    if group is not None:
        names, first, sizes = np.unique(group[shuffled], return_index=True, return_counts=True)
        names, sizes = names[np.argsort(first)], sizes[np.argsort(first)]  # in the order in which they were drawn
        if len(names) < 2:
            raise UserError(f"data.group: all {len(rows)} rows are of one group; name a column with several")
        whole = 1 + int(np.abs(sizes.cumsum()[:-1] - n).argmin())
        return np.sort(rows[np.isin(group[rows], names[:whole])])
    if label is not None:
        # Of each label the same share: a row's place among the rows of its label, as a fraction, decides.
        _, codes = np.unique(label[shuffled], return_inverse=True)
        order = np.argsort(codes, kind="stable")
        counts = np.bincount(codes)
        place = np.empty(len(rows))
        place[order] = np.arange(len(rows)) - np.repeat(counts.cumsum() - counts, counts)
        shuffled = shuffled[np.argsort((place + 0.5) / counts[codes], kind="stable")]
    return np.sort(shuffled[:n])


def check_groups(group: np.ndarray, train: np.ndarray, val: np.ndarray, test: np.ndarray) -> None:
    """Raise ``UserError`` for a group that has rows in two parts: its test rows would be known from training."""
    for name, others, part in (("test", np.concatenate([train, val]), test), ("validation", train, val)):
        shared = np.intersect1d(group[part], group[others])
        if len(shared):
            raise UserError(
                f"data.group: {str(shared[0])!r} and {len(shared) - 1} others have rows both in the {name} set and "
                "outside; split by group, or give no group"
            )


def parts_of_words(words: np.ndarray, name: str) -> np.ndarray:
    """What stands in the column ``name`` → ``train``, ``val``, ``test``; an empty cell leaves the row out."""
    known = {word: PART_OF.get(str(word).strip().lower()) for word in set(words.tolist()) if word is not None}
    for word, part in known.items():
        if part is None:
            raise UserError(f"data.split_column: {name!r} holds {word!r}; it must say train, validation or test")
    parts = np.array([known.get(word, "out") for word in words.tolist()])
    for needed in ("train", "test"):
        if needed not in parts:
            raise UserError(f"data.split_column: no row of {name!r} says {needed}; give rows of each, or data.test=0.2")
    return parts


def parts_of_index(path: str, n: int) -> np.ndarray:
    """A file of row numbers, from 0, → each row's part.

    .npy or .txt: the test rows; .npz or .json: rows by part, ``train``, ``validation`` and ``test``, of which the first
    two may be left out. Rows that none names are left out if the training rows are given, else they are the rest.
    """
    parts = np.full(n, "rest", dtype="<U5")
    named = read_index(Path(path).expanduser())
    if "train" in named:
        parts[:] = "out"
    for part, rows in named.items():
        if len(rows) and not 0 <= rows.min() <= rows.max() < n:
            raise UserError(f"data.split_index: {path} names row {rows.max()} of {n} rows, counted from 0; mend it")
        if (twice := np.isin(parts[rows], ("train", "val", "test"))).any() or len(np.unique(rows)) < len(rows):
            row = rows[twice][0] if twice.any() else rows[0]
            raise UserError(f"data.split_index: {path} names row {row} twice; a row belongs to one part")
        parts[rows] = part
    if "test" not in parts:
        raise UserError(f"data.split_index: {path} names no test rows; add them")
    return parts


def read_index(path: Path) -> dict[str, np.ndarray]:
    """Part → row numbers of the file."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                named = dict(file)
        elif path.suffix == ".json":
            named = json.loads(path.read_text())
        elif path.suffix == ".npy":
            named = {"test": np.load(path, allow_pickle=False)}
        else:
            named = {"test": [int(line) for line in path.read_text().split()]}
        rows = {PART_OF[str(name).lower()]: np.asarray(values) for name, values in named.items()}
        if any(len(r) and (r.ndim != 1 or r.dtype.kind not in "iu") for r in rows.values()):
            raise ValueError("not lists of whole numbers")
    except KeyError as error:
        raise UserError(f"data.split_index: {path} names a part {error}; name them train, validation, test") from error
    except OSError as error:
        raise UserError(f"data.split_index: cannot read {path} ({error.strerror or error})") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"data.split_index: {path} holds no row numbers ({str(error)[:80]}); one whole number per line, or .npz"
        ) from error
    return {part: values.astype(np.int64) for part, values in rows.items()}
