"""Rectangles, tall or wide: a task on which deep nets were first compared with shallow ones (Larochelle et al. 2007).

Made after the recipe in that paper, for its files are no longer public.
"""

from pathlib import Path

import numpy as np

from aelab.data.arrays import Arrays, check, from_numpy
from aelab.data.kept import kept
from aelab.ranges import Images, Seed

VERSION = 1  # of the drawing: a change of anything below makes another set and wants another number
SIDE = 28
APART = 3  # pixels by which a rectangle's height and width differ at least
ROWS, COLUMNS = np.divmod(np.arange(SIDE * SIDE), SIDE)


def rectangles(n_train: Images, n_test: Images, seed: Seed, cache: str) -> Arrays:
    """Outlines on 28 x 28 pixels; label 1: taller than wide, 0: wider. Made from ``seed`` and cached."""

    def make() -> dict[str, np.ndarray]:
        (train_x, train_y), (test_x, test_y) = (
            draw_rectangles(n, np.random.default_rng([seed, part])) for part, n in enumerate((n_train, n_test))
        )
        return {"train_x": train_x, "train_y": train_y, "test_x": test_x, "test_y": test_y}

    path = Path(cache).expanduser() / "rectangles" / f"v{VERSION}-train{n_train}-test{n_test}-seed{seed}.npz"
    sizes = {"train": n_train, "test": n_test}
    shapes = {f"{part}_{of}": (n, SIDE, SIDE)[:d] for part, n in sizes.items() for of, d in (("x", 3), ("y", 1))}
    arrays = kept(path, make, "data.cache", shapes)
    train_x, train_y, test_x, test_y = (arrays[name] for name in ("train_x", "train_y", "test_x", "test_y"))
    return check(from_numpy(train_x, train_y, test_x, test_y, (SIDE, SIDE), unit_interval=True), "data.source")


def draw_rectangles(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) of 0 and 1 and labels (n,): sides uniform from 1 to 28, the place uniform where they fit."""
    sides = rng.integers(1, SIDE + 1, (3 * n + 100, 2))
    sides = sides[abs(sides[:, 0] - sides[:, 1]) >= APART][:n]
    low = rng.integers(0, SIDE - sides + 1)
    high = low + sides - 1
    at = np.stack([ROWS, COLUMNS], 1)[None]  # (1, pixel, 2)
    inside = ((at >= low[:, None]) & (at <= high[:, None])).all(2)
    border = ((at == low[:, None]) | (at == high[:, None])).any(2)
    return (inside & border).reshape(n, SIDE, SIDE).astype(np.uint8), (sides[:, 0] > sides[:, 1]).astype(np.uint8)
