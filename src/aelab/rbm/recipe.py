"""How an RBM learns: every constant of its rule, apart from what the machine is."""

from dataclasses import dataclass
from typing import Annotated, Literal

from aelab.errors import UserError
from aelab.ranges import BelowOne, Count, Inside, Interval, Natural, NonNegative, Positive


@dataclass(frozen=True)
class Recipe:
    """The constants of contrastive divergence; conf/model/recipe says what each of them is."""

    steps: Count
    persistent: bool
    n_chains: Count
    temperatures: Annotated[int, Interval(1, 1000)]
    fast_rate: NonNegative
    fast_decay: BelowOne
    mean_field_visible: bool
    learning_rate: Positive
    momentum_start: BelowOne
    momentum_epochs: Natural
    momentum: BelowOne
    weight_decay: NonNegative
    sparsity_target: Inside
    sparsity_cost: NonNegative
    centring: bool
    averaging: BelowOne
    weight_std: NonNegative
    bias_start: Literal["zero", "data"]

    def __post_init__(self) -> None:
        tempered = self.temperatures > 1
        self._require("temperatures", not tempered or self.persistent, "needs persistent=true above 1")
        self._require(
            "temperatures", not tempered or not self.mean_field_visible, "needs mean_field_visible=false above 1"
        )
        self._require("fast_rate", not self.fast_rate or self.persistent, "needs persistent chains")
        self._require("fast_rate", not self.fast_rate or not tempered, "must be 0 where temperatures is above 1")

    def _require(self, key: str, holds: bool, what: str) -> None:
        if not holds:
            raise UserError(f"model.recipe.{key}: {what}, got {getattr(self, key)}")

    def momentum_in(self, epoch: int) -> float:
        """The fraction of the last step that is kept in an epoch, counted from 0."""
        return self.momentum_start if epoch < self.momentum_epochs else self.momentum
