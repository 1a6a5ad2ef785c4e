"""What ratings are predicted by without a net, beside a model of ratings: on the same split, chosen on validation."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aelab.data.batches import Data
from aelab.data.ratings import RatingSchema
from aelab.data.sparse import entries
from aelab.functional.factorization import Factorization, Known, fit_biases, fit_factors
from aelab.models.base import Model
from aelab.ranges import Count, Positives


@dataclass(frozen=True)
class RatingBaselines:
    """``mean_rmse``, ``biases_rmse`` and ``factors_rmse`` of the test ratings, and the same ``…_mae``.

    The global mean; biases of users and items; those and a product of ``factors`` each. The penalties are the ones of
    ``penalties`` and ``bias_penalties`` that are best on the validation ratings.
    """

    factors: Count
    penalties: Positives
    bias_penalties: Positives

    def __call__(self, model: Model, data: Data) -> dict[str, float]:
        if not isinstance(data.schema, RatingSchema):
            return {}
        train, val, test = (known(part, data.schema) for part in (data.train.x, data.val.y, data.test.y))
        biases = {penalty: fit_biases(train, penalty) for penalty in self.bias_penalties}
        best = min(biases, key=lambda penalty: rmse(biases[penalty], val))
        products = [
            fit_factors(train, self.factors, penalty, best, torch.Generator().manual_seed(0))
            for penalty in self.penalties
        ]
        plain = biases[best]._replace(**{name: 0 * getattr(biases[best], name) for name in ("row_bias", "column_bias")})
        found: dict[str, float] = {}
        for name, fitted in (
            ("mean", plain), ("biases", biases[best]), ("factors", min(products, key=lambda each: rmse(each, val)))
        ):  # fmt: skip
            error = fitted.predict(test.row, test.column) - test.value
            found |= {f"{name}_rmse": float(error.square().mean().sqrt()), f"{name}_mae": float(error.abs().mean())}
        return found


def known(part: Tensor | None, schema: RatingSchema) -> Known:
    """The ratings that a ``part`` of a split keeps, in their own units."""
    assert part is not None  # ratings have one for each set
    row, column, level = entries(part)
    values = torch.tensor(schema.levels, dtype=torch.float64, device=level.device)
    return Known(row, column, values[level.long() - 1], tuple(part.shape))


def rmse(model: Factorization, ratings: Known) -> float:
    """√ mean (predicted − given)²."""
    return float((model.predict(ratings.row, ratings.column) - ratings.value).square().mean().sqrt())
