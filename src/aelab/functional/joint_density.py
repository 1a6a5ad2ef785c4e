"""−log p(x, h) of an autoencoder without a prior: a Gaussian is fitted to its codes h once it is trained.

An autoencoder that is trained long enough reconstructs rare rows too, and its error no longer tells them from the
others; their codes lie where few do. Source: the density of Ghosh et al. 2020, From Variational to Deterministic
Autoencoders, for scores in place of samples.
"""

from typing import NamedTuple

import torch
from torch import Tensor

RIDGE = 1e-6  # of the variance of a standardised code unit: few rows leave directions without any
LEAST = 0.01  # of the inputs' mean variance: pixels that hardly ever change do not decide
CHUNK = 8192  # rows that are in float64 at once


class JointDensity(NamedTuple):
    """h ~ N(``mean``, Σ), x_j ~ N(x̂_j, ``variances``_j).

    ``mean`` (code,); ``whitening`` (code, code): Σ⁻¹ = ``whitening`` ``whitening``ᵀ; ``variances`` (input,).
    """

    mean: Tensor
    whitening: Tensor
    variances: Tensor


def fit_joint(codes: Tensor, x: Tensor, observed: Tensor | None = None) -> JointDensity:
    """The density of training ``codes`` (n, code) and of ``x`` (n, input), n at least 2, in float64.

    Errors are in units of each input's standard deviation, of what was ``observed`` of it, whatever the scaling was;
    of inputs that never changed they are as they are. Σ is shrunk (Ledoit & Wolf 2004), in units of each code unit's;
    units that never changed are left out.
    """
    from sklearn.covariance import ledoit_wolf

    codes = codes.double()
    mean, sd = codes.mean(0), codes.std(0, correction=0)
    used = sd > 1e-9 * (1 + mean.abs())
    whitening = codes.new_zeros(len(sd), len(sd))
    if bool(used.any()):
        z = (codes - mean)[:, used] / sd[used]
        covariance = torch.from_numpy(ledoit_wolf(z.numpy(), assume_centered=True)[0])
        lower = torch.linalg.cholesky(covariance + RIDGE * torch.eye(len(covariance), dtype=codes.dtype))
        places = used.nonzero()[:, 0]
        whitening[places[:, None], places] = torch.linalg.inv(lower).T / sd[used, None]
    return JointDensity(mean, whitening, variances_of(x, observed))


def variances_of(x: Tensor, observed: Tensor | None) -> Tensor:
    """(input,): the variance of each column of ``x`` (n, input), at least LEAST of their mean; 1 where it is 0."""
    parts = range(0, len(x), CHUNK)
    seen = [torch.ones(()) if observed is None else observed[i : i + CHUNK].double() for i in parts]
    counts = [w.expand(len(x[i : i + CHUNK]), x.shape[1]).sum(0) for i, w in zip(parts, seen)]
    count = torch.stack(counts).sum(0).clamp(min=1)
    mean = sum((x[i : i + CHUNK].double() * w).sum(0) for i, w in zip(parts, seen)) / count
    variances = sum(((x[i : i + CHUNK].double() - mean).square() * w).sum(0) for i, w in zip(parts, seen)) / count
    return torch.where(variances > 0, variances.clamp(min=LEAST * float(variances.mean())), 1.0)


def minus_log_joint(density: JointDensity, codes: Tensor, errors: Tensor) -> Tensor:
    """½ Σ_j (x_j − x̂_j)² / s_j² + ½ (h − μ)ᵀ Σ⁻¹ (h − μ), (n,), nats up to a constant.

    ``codes`` (n, code); ``errors`` (x − x̂)² (n, input).
    """
    distance = ((codes.double() - density.mean) @ density.whitening).square().sum(1)
    return 0.5 * ((errors.double() / density.variances).sum(1) + distance)
