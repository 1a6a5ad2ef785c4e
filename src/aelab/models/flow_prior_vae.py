"""The variational autoencoder whose prior is learned with it: a flow of affine couplings (Dinh et al. 2017)."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from aelab.errors import UserError
from aelab.functional import elbo
from aelab.functional.activation import Activation, activation
from aelab.functional.initialization import initialize
from aelab.models.base import Likelihood
from aelab.models.network import MLP, Conv
from aelab.models.vae import VAE, Inference, Samples, normal
from aelab.ranges import Count, Fraction, NonNegative, Positive

LARGEST_SCALE = 2.0  # |log scale| of one coupling: no unit is stretched more than by e² in one


class FlowPriorVAE(VAE):
    """log p(z) = log N(f(z); 0, 1) + log |det ∂f/∂z| in place of log N(z; 0, 1), f invertible and learned.

    The aggregate of q(z | x) over the data is far from N(0, 1), and the gap costs the bound nats (Chen et al. 2017,
    Rezende & Mohamed 2015). f is a chain of ``couplings``, the identity at first, each with a hidden layer of
    ``prior_width`` units. The rest is as in :class:`VAE`; the KL has no closed form and is taken at the samples.
    """

    normal_prior = False

    def __init__(
        self,
        shape: tuple[int, ...],
        n_code: Count,
        network: MLP | Conv,
        couplings: Count,
        prior_width: Count,
        likelihood: Likelihood,
        sigma: Positive,
        objective: Literal["elbo", "iwae"],
        samples: Samples,
        beta: NonNegative,
        warmup: Fraction,
        path_gradient: bool,
    ):
        super().__init__(
            shape, n_code, network, likelihood, sigma, objective, samples, beta, warmup, 0.0, path_gradient
        )
        if n_code < 2:
            raise UserError("model.n_code: a flow turns one half of the code by the other; give 2 or more")
        self.prior = nn.ModuleList(Coupling(n_code, i % 2, prior_width, network.activation) for i in range(couplings))

    def infer(self, x: Tensor, k: int) -> Inference:
        mean, log_var = normal(self.encoder(x), x)
        z, noise = elbo.sample_with_noise(mean.expand(k, *mean.shape), log_var.expand(k, *mean.shape))
        log_p = self.log_prior(z)
        # E log q_j in closed form, less log p_j at the samples: sums to the KL on average, each unit alone need not
        kl = -0.5 * (1 + log_var + math.log(2 * math.pi)) - log_p.mean(0)
        if self.path_gradient and self.training:  # the value stays, the gradient is that of the samples
            apart = elbo.standardised(z, mean.detach(), log_var.detach()).square()
            kl = elbo.with_slope_of(-0.5 * (apart + log_var.detach()).mean(0) - log_p.mean(0), kl)
        log_ratio = log_p.sum(-1) - self.log_q(z, noise, mean, log_var)
        return Inference(mean, self.output_of_samples(z), kl, log_ratio, z)

    def log_prior(self, z: Tensor) -> Tensor:
        """log N(f(z)_j; 0, 1) + log |∂f_j/∂z_j| of each unit, (…, code); the sum over units is log p(z)."""
        log_det = torch.zeros_like(z)
        for coupling in self.prior:
            z, log_scale = coupling(z)
            log_det = log_det + log_scale
        return log_det - 0.5 * (z.square() + math.log(2 * math.pi))

    def code_of_noise(self, noise: Tensor) -> Tensor:
        """f⁻¹: draws of N(0, 1) (batch, code) → draws of the prior."""
        for coupling in reversed(self.prior):
            assert isinstance(coupling, Coupling)
            noise = coupling.inverse(noise)
        return noise


class Coupling(nn.Module):
    """u_b = z_b · exp(s(z_a)) + t(z_a), u_a = z_a: a are the units of odd or of even number, b the others.

    s = 2 tanh(raw / 2), so |s| < 2; the net's last layer starts at 0, and the coupling as the identity.
    """

    def __init__(self, n_code: int, parity: int, width: int, activation_name: Activation):
        super().__init__()
        self.parity = parity
        n_fixed = len(range(parity, n_code, 2))
        last = nn.Linear(width, 2 * (n_code - n_fixed))
        self.net = nn.Sequential(nn.Linear(n_fixed, width), activation(activation_name), last)
        initialize(self.net, "he", activation_name)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def scale_and_shift(self, fixed: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.net(fixed).to(fixed.dtype).chunk(2, -1)  # under bf16 only the products are in bf16
        return LARGEST_SCALE * (raw / LARGEST_SCALE).tanh(), shift

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z (…, code) → u, and log |∂u_j/∂z_j|, 0 for those that stay; both (…, code)."""
        fixed, moved = z[..., self.parity :: 2], z[..., 1 - self.parity :: 2]
        log_scale, shift = self.scale_and_shift(fixed)
        moved = moved * log_scale.exp() + shift
        return self.woven(fixed, moved), self.woven(torch.zeros_like(fixed), log_scale)

    def inverse(self, u: Tensor) -> Tensor:
        fixed, moved = u[..., self.parity :: 2], u[..., 1 - self.parity :: 2]
        log_scale, shift = self.scale_and_shift(fixed)
        return self.woven(fixed, (moved - shift) * (-log_scale).exp())

    def woven(self, fixed: Tensor, moved: Tensor) -> Tensor:
        """Both parts at their places again, (…, code)."""
        both = fixed.new_empty(*fixed.shape[:-1], fixed.shape[-1] + moved.shape[-1])
        both[..., self.parity :: 2], both[..., 1 - self.parity :: 2] = fixed, moved
        return both
