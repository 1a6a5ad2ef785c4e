"""Rectangles, tall or wide: a task on which deep nets were first compared with shallow ones (Larochelle et al. 2007).

Made after the recipe in that paper, for its files are no longer public.
"""

import numpy as np

from aelab.data.arrays import Arrays
from aelab.data.drawn import SIDE, drawn
from aelab.ranges import Images, Seed

VERSION = 1  # of the drawing: a change of anything below makes another set and wants another number
APART = 3  # pixels by which a rectangle's height and width differ at least
ROWS, COLUMNS = np.divmod(np.arange(SIDE * SIDE), SIDE)


def rectangles(n_train: Images, n_test: Images, seed: Seed, cache: str) -> Arrays:
    """Outlines on 28 x 28 pixels; label 1: taller than wide, 0: wider. Made from ``seed`` and cached."""
    return drawn(draw_rectangles, f"rectangles/v{VERSION}", n_train, n_test, seed, cache)


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
