"""The embedded data: 1797 handwritten digits of 8 x 8 pixels, which come with scikit-learn."""

from functools import cache
from typing import Annotated, Any

from aelab.data.arrays import Arrays, check, from_numpy
from aelab.ranges import Interval, Seed


def digits(test_fraction: Annotated[float, Interval(0.01, 0.99)], seed: Seed) -> Arrays:
    """Grey levels k/16, k = 0..16, of 8 x 8 digits; ``test_fraction`` of each digit's images are the test set.

    ``seed`` fixes the stratified split. Source: Alpaydin & Kaynak 1998, through sklearn.datasets.load_digits.
    """
    from sklearn.model_selection import train_test_split

    x, y = _read()
    train_x, test_x, train_y, test_y = train_test_split(
        x / 16, y, test_size=test_fraction, stratify=y, random_state=seed
    )
    return check(from_numpy(train_x, train_y, test_x, test_y, (8, 8), unit_interval=True), "data.source")


@cache
def _read() -> tuple[Any, Any]:
    """Images (1797, 64), 0 to 16, and their digits: a gzipped table that takes 40 ms to read, at each of many runs."""
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)
