"""The embedded data: 1797 handwritten digits of 8 x 8 pixels, which come with scikit-learn."""

from aelab.data.arrays import Arrays, check, from_numpy
from aelab.errors import UserError


def digits(test_fraction: float, seed: int) -> Arrays:
    """Grey levels k/16, k = 0..16, of 8 x 8 digits; ``test_fraction`` of each digit's images are the test set.

    ``seed`` fixes the stratified split. Source: Alpaydin & Kaynak 1998, through sklearn.datasets.load_digits.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if not 0.01 <= test_fraction <= 0.99:
        raise UserError(f"data.source.test_fraction: must lie in [0.01, 0.99], got {test_fraction}; try 0.2")
    if not 0 <= seed < 2**32:
        raise UserError(f"data.source.seed: must lie in [0, 2**32), got {seed}; try 0")
    x, y = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        x / 16, y, test_size=test_fraction, stratify=y, random_state=seed
    )
    return check(from_numpy(train_x, train_y, test_x, test_y, (8, 8), unit_interval=True), "data.source")
