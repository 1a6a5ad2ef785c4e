"""What is made once and then kept: arrays under a name that says all they depend on."""

import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np

from aelab.errors import UserError

log = logging.getLogger(__name__)


def kept(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays in ``path`` (.npz), or else those of ``make()``, which are then in ``path``, whole or not at all.

    A file that cannot be read is made again. Raises ``UserError`` naming data.cache when it cannot be written.
    """
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as damage:
            log.warning("data.cache: %s is damaged (%s); made again", path, damage)
    arrays = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, arrays)
    except OSError as failure:
        raise UserError(f"data.cache: cannot write {path} ({failure.strerror}); give another folder") from failure
    return arrays


def _write(path: Path, arrays: dict[str, Any]) -> None:
    # A name of its own for every writer: two processes that make the same set do not write into one file.
    with NamedTemporaryFile(dir=path.parent, prefix=path.stem, suffix=".part", delete=False) as part:
        try:
            np.savez(part, **arrays)
            part.close()
            os.replace(part.name, path)
        except BaseException:
            os.unlink(part.name)
            raise
