"""A variational autoencoder with two stochastic layers (Rezende et al. 2014; Burda et al. 2015)."""

from typing import Literal

import torch
from torch import Tensor, nn

from aelab.functional import elbo
from aelab.models.base import Likelihood
from aelab.models.network import MLP, Conv
from aelab.models.vae import VAE, Inference, Samples, normal
from aelab.ranges import Count, Fraction, NonNegative, Positive, Widths


class HierarchicalVAE(VAE):
    """p(x, z₁, z₂) = p(x | z₁) p(z₁ | z₂) p(z₂), q = q(z₁ | x) q(z₂ | z₁), every conditional of z a diagonal Gaussian.

    z₁ has ``n_latent`` units and lies next to the input, z₂ has ``n_code``, is N(0, 1) a priori and is the code.
    ``network`` lies between x and z₁, layers of ``top_widths`` with its activation between z₁ and z₂. The rest is as in
    :class:`VAE`; log q(z₁ | x) − log p(z₁ | z₂) is taken at the samples, for it has no closed form.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n_code: Count,
        n_latent: Count,
        network: MLP | Conv,
        top_widths: Widths,
        likelihood: Likelihood,
        sigma: Positive,
        objective: Literal["elbo", "iwae"],
        samples: Samples,
        beta: NonNegative,
        warmup: Fraction,
        free_bits: NonNegative,
    ):
        super().__init__(
            shape, n_latent, network, likelihood, sigma, objective, samples, beta, warmup, free_bits,
            path_gradient=False,
        )  # fmt: skip
        self.n_code, self.n_latent = n_code, n_latent
        top = MLP(top_widths, network.activation, network.initialization, tied=False)
        self.top_encoder = top.encoder((n_latent,), 2 * n_code)  # mean and log variance of q(z₂ | z₁)
        self.top_decoder = top.decoder(n_code, (2 * n_latent,), self.top_encoder)  # of p(z₁ | z₂)
        for net in (self.encoder, self.top_encoder, self.top_decoder):
            start_at_unit_variance(net)

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z₂ | z₁) at the mean of q(z₁ | x)."""
        return normal(self.top_encoder(super().encode(x)), x)[0]

    def output(self, code: Tensor) -> Tensor:
        """p(x | z₁) at the mean of p(z₁ | z₂)."""
        return self.decoder(normal(self.top_decoder(code), code)[0])

    def latent_means(self, x: Tensor) -> Tensor:
        return torch.cat([super().encode(x), self.encode(x)], -1)

    def infer(self, x: Tensor, k: int) -> Inference:
        mean, log_var = normal(self.encoder(x), x)
        z1, noise1 = elbo.sample_with_noise(mean.expand(k, *mean.shape), log_var.expand(k, *mean.shape))
        q2 = normal(self.top_encoder(z1), x)
        z2, noise2 = elbo.sample_with_noise(*q2)
        mean_p, log_var_p = normal(self.top_decoder(z2), x)
        # log q(z₁ | x) − log p(z₁ | z₂) of each unit, at the samples
        kl1 = 0.5 * (elbo.standardised(z1, mean_p, log_var_p).square() + log_var_p - noise1.square() - log_var)
        kl = torch.cat([kl1, elbo.kl_to_standard_normal_per_dimension(*q2)], -1).mean(0)
        log_ratio = elbo.log_standard_normal(z2) - elbo.log_normal_of_noise(noise2, q2[1]) - kl1.sum(-1)
        output = self.decoder(z1.flatten(0, 1)).unflatten(0, z1.shape[:2])
        return Inference(normal(self.top_encoder(mean), x)[0], output, kl, log_ratio)

    def kl_term(self, kl: Tensor) -> Tensor:
        """z₁'s part as it is, for z₂ takes part in it: it is no KL and may be negative; z₂'s with ``free_bits``."""
        n_latent = kl.shape[-1] - self.n_code
        return kl[:, :n_latent].mean(0).sum() + elbo.free_bits(kl[:, n_latent:], self.free_bits)

    @property
    def n_noise(self) -> int:
        return self.n_code + self.n_latent

    def output_of_noise(self, noise: Tensor) -> Tensor:
        """z₂ is the first part of the noise; z₁ = μ(z₂) + σ(z₂) · the rest."""
        z2, rest = noise.split((self.n_code, self.n_latent), -1)
        mean, log_var = normal(self.top_decoder(z2), z2)
        return self.decoder(mean + (0.5 * log_var).exp() * rest)

    @torch.no_grad()
    def sample(self, n: int, steps: int = 0, label: int | None = None) -> Tensor:
        """The expected input (n, input) of ``n`` draws of z₂ ~ p(z₂) and z₁ ~ p(z₁ | z₂)."""
        self.refuse_label(label)
        return self.mean(self.output_of_noise(torch.randn(n, self.n_noise, device=self.device)))


@torch.no_grad()
def start_at_unit_variance(net: nn.Sequential) -> None:
    """Let the second half of the net's outputs, log variances, be 0 at first, whatever the input.

    Random ones multiply from layer to layer: a draw of large variance drives the next layer's log variance far out, and
    the density of a sample under a Gaussian many times too narrow is a loss of millions of nats.
    """
    last = [module for module in net if isinstance(module, nn.Linear)][-1]
    half = last.out_features // 2
    last.weight[half:] = 0
    last.bias[half:] = 0
