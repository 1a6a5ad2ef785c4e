"""Whole batches off one tensor on the device: no per-sample Python, no collating, no copying back and forth."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from aelab.data.arrays import Arrays, check
from aelab.data.augmentation import Augmentation, Mirror
from aelab.errors import UserError
from aelab.functional.pca import PCA, fit_pca
from aelab.rbm.layer import Layer, decode_through, encode_all

EVALUATION_BATCH = 1000  # samples in a batch of validation or test; changes speed and memory, no result
MINIBATCHES_IN_CHUNK = 20  # minibatches in one step of the Trainer, whose own cost a step is 0.2 ms


class Batch(NamedTuple):
    """``x`` (batch, input) float32; ``y`` (batch,) int64, or None where there are no labels."""

    x: Tensor
    y: Tensor | None


class Split(NamedTuple):
    """One of training, validation and test set, whole, on one device."""

    x: Tensor
    y: Tensor | None

    def to(self, device: torch.device | str) -> "Split":
        return Split(self.x.to(device), None if self.y is None else self.y.to(device))

    def batches(self, size: int = EVALUATION_BATCH) -> Iterator[Batch]:
        """The samples in order, ``size`` at a time."""
        for start in range(0, len(self.x), size):
            yield Batch(self.x[start : start + size], None if self.y is None else self.y[start : start + size])


class Data(pl.LightningDataModule):
    """A data set, split, on the device, in batches.

    ``source`` gives training and test arrays; a validation set is split off the training set by ``seed``, so the test
    set is never trained or selected on. ``below`` are layers already learned: they encode everything once.
    With ``binarize="bernoulli"`` a pixel is 1 with its grey level as probability: drawn anew for every training batch,
    once and for all for validation and test. On top of ``below`` every draw is made once: the code is computed once.
    """

    def __init__(
        self,
        source: Arrays,
        name: str,
        root: str | None,
        cache: str,
        download: bool,
        validation: int | float,
        train_size: int | None,
        binarize: Literal["none", "threshold", "bernoulli"],
        shift: int,
        mirror: Mirror,
        rotate: float,
        zoom: float,
        mix: float,
        seed: int,
        batch_size: int,
        below: list[Layer],
    ):
        super().__init__()
        arrays = check(source, f"data={name}")
        self.name, self.seed, self.batch_size = name, seed, batch_size
        self.binarize, self.below = binarize, below
        self.augmentation = Augmentation(shift, mirror, rotate, zoom, mix).check(arrays.shape, name)
        self._pca: dict[int, PCA] = {}
        self.pixel_shape, self.unit_interval = arrays.shape, arrays.unit_interval
        # labels run from 0 to one below this, also where train_size leaves a class without a sample
        self.n_classes = None if arrays.train_y is None else int(arrays.train_y.max()) + 1
        if batch_size < 1:
            raise UserError(f"train.batch_size: must be at least 1, got {batch_size}")
        if binarize != "none" and not arrays.unit_interval:
            raise UserError(f"data.binarize: {name} has no grey levels in [0, 1] to binarize; set data.binarize=none")
        draw = torch.Generator().manual_seed(seed)
        self.train, self.val = self._split(arrays, validation, train_size, draw)
        self.test = Split(self._binarized(arrays.test_x, draw), arrays.test_y)
        self.val = Split(self._binarized(self.val.x, draw), self.val.y)
        if binarize == "threshold" or (below and binarize == "bernoulli"):
            self.train = Split(self._binarized(self.train.x, draw), self.train.y)
        if below:
            expected = below[0].W.shape[0]
            if self.train.x.shape[1] != expected:
                raise UserError(f"below: its first layer takes {expected} inputs, {name} has {self.train.x.shape[1]}")
            self.train, self.val, self.test = (
                Split(encode_all(below, s.x), s.y) for s in (self.train, self.val, self.test)
            )
        if batch_size > len(self.train.x):
            raise UserError(f"train.batch_size: {batch_size} is more than the {len(self.train.x)} training samples")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the model sees: the image's, or (units,) on top of other layers."""
        return (self.train.x.shape[1],) if self.below else self.pixel_shape

    def to_pixels(self, x: Tensor) -> Tensor:
        """Inputs of the model → pixels: as they are, or down through the layers below."""
        return decode_through(self.below, x) if self.below else x

    def pca(self, n_code: int) -> PCA:
        """PCA of the training samples, the baseline with a code of the same size; computed once."""
        if n_code not in self._pca:
            self._pca[n_code] = fit_pca(self.train.x, n_code)
        return self._pca[n_code]

    def to(self, device: torch.device | str) -> "Data":
        """Put all splits on ``device``, once."""
        self.train, self.val, self.test = (s.to(device) for s in (self.train, self.val, self.test))
        return self

    def train_dataloader(self) -> "Chunks":
        trainer = self.trainer
        self.to(trainer.strategy.root_device)
        return Chunks(
            self.train, self.batch_size, self.seed, lambda: trainer.current_epoch, trainer.global_rank,
            trainer.world_size, self._augment,
        )  # fmt: skip

    def val_dataloader(self) -> "Whole":
        return Whole(self.val)

    def _split(self, arrays: Arrays, validation: int | float, train_size: int | None, draw) -> tuple[Split, Split]:
        order = torch.randperm(len(arrays.train_x), generator=draw)
        n_val = validation if isinstance(validation, int) else round(validation * len(order))
        if not 1 <= n_val < len(order):
            raise UserError(
                f"data.validation: {validation} leaves no samples to validate or to train on, of {len(order)}; "
                "give a fraction between 0 and 1, or a number of samples"
            )
        val, train = order[:n_val], order[n_val:]
        if train_size is not None:
            if not 1 <= train_size <= len(train):
                raise UserError(f"data.train_size: must be from 1 to {len(train)}, got {train_size}; null takes all")
            train = train[:train_size]
        x, y = arrays.train_x, arrays.train_y
        return tuple(Split(x[i].contiguous(), None if y is None else y[i].contiguous()) for i in (train, val))

    def _binarized(self, x: Tensor, draw: torch.Generator) -> Tensor:
        if self.binarize == "threshold":
            return (x > 0.5).float()
        if self.binarize == "bernoulli":
            return (torch.rand(x.shape, generator=draw) < x).float()
        return x

    def _augment(self, x: Tensor) -> Tensor:
        """What changes at each visit of a training sample: moves, mixtures, and a Bernoulli draw of its pixels."""
        if self.below:
            return x
        x = self.augmentation(x, self.pixel_shape)
        return (torch.rand_like(x) < x).float() if self.binarize == "bernoulli" else x


class Whole:
    """A loader of one item: the split itself."""

    def __init__(self, split: Split):
        self.split = split

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Split]:
        yield self.split


class Chunks:
    """One shuffled pass over a split an epoch; each item is an iterator over the next few minibatches.

    The order is a function of (seed, epoch), so a resumed run sees what an unbroken one would have seen. Of each batch
    rank r takes the samples r, r + world, …: together the ranks see what one process sees.
    """

    def __init__(
        self, split: Split, batch_size: int, seed: int, epoch: Callable[[], int], rank: int, world: int,
        augment: Callable[[Tensor], Tensor],
    ):  # fmt: skip
        if batch_size % world:
            raise UserError(f"train.batch_size: {batch_size} cannot be shared by {world} devices; take a multiple")
        self.split, self.batch_size, self.seed, self.epoch = split, batch_size, seed, epoch
        self.rank, self.world, self.augment = rank, world, augment
        self.n_batches = -(-len(split.x) // batch_size)
        tail = len(split.x) % batch_size
        if 0 < tail < world:  # too few samples left for a share each
            self.n_batches -= 1

    def __len__(self) -> int:
        return -(-self.n_batches // MINIBATCHES_IN_CHUNK)

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        draw = torch.Generator().manual_seed(seed_of(self.seed, self.epoch()))
        order = torch.randperm(len(self.split.x), generator=draw).to(self.split.x.device)
        for first in range(0, self.n_batches, MINIBATCHES_IN_CHUNK):
            yield self._minibatches(order, first, min(first + MINIBATCHES_IN_CHUNK, self.n_batches))

    def _minibatches(self, order: Tensor, first: int, last: int) -> Iterator[Batch]:
        x, y = self.split
        for i in range(first, last):
            index = order[i * self.batch_size : (i + 1) * self.batch_size]
            if self.world > 1:
                index = index[: len(index) - len(index) % self.world][self.rank :: self.world]
            yield Batch(self.augment(x.index_select(0, index)), None if y is None else y.index_select(0, index))


def seed_of(*parts: int) -> int:
    """A 63-bit seed from (seed, epoch, …), so that streams of neighbouring epochs have nothing in common."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = ((state ^ part) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        state ^= state >> 31
    return state >> 1
