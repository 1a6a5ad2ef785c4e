"""The terms of the variational bound log p(x) ≥ E_q log p(x | z) − KL(q(z | x) ‖ p(z)), for Gaussians; nats.

A Gaussian is given by ``mean`` and ``log_var``, the logarithm of its variance, (…, code). Kingma & Welling 2013.
"""

import math

import torch
from torch import Tensor


def kl_to_standard_normal_per_dimension(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) = ½ (μ² + σ² − 1 − log σ²), (…, code)."""
    return 0.5 * (mean.square() + log_var.expm1() - log_var)


def sample_with_noise(mean: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor]:
    """z = μ + σ ε, which μ and σ can be differentiated through, and ε ~ N(0, 1) itself, both of the shape of ``mean``.

    Where σ is small beside μ, z − μ has lost ε to rounding. For more samples of each, expand ``mean`` to (sample,
    batch, code) first.
    """
    noise = torch.randn_like(mean)
    return mean + (0.5 * log_var).exp() * noise, noise


def standardised(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """(z − μ) / σ, of their shape. 1/σ is finite in float32 down to log σ² = −177; 1/σ² would be down to −89 only."""
    return (z - mean) * (-0.5 * log_var).exp()


def log_normal(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(z; μ, σ²) = −½ Σ_j (z_j − μ_j)² / σ_j² + log σ_j² + log 2π, (…,)."""
    return log_normal_of_noise(standardised(z, mean, log_var), log_var)


def log_normal_of_noise(noise: Tensor, log_var: Tensor) -> Tensor:
    """log N(μ + σ ε; μ, σ²) = −½ Σ_j ε_j² + log σ_j² + log 2π, (…,), exact however small σ is.

    As a function of μ and σ it has the derivative of log N(z; μ, σ²) at z = μ + σ ε, through z and directly.
    """
    return -0.5 * (noise.square() + log_var + math.log(2 * math.pi)).sum(-1)


def bounded_log_variance(x: Tensor) -> Tensor:
    """x within ±10, ±(10 + log(1 + |x| − 10)) beyond: no net's output makes a variance that float32 cannot square.

    Its slope is 1 where variances usually lie, and never 0: what was driven out of that range finds back.
    """
    beyond = (x.abs() - 10).clamp(min=0)
    return x.clamp(-10, 10) + x.sign() * beyond.log1p()


def log_standard_normal(z: Tensor) -> Tensor:
    """log N(z; 0, 1) = −½ Σ_j z_j² + log 2π, (…,)."""
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


def importance_weighted_bound(log_w: Tensor) -> Tensor:
    """log 1/k Σ_i w_i ≤ log p(x), w_i = p(x, z_i) / q(z_i | x), z_i ~ q (Burda et al. 2015): (k, …) → (…,).

    The bound holds in expectation; with k = 1 it is the ELBO, and it never falls as k grows.
    """
    return torch.logsumexp(log_w, 0) - math.log(len(log_w))


def with_slope_of(path: Tensor, value: Tensor) -> Tensor:
    """The numbers of ``value``, with the gradient of ``path``, an estimate of the same."""
    return value.detach() + path - path.detach()


def doubly_reparameterized(log_w: Tensor, beta: float) -> Tensor:
    """1 − β (1 − w̃_i), w̃ = softmax of ``log_w`` (k, …) over the samples, where log w = log p(x | z) + β log p(z)/q(z).

    What the slope of log 1/k Σ_i w_i at the sample z_i is to be multiplied by, on its way to the μ and σ it was drawn
    with, where log q depends on these through z_i alone: on average the same gradient, and with β = 1 one that vanishes
    where q is the posterior (Tucker et al. 2019). For what is left out, −β E Σ_i w̃_i ∂log q(z_i)/∂(μ, σ), is by parts
    −β E Σ_i (w̃_i − w̃_i²) ∂log w_i/∂z_i · ∂z_i/∂(μ, σ).
    """
    return 1 - beta * (1 - log_w.detach().softmax(0))


def free_bits(kl_per_dimension: Tensor, bits: float) -> Tensor:
    """Σ_j max(bits, mean over the batch of KL_j), (): of ``kl_per_dimension`` (batch, code), nats in spite of the name.

    A dimension pays nothing for its first ``bits``, so it need not collapse (Kingma et al. 2016). bits = 0 is the KL,
    without a floor: a KL that is estimated from samples can be below 0, and cutting that off would bias it.
    """
    kl = kl_per_dimension.mean(0)
    return (kl.clamp(min=bits) if bits else kl).sum()


def active_units(means: Tensor) -> Tensor:
    """How many dimensions have Var_x E_q[z | x] > 0.01 (Burda et al. 2015): ``means`` (sample, code) → integer ()."""
    return (means.var(0, correction=0) > 0.01).sum()
