"""How often a classifier is wrong."""

from torch import Tensor


def class_error(predicted: Tensor, y: Tensor) -> Tensor:
    """100 · the fraction of samples with predicted_i ≠ y_i, %, both (samples,); those without a label, y < 0, aside."""
    known = y >= 0
    return 100 * ((predicted != y) & known).sum() / known.sum().clamp(min=1)
