"""Variations of MNIST on which deep nets were first compared with shallow ones (Larochelle et al. 2007).

Made after the recipe in that paper, for its files are no longer public: 12,000 images to train and validate on and
50,000 to test, of all 70,000 in random order.
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from aelab.data.arrays import Arrays, check
from aelab.data.mnist import mnist
from aelab.errors import UserError
from aelab.ranges import Count, Seed

Kind = Literal["basic", "rotated", "random_background"]
CHUNK = 5000  # images turned at once: bounds memory, changes nothing else


def mnist_variation(
    kind: Kind, n_train: Count, n_test: Count, seed: Seed, root: str | None, cache: str, download: bool
) -> Arrays:
    """MNIST's digits as they are, each turned by U(0, 2π), or each on a background of grey levels U(0, 1).

    The order of the images hangs on ``seed`` alone, what is drawn for them on their number too.
    """
    whole = mnist(root, cache, download)
    x = torch.cat([whole.train_x, whole.test_x])
    if n_train + n_test > len(x):
        raise UserError(f"data.source.n_train: with n_test at most {len(x)} images, got {n_train + n_test}")
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x), generator=draw)[: n_train + n_test]
    assert whole.train_y is not None and whole.test_y is not None  # MNIST has labels
    x, y = x[order], torch.cat([whole.train_y, whole.test_y])[order]
    if kind == "rotated":
        x = rotated(x, whole.shape, torch.rand(len(x), generator=draw) * 2 * math.pi)
    elif kind == "random_background":
        x = on_background(x, torch.rand(x.shape, generator=draw))
    train, test = slice(n_train), slice(n_train, None)
    return check(Arrays(x[train], y[train], x[test], y[test], whole.shape, unit_interval=True), "data.source")


def rotated(x: Tensor, shape: tuple[int, ...], angle: Tensor) -> Tensor:
    """Images x (n, pixel), each turned anticlockwise by its ``angle`` (n,) in radians, bilinearly; zeros come in."""
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    turn = torch.cat([turn, torch.zeros(len(x), 2, 1)], 2)
    images = x.view(-1, 1, *shape)
    pieces = [
        F.grid_sample(part, F.affine_grid(by, list(part.shape), align_corners=False), align_corners=False)
        for part, by in zip(images.split(CHUNK), turn.split(CHUNK))
    ]
    return torch.cat(pieces).flatten(1).clamp(0, 1)


def on_background(x: Tensor, background: Tensor) -> Tensor:
    """Ink x over ``background``, both (n, pixel) in [0, 1]: the lighter of the two shows."""
    return torch.maximum(x, background)
