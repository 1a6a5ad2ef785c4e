"""IDX, the format of the MNIST files: two zero bytes, a type, the number of dimensions, their sizes, the values."""

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from aelab.data.unpacking import too_much
from aelab.errors import UserError

# The third byte of the magic number; everything is big-endian.
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
REMEDY = "replace the file, or move it away to have it downloaded"


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The array in an IDX file, gzipped or not, with as many ``dimensions`` as asked (images 3, labels 1).

    Raises ``UserError`` naming data.root and the file when it cannot be read, is damaged, is no IDX file, holds another
    number of dimensions, or is shorter or longer than its header says.
    """
    try:
        with open(path, "rb") as file:
            # By content, not by name: unpacked files often keep the .gz, and packed ones lose it.
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _read(gzip.GzipFile(fileobj=file) if packed else file, path, dimensions)
    except (gzip.BadGzipFile, EOFError, zlib.error) as damage:
        raise UserError(f"data.root: {path} is a damaged gzip file ({damage}); {REMEDY}") from damage
    except OSError as failure:
        raise UserError(f"data.root: {path} cannot be read ({failure.strerror}); check it and its rights") from failure


def _read(file: gzip.GzipFile | IO[bytes], path: Path, dimensions: int) -> np.ndarray:
    start = 4 + 4 * dimensions
    head = file.read(start)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES:
        raise UserError(f"data.root: {path} is no IDX file (it begins with {head[:4].hex() or 'nothing'}); {REMEDY}")
    if head[3] != dimensions:
        raise UserError(f"data.root: {path} has {head[3]} dimensions, not {dimensions}; images and labels exchanged?")
    if len(head) < start:
        raise UserError(f"data.root: {path} is truncated in its header; {REMEDY}")
    shape = tuple(int.from_bytes(head[i : i + 4], "big") for i in range(4, start, 4))
    dtype = np.dtype(TYPES[head[2]])
    wanted = math.prod(shape) * dtype.itemsize
    # Before anything is unpacked, so that neither a header gone wild nor a bomb asks for memory.
    if reason := too_much(wanted, path.stat().st_size):
        raise UserError(f"data.root: {path} {reason} by its header {shape}; {REMEDY}")
    raw = file.read(wanted)
    if len(raw) < wanted or file.read(1):
        kind = "is truncated" if len(raw) < wanted else "goes on"
        raise UserError(f"data.root: {path} {kind} after {len(raw)} bytes, {wanted} by its header {shape}; {REMEDY}")
    return np.frombuffer(raw, dtype).reshape(shape)
