"""Black and white images with labels, drawn from a seed and kept: the parts of a set are drawn apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from aelab.data.arrays import Arrays, check, from_numpy
from aelab.data.kept import kept

SIDE = 28
Draw = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def drawn(draw: Draw, name: str, n_train: int, n_test: int, seed: int, cache: str) -> Arrays:
    """The set of images (n, 28, 28) and labels (n,) that ``draw(n, generator)`` returns, kept in the folder ``cache``.

    The test set does not depend on ``n_train``. ``name``: of the files, ``convex/v1``; another drawing wants another.
    """

    def make() -> dict[str, np.ndarray]:
        (train_x, train_y), (test_x, test_y) = (
            draw(n, np.random.default_rng([seed, part])) for part, n in enumerate((n_train, n_test))
        )
        return {"train_x": train_x, "train_y": train_y, "test_x": test_x, "test_y": test_y}

    path = Path(cache).expanduser() / f"{name}-train{n_train}-test{n_test}-seed{seed}.npz"
    sizes = {"train": n_train, "test": n_test}
    shapes = {f"{part}_{of}": (n, SIDE, SIDE)[:d] for part, n in sizes.items() for of, d in (("x", 3), ("y", 1))}
    arrays = kept(path, make, "data.cache", shapes)
    train_x, train_y, test_x, test_y = (arrays[name] for name in ("train_x", "train_y", "test_x", "test_y"))
    return check(from_numpy(train_x, train_y, test_x, test_y, (SIDE, SIDE), unit_interval=True), "data.source")
