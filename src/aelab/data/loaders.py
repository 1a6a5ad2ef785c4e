"""The loaders that the Trainer goes through: shuffled minibatches for training, a whole split for validation."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import torch
from torch import Tensor

from aelab.data import disk
from aelab.data.parts import Batch, Split
from aelab.errors import UserError


class Whole:
    """A loader of one item: the split itself."""

    def __init__(self, split: Split):
        self.split = split

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Split]:
        yield self.split


class Chunks:
    """One shuffled pass over a split per epoch; each item is an iterator over the next ``in_chunk`` minibatches.

    With one minibatch in a chunk the item is that ``Batch`` itself, as a callback that asks for it expects.
    The order is a function of (seed, epoch), so a resumed run sees what an unbroken one would have seen; ``on_disk`` it
    is one of blocks of rows. Of each batch rank r takes the samples r, r + world, …: together the ranks see what one
    process sees, but for what is left of the last batch where it cannot be shared evenly. Batches come on ``device``.
    """

    def __init__(
        self, split: Split, batch_size: int, seed: int, epoch: Callable[[], int], rank: int, world: int,
        augment: Callable[[Tensor], Tensor], in_chunk: int, device: torch.device,
        on_disk: bool,
    ):  # fmt: skip
        if batch_size % world:
            raise UserError(f"train.batch_size: {batch_size} cannot be shared by {world} devices; take a multiple")
        self.split, self.batch_size, self.seed, self.epoch = split, batch_size, seed, epoch
        self.rank, self.world, self.augment, self.in_chunk = rank, world, augment, in_chunk
        self.device, self.on_disk = device, on_disk
        self.n_batches = -(-len(split.x) // batch_size)
        tail = len(split.x) % batch_size
        if 0 < tail < world:  # too few samples left for a share each
            self.n_batches -= 1

    def __len__(self) -> int:
        return -(-self.n_batches // self.in_chunk)

    def __iter__(self) -> Iterator[Iterator[Batch] | Batch]:
        draw = torch.Generator().manual_seed(seed_of(self.seed, self.epoch()))
        x = self.split.x
        order = disk.shuffled_blocks(len(x), draw) if self.on_disk else torch.randperm(len(x), generator=draw)
        order = order.to(x.device)
        with disk.read_in_blocks(x) if self.on_disk else nullcontext():
            for first in range(0, self.n_batches, self.in_chunk):
                minibatches = self._minibatches(order, first, min(first + self.in_chunk, self.n_batches))
                yield next(minibatches) if self.in_chunk == 1 else minibatches

    def first(self, n: int) -> Batch:
        """The first ``n`` samples as a minibatch would have them."""
        return self._visited(Batch(*self.split.each(lambda part: part[:n].to(self.device))))

    def _visited(self, batch: Batch) -> Batch:
        return batch._replace(x=self.augment(batch.x))

    def _minibatches(self, order: Tensor, first: int, last: int) -> Iterator[Batch]:
        for i in range(first, last):
            start, stop = i * self.batch_size, (i + 1) * self.batch_size
            if self.on_disk:
                disk.read_ahead(self.split.x, order, start, stop)
            index = order[start:stop]
            if self.world > 1:
                index = index[: len(index) - len(index) % self.world][self.rank :: self.world]
            yield self._visited(self.split.taken(index, self.device))


def seed_of(*parts: int) -> int:
    """A 63-bit seed from (seed, epoch, …), so that streams of neighbouring epochs have nothing in common."""
    state = 0x9E3779B97F4A7C15
    for part in parts:
        state = ((state ^ part) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        state ^= state >> 31
    return state >> 1
