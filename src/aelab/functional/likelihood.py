"""−log p(x | code) and squared error: summed over the inputs of an image, averaged over the images of a batch.

Every function takes the prediction first and the clean input second. ``weight`` (…, input), or None for 1 everywhere,
multiplies each entry's term before it is summed: the emphasis of Vincent et al. 2010, see :func:`emphasis`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from aelab.errors import UserError


def bernoulli(logits: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """−Σ_i x_i log p_i + (1 − x_i) log(1 − p_i), p = sigmoid(logits), averaged over the batch; nats.

    ``logits``, ``x`` (batch, input), x in [0, 1]; grey levels count as probabilities, and the least value is then their
    entropy, not 0. Taken on logits: exact where sigmoid saturates, and faster.
    """
    return F.binary_cross_entropy_with_logits(logits, x, weight, reduction="sum") / x.shape[0]


def bernoulli_per_sample(logits: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """−log p(x | logits) in nats, (…, batch), of ``logits`` (…, batch, input) and ``x`` (batch, input).

    Each entry's term is at least 0 and taken before any sum, so nothing cancels however far the logits are from 0.
    """
    terms = F.binary_cross_entropy_with_logits(logits.to(x.dtype), x.expand_as(logits), weight, reduction="none")
    return terms.sum(-1)


def log_odds(p: Tensor) -> Tensor:
    """log p / (1 − p), the logits of the probabilities p, which are kept 10⁻³ away from 0 and 1.

    The bias with which a net starts at the data's mean: from there a pixel that never varied can still be learned.
    """
    return p.clamp(1e-3, 1 - 1e-3).logit()


def gaussian(mean: Tensor, x: Tensor, sigma: float, weight: Tensor | None = None) -> Tensor:
    """Σ_i (x_i − mean_i)² / 2σ² + log σ + ½ log 2π, averaged over the batch; nats, a density: it may be negative.

    ``mean``, ``x`` (batch, input); ``sigma`` is the standard deviation of every input. Raises UserError unless σ > 0.
    """
    error = squared_error(mean, x, weight)
    entries = x.shape[-1] if weight is None else weight.expand_as(x).sum() / x.shape[0]
    return error / (2 * sigma**2) + log_normalizer(sigma) * entries


def gaussian_per_sample(mean: Tensor, x: Tensor, sigma: float, weight: Tensor | None = None) -> Tensor:
    """−log N(x; mean, σ²) in nats, (…, batch), of ``mean`` (…, batch, input) and ``x`` (batch, input)."""
    error = squared_error_per_sample(mean, x, weight)
    entries = x.shape[-1] if weight is None else weight.expand_as(x).sum(-1)
    return error / (2 * sigma**2) + log_normalizer(sigma) * entries


def softmax(logits: Tensor, sizes: Sequence[int]) -> Tensor:
    """Probabilities of the values of each category; ``logits`` (…, sum(sizes)), one group after the other."""
    return torch.cat([group.softmax(-1) for group in logits.split(list(sizes), -1)], -1)


def categorical_per_sample(logits: Tensor, x: Tensor, weight: Tensor | None, sizes: Sequence[int]) -> Tensor:
    """−Σ_i x_i log p_i, p the softmax over each group of ``sizes``; nats, (…, batch), of ``logits`` (…, batch, input).

    ``x`` (batch, input) is one-hot in each group, or 0 throughout where the category is missing and costs nothing.
    """
    log_p = torch.cat([group.log_softmax(-1) for group in logits.to(x.dtype).split(list(sizes), -1)], -1)
    return -(log_p * (x if weight is None else x * weight)).sum(-1)


def only_observed(weight: Tensor | None, observed: Tensor | None) -> Tensor | None:
    """``weight``, with 0 where nothing was observed; ``observed`` is Boolean, of the input's shape, or None."""
    if observed is None:
        return weight
    return observed.float() if weight is None else weight * observed


def squared_error(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Σ_i (x̂_i − x_i)², averaged over the batch; ``x_hat``, ``x`` (batch, input). The figure papers report."""
    if weight is None:
        return F.mse_loss(x_hat, x, reduction="sum") / x.shape[0]
    return (F.mse_loss(x_hat, x, reduction="none") * weight).sum() / x.shape[0]


def squared_error_per_sample(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Σ_i (x̂_i − x_i)², (…, batch), of ``x_hat`` (…, batch, input) and ``x`` (batch, input)."""
    error = F.mse_loss(x_hat, x.expand_as(x_hat), reduction="none")
    return (error if weight is None else error * weight).sum(-1)


def emphasis(touched: Tensor, alpha: float, beta: float) -> Tensor | None:
    """The weight α on corrupted entries and β on the others (Vincent et al. 2010, section 4.2); None if both are 1.

    ``touched`` is Boolean and of the input's shape. None lets the plain loss stay as fast as it is.
    """
    return None if alpha == beta == 1.0 else torch.where(touched, alpha, beta)


def log_normalizer(sigma: float) -> float:
    """log σ + ½ log 2π: what one Gaussian input costs that is reconstructed perfectly; nats."""
    if not sigma > 0:
        raise UserError(f"model.sigma: the standard deviation must be above 0, got {sigma}; 1.0 is plain squared error")
    return math.log(sigma) + 0.5 * math.log(2 * math.pi)
