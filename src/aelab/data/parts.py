"""Training, validation and test set as every source gives them: split, in the model's units, whole."""

from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from aelab.data.schema import Schema

EVALUATION_BATCH = 1000  # samples in a batch of validation or test; changes speed and memory, no result


class Batch(NamedTuple):
    """``x`` (batch, input) float32; ``y`` (batch,) int64, or None where there are no labels.

    ``observed`` (batch, input), Boolean, is False where a value is missing, which then is no part of the loss; None:
    nothing is missing.
    """

    x: Tensor
    y: Tensor | None
    observed: Tensor | None = None

    def of_observed(self, values: Tensor) -> Tensor:
        """``values`` (batch, input), 0 where x is missing."""
        return values if self.observed is None else values * self.observed

    @property
    def target(self) -> Tensor:
        """``y`` for a model that was built for data that have it."""
        assert self.y is not None
        return self.y


class Split(NamedTuple):
    """One of training, validation and test set, whole, on one device; see :class:`Batch` for its parts."""

    x: Tensor
    y: Tensor | None
    observed: Tensor | None = None

    def to(self, device: torch.device | str) -> "Split":
        return self.each(lambda part: part.to(device))

    def at(self, index: Tensor | slice) -> "Split":
        """The samples of ``index``, contiguous in memory."""
        return self.each(lambda part: part[index].contiguous())

    def each(self, change: Callable[[Tensor], Tensor]) -> "Split":
        """The split with ``change`` made to every part that it has."""
        x, y, observed = self
        return Split(change(x), None if y is None else change(y), None if observed is None else change(observed))

    def taken(self, index: Tensor, device: torch.device | str) -> Batch:
        """The samples of ``index`` (batch,), copied to ``device``."""
        return Batch(*self.each(lambda part: part.index_select(0, index).to(device)))

    def batches(self, size: int = EVALUATION_BATCH) -> Iterator[Batch]:
        """The samples in order, ``size`` at a time."""
        for start in range(0, len(self.x), size):
            yield Batch(*self.each(itemgetter(slice(start, start + size))))


class Parts(NamedTuple):
    """What a source gives: three sets, and the schema by which they were made from the data's own units.

    ``stream``: the folder on whose disk the rows lie, with whatever is made of them; None: all is in memory.
    """

    train: Split
    val: Split
    test: Split
    schema: Schema
    stream: Path | None = None
