"""IDX, the format of the MNIST files: two zero bytes, a type, the number of dimensions, their sizes, the values."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from aelab.errors import UserError

# The third byte of the magic number; everything is big-endian.
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
REMEDY = "replace the file, or move it away to have it downloaded"


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The array in an IDX file, gzipped or not, with as many ``dimensions`` as asked (images 3, labels 1).

    Raises ``UserError`` naming data.root and the file when it cannot be read, is damaged, is no IDX file, holds another
    number of dimensions, or is shorter or longer than its header says.
    """
    raw = _read_bytes(path)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in TYPES:
        raise UserError(f"data.root: {path} is no IDX file (it begins with {raw[:4].hex() or 'nothing'}); {REMEDY}")
    if raw[3] != dimensions:
        raise UserError(f"data.root: {path} has {raw[3]} dimensions, not {dimensions}; images and labels exchanged?")
    start = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    dtype = np.dtype(TYPES[raw[2]])
    # Compared before any array is made, so that a header gone wild asks for no memory.
    if len(raw) != start + math.prod(shape) * dtype.itemsize:
        wanted = start + math.prod(shape) * dtype.itemsize
        kind = "truncated" if len(raw) < wanted else "too long"
        raise UserError(f"data.root: {path} is {kind}: {len(raw)} bytes, {wanted} by its header {shape}; {REMEDY}")
    return np.frombuffer(raw, dtype, offset=start).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        raw = Path(path).read_bytes()
        # By content, not by name: unpacked files often keep the .gz, and packed ones lose it.
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (gzip.BadGzipFile, EOFError, zlib.error) as damage:
        raise UserError(f"data.root: {path} is a damaged gzip file ({damage}); {REMEDY}") from damage
    except OSError as failure:
        raise UserError(f"data.root: {path} cannot be read ({failure.strerror}); check it and its rights") from failure
