"""Deep belief networks against enumeration, and up-down against the derivatives of the likelihoods it climbs."""

import pytest
import torch
from test_energy import states

from aelab.rbm.contrastive_divergence import contrastive_divergence
from aelab.rbm.energy import energy, free_energy
from aelab.rbm.layer import Layer
from aelab.rbm.wake_sleep import (
    generate,
    generative_gradient,
    label_log_probabilities,
    recognition_gradient,
    sample_top,
    sleep,
    top_phases,
    up_down,
    wake,
)


def layer(visible, hidden, seed, scale=1.0, units="bernoulli", log_var=None):
    draw = torch.Generator().manual_seed(seed)
    shapes = ((visible, hidden), (hidden,), (visible,))
    W, b, a = (scale * torch.randn(*s, generator=draw, dtype=torch.float64) for s in shapes)
    return Layer(W, b, a, "bernoulli", units, log_var)


def bits_probability(x, p):
    return torch.where(x.bool(), p, 1 - p).prod(-1)


def chi_squared(count, p):
    return float(((count - count.sum() * p) ** 2 / (count.sum() * p)).sum())


def index(bits):
    return (bits @ (2.0 ** torch.arange(bits.shape[1] - 1, -1, -1, dtype=bits.dtype))).long()


def test_generation_follows_the_exact_distribution():
    """p(v) = Σ_s p_top(s) p(v | s), every state of the three layers summed."""
    top, below, n = layer(3, 4, 0), layer(4, 3, 1), 60_000
    p_s = torch.softmax(-free_energy(states(3), top), 0)
    p_v = p_s @ bits_probability(states(4)[None], torch.sigmoid(states(3) @ below.W.t() + below.b_visible)[:, None])
    assert float(p_v.sum()) == pytest.approx(1)
    start = torch.zeros(n, 3, dtype=torch.float64)
    mean = generate(start, top, [below], 40, None, 0)
    v = torch.bernoulli(mean)
    assert chi_squared(torch.bincount(index(v), minlength=16), p_v) < 44.3  # one in 10,000, 15 degrees of freedom


def test_generation_through_two_directed_layers():
    top, middle, bottom, n = layer(2, 3, 0), layer(3, 2, 1), layer(3, 3, 2), 60_000
    p = torch.softmax(-free_energy(states(2), top), 0)
    for below in (middle, bottom):
        n_hidden = below.W.shape[1]
        mean = torch.sigmoid(states(n_hidden) @ below.W.t() + below.b_visible)
        p = p @ bits_probability(states(3)[None], mean[:, None])
    v = torch.bernoulli(generate(torch.zeros(n, 2, dtype=torch.float64), top, [bottom, middle], 30, None, 0))
    assert chi_squared(torch.bincount(index(v), minlength=8), p) < 29.9  # one in 10,000, 7 degrees of freedom


def test_labels_are_one_softmax_group_of_the_top():
    """p(label | s) and the joint that Gibbs sampling reaches, both by enumeration with one-hot labels only."""
    top, units, labels, n = layer(5, 3, 3), states(2), torch.eye(3, dtype=torch.float64), 20_000
    joint = torch.cat([units.repeat_interleave(3, 0), labels.repeat(4, 1)], 1)
    weights = torch.stack([-energy(joint, h.expand(12, -1), top) for h in states(3)]).logsumexp(0)
    p = torch.softmax(weights, 0)
    log_p = label_log_probabilities(units, top, 3)
    torch.testing.assert_close(log_p.exp(), p.view(4, 3) / p.view(4, 3).sum(1, keepdim=True))
    s = torch.cat([torch.zeros(n, 2, dtype=torch.float64), labels[torch.zeros(n, dtype=torch.long)]], 1)
    s = top_phases(s, top, 3, 30).v_model
    assert torch.equal(s[:, 2:].sum(1), torch.ones(n, dtype=torch.float64))
    count = torch.bincount(index(s[:, :2]) * 3 + s[:, 2:].argmax(1), minlength=12)
    assert chi_squared(count, p) < 39.0  # one in 20,000 or so, 11 degrees of freedom


def test_a_held_label_is_generated_from():
    top, n = layer(5, 3, 3), 20_000
    label = torch.eye(3, dtype=torch.float64)[torch.full((n,), 1)]
    s = torch.bernoulli(generate(torch.zeros(n, 2, dtype=torch.float64), top, [], 30, label, 3))
    joint = torch.cat([states(2), label[:4]], 1)
    p = torch.softmax(-free_energy(joint, top), 0)
    assert chi_squared(torch.bincount(index(s), minlength=4), p) < 21.1  # one in 10,000, 3 degrees of freedom


def test_without_labels_the_top_learns_by_contrastive_divergence():
    top, s = layer(4, 3, 0), torch.rand(10, 4, dtype=torch.float64).round()
    torch.manual_seed(1)
    ours = top_phases(s, top, 0, 3)
    torch.manual_seed(1)
    for a, b in zip(ours, contrastive_divergence(s, top, 3, None, False)):
        assert (a is None and b is None) or torch.equal(a, b)
    assert torch.equal(sample_top(s[:, :3], top, 0)[0], torch.sigmoid(s[:, :3] @ top.W.t() + top.b_visible))


def log_p(x, mean, unit, log_var):
    if unit == "bernoulli":
        return torch.distributions.Bernoulli(mean, validate_args=False).log_prob(x).sum(-1).mean()
    return torch.distributions.Normal(mean, (log_var / 2).exp()).log_prob(x).sum(-1).mean()


@pytest.mark.parametrize("unit", ["bernoulli", "gaussian"])
def test_the_delta_rules_are_the_derivatives(unit):
    log_var = torch.randn(4, dtype=torch.float64) if unit == "gaussian" else None
    below = layer(4, 3, 0, units=unit, log_var=log_var)
    v = torch.randn(7, 4, dtype=torch.float64) if unit == "gaussian" else torch.rand(7, 4).double().round()
    h = torch.rand(7, 3).double().round()
    W, b, a = (p.clone().requires_grad_() for p in below[:3])
    down = h @ W.t() + a
    down = log_p(v, down.sigmoid() if unit == "bernoulli" else down, unit, log_var)
    seen = v if log_var is None else v * torch.exp(-log_var)
    up = log_p(h, torch.sigmoid(seen @ W + b), "bernoulli", None)
    for ours, theirs in zip(generative_gradient(v, h, below), torch.autograd.grad(down, (W, a))):
        torch.testing.assert_close(ours, theirs)
    for ours, theirs in zip(recognition_gradient(v, h, below), torch.autograd.grad(up, (W, b))):
        torch.testing.assert_close(ours, theirs)


def test_an_update_is_the_hand_written_one():
    """Appendix B of Hinton, Osindero & Teh 2006 for one directed layer and labels, one case at a time."""
    up, down, top = layer(4, 3, 0), layer(4, 3, 1), layer(5, 3, 2)
    x = torch.rand(6, 4).double().round()
    label = torch.eye(2, dtype=torch.float64)[torch.tensor([0, 1, 1, 0, 1, 0])]
    torch.manual_seed(5)
    ours = up_down(x, label, [up], [down], top, 2)
    torch.manual_seed(5)
    awake = wake(x, [up])
    s = torch.cat([awake[1], label], 1)
    phases = top_phases(s, top, 2, 2)
    asleep = sleep(phases.v_model[:, :3], [down])
    dR, dG, dT = torch.zeros(4, 3).double(), torch.zeros(4, 3).double(), torch.zeros(5, 3).double()
    for i in range(6):
        predicted_v = torch.sigmoid(down.W @ awake[1][i] + down.b_visible)
        dG += torch.outer(x[i] - predicted_v, awake[1][i]) / 6
        predicted_s = torch.sigmoid(asleep[0][i] @ up.W + up.b_hidden)
        dR += torch.outer(asleep[0][i], asleep[1][i] - predicted_s) / 6
        h0 = torch.sigmoid(s[i] @ top.W + top.b_hidden)
        h1 = torch.sigmoid(phases.v_model[i] @ top.W + top.b_hidden)
        dT += (torch.outer(s[i], h0) - torch.outer(phases.v_model[i], h1)) / 6
    torch.testing.assert_close(ours.recognition[0][0], dR)
    torch.testing.assert_close(ours.generative[0][0], dG)
    torch.testing.assert_close(ours.top.W, dT)
    assert torch.equal(asleep[0], torch.sigmoid(asleep[1] @ down.W.t() + down.b_visible))  # the input's mean
    assert set(awake[1].unique().tolist()) <= {0.0, 1.0}


def test_up_down_raises_the_likelihood_of_a_tiny_net():
    """log p(x) by enumeration, before and after 1000 updates from random weights."""
    up, down, top = layer(4, 3, 0, 0.1), layer(4, 3, 1, 0.1), layer(3, 3, 2, 0.1)
    x = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]], dtype=torch.float64).repeat(50, 1)

    def log_likelihood():
        p_s = torch.softmax(-free_energy(states(3), top), 0)
        p_x = bits_probability(x[:2, None], torch.sigmoid(states(3) @ down.W.t() + down.b_visible)[None])
        return float((p_x @ p_s).log().mean())

    before = log_likelihood()
    for _ in range(1000):
        step = up_down(x, None, [up], [down], top, 1)
        for parameter, gradient in zip(
            (up.W, up.b_hidden, down.W, down.b_visible, top.W, top.b_hidden, top.b_visible),
            (*step.recognition[0], *step.generative[0], *step.top[:3]),
        ):
            parameter.add_(gradient, alpha=0.2)
    assert before < -2.5 and log_likelihood() > -1.0  # log 16 = 2.77 nats at random, log 2 = 0.69 at best
