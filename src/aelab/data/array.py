"""An array of one's own, .npy or .npz: rows of numbers, grey images or colour images; on disk where it is large."""

import zipfile
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from aelab.data.augmentation import Degrees, Mirror, Zoom
from aelab.data.batches import Data
from aelab.data.own import Own, Where
from aelab.data.scaling import UNSCALED, Ends, Scale, fit
from aelab.data.schema import ArraySchema, Missing, is_unit_interval, refuse_infinite, scaled
from aelab.data.unpacking import too_much
from aelab.errors import UserError
from aelab.ranges import Count, Fraction, Limits, Natural, Seed, Share
from aelab.rbm.layer import Layer

BLOCK = 1 << 26  # bytes of float64 that are converted at once
COLOURS = (3, 4)  # sizes of a last axis that is one


class Entries(NamedTuple):
    """How entries are taken, as the config says it; see conf/data/array.yaml."""

    array: str | None
    shape: list[Count] | None
    colour: Literal["first", "last"] | None
    scale: Scale | Literal["auto"]
    clip: Limits | None
    missing: Missing
    label: str | None


class ArrayData(Data):
    """Rows of an array; see :class:`ArraySource` for how they become inputs."""

    def __init__(
        self, path: str, name: str, array: str | None, shape: list[Count] | None,
        colour: Literal["first", "last"] | None, scale: Scale | Literal["auto"], clip: Limits | None,
        missing: Missing, label: str | None, test: Share, test_path: str | None, test_seed: Seed,
        split_column: str | None, split_index: str | None, group: str | None, stream: str | None,
        validation: Share, train_size: Count | None, labelled: Count | None,
        binarize: Literal["none", "threshold", "bernoulli"], shift: Natural, mirror: Mirror, rotate: Degrees,
        zoom: Zoom, mix: Fraction, seed: int, batch_size: int, below: list[Layer],
    ):  # fmt: skip
        where = Where(test, test_path, test_seed, split_column, split_index, group, stream)
        source = ArraySource(path, where, Entries(array, shape, colour, scale, clip, missing, label))
        if array is not None and source.path.suffix != ".npz":
            raise UserError(f"data.array: {path} is no .npz with names in it; leave it out")
        super().__init__(
            source, name=name, root=None, cache="", download=False, validation=validation, train_size=train_size,
            labelled=labelled, binarize=binarize, shift=shift, mirror=mirror, rotate=rotate, zoom=zoom, mix=mix,
            seed=seed, batch_size=batch_size, below=below,
        )  # fmt: skip


class ArraySource(Own):
    """The rows of an array (n, …). Labels, groups and parts stand in the same .npz, or in .npy files of their own."""

    def __init__(self, path: str, where: Where, entries: Entries):
        super().__init__(path, where)
        self.entries = entries
        self.array = read_array(self.path, entries.array, self.at)
        if self.array.ndim < 2:
            raise UserError(
                f"{self.at} has shape {self.array.shape}; it needs a row of several numbers for each sample"
            )
        if len(self) < 3 and where.test_path is None:
            raise UserError(f"{self.at} has {len(self)} rows, which can't be split into training, validation and test")
        self.own_shape = self.array.shape[1:] if entries.shape is None else tuple(entries.shape)
        width = prod(self.array.shape[1:])
        if prod(self.own_shape) != width:
            raise UserError(f"data.shape: {list(self.own_shape)} is {prod(self.own_shape)} values, a row has {width}")
        if width < 2:
            raise UserError(f"{self.at} has one value per row; an autoencoder needs two or more")

    def __len__(self) -> int:
        return len(self.array)

    def column(self, name: str, key: str) -> np.ndarray:
        return read_column(self.path, name, len(self), key)

    def labels(self) -> np.ndarray | None:
        return None if self.entries.label is None else self.column(self.entries.label, "data.label")

    def elsewhere(self, path: str) -> "ArraySource":
        inside = path.endswith(".npz")  # else its labels would be those of the training rows
        entries = self.entries if inside else self.entries._replace(label=None)
        return ArraySource(path, self.where, entries._replace(shape=None))

    def blocks(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        at_once = max(1, BLOCK // (8 * prod(self.own_shape)))
        for start in range(0, len(rows), at_once):
            numbers = rows[start : start + at_once]
            yield numbers, np.asarray(self.array[numbers]).reshape(len(numbers), *self.own_shape)

    def fit(self, rows: np.ndarray) -> ArraySchema:
        entries, dtype = self.entries, self.array.dtype
        last = entries.colour == "last" or (entries.colour is None and self.own_shape[-1] in COLOURS)
        last = last and len(self.own_shape) == 3
        shape = (self.own_shape[-1], *self.own_shape[:-1]) if last else self.own_shape
        clip = None if entries.clip is None else (entries.clip[0], entries.clip[1])
        schema = ArraySchema(
            shape=shape, unit_interval=False, scaling=UNSCALED, last=last, missing=entries.missing, clip=clip
        )
        scale = entries.scale if entries.scale != "auto" else self.usual_scale(rows)
        levels = 1.0 if dtype.kind == "b" else float(np.iinfo(dtype).max) if dtype.kind == "u" else 255.0
        schema.scaling = fit(self.flat(rows, schema), len(rows), scale, entries.missing != "refuse", levels)
        if schema.scaling.typical is not None and np.isnan(schema.scaling.typical).any():
            entry = schema.entry(int(np.isnan(schema.scaling.typical).argmax()))
            raise UserError(f"{self.at}: {entry} is missing in every training row; leave it out")
        ends = Ends()
        for block in self.flat(rows, schema):
            ends.add(scaled(block, schema.scaling, clip))
        schema.unit_interval = is_unit_interval(np.stack([ends.low, ends.high]), scale, clip)
        return schema

    def flat(self, rows: np.ndarray, schema: ArraySchema) -> Iterator[np.ndarray]:
        """These rows as numbers (n, input), some at a time."""
        for numbers, block in self.blocks(rows):
            values = schema.flat(block, self.at)
            if values.dtype.kind == "f":
                refuse_infinite(values, self.at, numbers, schema.entry)
            yield values

    def usual_scale(self, rows: np.ndarray) -> Scale:
        """``grey`` of unsigned whole numbers, nothing of numbers in [0, 1], else ``standard``."""
        if self.array.dtype.kind in "ub":
            return "grey"
        ends = Ends()
        for _, block in self.blocks(rows):
            ends.add(block.reshape(len(block), -1))
        return "none" if np.nanmin(ends.low) >= 0 and np.nanmax(ends.high) <= 1 else "standard"


def read_column(path: Path, name: str, n: int, key: str) -> np.ndarray:
    """A value for each of ``n`` rows: the array ``name`` in the .npz file ``path``, or the .npy file that it names."""
    inside = is_inside(path, name)
    file = path if inside else Path(name).expanduser()
    values = read_array(file, name if inside else None, f"{key}: {file}", text=True)
    if values.shape != (n,):
        raise UserError(f"{key}: {name} has shape {values.shape}, not a value for each of the {n} rows")
    return np.asarray(values)


def is_inside(path: Path, name: str) -> bool:
    """Whether ``name`` is an array in the file ``path``, and no file of its own."""
    return path.suffix == ".npz" and not name.endswith(".npy")


def read_array(path: Path, name: str | None, at: str, text: bool = False) -> np.ndarray:
    """The array of a .npy file, on disk until it is used, or the one called ``name`` in a .npz file.

    Nothing pickled is read. ``text``: strings are welcome too.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{at} {what}; give a .npy or .npz file")
    if path.suffix not in (".npy", ".npz"):
        raise UserError(f"{at} is no array by its name; give a .npy or .npz file")
    try:
        array = (
            read_member(path, name, at) if path.suffix == ".npz" else np.load(path, mmap_mode="r", allow_pickle=False)
        )
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds Python objects" if "pickle" in str(error) else str(error).splitlines()[0][:100]
        raise UserError(f"{at} is damaged or no array of numbers ({reason}); write it again with numpy.save") from error
    if array.dtype.kind not in ("fiubUS" if text else "fiub"):
        raise UserError(f"{at} holds {array.dtype} values, not numbers; give an array of numbers")
    if array.size == 0:
        raise UserError(f"{at} is empty, of shape {array.shape}; give an array with samples")
    return array


def read_member(path: Path, name: str | None, at: str) -> np.ndarray:
    """The array called ``name`` of a .npz file, or its only one, or x."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if name is None:
            name = next(iter(members)) if len(members) == 1 else "x"
        if name not in members:
            key = at.partition(":")[0].replace("data.path", "data.array")
            raise UserError(f"{key}: {path} holds {', '.join(sorted(members))}, not {name}; take one of these")
        size = members[name].file_size
    if reason := too_much(size, path.stat().st_size):
        raise UserError(f"{at} {reason}; if it is what it should be, store it as .npy, which is read off the disk")
    with np.load(path, allow_pickle=False) as file:
        array = file[name]
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is none")
        return array
