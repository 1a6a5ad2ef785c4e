"""Faces: patches of the 400 Olivetti photographs (40 people, ten each), rotated and scaled, split by person.

After Hinton & Salakhutdinov 2006: 25 x 25 pixels, the first 30 people train and the other 10 test, zero mean per pixel,
variance one on average. Rotations and scales are our own draws, the crop a guess that gives the paper's error of PCA
with 30 components (135): a look-alike of their set.
"""

from math import prod
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from aelab.data.arrays import Arrays, check
from aelab.data.download import find
from aelab.data.unpacking import too_much
from aelab.errors import UserError
from aelab.ranges import Interval, Seed

FILE = "olivetti/olivettifaces.mat"
MIRRORS = ["https://ndownloader.figshare.com/files/5976027", "https://cs.nyu.edu/~roweis/data/olivettifaces.mat"]
CHECKSUM = "sha256:b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794"
PHOTO, PHOTOS, EACH, TRAIN_PHOTOS = 64, 400, 10, 300  # pixels a side, photographs, a person's, those of 30 people
SIDE, SCALES, SPACING = 25, (1.4, 1.8), 2.25  # pixels a side of a patch; its pixels are SPACING / scale apart


def faces(
    root: str | None,
    cache: str,
    download: bool,
    n_train: Annotated[int, Interval(TRAIN_PHOTOS, 10_000_000)],  # one for each photograph at least
    n_test: Annotated[int, Interval(PHOTOS - TRAIN_PHOTOS, 10_000_000)],
    seed: Seed,
    scale_over: Literal["all", "train"],
    validate_on: Literal["patches", "people"],
) -> Arrays:
    """``n_train`` patches of people 0-29 and ``n_test`` of people 30-39, (n, 625), real values; labels are the people.

    Each pixel's mean is the training set's. ``scale_over="all"``: one number divides everything so that the average
    pixel variance of both parts together is 1, the unit of the paper's errors; "train": of the training set alone.
    ``validate_on="people"``: the validation set is all patches of some of the 30, as new to the model as those of the
    test; "patches": some of everybody. Drawn anew each time (two seconds, less than reading them back), the same for
    the same ``seed``; neither part depends on the number of patches of the other but through that scale.
    """
    photos = read_photos(find(FILE, root, cache, download, MIRRORS, CHECKSUM))
    train_x, train_y = patches(photos[:TRAIN_PHOTOS], n_train, [seed, 0])
    test_x, test_y = patches(photos[TRAIN_PHOTOS:], n_test, [seed, 1])
    standardise(train_x, test_x, scale_over)
    group = train_y if validate_on == "people" else None
    test_y += TRAIN_PHOTOS // EACH
    return check(Arrays(train_x, train_y, test_x, test_y, (SIDE, SIDE), unit_interval=False, group=group), "data.root")


def read_photos(path: Path) -> Tensor:
    """The photographs (400, 64, 64) float32, grey levels 0-255, of the MATLAB file: ``faces`` (4096, 400), by columns.

    Raises ``UserError`` naming data.root and the file when it is no such file.
    """
    from scipy.io import loadmat, whosmat

    try:
        shapes = {name: shape for name, shape, _ in whosmat(path)}
        if reason := too_much(8 * prod(shapes["faces"]), path.stat().st_size):
            raise ValueError(f"it {reason}")
        columns = loadmat(path, variable_names=["faces"])["faces"]
    except Exception as damage:  # scipy raises whatever its parser stumbles over
        raise UserError(f"data.root: {path} is damaged or not the Olivetti file ({damage}); replace it") from damage
    if columns.shape != (PHOTO * PHOTO, PHOTOS):
        raise UserError(f"data.root: {path} holds {columns.shape}, not {(PHOTO * PHOTO, PHOTOS)}; replace it")
    if columns.min() == columns.max():
        raise UserError(f"data.root: {path} holds one value throughout; replace it")
    upright = columns.T.reshape(PHOTOS, PHOTO, PHOTO).swapaxes(1, 2)
    return torch.from_numpy(np.ascontiguousarray(upright, dtype=np.float32))


def patches(photos: Tensor, n: int, seed: list[int]) -> tuple[Tensor, Tensor]:
    """``n`` patches (n, 625) shared out evenly over ``photos`` (photo, 64, 64), and each one's person (n,).

    A patch is the photograph rotated by up to ±90° and scaled 1.4-1.8 times, both uniform, its centre then sampled
    bilinearly at points SPACING / scale source pixels apart.
    """
    angle, scale = np.random.default_rng(seed).uniform((-np.pi / 2, SCALES[0]), (np.pi / 2, SCALES[1]), (n, 2)).T
    step = torch.from_numpy(SPACING / scale).float()
    angle = torch.from_numpy(angle).float()
    photo = torch.arange(n) * len(photos) // n
    offset = torch.arange(SIDE) - (SIDE - 1) / 2
    down, right = torch.meshgrid(offset, offset, indexing="ij")
    out = torch.empty(n, SIDE * SIDE)
    for k in range(len(photos)):
        mine = (photo == k).nonzero()[:, 0]
        cos, sin = ((step[mine] * f(angle[mine]))[:, None, None] for f in (torch.cos, torch.sin))
        # grid_sample counts in half images from the centre: 2 / PHOTO a pixel with align_corners=False.
        grid = torch.stack([cos * right - sin * down, sin * right + cos * down], -1) * (2 / PHOTO)
        sampled = torch.nn.functional.grid_sample(
            photos[k][None, None], grid.reshape(1, -1, SIDE, 2), mode="bilinear", align_corners=False
        )
        out[mine] = sampled.reshape(len(mine), -1)
    return out, photo // EACH


def standardise(train_x: Tensor, test_x: Tensor, scale_over: str) -> None:
    """x ← (x - mean) / scale in place: mean (input,) of ``train_x``; scale² the average over pixels of the variance,
    of ``train_x`` or of both: Σ wᵢ varᵢ + w₁ w₂ (mean₁ - mean₂)², with w the parts' shares of all samples.
    """
    (var, mean), (test_var, test_mean) = (torch.var_mean(x, 0, correction=0) for x in (train_x, test_x))
    if scale_over == "all":
        share = len(train_x) / (len(train_x) + len(test_x))
        var = share * var + (1 - share) * test_var + share * (1 - share) * (mean - test_mean).square()
    scale = var.mean().sqrt()
    for x in (train_x, test_x):
        x.sub_(mean).div_(scale)
