"""The swiss roll: a sheet rolled up in three dimensions, where flat projections must fail (Tenenbaum et al. 2000)."""

import numpy as np

from aelab.data.arrays import Arrays, check, from_numpy
from aelab.errors import UserError

PARTS = 10  # of the sheet's length, as labels


def swiss_roll(n_train: int, n_test: int, noise: float, seed: int) -> Arrays:
    """Points (t cos t, h, t sin t), t uniform in [1.5π, 4.5π], h in [0, 21], plus Gaussian ``noise``; standardised.

    ``noise`` is in the units before each coordinate got mean 0 and variance 1 on the training points. The label is the
    tenth of the sheet, along t, that a point comes from. Made by sklearn.datasets.make_swiss_roll.
    """
    from sklearn.datasets import make_swiss_roll

    for key, n in (("n_train", n_train), ("n_test", n_test)):
        if n < 2:
            raise UserError(f"data.source.{key}: must be at least 2 points, got {n}")
    if not 0 <= noise < float("inf"):
        raise UserError(f"data.source.noise: a standard deviation must be at least 0, got {noise}")
    if not 0 <= seed < 2**32:
        raise UserError(f"data.source.seed: must lie in [0, 2**32), got {seed}; try 0")
    x, t = make_swiss_roll(n_train + n_test, noise=noise, random_state=seed)
    y = np.clip((PARTS * (t / (3 * np.pi) - 0.5)).astype(int), 0, PARTS - 1)
    x = (x - x[:n_train].mean(0)) / x[:n_train].std(0)
    arrays = from_numpy(x[:n_train], y[:n_train], x[n_train:], y[n_train:], (3,), unit_interval=False)
    return check(arrays, "data.source")
