"""How rows in a person's own units become a model's inputs, and come back: fitted once, kept with the run.

A schema is the only way from a file to a model. The training part fits it, every other row passes through it unchanged:
no statistic of a validation or test row, or of new data, can reach the model.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from aelab.data.scaling import UNSCALED, Scale, Scaling
from aelab.errors import UserError

Missing = Literal["refuse", "fill", "mask"]


class Samples(NamedTuple):
    """``x`` (n, input) float32 in the model's units; ``observed`` (n, input), False where masked; None: nowhere."""

    x: Tensor
    observed: Tensor | None = None


@dataclass(kw_only=True)
class Schema:
    """``shape`` of a sample as the model sees it; ``unit_interval``: its values can be read as probabilities.

    ``categories``: sizes of the groups of inputs that are one-hot, the last sum(categories) of all. ``labels``: what
    the class numbers 0, 1, … stand for, those of the training part first; ``n_classes`` of them.
    """

    kind: ClassVar[str]
    shape: tuple[int, ...]
    unit_interval: bool
    categories: list[int] = field(default_factory=list)
    labels: list[str] | None = None
    n_classes: int | None = None

    @property
    def n_input(self) -> int:
        return prod(self.shape)

    @property
    def names(self) -> list[str]:
        """What each input is called."""
        raise NotImplementedError

    def class_name(self, number: int) -> str:
        """What the class ``number`` is called."""
        return self.labels[number] if self.labels and 0 <= number < len(self.labels) else str(number)

    @property
    def features(self) -> list[str]:
        """What a person calls the parts of a row: its columns, or its entries."""
        raise NotImplementedError

    def by_feature(self, values: np.ndarray) -> np.ndarray:
        """A value for each input (n, input) → their sums over each feature (n, feature)."""
        raise NotImplementedError

    def cells(self, rows: Any, place: np.ndarray) -> np.ndarray:
        """What stands in ``rows`` at feature ``place`` (n,) of each; text where there are categories."""
        raise NotImplementedError

    def encode(self, rows: Any, at: str, first: int | np.ndarray = 0) -> Samples:
        """Rows in their own units → the model's; ``at`` begins what is said of a bad one.

        ``first``: the number of the first row, or of each.
        """
        raise NotImplementedError

    def decode(self, x: np.ndarray) -> Any:
        """x (n, input) → rows in their own units."""
        raise NotImplementedError

    def refuse_outside(self, x: np.ndarray, at: str, first: int | np.ndarray, name: Callable[[int], str]) -> None:
        """Raise ``UserError`` for a value that is no probability where training had only such: x (n, numbers)."""
        if self.unit_interval and x.size and not 0 <= x.min() <= x.max() <= 1:
            row, column = np.argwhere((x < 0) | (x > 1))[0]
            raise UserError(
                f"{at}: {name(column)} is {x[row, column]:g} in row {row_number(first, row)}, outside the [0, 1] of "
                "the training part; mend it, or train with data.scale=standard or data.clip=[0,1]"
            )

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"kind": self.kind, "shape": list(self.shape), "unit_interval": self.unit_interval,
                "categories": self.categories, "labels": self.labels, "n_classes": self.n_classes}  # fmt: skip


@dataclass(kw_only=True)
class ArraySchema(Schema):
    """Rows that are arrays of ``shape``, or were flattened: one scaling for all entries, or one for each.

    ``last``: the rows' last axis is the colour, the model's first is. ``missing`` says what NaN means.
    """

    kind = "array"
    scaling: Scaling
    last: bool = False
    missing: Missing = "refuse"
    clip: tuple[float, float] | None = None

    @property
    def names(self) -> list[str]:
        if len(self.shape) == 1:
            return [f"x{i}" for i in range(self.n_input)]
        return ["x" + "_".join(map(str, index)) for index in np.ndindex(*self.shape)]

    @property
    def features(self) -> list[str]:
        return self.names

    def by_feature(self, values: np.ndarray) -> np.ndarray:
        return values

    def cells(self, rows: Any, place: np.ndarray) -> np.ndarray:
        return np.take_along_axis(self.flat(rows, "rows"), place[:, None], 1)[:, 0]

    @property
    def own_shape(self) -> tuple[int, ...]:
        """Shape of a row in its own units."""
        return (*self.shape[1:], self.shape[0]) if self.last else self.shape

    def encode(self, rows: Any, at: str, first: int | np.ndarray = 0) -> Samples:
        values = self.flat(rows, at)
        numbers, observed = present(values, self.scaling, self.missing, at, first, self.entry)
        x = scaled(numbers, self.scaling, self.clip)
        self.refuse_outside(x, at, first, self.entry)
        return Samples(torch.from_numpy(x), observed)

    def entry(self, i: int) -> str:
        return f"entry {self.names[i]}"

    def decode(self, x: np.ndarray) -> np.ndarray:
        values = self.scaling.undo(x).astype(np.float32).reshape(len(x), *self.shape)
        return np.moveaxis(values, 1, -1) if self.last else values

    def flat(self, rows: Any, at: str) -> np.ndarray:
        """Rows of ``own_shape``, or flattened, as numbers (n, input), colours first."""
        values = np.asarray(rows)
        if values.dtype.kind not in "fiub":
            raise UserError(f"{at} holds {values.dtype} values, not numbers; give an array of numbers")
        if values.ndim < 1 or values.shape[1:] not in (self.own_shape, (self.n_input,)):
            raise UserError(f"{at} has rows of shape {values.shape[1:]}, the model takes {self.own_shape}")
        if self.last:
            values = np.moveaxis(values.reshape(len(values), *self.own_shape), -1, 1)
        return values.reshape(len(values), self.n_input)

    def plain(self) -> dict[str, Any]:
        return super().plain() | {"scaling": self.scaling.plain(), "last": self.last, "missing": self.missing,
                                  "clip": self.clip}  # fmt: skip


def unscaled(shape: tuple[int, ...], unit_interval: bool, **labels: Any) -> ArraySchema:
    """The schema of rows that come in the model's own units."""
    return ArraySchema(shape=shape, unit_interval=unit_interval, scaling=UNSCALED, **labels)


def scaled(values: np.ndarray, scaling: Scaling, clip: tuple[float, float] | None) -> np.ndarray:
    """``values`` (n, input) in the model's units, float32."""
    x = scaling.apply(values)
    return x if clip is None else x.clip(*clip)


def is_unit_interval(x: np.ndarray, scale: Scale, clip: tuple[float, float] | None) -> bool:
    """Whether values as scaled, x (n, input), are to be read as probabilities: in [0, 1], and new ones kept there."""
    if clip is not None:
        return clip[0] >= 0 and clip[1] <= 1
    if scale not in ("none", "grey") and x.size:
        return False
    return not x.size or bool(np.nanmin(x) >= 0 and np.nanmax(x) <= 1)


def present(
    values: np.ndarray, scaling: Scaling, missing: Missing, at: str, first: int | np.ndarray, name: Callable[[int], str]
) -> tuple[np.ndarray, Tensor | None]:
    """``values`` (n, input) with something in place of what is missing, and where they were observed, if masked.

    Raises ``UserError`` for values that are infinite, or missing where they must not be; ``name(i)`` names input i.
    """
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return values, None
    refuse_infinite(values, at, first, name)
    gone = np.isnan(values)
    if missing == "refuse":
        row, column = np.argwhere(gone)[0]
        raise UserError(
            f"{at}: {name(column)} is missing in row {row_number(first, row)}, the first of "
            f"{int(gone.any(1).sum())} such rows; mend the file, or train with data.missing=fill or data.missing=mask"
        )
    assert scaling.typical is not None  # fitted wherever missing values are not refused
    return np.where(gone, scaling.typical, values), torch.from_numpy(~gone) if missing == "mask" else None


def refuse_infinite(values: np.ndarray, at: str, first: int | np.ndarray, name: Callable[[int], str]) -> None:
    """Raise ``UserError`` for the first infinite one of ``values`` (n, input)."""
    infinite = np.isinf(values)
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        raise UserError(
            f"{at}: {name(column)} is infinite in row {row_number(first, row)}, the first of "
            f"{int(infinite.any(1).sum())} such rows; mend it, or leave it empty where it is missing"
        )


def row_number(first: int | np.ndarray, row: int) -> int:
    return int(first[row]) if isinstance(first, np.ndarray) else first + int(row)
