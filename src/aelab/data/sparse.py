"""Rows of which most entries are empty: kept by what is there, whole where they are looked at."""

from typing import Any, cast

import torch
from torch import Tensor

from aelab.errors import UserError


class SparseRows:
    """A matrix (rows, width) of which ``values`` at ``columns`` are kept, those of row i from ``offsets``[i] on.

    It takes the place of a ``Split``'s tensor: rows that are chosen or sliced come as a plain tensor, 0 where nothing
    is. Memory grows with what is kept. What only a whole matrix could answer is refused.
    """

    def __init__(self, offsets: Tensor, columns: Tensor, values: Tensor, width: int):
        self.offsets, self.columns, self.values, self.width = offsets, columns, values, width

    @classmethod
    def of(cls, rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> "SparseRows":
        """The matrix of ``shape`` with ``values`` at (``rows``, ``columns``), each at most once, the rest empty."""
        order = torch.argsort(rows, stable=True)
        counts = torch.bincount(rows, minlength=shape[0])
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(offsets, columns[order], values[order], shape[1])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), self.width))

    @property
    def device(self) -> torch.device:
        return self.values.device

    def to(self, device: torch.device | str) -> "SparseRows":
        return SparseRows(self.offsets.to(device), self.columns.to(device), self.values.to(device), self.width)

    @property
    def part(self) -> Tensor:
        """Itself, by the type of what it takes the place of."""
        return cast(Tensor, self)

    def index_select(self, dimension: int, index: Tensor) -> Tensor:
        """The rows of ``index`` (n,), (n, width)."""
        first, counts = self.offsets[index], self.offsets[index + 1] - self.offsets[index]
        row = torch.arange(len(index), device=self.device).repeat_interleave(counts)
        start = counts.cumsum(0) - counts
        place = torch.arange(len(row), device=self.device) - start[row] + first[row]
        whole = self.values.new_zeros(len(index), self.width)
        whole[row, self.columns[place]] = self.values[place]
        return whole

    def __getitem__(self, part: slice | Tensor) -> Tensor:
        index = torch.arange(len(self), device=self.device)[part] if isinstance(part, slice) else part
        return self.index_select(0, index)

    def entries(self) -> tuple[Tensor, Tensor, Tensor]:
        """Row, column and value of all that is kept, each (n,)."""
        counts = self.offsets.diff()
        return torch.arange(len(self), device=self.device).repeat_interleave(counts), self.columns, self.values

    def amin(self, dimension: int) -> Tensor:
        """0 for every column, for it has an empty entry."""
        return self.values.new_zeros(self.width)

    def amax(self, dimension: int) -> Tensor:
        """The greatest value of all, for every column."""
        return self.values.max().expand(self.width)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UserError(f"model: it needs whole rows ({name}), and ratings are mostly empty; take model=rating_rbm")


def entries(part: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and value of all that is kept in a split's ``part``, each (n,)."""
    assert isinstance(part, SparseRows)
    return part.entries()
