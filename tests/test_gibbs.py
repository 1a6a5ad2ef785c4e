"""The Gibbs chain's stationary distribution is the machine's."""

import torch
from test_energy import small_rbm, states

from aelab.rbm.energy import free_energy, sample_h_given_v, sample_v_given_h
from aelab.rbm.gibbs import gibbs_sample


def test_many_chains_follow_the_exact_distribution():
    rbm, n = small_rbm(scale=0.8), 100_000
    v = gibbs_sample(torch.zeros(n, 4, dtype=torch.float64), rbm, 30)
    count = torch.bincount((v @ torch.tensor([8.0, 4, 2, 1], dtype=torch.float64)).long(), minlength=16)
    p = torch.softmax(-free_energy(states(4), rbm), 0)
    chi_squared = ((count - n * p) ** 2 / (n * p)).sum()
    assert chi_squared < 44.3  # exceeded by one in 10,000 samples of 15 degrees of freedom


def test_steps_are_counted_and_none_leaves_v_alone():
    rbm, v = small_rbm(), states(4)
    assert gibbs_sample(v, rbm, 0) is v
    torch.manual_seed(1)
    twice = gibbs_sample(v, rbm, 2)
    torch.manual_seed(1)
    for _ in range(2):
        v = sample_v_given_h(sample_h_given_v(v, rbm)[1], rbm)[1]
    assert torch.equal(twice, v)
