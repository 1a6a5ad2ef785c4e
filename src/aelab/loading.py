"""PyTorch and what goes with it loaded, and left at the end, without Python's search for cycles.

These libraries bring a million objects, and they stay. Python would search them again and again while they load, which
takes a second, and once more at the end of the command, 1.5 s, for memory that the operating system takes back at once.
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
