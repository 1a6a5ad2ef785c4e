"""Rows that a trained model is applied to: read by the schema of its run, some at a time; nothing is fitted on them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aelab.data.array import ArrayData, is_inside, read_array, read_column
from aelab.data.delimited import Format, read_table
from aelab.data.documents import Chosen, DocumentData, WordSchema, read_documents
from aelab.data.images import ImageData, image_files, pair, read_image
from aelab.data.parts import Split
from aelab.data.ratings import RatingData, Ratings, RatingSchema
from aelab.data.schema import ArraySchema, Schema
from aelab.data.table import TableData
from aelab.data.table_schema import TableSchema, as_texts
from aelab.errors import UserError

if TYPE_CHECKING:
    from pyarrow import Table


OWN: dict[type, type[Schema]] = {TableData: TableSchema, RatingData: RatingSchema, DocumentData: WordSchema}
TRAINED: dict[type[Schema], str] = {TableSchema: "a table", RatingSchema: "ratings", WordSchema: "documents"}


class Incoming(NamedTuple):
    """``n`` rows; ``take(start, stop)`` gives some of them as ``Schema.encode`` takes them.

    ``at`` begins what is said of a bad row. ``files``: each row's file, where it has one of its own. ``labels``: of
    each row, as text, or None.
    """

    n: int
    take: Callable[[int, int], Any]
    at: str
    files: list[str] | None = None
    labels: Callable[[], np.ndarray | None] = lambda: None


def incoming(kind: type, node: dict[str, Any], schema: Schema, labelled: bool) -> Incoming | None:
    """The rows that the node ``data`` of a config names, all, in their order; None: they are in no file of their own.

    ``kind`` is the class that the node's target names. ``labelled``: the node's label was named for these very rows,
    and has to be there; else it is what the run was trained on, and new rows may lack it.
    """
    if not issubclass(kind, TableData | ArrayData | ImageData | RatingData | DocumentData):
        return None
    path = Path(str(node["path"])).expanduser()
    at = f"data.path: {path}"
    read_by = next((own for data, own in OWN.items() if issubclass(kind, data)), ArraySchema)
    if not isinstance(schema, read_by):
        trained = next((words for own, words in TRAINED.items() if isinstance(schema, own)), "arrays or images")
        raise UserError(f"{at} is of another kind than what the run was trained on, {trained}; choose that data=…")
    if issubclass(kind, TableData):
        return of_table(path, node, at, labelled)
    if isinstance(schema, RatingSchema):
        return of_ratings(node, schema, at)
    if isinstance(schema, WordSchema):
        return of_documents(path, node, at)
    assert isinstance(schema, ArraySchema)
    return of_images(path, node, schema, at) if issubclass(kind, ImageData) else of_array(path, node, at, labelled)


def of_table(path: Path, node: dict[str, Any], at: str, labelled: bool) -> Incoming:
    table = read_table(path, Format(node["delimiter"], node["decimal"], node["encoding"], node["missing_words"]), at)

    def take(start: int, stop: int) -> "Table":
        return table.slice(start, stop - start)

    def labels() -> np.ndarray | None:
        name = node["label"]
        if name is not None and name not in table.column_names and labelled:
            raise UserError(f"data.label: {path} has no column {name!r}; it has {', '.join(table.column_names[:9])}")
        return np.array(as_texts(table[name]).to_pylist()) if name in table.column_names else None

    return Incoming(len(table), take, at, labels=labels)


def of_array(path: Path, node: dict[str, Any], at: str, labelled: bool) -> Incoming:
    array = read_array(path, node["array"], at)
    if array.ndim == 0:
        raise UserError(f"{at} is one number; give an array with a row for each sample")
    name = node["label"]

    def labels() -> np.ndarray | None:
        if name is None or not (labelled or is_inside(path, name)):
            return None
        return read_column(path, name, len(array), "data.label").astype(str)

    def take(start: int, stop: int) -> np.ndarray:
        if isinstance(array, np.memmap):  # mapped anew: pages that were read before are given back
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[start:stop])
        return array[start:stop]

    return Incoming(len(array), take, at, labels=labels)


def of_images(path: Path, node: dict[str, Any], schema: ArraySchema, at: str) -> Incoming:
    """Images are decoded as they are needed; of another size than training's only where ``data.size`` says so."""
    files = image_files(path, at)
    height, width = schema.shape[-2:] if len(schema.shape) > 1 else (1, *schema.shape)
    colour = len(schema.shape) == 3
    grey = schema.unit_interval and schema.scaling.scale.ndim == 0 and not schema.scaling.shift.any()
    whole = float(schema.scaling.scale) if grey else 0.0  # what 1 is in the file

    def read(file: Path) -> np.ndarray:
        size = None if pair(node["size"]) is None else (height, width)
        image = read_image(file, size, node["crop"], colour)
        if image.shape[:2] != (height, width):
            raise UserError(
                f"data.path: {file} has {image.shape[0]} × {image.shape[1]} pixels, the model takes {height} × "
                f"{width}; data.size=[{height},{width}] brings it to that size"
            )
        most = int(np.iinfo(image.dtype).max)
        if whole == most:
            return image
        if whole == 1:
            return (image / most).astype(np.float32)  # it was trained on images that came as numbers in [0, 1]
        raise UserError(f"data.path: {file} has levels from 0 to {most}, the training data other ones; convert it")

    def take(start: int, stop: int) -> np.ndarray:
        return np.stack([read(file) for file in files[start:stop]])

    def labels() -> np.ndarray | None:
        parents = [file.relative_to(path).parts[:-1] if path.is_dir() else () for file in files]
        return np.array([parts[0] for parts in parents]) if all(parents) else None

    names = [str(file.relative_to(path)) if path.is_dir() else file.name for file in files]
    return Incoming(len(files), take, at, names, labels)


def of_ratings(node: dict[str, Any], schema: RatingSchema, at: str) -> Incoming:
    """Each row (a user, or an item) with all ratings in the file, of the columns that training met."""
    source = Ratings(**{key: node[key] for key in Ratings.__dataclass_fields__})
    whole = source.all_rows(schema)
    return Incoming(len(whole), lambda start, stop: schema.decode(whole[start:stop].numpy()), at)


def of_documents(path: Path, node: dict[str, Any], at: str) -> Incoming:
    """Each document with its counted words, whichever of them training met."""
    found = read_documents(path, Chosen(**{key: node[key] for key in Chosen._fields}), at)
    return Incoming(len(found.counts), lambda start, stop: found.counts[start:stop], at, labels=lambda: found.labels)


def of_split(split: Split, schema: Schema, at: str) -> Incoming:
    """Rows of a public set, which come in the model's units."""
    x = split.x.reshape(-1, *schema.shape).numpy()
    y = split.y
    return Incoming(len(x), lambda start, stop: x[start:stop], at, labels=lambda: None if y is None else y.numpy())
