"""What a setting may be, said as its type: ``sigma: Positive``. Held where a config is built, once, for every key.

Every interval is finite: nan and inf lie in none, and no count is larger than a machine could hold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

MOST = 10**9  # units, samples, epochs: more is a slip of the hand
LARGEST = 1e12  # its square is still a number in single precision


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` to ``high``; ``above`` and ``below`` leave out the ends."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    def wrong(self, value: float) -> str | None:
        """What ``value`` would have to be, or None if it is."""
        too_low = value <= self.low if self.above else value < self.low
        too_high = value >= self.high if self.below else value > self.high
        if not (too_low or too_high or math.isnan(value)):
            return None
        if self.high not in (MOST, LARGEST):
            return f"in {'(' if self.above else '['}{self.low:.16g}, {self.high:.16g}{')' if self.below else ']'}"
        least = f"{'above' if self.above else 'at least'} {self.low:.16g}"
        if self.low == -LARGEST:
            return f"a finite number, at most {self.high:.16g} in size"
        return least if too_low else f"{least} and at most {self.high:.16g}"


class OneOf:
    """One of these names; of a table ``OneOf(*TABLE)``."""

    def __init__(self, *names: str):
        self.names = names

    def wrong(self, value: str) -> str | None:
        return None if value in self.names else f"one of {', '.join(self.names)}"


@dataclass(frozen=True)
class Length:
    """A list or text of ``least`` to ``most`` items."""

    least: int
    most: int

    def wrong(self, value: Sequence[Any]) -> str | None:
        if self.least <= len(value) <= self.most:
            return None
        what = "characters" if isinstance(value, str) else "items"
        return f"{self.least} to {self.most} {what} long" if len(value) else "not empty"


class Rising:
    """Each item above the one before it."""

    def wrong(self, value: Sequence[float]) -> str | None:
        return None if all(a < b for a, b in pairwise(value)) else "in rising order"


class Ends:
    """[low, high]: two numbers, the second above the first."""

    def wrong(self, value: Sequence[float]) -> str | None:
        return (
            None if len(value) == 2 and value[0] < value[1] else "two numbers, [low, high], the second above the first"
        )


Count = Annotated[int, Interval(1, MOST)]
Natural = Annotated[int, Interval(0, MOST)]  # 0, 1, 2, …
Seed = Annotated[int, Interval(0, 2**32 - 1)]
AtLeastTwo = Annotated[int, Interval(2, MOST)]  # one has no standard error
Images = Annotated[int, Interval(1, 1_000_000)]  # of a data set that is made
Number = Annotated[float, Interval(-LARGEST, LARGEST)]
Limits = Annotated[list[Number], Ends()]
Positive = Annotated[float, Interval(0, LARGEST, above=True)]
Positives = Annotated[list[Positive], Length(1, 1000)]
NonNegative = Annotated[float, Interval(0, LARGEST)]
Fraction = Annotated[float, Interval(0, 1)]
BelowOne = Annotated[float, Interval(0, 1, below=True)]  # what is kept of a sliding mean, a momentum, a dropout
Inside = Annotated[float, Interval(0, 1, above=True, below=True)]
Share = Count | Inside  # so many of them, or this part
Widths = Annotated[list[Count], Length(0, 1000)]

# What torch.optim's own signatures leave open, by the name that an option has in all of them.
OF_OPTIMIZERS: dict[str, Any] = {
    "lr": Positive,
    "eps": Positive,
    "weight_decay": NonNegative,
    "momentum": BelowOne,
    "dampening": BelowOne,
    "betas": tuple[BelowOne, BelowOne],
    "alpha": BelowOne,
    "rho": BelowOne,
    "lr_decay": NonNegative,
    "max_iter": Count,
    "max_eval": Count | None,
    "history_size": Count,
    "tolerance_grad": NonNegative,
    "tolerance_change": NonNegative,
    "line_search_fn": Literal["strong_wolfe"] | None,
}
