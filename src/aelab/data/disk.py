"""Rows that lie on disk while a run lasts, for sets larger than memory: tensors over files that have no name."""

import ctypes
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from tempfile import TemporaryFile

import torch
from torch import Tensor

from aelab.errors import UserError

ROWS = 4096  # rows that are computed at once on their way to disk
BLOCK = 64  # neighbouring rows that are read together
WINDOW = 256 * BLOCK  # rows from blocks anywhere in the set that are shuffled among each other


def empty(shape: tuple[int, ...], folder: Path | None, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor to be filled: in memory, or over a file in ``folder`` that is gone when the process is, however it ends.

    The system reads and writes its pages as they are needed and holds what memory is free for. Raises ``UserError``
    naming data.stream where there is no room for it.
    """
    if folder is None:
        return torch.empty(shape, dtype=dtype)
    size = prod(shape) * dtype.itemsize
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a disk that is full says so now, not at some later page
            else:
                file.truncate(size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise UserError(
            f"data.stream: cannot keep {size / 1e6:.3g} MB in {folder} ({error.strerror}); free space or give another "
            "folder"
        ) from error
    return torch.frombuffer(mapped, dtype=dtype).view(shape)


def each(rows: Tensor, width: int, folder: Path | None, make: Callable[[Tensor], Tensor]) -> Tensor:
    """``make`` of ``rows`` (n, input) → (n, width): at once in memory, or in pieces into a file in ``folder``."""
    if folder is None:
        return make(rows)
    made = empty((len(rows), width), folder)
    for some, place in zip(rows.split(ROWS), made.split(ROWS)):
        place.copy_(make(some))
    return made


def shuffled_blocks(n: int, draw: torch.Generator) -> Tensor:
    """A random order (n,) of rows that lie on disk: blocks of neighbours in random order, shuffled ``WINDOW`` rows at a
    time. A window's blocks are read once, ahead of it (:func:`read_ahead`)."""
    blocks = torch.randperm(-(-n // BLOCK), generator=draw)
    rows = (blocks[:, None] * BLOCK + torch.arange(BLOCK)).flatten()
    windows = rows[rows < n].split(WINDOW)
    return torch.cat([window[torch.randperm(len(window), generator=draw)] for window in windows])


@contextmanager
def read_in_blocks(x: Tensor) -> Iterator[None]:
    """While it lasts, the system reads no more of ``x`` than it is asked for: else a row would have megabytes around it
    read, which push other rows out where memory is short."""
    _advise(x, "MADV_RANDOM")
    try:
        yield
    finally:
        _advise(x, "MADV_NORMAL")


def read_ahead(x: Tensor, order: Tensor, start: int, stop: int) -> None:
    """Before the rows ``order[start:stop]`` of ``x`` are trained on: begin to read the window after one that starts
    there, and at the very first also that one."""
    for first in range(-(-start // WINDOW) * WINDOW, stop, WINDOW):
        ahead = order[first + WINDOW if first else 0 : first + 2 * WINDOW]
        for block in (ahead // BLOCK).unique().tolist():
            _advise(x[block * BLOCK : (block + 1) * BLOCK], "MADV_WILLNEED")


def _advise(rows: Tensor, advice: str) -> None:
    """Tell the system how neighbouring ``rows`` will be read; nothing where it has no such word."""
    if hasattr(mmap, advice):
        start = rows.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE
        size = ctypes.c_size_t(rows.data_ptr() + rows.nbytes - start)
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), size, getattr(mmap, advice))
