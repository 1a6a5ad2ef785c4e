"""Whole batches off one tensor on the device: no per-sample Python, no collating, no copying back and forth."""

from functools import partial
from typing import Literal, Protocol

import pytorch_lightning as pl
import torch
from torch import Tensor

from aelab.data import disk
from aelab.data.augmentation import STILL, Augmentation, Degrees, Mirror, Zoom
from aelab.data.hooks import AROUND, WITHIN, listeners
from aelab.data.loaders import Chunks, Whole, seed_of
from aelab.data.parts import Parts, Split
from aelab.errors import UserError
from aelab.functional.pca import PCA, fit_pca
from aelab.ranges import Count, Fraction, Natural, Share
from aelab.rbm.layer import Layer, decode_through, encode_all

EVALUATED = 50_000  # of the training rows that lie on disk, those that a test looks at
TEST_DRAW = 0  # seed of the test set's bits: there is one test set
MINIBATCHES_IN_CHUNK = 20  # minibatches in one step of the Trainer, which costs 0.2 ms whatever is in it


class Source(Protocol):
    """Where samples come from: :class:`aelab.data.arrays.Arrays`, or a person's own files."""

    def parts(self, name: str, validation: int | float, train_size: int | None, draw: torch.Generator) -> Parts:
        """Training, validation and test set; ``draw`` chooses among the samples that are not for the test."""


class Data(pl.LightningDataModule):
    """A data set, split, on the device, in batches.

    ``source`` gives the test set apart; the validation set is split off the training set by ``seed``, so the test set
    is never trained or selected on, and ``schema`` is fitted on the training set alone. ``below`` are layers already
    learned: they encode everything once.
    With ``binarize="bernoulli"`` a pixel is 1 with its grey level as probability: drawn anew for every training batch,
    once and for all for validation and test; the test set's draw is the same whatever the ``seed``. On top of ``below``
    every draw is made once: the code is computed once.
    Training rows may lie on disk (:mod:`aelab.data.disk`); they stay there, and so do their codes above ``below``.
    Of the training labels ``labelled`` are kept; the others become −1, as for a model that learns from both kinds.
    """

    def __init__(
        self,
        source: Source,
        name: str,
        root: str | None,
        cache: str,
        download: bool,
        validation: Share,
        train_size: Count | None,
        labelled: Count | None,
        binarize: Literal["none", "threshold", "bernoulli"],
        shift: Natural,
        mirror: Mirror,
        rotate: Degrees,
        zoom: Zoom,
        mix: Fraction,
        seed: int,
        batch_size: int,
        below: list[Layer],
    ):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.train, self.val, self.test, self.schema, self.stream = source.parts(name, validation, train_size, draw)
        shape, grey = self.schema.shape, self.schema.unit_interval
        self.name, self.seed, self.batch_size = name, seed, batch_size
        self.binarize, self.below = binarize, below
        self.augmentation = Augmentation(shift, mirror, rotate, zoom, mix).check(shape, name)
        self._pca: dict[int, PCA] = {}
        self.pixel_shape, self.n_classes = shape, self.schema.n_classes
        if binarize != "none" and not grey:
            raise UserError(f"data.binarize: {name} has no grey levels in [0, 1] to binarize; set data.binarize=none")
        self.test = self.test._replace(x=self._binarized(self.test.x, torch.Generator().manual_seed(TEST_DRAW)))
        self.val = self.val._replace(x=self._binarized(self.val.x, draw))
        if binarize == "threshold" or (below and binarize == "bernoulli"):
            self.train = self.train._replace(x=self._binarized(self.train.x, draw))
        if not self.complete and self.augmentation != STILL:
            raise UserError("data.missing: images with missing values can't be moved or mixed; set data.missing=fill")
        self.pixels = self.test.x  # of the test samples, as they are below any layers
        if below:
            self._put_on(below)
        self._evaluated: Split | None = None  # of the training samples, where it is not they themselves
        if labelled is not None:
            self._forget_labels(labelled)
        n = len(self.train.x)
        if batch_size > n:
            raise UserError(f"train.batch_size: {batch_size} is more than the {n} training samples; give {n} or less")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the model sees: the image's, or (units,) on top of other layers."""
        return (self.train.x.shape[1],) if self.below else self.pixel_shape

    @property
    def unit_interval(self) -> bool:
        """Whether what the model sees lies in [0, 1]."""
        return self.below[-1].hidden == "bernoulli" if self.below else self.schema.unit_interval

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """The least and the greatest value: 0 and 1, (), or those of each input over the training samples, (input,)."""
        if self.unit_interval:
            return self.train.x.new_tensor(0.0), self.train.x.new_tensor(1.0)
        if self.stream is None:
            return self.train.x.amin(0), self.train.x.amax(0)
        pieces = self.train.x.split(disk.ROWS)  # torch would read all rows from disk once for every few columns
        return torch.stack([p.amin(0) for p in pieces]).amin(0), torch.stack([p.amax(0) for p in pieces]).amax(0)

    @property
    def mean(self) -> Tensor:
        """Of the training samples, (input,)."""
        x = self.train.x
        if self.stream is None:
            return x.mean(0)
        return (sum(rows.double().sum(0) for rows in x.split(disk.ROWS)) / len(x)).float()

    @property
    def variance(self) -> Tensor:
        """Of the training samples, (input,); of all of them, not an estimate from them."""
        x, mean = self.train.x, self.mean
        if self.stream is None:
            return x.var(0, correction=0)
        return (sum((rows - mean).double().square().sum(0) for rows in x.split(disk.ROWS)) / len(x)).float()

    @property
    def train_for_evaluation(self) -> Split:
        """The training samples in the form of the test samples: where they are drawn as bits, of one fixed draw.

        Of samples on disk at most ``EVALUATED``, evenly spaced, are taken into memory.
        """
        drawn_at_each_visit = self.binarize == "bernoulli" and not self.below
        if self.stream is None and not drawn_at_each_visit:
            return self.train
        if self._evaluated is None:
            step = 1 if self.stream is None else -(-len(self.train.x) // EVALUATED)
            train = self.train if step == 1 else self.train.at(slice(None, None, step))
            if drawn_at_each_visit:
                draw = torch.Generator().manual_seed(seed_of(self.seed))
                train = train._replace(x=self._binarized(train.x.cpu(), draw))
            self._evaluated = train.to(self.test.x.device)
        return self._evaluated

    @property
    def complete(self) -> bool:
        """Whether every value was observed."""
        return all(split.observed is None for split in (self.train, self.val, self.test))

    def to_pixels(self, x: Tensor) -> Tensor:
        """Inputs of the model → pixels: as they are, or down through the layers below."""
        return decode_through(self.below, x) if self.below else x

    def check_labels(self, n_classes: int, some_unlabelled: bool = False) -> None:
        """Raise ``UserError`` unless a model of ``n_classes`` classes can be trained and tested on these labels."""
        if self.test.y is not None and int(self.test.y.max()) >= n_classes:
            raise UserError(f"data: the test set of {self.name} has labels that its training set lacks; choose another")
        if self.train.y is not None and not some_unlabelled and bool((self.train.y < 0).any()):
            raise UserError("data.labelled: this model learns from labelled samples alone; set data.train_size instead")
        if self.augmentation.mix:
            raise UserError("data.mix: a mixture of two samples has no label of its own; set it to 0 for a classifier")

    def pca(self, n_code: int) -> PCA:
        """PCA of the training samples, the baseline with a code of the same size; computed once."""
        if n_code not in self._pca:
            self._pca[n_code] = fit_pca(self.train_for_evaluation.x, n_code)
        return self._pca[n_code]

    def to(self, device: torch.device | str) -> "Data":
        """Put all splits on ``device``, once; a training set on disk stays there."""
        if self.stream is None:
            self.train = self.train.to(device)
        self.val, self.test = self.val.to(device), self.test.to(device)
        self._evaluated = None
        return self

    def test_on(self, test: Split) -> None:
        """Take ``test``, in the units of ``schema``, in place of the test set: drawn as bits and put on layers as that
        one was."""
        x = self._binarized(test.x, torch.Generator().manual_seed(TEST_DRAW))
        self.pixels, self.test = x, Split(encode_all(self.below, x), test.y, test.observed)

    def train_dataloader(self) -> Chunks:
        trainer = self.trainer
        assert trainer is not None  # it is who asks
        self.to(trainer.strategy.root_device)
        in_chunk = 1 if listeners(trainer, (*AROUND, *WITHIN)) else MINIBATCHES_IN_CHUNK
        return Chunks(
            self.train, self.batch_size, self.seed, lambda: trainer.current_epoch, trainer.global_rank,
            trainer.world_size, self._augment, in_chunk, trainer.strategy.root_device,
            self.stream is not None,
        )  # fmt: skip

    def val_dataloader(self) -> Whole:
        return Whole(self.val)

    def _put_on(self, below: list[Layer]) -> None:
        """The code of the layers ``below`` in place of the samples."""
        expected, n_input = below[0].W.shape[0], self.train.x.shape[1]
        if n_input != expected:
            raise UserError(f"below: its first layer takes {expected} inputs, {self.name} has {n_input}")
        if not self.complete:
            raise UserError(f"data.missing: layers below need every value of {self.name}; set data.missing=fill")
        width, code = below[-1].W.shape[1], partial(encode_all, below)
        self.train, self.val, self.test = (
            Split(disk.each(s.x, width, self.stream, code), s.y) for s in (self.train, self.val, self.test)
        )

    def _forget_labels(self, labelled: int) -> None:
        """−1 in place of the training set's labels but for the first ``labelled``, which its seed has shuffled."""
        n, y = len(self.train.x), self.train.y
        if y is None:
            raise UserError(f"data.labelled: {self.name} has no labels; set it to null")
        if not 1 <= labelled <= n:
            raise UserError(f"data.labelled: must be from 1 to {n}, got {labelled}; null keeps all labels")
        self.train = self.train._replace(y=torch.where(torch.arange(n) < labelled, y, -1))

    def _binarized(self, x: Tensor, draw: torch.Generator) -> Tensor:
        if self.binarize == "threshold":
            return disk.each(x, x.shape[1], self.stream, lambda rows: (rows > 0.5).float())
        if self.binarize == "bernoulli":
            return disk.each(x, x.shape[1], self.stream, lambda r: (torch.rand(r.shape, generator=draw) < r).float())
        return x

    def _augment(self, x: Tensor) -> Tensor:
        """What changes at each visit of a training sample: moves, mixtures, and a Bernoulli draw of its pixels."""
        if self.below:
            return x
        x = self.augmentation(x, self.pixel_shape)
        return (torch.rand_like(x) < x).float() if self.binarize == "bernoulli" else x


def data_of(trainer: pl.Trainer) -> Data:
    """The data that ``trainer`` was given."""
    return trainer.datamodule  # type: ignore[attr-defined]  # its connector sets it


def epochs_of(trainer: pl.Trainer) -> int:
    """How many epochs ``trainer`` was asked for."""
    assert trainer.max_epochs is not None  # train.epochs is a number
    return trainer.max_epochs
