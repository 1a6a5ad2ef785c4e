"""The variational autoencoder (Kingma & Welling 2013), also on the importance-weighted bound (Burda et al. 2015)."""

from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor, nn

from aelab.data.batches import Data
from aelab.data.parts import Batch, Split
from aelab.errors import UserError
from aelab.functional import elbo
from aelab.functional import likelihood as nll
from aelab.models import vae_evaluation, vae_figures
from aelab.models.autoencoder import start_output_at_mean
from aelab.models.base import DRAWS, Figures, Likelihood, Model
from aelab.models.network import MLP, Conv
from aelab.models.training import total
from aelab.ranges import Count, Fraction, Interval, NonNegative, Positive

Samples = Annotated[int, Interval(1, 10_000)]  # of a code, all of them in memory at once


class Inference(NamedTuple):
    """One pass up through q(z | x) and down through p(x | z), with k samples of z.

    ``code`` (batch, code): the mean of q. ``output`` (k, batch, input): logits or means of x. ``kl`` (batch, latent):
    KL(q ‖ p) of each latent unit, nats. ``log_ratio`` (k, batch): log p(z) − log q(z | x) at the samples. ``z``
    (k, batch, code): these, where a gradient is to be taken along them.
    """

    code: Tensor
    output: Tensor
    kl: Tensor
    log_ratio: Tensor
    z: Tensor | None = None


class VAE(Model):
    """log p(x) ≥ E_q log p(x | z) − KL(q(z | x) ‖ p(z)), q(z | x) = N(μ(x), diag σ²(x)), p(z) = N(0, 1).

    The loss is −E_q log p(x | z) + β Σ_j max(``free_bits``, KL_j), averaged over ``samples`` of z, or with
    ``objective="iwae"`` −log 1/k Σ_i w_i, w = p(x | z) (p(z) / q(z | x))^β. β rises from 0 to ``beta`` during the first
    ``warmup`` of training; validation and test take the full β. ``sigma`` is the standard deviation of Gaussian inputs.
    ``path_gradient`` takes the gradient of log q in training at the samples, through them alone: unbiased, and without
    variance where q is the posterior (Roeder et al. 2017; of the importance-weighted bound Tucker et al. 2019).
    """

    normal_prior = True
    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(
        self,
        shape: tuple[int, ...],
        n_code: Count,
        network: MLP | Conv,
        likelihood: Likelihood,
        sigma: Positive,
        objective: Literal["elbo", "iwae"],
        samples: Samples,
        beta: NonNegative,
        warmup: Fraction,
        free_bits: NonNegative,
        path_gradient: bool,
    ):
        super().__init__(shape, likelihood)
        if objective == "iwae" and free_bits:
            raise UserError("model.free_bits: the importance-weighted bound has no KL of its own; set it to 0")
        self.path_gradient = path_gradient
        self.sigma, self.objective, self.samples = sigma, objective, samples
        self.beta, self.warmup, self.free_bits = beta, warmup, free_bits
        self.n_code = n_code
        self.encoder = network.encoder(shape, 2 * n_code)  # mean and log variance of q
        self.decoder = network.decoder(n_code, shape, self.encoder)

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z | x)."""
        return normal(self.encoder(x), x)[0]

    def initialize_from(self, data: Data) -> None:
        """Output biases start at the data's mean (log-odds of it for Bernoulli inputs): the best constant output."""
        super().initialize_from(data)
        start_output_at_mean(self, data)

    def forward(self, x: Tensor) -> Inference:
        return self.infer(x, self.samples)

    def infer(self, x: Tensor, k: int) -> Inference:
        """x (batch, input) through q and p with ``k`` samples of the code."""
        mean, log_var = normal(self.encoder(x), x)
        z, noise = elbo.sample_with_noise(mean.expand(k, *mean.shape), log_var.expand(k, *mean.shape))
        kl = elbo.kl_to_standard_normal_per_dimension(mean, log_var)
        if self.path_gradient and self.training:  # the value is the KL's, the gradient that of the samples
            kl = elbo.with_slope_of(sampled_kl(z, mean.detach(), log_var.detach()), kl)
        log_ratio = elbo.log_standard_normal(z) - self.log_q(z, noise, mean, log_var)
        return Inference(mean, self.output_of_samples(z), kl, log_ratio, z)

    def log_q(self, z: Tensor, noise: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
        """log q(z | x), (k, batch), of the samples z = mean + σ · noise; for a path gradient a function of z alone."""
        value = elbo.log_normal_of_noise(noise, log_var)
        if not (self.path_gradient and self.training):
            return value
        return elbo.with_slope_of(elbo.log_normal(z, mean.detach(), log_var.detach()), value)

    def output_of_samples(self, z: Tensor) -> Tensor:
        """z (k, batch, code) → (k, batch, input)."""
        return self.output(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    @property
    def n_noise(self) -> int:
        """Standard normal numbers that one input is drawn from."""
        return self.n_code

    def output_of_noise(self, noise: Tensor) -> Tensor:
        """Draws of N(0, 1) (batch, n_noise) → logits or means of x, (batch, input): the model without its encoder."""
        return self.output(self.code_of_noise(noise))

    def code_of_noise(self, noise: Tensor) -> Tensor:
        """Draws of N(0, 1) (batch, code) → draws of the prior."""
        return noise

    def loss_terms(self, x: Tensor, out: Inference, weight: Tensor | None = None) -> dict[str, Tensor]:
        """The ELBO's two terms, or the importance-weighted bound, negative; nats per image."""
        ramp = min(1.0, self.progress / self.warmup) if self.training and self.warmup else 1.0
        if self.objective == "iwae":
            log_w = self.log_likelihood(out.output, x, weight) + ramp * self.beta * out.log_ratio
            if self.path_gradient and out.z is not None and out.z.requires_grad:
                factor = elbo.doubly_reparameterized(log_w, ramp * self.beta).unsqueeze(-1)
                out.z.register_hook(lambda slope: slope * factor)  # of all that z goes into, on its way to the encoder
            return {"negative_bound": -elbo.importance_weighted_bound(log_w).mean()}
        kl = ramp * self.beta * self.kl_term(out.kl)
        return {"reconstruction": self.reconstruction(out.output, x, weight), "weighted_kl": kl}

    def kl_term(self, kl: Tensor) -> Tensor:
        """KL(q ‖ p), (), summed over the units of ``kl`` (batch, latent), each mean at least ``free_bits``."""
        return elbo.free_bits(kl, self.free_bits)

    def whole_terms(self, terms: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        """With ``free_bits`` each unit's KL is held against them as its mean over the whole split, not over a batch."""
        if not self.free_bits or "weighted_kl" not in terms:
            return terms
        kl = total(self(batch.x).kl.sum(0) for batch in split.batches()) / len(split.x)
        return {**terms, "weighted_kl": self.beta * self.kl_term(kl.unsqueeze(0))}

    def reconstruction(self, output: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """−log p(x | z), nats, averaged over samples and batch; ``output`` (k, batch, input)."""
        k, flat = len(output), output.flatten(0, 1)
        if k > 1:
            x, weight = x.repeat(k, 1), weight if weight is None else weight.repeat(k, 1)
        return self.negative_log_likelihood(flat, x, weight)

    def log_likelihood(self, output: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """log p(x | z), (k, batch), nats."""
        return -self.negative_log_likelihood_per_sample(output, x, weight)

    def validation_metrics(self, batch: Batch, out: Inference) -> dict[str, Tensor]:
        """The squared error from the mean code, the KL and the ELBO themselves whatever β is; nats."""
        kl = out.kl.sum(-1).mean()
        observed = nll.only_observed(None, batch.observed)
        error = nll.squared_error(self.decode(out.code), batch.x, observed)
        return {"squared_error": error, "kl": kl, "elbo": -self.reconstruction(out.output, batch.x, observed) - kl}

    has_log_p = True

    def minus_log_p(self, x: Tensor, observed: Tensor | None) -> Tensor:
        """From above, by importance sampling."""
        return vae_evaluation.nll_per_image(self, x, DRAWS, observed)

    @torch.no_grad()
    def sample(self, n: int, steps: int = 0, label: int | None = None) -> Tensor:
        """The expected input (n, input) of ``n`` codes drawn from the prior."""
        self.refuse_label(label)
        return self.decode(self.code_of_noise(torch.randn(n, self.n_code, device=self.device)))

    def latent_means(self, x: Tensor) -> Tensor:
        """E_q[z | x] of every latent unit (batch, latent)."""
        return self.encode(x)

    def test_metrics(self, data: Data) -> dict[str, float]:
        return vae_evaluation.metrics(self, data)

    def figures(self, data: Data) -> Figures:
        return vae_figures.figures(self, data)


def normal(output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """A net's output (…, 2 code) → mean and log variance of a Gaussian, (…, code), the latter kept within bounds.

    In the type of the input x: under bf16 only the products are in bf16.
    """
    mean, log_var = output.to(x.dtype).chunk(2, -1)
    return mean, elbo.bounded_log_variance(log_var)


def sampled_kl(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log q(z_j) − log p(z_j) averaged over the samples z (k, batch, code), (batch, code): KL(q_j ‖ p_j) on average."""
    return 0.5 * (z.square() - elbo.standardised(z, mean, log_var).square() - log_var).mean(0)
