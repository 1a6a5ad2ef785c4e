"""Contrastive divergence (Hinton 2002) as the rule itself: two phases, their difference, a step with momentum.

One update is ``update_(rbm, velocity, gradient(contrastive_divergence(v, rbm, …), rbm), …)``; sparsity and centring
change the gradient in between. Everything is a tensor operation on whole batches, without a wait for the device.
Gradients point uphill in log-likelihood and are means over the rows.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from aelab.rbm.energy import sample_h_given_v, sample_v_given_h
from aelab.rbm.kernels import as_in_products, momentum_ascent_, phase_difference
from aelab.rbm.layer import Layer, mean_h_given_v, mean_v_given_h, scaled_visible


class Phases(NamedTuple):
    """Visible units and the hidden units' means under the data (batch rows) and under the model (as many as chains).

    ``v_model`` is the reconstruction in CD and where the chains stand in PCD. Where it is not a draw but the visible
    units' means, ``h_drawn`` are the hidden units that they are the means given.
    """

    v_data: Tensor
    h_data: Tensor
    v_model: Tensor
    h_model: Tensor
    h_drawn: Tensor | None = None


class Gradient(NamedTuple):
    """d log p / d parameter, shaped as the parameters; also the velocities' type. None: that parameter stays."""

    W: Tensor
    b_hidden: Tensor
    b_visible: Tensor
    log_var_visible: Tensor | None = None


@torch.no_grad()
def contrastive_divergence(
    v: Tensor, rbm: Layer, steps: int, chains: Tensor | None, mean_field_visible: bool, sampled: Layer | None = None
) -> Phases:
    """Both phases of CD-k (``chains`` None: k = ``steps`` Gibbs steps from the data v, (batch, visible)).

    PCD (Tieleman 2008): pass the last call's ``v_model`` as ``chains`` (any number of rows), and the steps start there.
    The hidden units are sampled to drive each reconstruction and enter both phases as means; the visible units are
    sampled, or means with ``mean_field_visible`` (as in Hinton & Salakhutdinov 2006), which is another estimate.
    ``sampled`` is the machine that the chains sample, where it is not the one that learns.
    """
    rbm = rbm._replace(W=as_in_products(rbm.W))
    sampled = rbm if sampled is None else sampled._replace(W=as_in_products(sampled.W))
    if chains is None:
        h_data, h = sample_h_given_v(v, rbm)
    else:
        h_data, h = mean_h_given_v(v, rbm), sample_h_given_v(chains, sampled)[1]
    v_model = v  # the first step is from the hidden units that the data drove
    for step in range(steps):
        h = h if step == 0 else sample_h_given_v(v_model, sampled)[1]
        v_model = mean_v_given_h(h, sampled) if mean_field_visible else sample_v_given_h(h, sampled)[1]
    return Phases(v, h_data, v_model, mean_h_given_v(v_model, sampled), h if mean_field_visible else None)


@torch.no_grad()
def gradient(phases: Phases, rbm: Layer, learn_log_var: bool = False) -> Gradient:
    """⟨−∂E/∂θ⟩ under the data minus the same under the model.

    W: (v/σ²) hᵀ; b_hidden: h; b_visible: v/σ²; log_var_visible, for Gaussian units with ``learn_log_var``:
    ((v − a)²/2 − v·(W h))/σ² (Cho, Ilin & Raiko 2011). A square of visible units that are means v̂ given h lacks their
    variance, so there it is the expectation over v ~ N(v̂, σ²), with ½ more; of CD-1 that makes ½⟨(v − v̂)²⟩/σ² − ½ in
    all, whose root is the variance of what a reconstruction leaves.
    """
    h0, h1 = phases.h_data, phases.h_model
    v0, v1 = scaled_visible(phases.v_data, rbm), scaled_visible(phases.v_model, rbm)
    log_var = _log_var_gradient(phases, rbm) if learn_log_var and rbm.visible == "gaussian" else None
    return Gradient(*phase_difference(v0, h0, v1, h1), log_var)


def centred(g: Gradient, mean_visible: Tensor, mean_hidden: Tensor, rbm: Layer) -> Gradient:
    """The gradient of the machine with energy terms (v − μ) W (h − λ), carried to the plain parameters.

    dW_c = dW − μ db_hᵀ − db_v λᵀ;  db_h' = db_h − dW_cᵀ μ;  db_v' = db_v − dW_c λ (Melchior, Fischer & Wiskott 2016),
    with μ/σ² for Gaussian v, whose log variances s shift the hidden biases too: ds_c = ds + μ/σ² ∘ W db_h, and db_h'
    has Wᵀ(μ/σ² ∘ ds_c) besides. The offsets μ (visible,), λ (hidden,) are sliding means of the data and of the hidden
    units under it. The parameters stay those of a plain machine, so moving the offsets changes no distribution and
    nothing has to be exported.
    """
    mu = scaled_visible(mean_visible, rbm)
    both = torch.stack([mu, g.b_visible], 1), torch.stack([g.b_hidden, mean_hidden])
    W = torch.addmm(g.W, *both, alpha=-1)  # g.W − μ db_hᵀ − db_v λᵀ in one pass over the weights
    b_hidden, log_var = g.b_hidden - mu @ W, g.log_var_visible
    if log_var is not None:
        log_var = log_var + mu * (rbm.W @ g.b_hidden)
        b_hidden = b_hidden + (mu * log_var) @ rbm.W
    return Gradient(W, b_hidden, g.b_visible - W @ mean_hidden, log_var)


def sparse(g: Gradient, phases: Phases, activity: Tensor, target: float, cost: float, rbm: Layer) -> Gradient:
    """The gradient minus that of cost · Σ_j cross-entropy(target, q_j), whose derivative by j's input is q_j − target.

    ``activity`` q (hidden,) is the sliding mean of the hidden probabilities; the penalty moves b_hidden and, through
    the mean visible units, W (Hinton 2010, A Practical Guide, section 11).
    """
    push = cost * (target - activity)
    mean_visible = scaled_visible(phases.v_data, rbm).mean(0)
    return g._replace(W=g.W + torch.outer(mean_visible, push), b_hidden=g.b_hidden + push)


def fast_machine(rbm: Layer, fast: Gradient) -> Layer:
    """The machine with the fast weights on top of its own (Tieleman & Hinton 2009): its chains flee where they are."""
    return rbm._replace(
        W=rbm.W + fast.W, b_hidden=rbm.b_hidden + fast.b_hidden, b_visible=rbm.b_visible + fast.b_visible
    )


def zero_velocity(rbm: Layer) -> Gradient:
    """Velocities at rest: zeros shaped as the parameters."""
    log_var = None if rbm.log_var_visible is None else torch.zeros_like(rbm.log_var_visible)
    W, b_hidden, b_visible = (torch.zeros_like(p) for p in (rbm.W, rbm.b_hidden, rbm.b_visible))
    return Gradient(W, b_hidden, b_visible, log_var)


@torch.no_grad()
def update_(
    rbm: Layer, velocity: Gradient, g: Gradient, learning_rate: float, momentum: float, weight_decay: float
) -> None:
    """velocity ← momentum·velocity + g − weight_decay·W;  parameters ← parameters + learning_rate·velocity, in place.

    The decay is on W only. A rate of its own for one parameter is a factor on its gradient.
    """
    momentum_ascent_([rbm.W], [g.W], [velocity.W], learning_rate, momentum, weight_decay)
    moved = [(rbm.b_hidden, g.b_hidden, velocity.b_hidden), (rbm.b_visible, g.b_visible, velocity.b_visible)]
    if g.log_var_visible is not None:
        assert rbm.log_var_visible is not None and velocity.log_var_visible is not None  # what it is the slope of
        moved.append((rbm.log_var_visible, g.log_var_visible, velocity.log_var_visible))
    params, gradients, velocities = map(list, zip(*moved))
    momentum_ascent_(params, gradients, velocities, learning_rate, momentum, 0.0)


def _log_var_gradient(phases: Phases, rbm: Layer) -> Tensor:
    def statistic(v: Tensor, h: Tensor) -> Tensor:
        return scaled_visible((v - rbm.b_visible) ** 2 / 2 - v * (h @ rbm.W.t()), rbm).mean(0)

    data = statistic(phases.v_data, phases.h_data)
    if phases.h_drawn is None:
        return data - statistic(phases.v_model, phases.h_model)
    return data - statistic(phases.v_model, phases.h_drawn) - 0.5
