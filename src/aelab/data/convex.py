"""Shapes, convex or not: a task on which deep nets were first compared with shallow ones (Larochelle et al. 2007).

Made after that paper's recipe as it is recalled, for its files are no longer public. A convex shape is what a geometric
number of half-planes leaves of the image; one that is not convex is the union of two to four such pieces.
"""

import numpy as np

from aelab.data.arrays import Arrays
from aelab.data.drawn import SIDE, drawn
from aelab.ranges import Images, Seed

VERSION = 1  # of the drawing: a change of anything below makes another set and wants another number
CUTS, PIECE_CUTS = 0.195, 0.07  # parameters of the geometric laws: both kinds cover about a fifth of an image
LEAST, PIECE_LEAST = 19, 10  # pixels
PIECES = 2, 4
CHUNK = 1000  # images drawn at once: bounds memory
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def convex(n_train: Images, n_test: Images, seed: Seed, cache: str) -> Arrays:
    """White shapes on 28 x 28 pixels; label 1: convex, 0: not. Made from ``seed`` and cached."""
    return drawn(draw_shapes, f"convex/v{VERSION}", n_train, n_test, seed, cache)


def draw_shapes(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) of 0 and 1 and labels (n,), as many of either kind on average."""
    labels = rng.integers(0, 2, n).astype(np.uint8)
    images = np.empty((n, SIDE, SIDE), np.uint8)
    for label, one in enumerate((_not_convex, _convex)):
        places = np.flatnonzero(labels == label)
        for start in range(0, len(places), CHUNK):
            images[places[start : start + CHUNK]] = one(len(places[start : start + CHUNK]), rng)
    return images, labels


def _convex(n: int, rng: np.random.Generator) -> np.ndarray:
    return intersections(n, CUTS, LEAST, rng)


def _not_convex(n: int, rng: np.random.Generator) -> np.ndarray:
    found = np.empty((0, SIDE, SIDE), bool)
    while len(found) < n:
        pieces = rng.integers(PIECES[0], PIECES[1] + 1, n - len(found))
        parts = intersections(pieces.sum(), PIECE_CUTS, PIECE_LEAST, rng)
        unions = np.logical_or.reduceat(parts, pieces.cumsum() - pieces)
        found = np.concatenate([found, unions[dented(unions)]])
    return found


def intersections(n: int, parameter: float, least: int, rng: np.random.Generator) -> np.ndarray:
    """What k half-planes leave of the image, k geometric: (n, 28, 28), of at least ``least`` pixels each.

    The edge of a half-plane passes through a point of the image at an angle, both uniform; one that would leave too few
    pixels is drawn again.
    """
    shapes, left = np.ones((n, SIDE, SIDE), bool), rng.geometric(parameter, n)
    while len(uncut := np.flatnonzero(left)):
        x, y, angle = (rng.uniform(0, high, (len(uncut), 1, 1)).astype(np.float32) for high in (SIDE, SIDE, 2 * np.pi))
        cut = shapes[uncut] & ((X - x) * np.cos(angle) + (Y - y) * np.sin(angle) >= 0)
        fits = cut.sum((1, 2)) >= least
        shapes[uncut[fits]] = cut[fits]
        left[uncut[fits]] -= 1
    return shapes


def dented(shapes: np.ndarray) -> np.ndarray:
    """Whether two pixels of a shape (n, height, width) have a pixel outside it as their midpoint: (n,).

    The convolution of a shape with itself counts at 2m the pairs whose midpoint is m. No convex shape is dented.
    """
    height, width = shapes.shape[1:]
    size = 2 * height, 2 * width
    pairs = np.fft.irfft2(np.fft.rfft2(shapes, size) ** 2, size)[:, ::2, ::2]
    return ((pairs > 0.5) & ~shapes).any((1, 2))
