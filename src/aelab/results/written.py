"""What a model made of rows, written as the suffix says: .npy, .csv, .parquet, .png or a folder of PNGs; whole."""

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aelab import files
from aelab.data.table_schema import pyarrow
from aelab.errors import UserError

SHEET = 1024  # images on one sheet


class Piece(NamedTuple):
    """Some of the rows to be written, in each form that they have.

    ``columns()``: name → values (n,). ``array`` (n, …), or None. ``pixels()``: grey (n, height, width) or coloured
    (n, height, width, 3) in [0, 1], or None where they are no images. ``names``: a file name for each, or None.
    """

    columns: Callable[[], dict[str, np.ndarray]]
    array: np.ndarray | None = None
    pixels: Callable[[], np.ndarray | None] = lambda: None
    names: list[str] | None = None


def write(out: Path, n: int, pieces: Iterator[Piece]) -> None:
    """The ``n`` rows of ``pieces`` into ``out``, whole or not at all; no more than a piece is held in memory."""
    writer = WRITERS.get(out.suffix.lower())
    if writer is None:
        raise UserError(f"out: cannot write {out.suffix} files, got {out}; give .npy, .csv, .parquet, .png or a folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix:
            files.write_whole(out, lambda part: writer(part, n, pieces))
        else:
            write_folder(out, n, pieces)
    except OSError as error:
        raise UserError(f"out: cannot write {out} ({error.strerror or error}); give another place") from error


def write_npy(part: Path, n: int, pieces: Iterator[Piece]) -> None:
    whole, done = None, 0
    for piece in pieces:
        array = numbers(piece) if piece.array is None else piece.array
        if whole is None:
            whole = np.lib.format.open_memmap(part, "w+", array.dtype, (n, *array.shape[1:]))
        whole[done : (done := done + len(array))] = array
    if whole is not None:
        whole.flush()


def numbers(piece: Piece) -> np.ndarray:
    """The columns side by side (n, column), if all hold numbers."""
    columns = piece.columns()
    for name, values in columns.items():
        if values.dtype.kind not in "fiub":
            raise UserError(f"out: {name!r} holds text, which no array does; give a .parquet or .csv file")
    return np.stack([values.astype(np.float64) for values in columns.values()], 1)


def write_csv(part: Path, n: int, pieces: Iterator[Piece]) -> None:
    with part.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        for i, piece in enumerate(pieces):
            columns = piece.columns()
            if i == 0:
                table.writerow(columns)
            table.writerows(zip(*map(as_cells, columns.values())))


def as_cells(values: np.ndarray) -> list[Any]:
    """As short as a number can be written; an empty cell where it is missing."""
    if values.dtype == np.float32:
        return ["" if np.isnan(value) else str(value) for value in values]
    if values.dtype.kind == "f":
        return ["" if value != value else value for value in values.tolist()]
    return values.tolist()


def write_parquet(part: Path, n: int, pieces: Iterator[Piece]) -> None:
    pa = pyarrow()
    import pyarrow.parquet as pq

    writer = None
    try:
        for piece in pieces:
            table = pa.table(piece.columns())
            writer = writer or pq.ParquetWriter(part, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def write_sheet(part: Path, n: int, pieces: Iterator[Piece]) -> None:
    """All images side by side, in a square of them."""
    if n > SHEET:
        raise UserError(f"out: {n} images are more than the {SHEET} of a sheet; give a folder, such as out=images")
    pixels = np.concatenate([images_of(piece) for piece in pieces])
    columns = ceil(sqrt(n))
    gap = np.ones((ceil(n / columns) * columns - n, *pixels.shape[1:]), pixels.dtype)
    tiles = np.concatenate([pixels, gap]).reshape(-1, columns, *pixels.shape[1:])
    with part.open("wb") as file:
        as_image(joined(tiles)).save(file, format="png")


def joined(tiles: np.ndarray) -> np.ndarray:
    """(row, column, height, width, …) → one image."""
    rows, columns, height, width = tiles.shape[:4]
    return tiles.swapaxes(1, 2).reshape(rows * height, columns * width, *tiles.shape[4:])


def write_folder(out: Path, n: int, pieces: Iterator[Piece]) -> None:
    """A PNG for each image, under its own name or its number."""
    done = 0
    with whole_folder(out) as part:
        for piece in pieces:
            images = images_of(piece)
            names = piece.names or [f"{done + i:0{len(str(n - 1))}}.png" for i in range(len(images))]
            for name, pixels in zip(names, images):
                place = (part / name).with_suffix(".png")
                place.parent.mkdir(parents=True, exist_ok=True)
                as_image(pixels).save(place)
                done += 1


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of ``out`` when it is whole; else nothing is left of it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out: {out} is there already and not empty; give a new folder")
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        yield part
        os.replace(part, out)
    except OSError as error:
        raise UserError(f"out: cannot write {out} ({error.strerror or error}); give another place") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def images_of(piece: Piece) -> np.ndarray:
    pixels = piece.pixels()
    if pixels is None:
        raise UserError("out: these are no images with levels in [0, 1]; give a .npy, .csv or .parquet file")
    return pixels


def as_image(pixels: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


WRITERS = {".npy": write_npy, ".csv": write_csv, ".parquet": write_parquet, ".png": write_sheet, "": write_folder}
