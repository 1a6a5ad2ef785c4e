"""Alternating Gibbs sampling in a restricted Boltzmann machine."""

from torch import Tensor

from aelab.rbm.energy import sample_h_given_v, sample_v_given_h
from aelab.rbm.layer import Layer


def gibbs_sample(v: Tensor, rbm: Layer, steps: int) -> Tensor:
    """v (chains, visible) after ``steps`` times h ~ p(h | v), v ~ p(v | h); each row is a chain of its own."""
    for _ in range(steps):
        h = sample_h_given_v(v, rbm)[1]
        v = sample_v_given_h(h, rbm)[1]
    return v
