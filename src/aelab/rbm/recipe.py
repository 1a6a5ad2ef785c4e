"""How an RBM learns: every constant of its rule, apart from what the machine is."""

import math
from dataclasses import dataclass
from typing import Literal

from aelab.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """The constants of contrastive divergence; conf/model/recipe says what each of them is.

    Raises ``UserError`` naming the key under ``model.recipe`` for a value out of range.
    """

    steps: int
    persistent: bool
    n_chains: int
    temperatures: int
    fast_rate: float
    fast_decay: float
    mean_field_visible: bool
    learning_rate: float
    momentum_start: float
    momentum_epochs: int
    momentum: float
    weight_decay: float
    sparsity_target: float
    sparsity_cost: float
    centring: bool
    averaging: float
    weight_std: float
    bias_start: Literal["zero", "data"]

    def __post_init__(self) -> None:
        for key in ("steps", "n_chains", "temperatures"):
            self._require(key, getattr(self, key) >= 1, "must be at least 1")
        for key in ("momentum_start", "momentum", "averaging", "fast_decay"):
            self._require(key, 0 <= getattr(self, key) < 1, "must be at least 0 and below 1")
        for key in ("weight_decay", "sparsity_cost", "weight_std", "momentum_epochs", "fast_rate"):
            self._require(key, 0 <= getattr(self, key) < math.inf, "must be at least 0")
        self._require("temperatures", self.temperatures == 1 or self.persistent, "needs persistent=true above 1")
        self._require(
            "temperatures",
            self.temperatures == 1 or not self.mean_field_visible,
            "needs mean_field_visible=false above 1",
        )
        self._require("fast_rate", self.fast_rate == 0 or self.persistent, "needs persistent chains")
        self._require(
            "fast_rate", self.fast_rate == 0 or self.temperatures == 1, "must be 0 where temperatures is above 1"
        )
        self._require("learning_rate", 0 < self.learning_rate < math.inf, "must be above 0")
        self._require("sparsity_target", 0 < self.sparsity_target < 1, "must be between 0 and 1")

    def _require(self, key: str, holds: bool, what: str) -> None:
        if not holds:
            raise UserError(f"model.recipe.{key}: {what}, got {getattr(self, key)}")

    def momentum_in(self, epoch: int) -> float:
        """The fraction of the last step that is kept in an epoch, counted from 0."""
        return self.momentum_start if epoch < self.momentum_epochs else self.momentum
