"""The swiss roll: a sheet rolled up in three dimensions, where flat projections must fail (Tenenbaum et al. 2000)."""

from typing import Annotated

import numpy as np

from aelab.data.arrays import Arrays, check, from_numpy
from aelab.ranges import Interval, NonNegative, Seed

Points = Annotated[int, Interval(2, 10_000_000)]

PARTS = 10  # of the sheet's length, as labels


def swiss_roll(n_train: Points, n_test: Points, noise: NonNegative, seed: Seed) -> Arrays:
    """Points (t cos t, h, t sin t), t uniform in [1.5π, 4.5π], h in [0, 21], plus Gaussian ``noise``; standardised.

    ``noise`` is in the units before each coordinate got mean 0 and variance 1 on the training points. The label is the
    tenth of the sheet, along t, that a point comes from. Made by sklearn.datasets.make_swiss_roll.
    """
    from sklearn.datasets import make_swiss_roll

    x, t = make_swiss_roll(n_train + n_test, noise=noise, random_state=seed)
    y = np.clip((PARTS * (t / (3 * np.pi) - 0.5)).astype(int), 0, PARTS - 1)
    x = (x - x[:n_train].mean(0)) / x[:n_train].std(0)
    arrays = from_numpy(x[:n_train], y[:n_train], x[n_train:], y[n_train:], (3,), unit_interval=False)
    return check(arrays, "data.source")
