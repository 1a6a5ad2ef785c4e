"""Learning-rate schedules: the factor on the learning rate against progress, 0 at the first step and 1 at the end.

Progress is a fraction of the whole training, so a schedule keeps its shape when ``train.epochs`` changes.
"""

import math
from typing import Annotated

from aelab.ranges import BelowOne, Fraction, NonNegative, Rising


def constant(progress: float) -> float:
    """1: the learning rate stays what it is."""
    return 1.0


def linear(progress: float, final: NonNegative) -> float:
    """1 + (final − 1) · progress: a straight line to ``final``."""
    return 1.0 + (final - 1.0) * progress


def cosine(progress: float, final: NonNegative) -> float:
    """final + (1 − final) (1 + cos π·progress) / 2 (Loshchilov & Hutter 2017, without restarts)."""
    return _half_cosine(1.0, final, progress)


def one_cycle(progress: float, warmup: BelowOne, start: NonNegative, final: NonNegative) -> float:
    """Half a cosine from ``start`` up to 1 during the first ``warmup`` of training, then half a cosine to ``final``.

    Smith & Topin 2018. ``warmup`` is a fraction of training in [0, 1); with 0 this is :func:`cosine`.
    """
    if progress < warmup:
        return _half_cosine(start, 1.0, progress / warmup)
    return _half_cosine(1.0, final, (progress - warmup) / (1 - warmup))


def steps(progress: float, milestones: Annotated[list[Fraction], Rising()], gamma: NonNegative) -> float:
    """gamma ** (number of milestones reached); ``milestones`` are fractions of training."""
    return gamma ** sum(progress >= milestone for milestone in milestones)


def _half_cosine(a: float, b: float, t: float) -> float:
    return b + (a - b) * (1 + math.cos(math.pi * t)) / 2
