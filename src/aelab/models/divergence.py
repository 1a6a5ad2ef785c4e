"""What stops a training run: a loss that is not finite, a reconstruction that costs far more than a constant one."""

import torch
from torch import Tensor

from aelab.errors import UserError


def stop_if_not_finite(losses: Tensor, epoch: int, rate_key: str) -> None:
    """Raise ``UserError`` at ``rate_key`` unless all the epoch's losses, (minibatches,), are finite."""
    bad = ~torch.isfinite(losses)
    if bool(bad.any()):
        step = int(bad.nonzero()[0])
        raise UserError(
            f"{rate_key}: the loss is not finite since step {step} of epoch {epoch} (step {epoch * len(losses) + step} "
            f"in all); training stopped, {_left(epoch)}; lower {rate_key} or set train.clip"
        )


def stop_if_exploded(cost: Tensor, limit: Tensor, epoch: int, rate_key: str) -> None:
    """Raise ``UserError`` at ``rate_key`` unless a reconstruction's ``cost``, nats, is below ``limit``."""
    if not bool(cost < limit):
        raise UserError(
            f"{rate_key}: the weights exploded in epoch {epoch}: a reconstruction costs {float(cost):.3g} nats; "
            f"training stopped, {_left(epoch)}; lower {rate_key}"
        )


def _left(epoch: int) -> str:
    return "last.ckpt is the last good one" if epoch else "no checkpoint was written yet"
