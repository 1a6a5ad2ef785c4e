"""What a rating is predicted by without a net: biases of users and items, and a product of a few factors of each."""

from typing import NamedTuple

import torch
from torch import Tensor

SWEEPS = 20


class Known(NamedTuple):
    """Ratings that are known: ``row``, ``column`` and ``value``, each (n,); ``shape`` of the whole matrix."""

    row: Tensor
    column: Tensor
    value: Tensor
    shape: tuple[int, ...]


class Factorization(NamedTuple):
    """value ≈ mean + row bias + column bias + row factors · column factors."""

    mean: Tensor
    row_bias: Tensor
    column_bias: Tensor
    row_factors: Tensor
    column_factors: Tensor

    def predict(self, row: Tensor, column: Tensor) -> Tensor:
        """The expected values at (row, column), (n,)."""
        product = (self.row_factors[row] * self.column_factors[column]).sum(1)
        return self.mean + self.row_bias[row] + self.column_bias[column] + product


def fit_biases(known: Known, penalty: float) -> Factorization:
    """Least Σ (value − mean − b_row − b_column)² + penalty · (Σ b_row² + Σ b_column²), by turns; no factors."""
    mean = known.value.mean()
    rows, columns = (known.value.new_zeros(n) for n in known.shape)
    for _ in range(SWEEPS):
        rows = _shrunk(known.row, known.value - mean - columns[known.column], known.shape[0], penalty)
        columns = _shrunk(known.column, known.value - mean - rows[known.row], known.shape[1], penalty)
    return Factorization(mean, rows, columns, rows.new_zeros(known.shape[0], 1), rows.new_zeros(known.shape[1], 1))


def fit_factors(
    known: Known, factors: int, penalty: float, bias_penalty: float, draw: torch.Generator
) -> Factorization:
    """Biases, then factors P, Q on what they leave: least Σ (rest − P_row · Q_column)² + penalty Σ n (|P|² + |Q|²).

    n are the numbers of ratings (Zhou et al. 2008); alternating least squares, each side exact given the other.
    """
    model = fit_biases(known, bias_penalty)
    rest = known.value - model.predict(known.row, known.column)
    P = 0.1 * torch.randn(known.shape[0], factors, generator=draw).to(rest)
    Q = 0.1 * torch.randn(known.shape[1], factors, generator=draw).to(rest)
    for _ in range(SWEEPS):
        P = _side(known.row, Q[known.column], rest, len(P), penalty)
        Q = _side(known.column, P[known.row], rest, len(Q), penalty)
    return model._replace(row_factors=P, column_factors=Q)


def _shrunk(group: Tensor, rest: Tensor, n: int, penalty: float) -> Tensor:
    sums = rest.new_zeros(n).index_add_(0, group, rest)
    return sums / (torch.bincount(group, minlength=n) + penalty)


def _side(group: Tensor, other: Tensor, rest: Tensor, n: int, penalty: float) -> Tensor:
    """(n, factors): for each of n groups the ridge regression of its ``rest`` on the ``other`` side's factors."""
    k = other.shape[1]
    gram = other.new_zeros(n, k, k).index_add_(0, group, other[:, :, None] * other[:, None, :])
    target = other.new_zeros(n, k).index_add_(0, group, other * rest[:, None])
    counts = torch.bincount(group, minlength=n).to(rest)
    gram += torch.diag_embed((penalty * counts).clamp(min=1e-3)[:, None].expand(-1, k))
    return torch.linalg.solve(gram, target)
