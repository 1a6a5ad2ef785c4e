"""Principal components: the best linear autoencoder, which every other one is held against."""

from typing import NamedTuple

import torch
from torch import Tensor

from aelab.errors import UserError


class PCA(NamedTuple):
    """``mean`` (input,), ``components`` (code, input), orthonormal rows, ``variances`` (code,), largest first."""

    mean: Tensor
    components: Tensor
    variances: Tensor


def fit_pca(x: Tensor, n_code: int) -> PCA:
    """The ``n_code`` leading eigenvectors of the covariance Σ = E (x − μ)(x − μ)ᵀ of ``x`` (sample, input).

    Σ divides by the number of samples. Computed and kept in float64 on the data's device; each component's sign makes
    its largest entry positive, so the same data give the same numbers. Raises UserError if ``n_code`` is more than the
    inputs or the samples.
    """
    n, n_input = x.shape
    if not 1 <= n_code <= min(n, n_input):
        raise UserError(
            f"model.n_code: PCA of {n} × {n_input} data has 1 to {min(n, n_input)} components, got {n_code}"
        )
    mean = sum(chunk.double().sum(0) for chunk in x.split(1024)) / n
    variances, vectors = torch.linalg.eigh(_covariance(x, mean), UPLO="L")
    components = vectors.T.flip(0)[:n_code]
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    return PCA(mean, components * largest.sign(), variances.flip(0)[:n_code].clamp(min=0))


def _covariance(x: Tensor, mean: Tensor) -> Tensor:
    """The lower triangle of Σ, strip by strip, with some of the upper one: 0.6 of the arithmetic of the whole."""
    covariance = mean.new_zeros(len(mean), len(mean))
    for c in (chunk - mean for chunk in x.split(1024)):
        for i in range(0, len(mean), 196):
            covariance[i : i + 196, : i + 196] += c[:, i : i + 196].T @ c[:, : i + 196]
    return covariance / len(x)


def project(pca: PCA, x: Tensor) -> Tensor:
    """The code (x − μ) Vᵀ, (sample, code), in the data's type."""
    return (x - pca.mean.to(x.dtype)) @ pca.components.T.to(x.dtype)


def reconstruct(pca: PCA, x: Tensor) -> Tensor:
    """μ + (x − μ) Vᵀ V: ``x`` (sample, input) projected on the span of the components."""
    return project(pca, x) @ pca.components.to(x.dtype) + pca.mean.to(x.dtype)


def squared_error(pca: PCA, x: Tensor) -> float:
    """Squared error of reconstructing ``x``, summed over the inputs, averaged over the samples; in float64."""
    return sum(((c := chunk.double()) - reconstruct(pca, c)).square().sum() for chunk in x.split(8192)).item() / len(x)


def principal_angles(A: Tensor, B: Tensor) -> Tensor:
    """Angles in [0, π/2] between the row spans of ``A`` (p, n) and ``B`` (q, n), q ≤ p ≤ n, ascending, float64 radians.

    cos θ are the singular values of Q_A Q_Bᵀ. Their arc cosine loses half of the digits of a small angle, so below π/4
    θ = asin of the singular values of Q_B − Q_B Q_Aᵀ Q_A (Björck & Golub 1973; Knyazev & Argentati 2002).
    """
    if len(A) < len(B):
        A, B = B, A
    Q_A, Q_B = (torch.linalg.qr(M.double().T).Q.T for M in (A, B))
    overlap = Q_B @ Q_A.T
    cosines = torch.linalg.svdvals(overlap).clamp(max=1)
    sines = torch.linalg.svdvals(Q_B - overlap @ Q_A).clamp(max=1).flip(0)
    return torch.where(cosines**2 > 0.5, sines.asin(), cosines.acos())
