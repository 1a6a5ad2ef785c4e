"""Numbers in a person's units → numbers a net learns well, and back: z = (x − shift) / scale, or normal scores.

Everything is fitted on the training part alone. NaN stands for a missing value and is passed over.
"""

import warnings
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

Scale = Literal["standard", "robust", "minmax", "quantile", "grey", "none"]
SAMPLED = 100_000  # rows that medians and quantiles are taken of, evenly spaced; means and ranges are of all
KNOTS = 257  # quantiles kept of each column
NEAREST = 1e-290  # to 0: the slope between two numbers nearer to it could be infinite
IQR = 1.3489795003921634  # interquartile range of a standard normal


class Scaling(NamedTuple):
    """``shift`` and ``scale``: a number each, or one for every column (input,).

    ``knots`` (quantile, input), or None, are the training part's quantiles at (i + ½) / quantile: a value goes to the
    standard normal's quantile of its own rank, and on in a straight line beyond the first and last knot, so that what
    lies outside the training part stays outside. ``typical``: medians, (input,); what is put where a value is missing.
    """

    shift: np.ndarray
    scale: np.ndarray
    knots: np.ndarray | None = None
    typical: np.ndarray | None = None

    def apply(self, x: np.ndarray) -> np.ndarray:
        """x (n, input) → float32 (n, input)."""
        if self.knots is not None:
            return _single(np.stack([_scores(column, knots) for column, knots in zip(x.T, self.knots.T)], 1))
        if x.dtype.kind in "bu" and not self.shift.any() and np.all(self.scale > np.finfo(np.float32).tiny):
            return np.divide(x, self.scale, dtype=np.float32)  # one pass over bytes: no copy in double precision
        return _single((x - self.shift) / self.scale)

    def undo(self, z: np.ndarray) -> np.ndarray:
        """z (n, input) → x (n, input), float64."""
        z = np.asarray(z, dtype=np.float64)
        if self.knots is not None:
            return np.stack([_values(column, knots) for column, knots in zip(z.T, self.knots.T)], 1)
        return z * self.scale + self.shift

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {name: None if part is None else part.tolist() for name, part in self._asdict().items()}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Scaling":
        parts: dict[str, Any] = {k: None if part is None else np.asarray(part, np.float64) for k, part in plain.items()}
        return cls(**parts)


UNSCALED = Scaling(np.zeros(()), np.ones(()))


def fit(blocks: Iterable[np.ndarray], n: int, how: Scale, fill: bool, levels: float) -> Scaling:
    """The scaling of the ``n`` rows that come in ``blocks`` (rows, input); ``fill``: with ``typical`` values.

    A column that never changes has scale 1. The robust scale is that of a normal distribution's standard deviation for
    its interquartile range, so that it agrees with ``standard`` where there are no outliers. ``grey`` divides by
    ``levels``.
    """
    ranked = fill or how in ("robust", "quantile")
    step, seen = -(-n // SAMPLED), 0
    kept: list[np.ndarray] = []
    moments, ends = Moments(), Ends()
    for block in blocks:
        block = np.asarray(block, dtype=np.float64)
        if how == "standard":
            moments.add(block)
        elif how == "minmax":
            ends.add(block)
        if ranked:
            kept.append(block[-seen % step :: step])
            seen += len(block)
    sample = np.concatenate(kept) if ranked else np.empty((0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a column that is all missing: who fits it refuses that
        typical = np.nanmedian(sample, 0) if fill else None
    if how == "standard":
        return Scaling(moments.mean, _not_zero(moments.std), None, typical)
    if how == "minmax":
        return Scaling(ends.low, _not_zero(ends.high - ends.low), None, typical)
    if how == "robust":
        first, middle, third = np.nanquantile(sample, [0.25, 0.5, 0.75], axis=0)
        return Scaling(middle, _not_zero((third - first) / IQR), None, typical)
    if how == "quantile":
        k = min(KNOTS, len(sample))
        knots = np.nanquantile(sample, (np.arange(k) + 0.5) / k, axis=0)
        return Scaling(np.zeros(()), np.ones(()), knots, typical)
    return Scaling(np.zeros(()), np.asarray(levels if how == "grey" else 1.0), None, typical)


class Moments:
    """Mean and standard deviation (input,) of rows that come in blocks, NaN passed over.

    Sums are of the distance to the first block's mean, so that a large mean does not drown the variance.
    """

    count: np.ndarray | int = 0

    def add(self, block: np.ndarray) -> None:
        present = ~np.isnan(block)
        if isinstance(self.count, int):
            self.origin = np.where(present, block, 0).sum(0) / np.maximum(present.sum(0), 1)
            self.sums, self.squares = np.zeros_like(self.origin), np.zeros_like(self.origin)
        centred = np.where(present, block - self.origin, 0.0)
        self.count = self.count + present.sum(0)
        self.sums += centred.sum(0)
        self.squares += np.square(centred).sum(0)

    @property
    def mean(self) -> np.ndarray:
        return self.origin + self.sums / np.maximum(self.count, 1)

    @property
    def std(self) -> np.ndarray:
        n = np.maximum(self.count, 1)
        return np.sqrt(np.maximum(self.squares / n - np.square(self.sums / n), 0))


class Ends:
    """Least and greatest value (input,) of rows that come in blocks, NaN passed over."""

    low: np.ndarray = np.asarray(np.inf)
    high: np.ndarray = np.asarray(-np.inf)

    def add(self, block: np.ndarray) -> None:
        self.low = np.fmin(self.low, np.fmin.reduce(block, 0))
        self.high = np.fmax(self.high, np.fmax.reduce(block, 0))


def _single(z: np.ndarray) -> np.ndarray:
    """``z`` in single precision; what is too large for it, far outside a tiny spread, becomes its largest number."""
    largest = np.finfo(np.float32).max
    return np.clip(z, -largest, largest, out=z).astype(np.float32)


def _not_zero(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, scale, 1.0)


def _scores(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    x, knots = (np.where(np.abs(values) < NEAREST, 0.0, values) for values in (x, knots))
    k = len(knots)
    ranks = (np.arange(k) + 0.5) / k
    # of values that several knots share the middle rank
    rank = (np.interp(x, knots, ranks) - np.interp(-x, -knots[::-1], -ranks[::-1])) / 2
    z = ndtri(rank)
    for end, outside in ((0, x < knots[0]), (-1, x > knots[-1])):
        z = np.where(outside, ndtri(ranks[end]) + (x - knots[end]) / _slope(knots), z)
    return z


def _values(z: np.ndarray, knots: np.ndarray) -> np.ndarray:
    k = len(knots)
    ranks = (np.arange(k) + 0.5) / k
    x = np.interp(ndtr(z), ranks, knots)
    for end, outside in ((0, z < ndtri(ranks[0])), (-1, z > ndtri(ranks[-1]))):
        x = np.where(outside, knots[end] + (z - ndtri(ranks[end])) * _slope(knots), x)
    return x


def _slope(knots: np.ndarray) -> float:
    """Units of x for one of z beyond the knots: as many as between the first and the last of them, on average."""
    k = len(knots)
    width = 2 * ndtri(1 - 0.5 / k) if k > 1 else 0.0
    return float((knots[-1] - knots[0]) / width) if width and knots[-1] > knots[0] else 1.0
