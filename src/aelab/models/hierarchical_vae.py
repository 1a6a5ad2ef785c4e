"""A variational autoencoder with two stochastic layers (Rezende et al. 2014; Burda et al. 2015)."""

from typing import Literal

import torch
from torch import Tensor

from aelab.functional import elbo
from aelab.models.base import Likelihood
from aelab.models.network import MLP, Conv
from aelab.models.vae import VAE, Inference, check


class HierarchicalVAE(VAE):
    """p(x, z₁, z₂) = p(x | z₁) p(z₁ | z₂) p(z₂), q = q(z₁ | x) q(z₂ | z₁), every conditional of z a diagonal Gaussian.

    z₁ has ``n_latent`` units and lies next to the input, z₂ has ``n_code``, is N(0, 1) a priori and is the code.
    ``network`` lies between x and z₁, layers of ``top_widths`` with its activation between z₁ and z₂. The rest is as in
    :class:`VAE`; the KL of z₁ is taken at the samples, for it has no closed form.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n_code: int,
        n_latent: int,
        network: MLP | Conv,
        top_widths: list[int],
        likelihood: Likelihood,
        sigma: float,
        objective: Literal["elbo", "iwae"],
        samples: int,
        beta: float,
        warmup: float,
        free_bits: float,
        nll_samples: int,
    ):
        check(n_code=n_code, n_latent=n_latent, top_widths=min(top_widths, default=1))
        super().__init__(
            shape, n_latent, network, likelihood, sigma, objective, samples, beta, warmup, free_bits,
            path_gradient=False, nll_samples=nll_samples,
        )  # fmt: skip
        self.n_code = n_code
        top = MLP(top_widths, network.activation, network.initialization, tied=False)
        self.top_encoder = top.encoder((n_latent,), 2 * n_code)  # mean and log variance of q(z₂ | z₁)
        self.top_decoder = top.decoder(n_code, (2 * n_latent,), self.top_encoder)  # of p(z₁ | z₂)

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z₂ | z₁) at the mean of q(z₁ | x)."""
        return self.top_encoder(super().encode(x)).chunk(2, -1)[0]

    def output(self, code: Tensor) -> Tensor:
        """p(x | z₁) at the mean of p(z₁ | z₂)."""
        return self.decoder(self.top_decoder(code).chunk(2, -1)[0])

    def latent_means(self, x: Tensor) -> Tensor:
        return torch.cat([super().encode(x), self.encode(x)], -1)

    def infer(self, x: Tensor, k: int) -> Inference:
        mean, log_var = self.encoder(x).to(x.dtype).chunk(2, -1)
        q1 = mean.expand(k, *mean.shape), log_var.expand(k, *mean.shape)
        z1 = elbo.sample_normal(*q1)
        q2 = self.top_encoder(z1).to(x.dtype).chunk(2, -1)
        z2 = elbo.sample_normal(*q2)
        p1 = self.top_decoder(z2).to(x.dtype).chunk(2, -1)
        kl1 = log_normal_per_unit(z1, *q1) - log_normal_per_unit(z1, *p1)
        kl = torch.cat([kl1, elbo.kl_to_standard_normal_per_dimension(*q2)], -1).mean(0)
        log_ratio = elbo.log_standard_normal(z2) - elbo.log_normal(z2, *q2) - kl1.sum(-1)
        output = self.decoder(z1.flatten(0, 1)).unflatten(0, z1.shape[:2])
        return Inference(self.encode(x), output, kl, log_ratio)

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """The expected input (n, input) of ``n`` draws of z₂ ~ p(z₂) and z₁ ~ p(z₁ | z₂)."""
        z2 = torch.randn(n, self.n_code, device=self.device)
        return self.mean(self.decoder(elbo.sample_normal(*self.top_decoder(z2).chunk(2, -1))))


def log_normal_per_unit(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(z_j; μ_j, σ_j²) of each unit, of the shape of z."""
    return elbo.log_normal(z[..., None], mean[..., None], log_var[..., None])
