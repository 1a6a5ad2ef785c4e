"""The RBM of ratings (Salakhutdinov, Mnih & Hinton 2007): collaborative filtering by hidden units."""

from typing import Annotated

import torch
from torch import Tensor, nn

from aelab.data.batches import Data
from aelab.data.parts import Batch, Split
from aelab.data.ratings import RatingSchema
from aelab.data.sparse import entries
from aelab.errors import UserError
from aelab.models.base import Model
from aelab.ranges import MOST, Count, Interval, NonNegative
from aelab.rbm import ratings as rr

PRIOR = 5.0  # ratings


class RatingRBM(Model):
    """p(V, h) of the items that one row (a user, or an item's users) has rated; the code is E[h | ratings].

    The loss is F(x) − F(x') per rating, x' after ``steps`` of Gibbs sampling of the rated items: its gradient is
    contrastive divergence's. ``conditional`` lets which items are rated move the hidden units too; with ``ordinal``
    weights a level's weight is proportional to its size, without each level has its own, as in the paper. The levels'
    biases are what is learned, ``a``, on top of ``base``, the logarithms of how often each item was given them; so
    where a weight decay draws everything to 0, the ratings are as usual. A rating is predicted by its mean under
    p(level | the row's training ratings), exact; ``val/loss`` is the squared error of that on the ratings held out
    for validation.
    """

    ignores = {"corruption": "its units are stochastic as it is; corruption is for models that reconstruct their input"}
    reconstructs = False
    losses_apart = "training: divergence, nats per rating", "validation: squared error of a rating"
    levels: Tensor  # the ratings that there are, in the data's own units
    base: Tensor
    basis: Tensor

    def __init__(
        self, shape: tuple[int, ...], n_hidden: Count, conditional: bool, ordinal: bool, steps: Count,
        weight_std: NonNegative, levels: Annotated[int, Interval(2, MOST)],
    ):  # fmt: skip
        super().__init__(shape, "gaussian")
        self.steps, self.ordinal = steps, ordinal
        self.w = nn.Parameter(weight_std * torch.randn(self.n_input, 1 if ordinal else levels, n_hidden))
        self.a = nn.Parameter(torch.zeros(self.n_input, levels))
        self.b = nn.Parameter(torch.zeros(n_hidden))
        self.D = nn.Parameter(torch.zeros(self.n_input, n_hidden)) if conditional else None
        self.register_buffer("levels", torch.arange(1.0, levels + 1))
        self.register_buffer("base", torch.zeros(self.n_input, levels))
        self.register_buffer("basis", rr.ordered(self.levels) if ordinal else torch.eye(levels))

    def machine(self) -> rr.Machine:
        """The machine, live."""
        return rr.Machine(self.w, self.basis, self.base + self.a, self.b, self.D)

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x)

    def encode(self, x: Tensor) -> Tensor:
        """Levels x (batch, items), 0 where nothing is rated → the hidden units' means (batch, hidden)."""
        return rr.field(x, self.machine()).sigmoid()

    def encoder_filters(self, x: Tensor) -> None:
        """None: items are no picture."""

    @torch.no_grad()
    def predict(self, x: Tensor, row: Tensor, item: Tensor) -> Tensor:
        """The expected rating of each pair (row of x, item), (pairs,), in the data's own units."""
        return rr.level_probabilities(x, row, item, self.machine()) @ self.levels

    def initialize_from(self, data: Data) -> None:
        """The ratings' sizes, and how often each item was given them, with PRIOR ratings more as all items get them."""
        if not isinstance(data.schema, RatingSchema):
            raise UserError(f"model: a rating RBM needs ratings, and {data.name} holds others; take data=ratings")
        levels = data.schema.levels
        if len(levels) != len(self.levels):
            raise UserError(f"model.levels: {data.name} has {len(levels)} different ratings, got {len(self.levels)}")
        self.levels.copy_(torch.tensor(levels))
        _, item, level = entries(data.train.x)
        counts = torch.zeros_like(self.a).index_put_((item, level.long() - 1), torch.ones_like(level), accumulate=True)
        usual = (counts.sum(0) + 1) / (counts.sum() + len(levels))
        counts += PRIOR * usual
        self.base.copy_((counts / counts.sum(1, keepdim=True)).log())
        if self.ordinal:
            self.basis.copy_(rr.ordered(self.levels))

    def batch_terms(self, batch: Batch, out: Tensor, weight: Tensor | None = None) -> dict[str, Tensor]:
        if not self.training:
            row, item = batch.target.nonzero(as_tuple=True)
            truth = self.levels[batch.target[row, item].long() - 1]
            return {"mse": (self.predict(batch.x, row, item) - truth).square().sum() / len(batch.x)}
        dreamt, value = batch.x, self.machine().detach()
        for _ in range(self.steps):
            dreamt = rr.gibbs_step(dreamt, value)
        change = rr.free_energy(batch.x, self.machine()) - rr.free_energy(dreamt, self.machine())
        return {"divergence": change.sum() / (batch.x > 0).sum().clamp(min=1)}

    def validation_metrics(self, batch: Batch, out: Tensor) -> dict[str, Tensor]:
        return {"hidden_activity": out.mean()}

    def whole_terms(self, terms: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        """Per rating instead of per row."""
        return {name: value * (len(split.x) / max(1, len(entries(split.y)[0]))) for name, value in terms.items()}

    def test_metrics(self, data: Data) -> dict[str, float]:
        """``rmse`` and ``mae`` of the test ratings, predicted from the training ratings alone."""
        errors = []
        for batch in data.test.batches():
            row, item = batch.target.nonzero(as_tuple=True)
            errors.append(self.predict(batch.x, row, item) - self.levels[batch.target[row, item].long() - 1])
        error = torch.cat(errors).double()
        return {"rmse": float(error.square().mean().sqrt()), "mae": float(error.abs().mean())}
