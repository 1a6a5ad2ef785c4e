"""What to watch while a restricted Boltzmann machine learns (Hinton 2010, A Practical Guide, sections 5, 6, 7, 11)."""

import torch
from torch import Tensor

from aelab.rbm.energy import (
    free_energy,
    gibbs_sample,
    mean_h_given_v,
    pseudo_log_likelihood,
    sample_h_given_v,
    sample_v_given_h,
)
from aelab.rbm.layer import Layer

FANTASY_STEPS = (1, 10, 100, 1000)


@torch.no_grad()
def energies(rbm: Layer, train: Tensor, val: Tensor) -> dict[str, Tensor]:
    """Mean F(v) of training and validation samples (rows) in nats, and F(val) − F(train): it grows with overfitting.

    Bernoulli visible units add ``val/pseudo_log_likelihood``, nats per sample, from one bit of each drawn at random.
    """
    here, there = free_energy(train, rbm).mean(), free_energy(val, rbm).mean()
    metrics = {"train/free_energy": here, "val/free_energy": there, "val/free_energy_gap": there - here}
    if rbm.visible == "bernoulli":
        metrics["val/pseudo_log_likelihood"] = pseudo_log_likelihood(val, rbm, every_bit=False).mean()
    return metrics


def step_sizes(W: Tensor, step: Tensor) -> dict[str, Tensor]:
    """Euclidean norms of the weights and of their last step, and the ratio, which is best about 1e-3."""
    weight, update = W.norm(), step.norm()
    return {"train/weight_norm": weight, "train/update_norm": update, "train/update_ratio": update / weight}


def unit_activity(rbm: Layer, v: Tensor) -> Tensor:
    """(hidden,): each hidden unit's mean over the samples v (batch, visible)."""
    return mean_h_given_v(v, rbm).mean(0)


@torch.no_grad()
def fantasies(rbm: Layer, v: Tensor) -> dict[str, Tensor]:
    """Gibbs chains from the samples v (chains, visible) and from noise: start and step → the means of p(v | h).

    A machine that has learned the data's distribution keeps its chains there, and brings those from noise there too.
    """
    noise = torch.rand_like(v) if rbm.visible == "bernoulli" else torch.randn_like(v)
    state, done = torch.cat([v, noise]), 0  # all chains at once: a step costs hardly more for twice as many
    of_test, of_noise = {"test": v}, {"noise": noise}
    for steps in FANTASY_STEPS:
        state, done = gibbs_sample(state, rbm, steps - done - 1), steps
        mean, state = sample_v_given_h(sample_h_given_v(state, rbm)[1], rbm)
        of_test[f"test, step {steps}"], of_noise[f"noise, step {steps}"] = mean[: len(v)], mean[len(v) :]
    return of_test | of_noise
