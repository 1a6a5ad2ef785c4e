"""What is made once and then kept: arrays in a file whose name, or folder, says all they depend on."""

import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aelab import files
from aelab.data.unpacking import too_much
from aelab.errors import UserError

Arrays = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[int | None, ...]]  # None: any length
log = logging.getLogger(__name__)


def kept(path: Path, make: Callable[[], Arrays], key: str, shapes: Shapes) -> Arrays:
    """The arrays in ``path`` (.npz), or else those of ``make()``, which are then in ``path``, whole or not at all.

    A file that cannot be read, or holds others than arrays of numbers of these ``shapes``, is made again. Raises
    ``UserError`` naming ``key`` when it cannot be written.
    """
    if path.is_file():
        try:
            return _read(path, shapes)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as damage:
            log.warning("%s: %s is damaged (%s); made again", key, path, damage)
    arrays = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_whole(path, lambda part: _write(part, arrays))
    except OSError as failure:
        raise UserError(f"{key}: cannot write {path} ({failure.strerror}); give another folder") from failure
    return arrays


def _read(path: Path, shapes: Shapes) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        if reason := too_much(sum(member.file_size for member in archive.infolist()), path.stat().st_size):
            raise ValueError(reason)
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    if arrays.keys() != shapes.keys() or not all(_fits(arrays[name], shape) for name, shape in shapes.items()):
        raise ValueError(f"it holds {', '.join(f'{name} {array.shape}' for name, array in arrays.items())}")
    return arrays


def _fits(array: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    same = len(array.shape) == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape))
    return same and array.dtype.kind in "fiu" and array.size > 0


def _write(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:  # numpy would put .npz after another name
        np.savez(file, **arrays)
