"""A model too large for this machine is refused before it takes the memory: no width is too large, their product is."""

from math import prod
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from aelab.clock import memory
from aelab.errors import UserError

MAKERS = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}
COPIES = 4  # of a weight while it is trained: itself, its gradient and Adam's two means
BYTES = 4  # of a number


class TooLarge(UserError):
    """A model that this machine's memory cannot hold."""


class WithinMemory(TorchFunctionMode):
    """Inside, a tensor is made only if a training with weights of that shape, and all made so far, fit the machine."""

    def __init__(self, key: str):
        super().__init__()
        self.key, self.total = key, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in MAKERS:
            size = args[0] if args and isinstance(args[0], (tuple, list)) else args
            here = BYTES * prod(n for n in size if isinstance(n, int))
            self.total += here
            if max(COPIES * here, self.total) > memory():
                raise TooLarge(
                    f"{self.key}: training weights of {' x '.join(map(str, size))} takes {COPIES * here / 1e9:.3g} GB, "
                    f"this machine has {memory() / 1e9:.3g}; make it narrower"
                )
        return func(*args, **(kwargs or {}))
