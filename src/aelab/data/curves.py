"""Curves: smooth strokes through three random points, images with six degrees of freedom and no more.

A look-alike of the set of Hinton & Salakhutdinov 2006, whose file is not public any more, matched to the two numbers
known of it: the squared error of the mean alone (about 16) and of PCA with 18 components (5.90).
"""

from pathlib import Path

import numpy as np

from aelab.data.arrays import Arrays, check, from_numpy
from aelab.data.kept import kept
from aelab.ranges import Images, Seed

VERSION = 1  # of the drawing: a change of anything below makes another set and wants another number
SIDE, LOW, HIGH, GAP = 28, 2.0, 26.0, 2.0  # pixels: the image, the range of the points, their least distance in x
SEGMENTS, DOTS, GAIN = (
    256,
    4.0,
    0.4625,
)  # pieces per curve, ink per pixel of length, grey level per unit of ink
CHUNK = 1000  # images drawn at once: bounds memory, changes nothing else


def curves(n_train: Images, n_test: Images, seed: Seed, cache: str) -> Arrays:
    """``n_train`` + ``n_test`` images of 28 x 28 grey levels k/255, without labels, made from ``seed`` and cached.

    The first n images are the same whatever the number asked for, so the test set does not depend on ``n_train``.
    """
    name = f"curves-v{VERSION}-train{n_train}-test{n_test}-seed{seed}.npz"
    images = kept(
        Path(cache).expanduser() / "curves" / name,
        lambda: {"train": make(n_train, [seed, 0]), "test": make(n_test, [seed, 1])},
        "data.cache", {"train": (n_train, SIDE, SIDE), "test": (n_test, SIDE, SIDE)},
    )  # fmt: skip
    train, test = (np.divide(images[part], 255, dtype=np.float32) for part in ("train", "test"))
    return check(from_numpy(train, None, test, None, (SIDE, SIDE), unit_interval=True), "data.source")


def make(n: int, seed: list[int]) -> np.ndarray:
    """``n`` curves as bytes (n, 28, 28)."""
    x, y = three_points(n, np.random.default_rng(seed))
    return np.concatenate([_grey(x[i : i + CHUNK], y[i : i + CHUNK]) for i in range(0, n, CHUNK)])


def three_points(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """x, y (n, 3), uniform in [2, 26] given that x increases by at least 2 from point to point."""
    u = rng.uniform(size=(n, 6))
    # Sorted uniforms on the range less both gaps, the gaps put back: uniform on the triples allowed, nothing rejected.
    x = LOW + (HIGH - LOW - 2 * GAP) * np.sort(u[:, :3], axis=1) + GAP * np.arange(3)
    return x, LOW + (HIGH - LOW) * u[:, 3:]


def natural_spline(x: np.ndarray, y: np.ndarray, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """The natural cubic spline y(x) through three points per row (n, 3), at segments + 1 equidistant x: two arrays.

    Its second derivative is linear between knots, 0 at both ends and M = 3 (s₂ - s₁) / (h₁ + h₂) in the middle, with
    h the distances and s the slopes of the two halves. On the half of length h whose outer point is (xₑ, yₑ), with
    u = |x - xₑ| / h:  y(x) = yₑ + (y₁ - yₑ) u + M h² (u³ - u) / 6.
    """
    h, rise = np.diff(x), np.diff(y)
    slope = rise / h
    middle = 3 * (slope[:, 1:] - slope[:, :1]) / h.sum(1, keepdims=True)
    at = x[:, :1] + (x[:, 2:] - x[:, :1]) * np.linspace(0, 1, segments + 1)
    left = at < x[:, 1:2]
    length = np.where(left, h[:, :1], h[:, 1:])
    u = np.where(left, at - x[:, :1], x[:, 2:] - at) / length
    end = np.where(left, y[:, :1], y[:, 2:])
    return at, end + (y[:, 1:2] - end) * u + middle * length**2 * (u**3 - u) / 6


def ink(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Images (n, 28, 28) of polylines (n, points): ``DOTS`` per pixel of length, shared bilinearly by the four pixels
    round the middle of each piece; what leaves the image is lost.
    """
    n = len(x)
    amount = DOTS * np.hypot(np.diff(x), np.diff(y))
    column, row = (x[:, 1:] + x[:, :-1]) / 2, (y[:, 1:] + y[:, :-1]) / 2
    # One pixel of margin catches the ink beside the image.
    i, j = (np.clip(np.floor(at).astype(np.int64), -1, SIDE - 1) for at in (row, column))
    inside = (row >= -1) & (row < SIDE) & (column >= -1) & (column < SIDE)
    down, right = row - i, column - j
    wide = SIDE + 2
    corner = (np.arange(n)[:, None] * wide + i + 1) * wide + j + 1
    image = np.zeros(n * wide * wide)
    for step, share in (
        (0, (1 - down) * (1 - right)),
        (1, (1 - down) * right),
        (wide, down * (1 - right)),
        (wide + 1, down * right),
    ):
        weight = np.where(inside, amount * share, 0)
        image += np.bincount((corner + step).ravel(), weight.ravel(), minlength=image.size)
    return image.reshape(n, wide, wide)[:, 1:-1, 1:-1]


def smooth(image: np.ndarray) -> np.ndarray:
    """Convolution of (n, height, width) with [1 2 1]ᵀ[1 2 1] / 16, zeros outside."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    rows = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 4


def _grey(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    image = smooth(smooth(ink(*natural_spline(x, y, SEGMENTS))))
    return np.rint(255 * np.clip(GAIN * image, 0, 1)).astype(np.uint8)
