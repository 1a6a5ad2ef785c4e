"""The deep belief network and its joint fine-tuning: up-down, the contrastive wake-sleep algorithm (Hinton, Osindero &
Teh 2006, appendix B).

p(v, s_1, …, s_L, h) = p(v | s_1) ⋯ p(s_{L−1} | s_L) · p_top(s_L, h): a restricted Boltzmann machine on top, directed
layers below it. The way up, q(s_{i+1} | s_i), has weights of its own. ``recognition`` and ``generative`` are the same
layers from the input up, untied: of the first W and b_hidden are used, of the second W and b_visible. The last
``n_labels`` visible units of ``top`` are one softmax group, the label. Rows are cases; gradients are means over them
and point uphill.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from aelab.rbm.contrastive_divergence import Gradient, Phases, gradient
from aelab.rbm.energy import log_normaliser, sample_h_given_v, sample_v_given_h
from aelab.rbm.kernels import bernoulli, linear
from aelab.rbm.layer import Layer, mean_h_given_v, mean_v_given_h, scaled_visible


class UpDown(NamedTuple):
    """Gradients of one update: of each layer's (W, b_hidden) and (W, b_visible), and of the top's parameters."""

    recognition: list[tuple[Tensor, Tensor]]
    generative: list[tuple[Tensor, Tensor]]
    top: Gradient


@torch.no_grad()
def up_down(
    x: Tensor, label: Tensor | None, recognition: list[Layer], generative: list[Layer], top: Layer, steps: int
) -> UpDown:
    """Up from the data x (batch, input), ``steps`` of Gibbs sampling in the top, and down from where it ends.

    What was drawn on the way up teaches the generative weights to predict each layer from the one above; what was drawn
    on the way down teaches the recognition weights the reverse; the top learns by contrastive divergence. ``label``
    (batch, labels) is one-hot.
    """
    awake = wake(x, recognition)
    s = awake[-1] if label is None else torch.cat([awake[-1], label], 1)
    n_labels = 0 if label is None else label.shape[1]
    phases = top_phases(s, top, n_labels, steps)
    asleep = sleep(phases.v_model[:, : awake[-1].shape[1]], generative)
    return UpDown(
        [recognition_gradient(v, h, layer) for (v, h), layer in zip(pairwise(asleep), recognition)],
        [generative_gradient(v, h, layer) for (v, h), layer in zip(pairwise(awake), generative)],
        gradient(phases, top),
    )


def wake(x: Tensor, recognition: list[Layer]) -> list[Tensor]:
    """The input and a draw of each layer given the one below, upwards; the last is the top's visible layer."""
    states = [x]
    for layer in recognition:
        states.append(sample_h_given_v(states[-1], layer)[1])
    return states


def sleep(s: Tensor, generative: list[Layer]) -> list[Tensor]:
    """As ``wake``, drawn downwards from the top's visible units s (batch, units); of the input the mean is kept."""
    states = [s]
    for number, layer in reversed(list(enumerate(generative))):
        mean, draw = sample_v_given_h(states[0], layer)
        states.insert(0, draw if number else mean)
    return states


def generative_gradient(v: Tensor, h: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """∇ log p(v | h) by W (visible, hidden) and b_visible: the delta rule (v − E[v | h])/σ² times h."""
    error = scaled_visible(v - mean_v_given_h(h, layer), layer)
    return linear(error.t() / len(h), h, None), error.mean(0)


def recognition_gradient(v: Tensor, h: Tensor, layer: Layer) -> tuple[Tensor, Tensor]:
    """∇ log q(h | v) by W (visible, hidden) and b_hidden: the delta rule v/σ² times (h − E[h | v])."""
    error = h - mean_h_given_v(v, layer)
    return linear(scaled_visible(v, layer).t() / len(v), error, None), error.mean(0)


@torch.no_grad()
def top_phases(s: Tensor, top: Layer, n_labels: int, steps: int) -> Phases:
    """Both phases of CD-k in the top from s (batch, units and labels), all visible units drawn."""
    h_data, h = sample_h_given_v(s, top)
    state = s
    for step in range(steps):
        h = h if step == 0 else sample_h_given_v(state, top)[1]
        state = sample_top(h, top, n_labels)[1]
    return Phases(s, h_data, state, mean_h_given_v(state, top))


def sample_top(h: Tensor, top: Layer, n_labels: int) -> tuple[Tensor, Tensor]:
    """Mean and draw of the top's visible units: as ``sample_v_given_h``, the label units softmax and one-hot."""
    if not n_labels:
        return sample_v_given_h(h, top)
    total = linear(h, top.W.t(), top.b_visible)  # Bernoulli units: only they stand beside a label
    units, p = total[:, :-n_labels].sigmoid(), total[:, -n_labels:].softmax(1)
    first = (torch.empty_like(p).exponential_() / p).argmin(1)  # clocks of rate p: the same draw as torch.multinomial
    label = torch.nn.functional.one_hot(first, n_labels).to(p)
    return torch.cat([units, p], 1), torch.cat([bernoulli(units), label], 1)


@torch.no_grad()
def generate(s: Tensor, top: Layer, generative: list[Layer], steps: int, label: Tensor | None, n_labels: int) -> Tensor:
    """Gibbs sampling in the top, then one pass down: the input's means given the layer above it, (chains, input).

    The chains start at s (chains, units without labels), with a uniform
    random label or ``label`` (chains, labels), one-hot, which is then held.
    """
    units = s.shape[1]
    held = label
    if n_labels:
        label = torch.eye(n_labels).to(s)[torch.randint(n_labels, (len(s),), device=s.device)] if held is None else held
        s = torch.cat([s, label], 1)
    mean = s
    for _ in range(steps):
        mean, s = sample_top(sample_h_given_v(s, top)[1], top, n_labels)
        if held is not None:
            s[:, units:] = held
    return sleep(s[:, :units], generative)[0] if generative else mean[:, :units]


@torch.no_grad()
def label_log_probabilities(s: Tensor, top: Layer, n_labels: int) -> Tensor:
    """log p_top(label | s), (batch, labels), from the free energy of s (batch, units) with each label."""
    return torch.log_softmax(-label_energies(s, top, n_labels), 1)


def label_energies(s: Tensor, top: Layer, n_labels: int) -> Tensor:
    """F(s, label) for every label, (batch, labels), from one matrix product: a label adds its row of weights."""
    units, labels = top.W[:-n_labels], top.W[-n_labels:]
    field = linear(s, units, None)
    hidden = [log_normaliser(field + row, top.hidden, top.b_hidden, None).sum(1) for row in labels]
    return -(s @ top.b_visible[:-n_labels])[:, None] - top.b_visible[-n_labels:] - torch.stack(hidden, 1)
