"""What every data source returns: two matrices, one row per sample, and what is known about them."""

import hashlib
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aelab.data.parts import Parts, Split
from aelab.data.schema import unscaled
from aelab.data.splitting import a_part_of, draw_rows
from aelab.errors import UserError


class Arrays(NamedTuple):
    """A data set whole: train_x (n, input), test_x (m, input) float32; train_y (n,), test_y (m,) int64, or None.

    ``shape`` is the shape of one sample before it was flattened, (28, 28) say. ``unit_interval``: the values are grey
    levels in [0, 1] and can be read as probabilities; False: real values such as whitened faces. ``group`` (n,), or
    None: training samples of one group, a person's say, are all trained on or all validated on.
    """

    train_x: Tensor
    train_y: Tensor | None
    test_x: Tensor
    test_y: Tensor | None
    shape: tuple[int, ...]
    unit_interval: bool
    group: Tensor | None = None

    def parts(self, name: str, validation: int | float, train_size: int | None, draw: torch.Generator) -> Parts:
        """Checked and split: the validation set is drawn from the training samples."""
        check(self, f"data={name}")
        order = torch.randperm(len(self.train_x), generator=draw)
        n_val = validation if isinstance(validation, int) else round(validation * len(order))
        if not 1 <= n_val < len(order):
            raise UserError(
                f"data.validation: {validation} leaves no samples to validate or to train on, of {len(order)}; "
                f"{a_part_of(len(order))}"
            )
        if self.group is None:
            val, train = order[:n_val], order[n_val:]
        else:
            val = torch.from_numpy(draw_rows(order.numpy(), n_val, "data.validation", draw, self.group.numpy(), None))
            train = order[~torch.isin(order, val)]
        # labels run from 0 to one below this, also where train_size leaves a class without a sample
        n_classes = None if self.train_y is None else int(self.train_y.max()) + 1
        known = Split(self.train_x, self.train_y)
        schema = unscaled(self.shape, self.unit_interval, n_classes=n_classes)
        return Parts(known.at(first(train, train_size)), known.at(val), Split(self.test_x, self.test_y), schema)


def first(order: Any, train_size: int | None) -> Any:
    """The first ``train_size`` of the training samples ``order``, all of them for None."""
    if train_size is None:
        return order
    if not 1 <= train_size <= len(order):
        raise UserError(f"data.train_size: must be from 1 to {len(order)}, got {train_size}; null takes all")
    return order[:train_size]


def from_numpy(train_x, train_y, test_x, test_y, shape: tuple[int, ...], unit_interval: bool) -> Arrays:
    """Arrays of samples of any shape -> ``Arrays``: samples flattened, values float32, labels int64."""

    def values(x):
        return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32).reshape(len(x), math.prod(x.shape[1:])))

    def labels(y):
        return None if y is None else torch.from_numpy(np.ascontiguousarray(y, dtype=np.int64))

    return Arrays(values(train_x), labels(train_y), values(test_x), labels(test_y), tuple(shape), unit_interval)


def check(arrays: Arrays, key: str) -> Arrays:
    """The same arrays, when they can be trained on.

    Raises ``UserError`` naming ``key`` on empty data, rows and labels that differ in number, a width that is not the
    product of ``shape``, values that are not finite, or grey levels outside [0, 1].
    """
    width = math.prod(arrays.shape)
    for part, x, y in (("train", arrays.train_x, arrays.train_y), ("test", arrays.test_x, arrays.test_y)):
        if x.numel() == 0:
            raise UserError(f"{key}: the {part} set is empty; give it at least one sample")
        if x.ndim != 2 or x.shape[1] != width:
            raise UserError(
                f"{key}: {part} samples have {tuple(x.shape[1:])} values, not the {width} of {arrays.shape}"
            )
        if y is not None and len(y) != len(x):
            raise UserError(f"{key}: {len(x)} {part} samples but {len(y)} labels; are both files of one set?")
        _check_values(x, part, arrays.unit_interval, key)
    return arrays


def _check_values(x: Tensor, part: str, unit_interval: bool, key: str) -> None:
    # Both ends in one pass: NaN spreads to them, so good data never pays for a mask of its own size.
    low, high = (float(end) for end in torch.aminmax(x))
    if not np.isfinite(low) or not np.isfinite(high):
        bad = ~torch.isfinite(x)
        row = int(bad.any(1).nonzero()[0])
        raise UserError(
            f"{key}: {int(bad.sum())} values of the {part} set are NaN or infinite, the first in row {row}; "
            "clean the data"
        )
    if unit_interval and (low < 0 or high > 1):
        raise UserError(f"{key}: {part} values run from {low:g} to {high:g}, outside [0, 1]; scale the grey levels")


def fingerprint(arrays: Arrays) -> str:
    """128 bits (32 hex digits) of every byte, shape and label: equal data, equal fingerprint. About 1 GB/s."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((arrays.shape, arrays.unit_interval)).encode())
    for tensor in arrays[:4] if arrays.group is None else (*arrays[:4], arrays.group):
        if tensor is None:
            digest.update(b"none")
        else:
            digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
