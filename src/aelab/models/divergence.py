"""What stops a training run: a loss that is not finite, or one far above where training started."""

import torch
from torch import Tensor

from aelab.errors import UserError

RISE = 3.0  # how far a loss may rise, in units of the start's own size: runs that learn stay below their start


def loss_limit(start: Tensor, n_input: int) -> Tensor:
    """start + 3 (|start| + n_input), nats: above it the weights exploded. ``start`` is the loss before the first step.

    The loss is the model's own, all terms of it, so the limit is in its unit whatever the likelihood, its variance and
    the terms' weights are. A nat per input is added because a start may lie near 0: images all black, a density.
    Raises ``UserError`` for a start that is not finite.
    """
    if not bool(start.isfinite()):
        raise UserError(
            f"model: its loss is {float(start)} before the first step, which no rate mends; scale the data, or choose "
            "less extreme settings of the model"
        )
    return start + RISE * (start.abs() + n_input)


def stop_if_not_finite(losses: Tensor, epoch: int, rate_key: str) -> None:
    """Raise ``UserError`` at ``rate_key`` unless all the epoch's losses, (minibatches,), are finite."""
    bad = ~torch.isfinite(losses)
    if bool(bad.any()):
        step = int(bad.nonzero()[0]) + 1  # a person counts from 1, steps and epochs
        raise UserError(
            f"{rate_key}: the loss is not finite since step {step} of epoch {epoch + 1} (step "
            f"{epoch * len(losses) + step} in all); training stopped, {_left(epoch)}; "
            f"lower {rate_key} or set train.clip"
        )


def stop_if_exploded(loss: Tensor, limit: Tensor, epoch: int, rate_key: str) -> None:
    """Raise ``UserError`` at ``rate_key`` unless ``loss``, at the epoch's end, is at most :func:`loss_limit`'s."""
    if not bool(loss <= limit):
        raise UserError(
            f"{rate_key}: the weights exploded in epoch {epoch + 1}: the loss rose to {float(loss):.3g} nats; "
            f"training stopped, {_left(epoch)}; lower {rate_key}"
        )


def _left(epoch: int) -> str:
    return "last.ckpt is the last good one" if epoch else "no checkpoint was written yet"
