"""PyTorch and what goes with it loaded, and left at the end, without Python's search for cycles.

These libraries bring a million objects, and they stay. Python would search them again and again while they load, which
takes a second, and once more at the end of the command, 1.5 s, for memory that the operating system takes back at once.
torchmetrics brings all of scipy.signal, another second, to mend a name in it that nothing here uses.
"""

import atexit
import gc
import sys
import types
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
            with _mended("scipy.signal", hamming=None):
                import torchmetrics  # noqa: F401
            yield
        finally:
            gc.freeze()
            gc.enable()


@contextmanager
def _mended(module: str, **names: object) -> Iterator[None]:
    """Inside, ``module`` is an empty one with ``names``, unless it is loaded already; afterwards it is to be loaded."""
    if module in sys.modules:
        yield
        return
    stand_in = types.ModuleType(module)
    vars(stand_in).update(names)
    sys.modules[module] = stand_in
    try:
        yield
    finally:
        del sys.modules[module]
