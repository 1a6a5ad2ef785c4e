"""What a model with an RBM in it says of an input: its log-probability up to the RBM's log Z."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aelab.rbm.energy import free_energy
from aelab.rbm.layer import Layer
from aelab.rbm.variational_bound import log_unnormalised
from aelab.rbm.wake_sleep import label_energies, wake


class Density(NamedTuple):
    """log p(x) = ``log_f(x, samples)`` − log Z of ``rbm``; at least that, unless ``exact``.

    ``rbm`` has ``group`` label units at the end of its visible ones. ``visible(x)`` are states of all its visible units
    that belong to inputs x (batch, input): where its chains may start, and what its units' rates are.
    """

    rbm: Layer
    group: int
    exact: bool
    log_f: Callable[[Tensor, int], Tensor]
    visible: Callable[[Tensor], Tensor]


def of_rbm(rbm: Layer) -> Density:
    """p(v) of the machine itself: log f is −F(v)."""
    return Density(rbm, 0, True, lambda x, _: -free_energy(x, rbm).double(), lambda x: x)


def of_labelled_rbm(rbm: Layer, n_labels: int) -> Density:
    """p(x) of a machine with label units, the label summed over."""

    def log_f(x: Tensor, _: int) -> Tensor:
        return (-label_energies(x, rbm, n_labels)).double().logsumexp(1)

    return Density(rbm, n_labels, True, log_f, lambda x: with_labels(x, rbm, n_labels))


def of_belief_network(recognition: list[Layer], generative: list[Layer], top: Layer, n_labels: int) -> Density:
    """p(x) of a deep belief network, from below where it has directed layers."""

    def log_f(x: Tensor, samples: int) -> Tensor:
        return log_unnormalised(x, recognition, generative, top, n_labels, samples)

    def visible(x: Tensor) -> Tensor:
        s = wake(x, recognition)[-1]
        return with_labels(s, top, n_labels) if n_labels else s

    return Density(top, n_labels, not recognition, log_f, visible)


@torch.no_grad()
def with_labels(s: Tensor, rbm: Layer, n_labels: int) -> Tensor:
    """The states s (batch, units) with a label of each drawn from p(label | s), one-hot."""
    drawn = torch.multinomial((-label_energies(s, rbm, n_labels)).softmax(1), 1).squeeze(1)
    return torch.cat([s, torch.nn.functional.one_hot(drawn, n_labels).to(s)], 1)
