"""PyTorch and what goes with it loaded, and left at the end, without Python's search for cycles.

A million objects come with these libraries and stay. To search them over and over costs a command a second while they
load, and 1.5 s once more when it ends, for memory that the operating system takes back at once.
"""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aelab import log


@contextmanager
def loading() -> Iterator[None]:
    """Says that PyTorch is being loaded; what is loaded inside is never searched for cycles. For a process of ours."""
    with log.phase("loading PyTorch"):
        if "pytorch_lightning" in sys.modules:
            yield
            return
        atexit.register(gc.freeze)
        gc.disable()
        try:
            yield
        finally:
            gc.freeze()
            gc.enable()
