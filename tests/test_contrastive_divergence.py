"""The rule against enumeration of its own sampling chain, hand-written updates and the exact gradient."""

import pytest
import torch
from test_energy import small_rbm, states
from test_partition import yardstick

from aelab.rbm import kernels
from aelab.rbm.contrastive_divergence import (
    Gradient,
    Phases,
    centred,
    contrastive_divergence,
    gradient,
    sparse,
    update_,
    zero_velocity,
)
from aelab.rbm.energy import (
    energy,
    free_energy,
    free_energy_hidden,
    mean_h_given_v,
    mean_v_given_h,
    sample_h_given_v,
    sample_v_given_h,
)
from aelab.rbm.layer import Layer
from aelab.rbm.partition import log_z_exact

# The published table of E[CD-k] does not name its data. How fast the error falls with k is the machine's own, its size
# is the data's. These three patterns were found by a search for ones that give every figure printed, mean field's too,
# with errors taken in W; the published ones may be others.
DATA = torch.tensor([[0.0, 1, 0, 0, 1, 1], [0, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0]], dtype=torch.float64)
FIELDS = ("W", "b_hidden", "b_visible", "log_var_visible")


def binomial(x, p):
    """Probability of every row of x, (rows of p, rows of x), for independent bits."""
    return (x * p[:, None].log() + (1 - x) * (1 - p[:, None]).log()).sum(-1).exp()


def weighted_statistics(p, v, rbm):
    """⟨v hᵀ⟩, ⟨h⟩, ⟨v⟩ in one vector, v's rows weighing p."""
    h = mean_h_given_v(v, rbm)
    return torch.cat([((v * p[:, None]).T @ h).flatten(), p @ h, p @ v])


def expected_model_statistics(rbm, steps, mean_field):
    """E of CD-k's second phase from DATA: every outcome of every draw, by its probability."""
    v, h = states(6), states(4)
    down = mean_v_given_h(h, rbm)
    p_h = binomial(h, mean_h_given_v(DATA, rbm)).mean(0)
    up_again = binomial(h, mean_h_given_v(v, rbm))
    for _ in range(steps - 1):
        p_h = p_h @ binomial(v, down) @ up_again
    if mean_field:
        return weighted_statistics(p_h, down, rbm)
    return weighted_statistics(p_h @ binomial(v, down), v, rbm)


def data_statistics(rbm):
    return weighted_statistics(torch.full((len(DATA),), 1 / len(DATA), dtype=torch.float64), DATA, rbm)


def relative_in_W(difference, reference):
    return (difference[:24].norm() / reference[:24].norm()).item()


@pytest.mark.parametrize(
    ("steps", "error", "digit"),
    [(1, 0.287, 1e-3), (2, 0.070, 1e-3), (3, 0.0165, 1e-4), (5, 9e-4, 1e-4), (10, 6e-7, 1e-7)],
)
def test_the_expected_update_approaches_the_exact_gradient_as_published(steps, error, digit):
    rbm = yardstick(6, 4, scale=0.7)
    data, p = data_statistics(rbm), torch.softmax(-free_energy(states(6), rbm), 0)
    exact = data - weighted_statistics(p, states(6), rbm)
    cd = data - expected_model_statistics(rbm, steps, mean_field=False)
    assert relative_in_W(cd - exact, exact) == pytest.approx(error, abs=digit / 2)


@pytest.mark.parametrize(("steps", "mean_field"), [(1, False), (1, True), (3, False)])
def test_sampled_updates_average_to_the_expected_one(steps, mean_field):
    rbm, n = yardstick(6, 4, scale=0.7), 210_000
    _, _, v, h, _ = contrastive_divergence(DATA.repeat(n // len(DATA), 1), rbm, steps, None, mean_field)
    rows = torch.cat([(v[:, :, None] * h[:, None]).flatten(1), h, v], 1)
    error = (rows.mean(0) - expected_model_statistics(rbm, steps, mean_field)).abs() / (rows.std(0) / n**0.5)
    assert error.max() < 5
    if steps == 1:  # and not to the other estimate's
        other = expected_model_statistics(rbm, steps, not mean_field)
        assert ((rows.mean(0) - other).abs() / (rows.std(0) / n**0.5)).max() > 50


def test_mean_field_visibles_are_another_estimate_as_published():
    rbm = yardstick(6, 4, scale=0.7)
    sampled, mean_field = (expected_model_statistics(rbm, 1, choice) for choice in (False, True))
    assert relative_in_W(mean_field - sampled, data_statistics(rbm) - sampled) == pytest.approx(0.16, abs=0.005)
    torch.testing.assert_close(mean_field[-6:], sampled[-6:])  # only what is not linear in v differs


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian", "relu"])
@pytest.mark.parametrize("hidden", ["bernoulli", "gaussian", "relu"])
def test_the_gradient_is_the_energy_s_derivative_for_every_unit_type(hidden, visible):
    rbm = small_rbm(hidden, visible)
    g = gradient(phases := random_phases(), rbm, learn_log_var=True)
    params = [p.clone().requires_grad_() for p in (rbm.W, rbm.b_hidden, rbm.b_visible)]
    if visible == "gaussian":
        params.append(rbm.log_var_visible.clone().requires_grad_())
    leaf = Layer(*params[:3], hidden, visible, *params[3:])
    contrast = energy(phases.v_model, phases.h_model, leaf).mean() - energy(phases.v_data, phases.h_data, leaf).mean()
    for expected, name in zip(torch.autograd.grad(contrast, params), FIELDS):
        torch.testing.assert_close(getattr(g, name), expected)
    assert (g.log_var_visible is None) == (visible != "gaussian")
    assert gradient(phases, rbm).log_var_visible is None


def random_phases(n_data=6, n_chains=9):
    """Two phases of different lengths: PCD may have more chains than a batch has rows."""
    draw = lambda rows, n: torch.rand(rows, n, dtype=torch.float64)  # noqa: E731
    return Phases(draw(n_data, 4), draw(n_data, 3), draw(n_chains, 4), draw(n_chains, 3))


def hand_written(v, W, a, b, velocities, rate, momentum, decay, steps):
    """CD-k as one would type it, with its own draws in the same order."""
    h_mean = torch.sigmoid(v @ W + b)
    h, v0, h0 = (torch.rand_like(h_mean) < h_mean).to(v.dtype), v, h_mean
    for _ in range(steps):
        v_mean = torch.sigmoid(h @ W.t() + a)
        v = (torch.rand_like(v_mean) < v_mean).to(v.dtype)
        h_mean = torch.sigmoid(v @ W + b)
        if _ + 1 < steps:
            h = (torch.rand_like(h_mean) < h_mean).to(v.dtype)
    n = len(v)
    uphill = [(v0.t() @ h0 - v.t() @ h_mean) / n - decay * W, (v0 - v).sum(0) / n, (h0 - h_mean).sum(0) / n]
    velocities = [momentum * velocity + g for velocity, g in zip(velocities, uphill)]
    return *(p + rate * velocity for p, velocity in zip((W, a, b), velocities)), velocities


@pytest.mark.parametrize("steps", [1, 3])
def test_five_updates_are_the_hand_written_ones(steps):
    rbm = small_rbm(n_visible=12, n_hidden=7)
    W, a, b = rbm.W.clone(), rbm.b_visible.clone(), rbm.b_hidden.clone()
    velocity, velocities = zero_velocity(rbm), [torch.zeros_like(p) for p in (W, a, b)]
    data = torch.bernoulli(torch.full((5, 10, 12), 0.4, dtype=torch.float64))
    torch.manual_seed(2)
    for v in data:
        phases = contrastive_divergence(v, rbm, steps, None, False)
        update_(rbm, velocity, gradient(phases, rbm), 0.1, 0.9, 2e-2)
    torch.manual_seed(2)
    for v in data:
        W, a, b, velocities = hand_written(v, W, a, b, velocities, 0.1, 0.9, 2e-2, steps)
    for mine, expected in zip((rbm.W, rbm.b_visible, rbm.b_hidden), (W, a, b)):
        torch.testing.assert_close(mine, expected)


def test_the_update_is_sgd_s_with_the_decay_on_the_weights_only():
    rbm = small_rbm(visible="gaussian")
    groups = [p.clone().requires_grad_() for p in (rbm.W, rbm.b_hidden, rbm.b_visible, rbm.log_var_visible)]
    sgd = torch.optim.SGD(
        [{"params": groups[:1], "weight_decay": 0.01}, {"params": groups[1:]}], lr=0.1, momentum=0.9, maximize=True
    )
    velocity = zero_velocity(rbm)
    for rate in (0.1, 0.1, 0.02):
        g = Gradient(*(torch.randn_like(p) for p in groups))
        sgd.param_groups[0]["lr"] = sgd.param_groups[1]["lr"] = rate
        for p, slope in zip(groups, g):
            p.grad = slope
        sgd.step()
        update_(rbm, velocity, g, rate, 0.9, 0.01)
    for mine, expected in zip((*rbm[:3], rbm.log_var_visible), groups):
        torch.testing.assert_close(mine, expected.detach())


@pytest.mark.parametrize("fused", [True, False])
def test_velocity_and_parameter_follow_the_stated_rule_from_no_momentum_to_much(monkeypatch, fused):
    monkeypatch.setattr(kernels, "FUSED", fused and kernels.FUSED)
    param, velocity = torch.randn(5, 3), torch.zeros(5, 3)
    expected, speed = param.clone(), velocity.clone()
    for momentum in (0.0, 0.5, 0.9, 0.0, 0.9):
        slope = torch.randn(5, 3)
        speed = momentum * speed + slope - 0.01 * expected
        expected = expected + 0.1 * speed
        kernels.momentum_ascent_([param], [slope], [velocity], 0.1, momentum, 0.01)
        torch.testing.assert_close(velocity, speed)
        torch.testing.assert_close(param, expected)


def test_the_fast_path_is_the_plain_one(monkeypatch):
    def train():
        rbm = small_rbm(n_visible=60, n_hidden=40, scale=0.1).to(torch.float32)
        velocity = zero_velocity(rbm)
        torch.manual_seed(4)
        for v in (torch.rand(20, 30, 60) < 0.3).float():
            update_(rbm, velocity, gradient(contrastive_divergence(v, rbm, 1, None, False), rbm), 0.1, 0.5, 2e-4)
        return rbm

    fast = train()
    monkeypatch.setattr(kernels, "ONEDNN", False)
    monkeypatch.setattr(kernels, "FUSED", False)
    plain = train()
    start = small_rbm(n_visible=60, n_hidden=40, scale=0.1)
    assert (plain.W - start.W).abs().max() > 0.01
    for a, b in zip(fast[:3], plain[:3]):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [kernels.FEW // 10 * 9, kernels.FEW // 10 * 11])
@pytest.mark.parametrize("p", [0.0, 2.0**-18, 0.3, 1 - 2.0**-18, 1.0])
def test_a_draw_has_its_probability_also_below_its_own_sixteen_bits(p, n):
    calls = 1000
    probability = torch.full((10, n // 10), p)
    ones = torch.tensor([kernels.bernoulli(probability).sum() for _ in range(calls)], dtype=torch.float64).sum()
    few = min(p, 1 - p) * calls * n  # in the end of the range that is rarer: their count is nearly Poisson
    assert abs(ones - p * calls * n) <= 6 * few**0.5


def test_draws_from_one_word_are_independent():
    draws = kernels.bernoulli(torch.full((1_000_000, 4), 0.5))
    assert (torch.corrcoef(draws.T) - torch.eye(4)).abs().max() < 0.005
    for probability in (torch.rand(7, 3).T, torch.rand(5, dtype=torch.float64), torch.rand(0, 3)):
        drawn = kernels.bernoulli(probability)
        assert drawn.shape == probability.shape and drawn.dtype == probability.dtype
        assert set(drawn.flatten().tolist()) <= {0.0, 1.0}


def test_persistent_chains_go_on_from_where_they_stood_whatever_the_data():
    rbm, chains = small_rbm(), states(4)[3:10]
    torch.manual_seed(1)
    phases = contrastive_divergence(states(4)[:3], rbm, 2, chains, False)
    torch.manual_seed(1)
    v = chains
    for _ in range(2):
        v = sample_v_given_h(sample_h_given_v(v, rbm)[1], rbm)[1]
    assert torch.equal(phases.v_model, v)
    torch.testing.assert_close(phases.h_model, mean_h_given_v(v, rbm))
    torch.testing.assert_close(phases.h_data, mean_h_given_v(states(4)[:3], rbm))


def test_centring_at_zero_is_no_centring():
    rbm = small_rbm()
    g = gradient(random_phases(), rbm)
    zero = centred(g, torch.zeros_like(rbm.b_visible), torch.zeros_like(rbm.b_hidden), rbm)
    assert all(torch.equal(a, b) for a, b in zip(g[:3], zero[:3]))


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_a_centred_step_is_the_step_of_the_machine_with_offsets(visible):
    rbm, phases = small_rbm(visible=visible), random_phases()
    mu, lam = torch.rand(4, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    sigma2 = rbm.log_var_visible.exp() if visible == "gaussian" else torch.ones(4, dtype=torch.float64)

    def export(W, b_c, a_c):  # multiply (v − μ)/σ² W (h − λ) out: offsets become shifts of the biases
        return rbm._replace(W=W, b_hidden=b_c - (mu / sigma2) @ W, b_visible=a_c - W @ lam)

    c = [p.clone().requires_grad_() for p in (rbm.W, rbm.b_hidden + (mu / sigma2) @ rbm.W, rbm.b_visible + rbm.W @ lam)]
    plain = export(*c)
    contrast = energy(phases.v_model, phases.h_model, plain).mean() - energy(phases.v_data, phases.h_data, plain).mean()
    stepped = export(*(p + 0.1 * slope for p, slope in zip(c, torch.autograd.grad(contrast, c))))
    update_(rbm, zero_velocity(rbm), centred(gradient(phases, rbm), mu, lam, rbm), 0.1, 0.0, 0.0)
    for mine, expected in zip(rbm[:3], stepped[:3]):
        torch.testing.assert_close(mine, expected.detach())


def test_shifted_biases_leave_the_centred_machine_s_distribution_unchanged():
    rbm, v, h = small_rbm(), states(4), states(3)
    mu, lam = torch.rand(4, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    b_c, a_c = rbm.b_hidden + mu @ rbm.W, rbm.b_visible + rbm.W @ lam
    centred_energy = -((v - mu) @ a_c)[:, None] - (h - lam) @ b_c - (v - mu) @ rbm.W @ (h - lam).T
    plain = energy(v.repeat_interleave(8, 0), h.repeat(16, 1), rbm)
    torch.testing.assert_close((-centred_energy).flatten().softmax(0), (-plain).softmax(0))


def test_the_sparsity_penalty_is_the_cross_entropy_s_slope_and_reaches_its_target():
    rbm = small_rbm(n_hidden=5)
    v = states(4)
    h = mean_h_given_v(v, rbm)
    nothing = gradient(phases := Phases(v, h, v, h), rbm)
    total = torch.logit(h.mean(0)).requires_grad_()  # the input at which a unit's probability is its mean activity
    q = torch.sigmoid(total)
    gain = 3 * (0.1 * q.log() + 0.9 * (1 - q).log()).sum()
    g = sparse(nothing, phases, h.mean(0), target=0.1, cost=3.0, rbm=rbm)
    torch.testing.assert_close(g.b_hidden, torch.autograd.grad(gain, total)[0])
    torch.testing.assert_close(g.W, torch.outer(v.mean(0), g.b_hidden))
    velocity = zero_velocity(rbm)
    for _ in range(300):
        h = mean_h_given_v(v, rbm)
        phases = Phases(v, h, v, h)
        update_(rbm, velocity, sparse(gradient(phases, rbm), phases, h.mean(0), 0.1, 3.0, rbm), 0.1, 0.5, 0.0)
    torch.testing.assert_close(mean_h_given_v(v, rbm).mean(0), torch.full_like(rbm.b_hidden, 0.1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("centring", [False, True])
def test_updates_raise_the_exact_log_likelihood(persistent, centring):
    rbm = small_rbm(n_visible=6, n_hidden=8, scale=0.02)
    v = torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], dtype=torch.float64).repeat(50, 1)
    start = (-free_energy(v, rbm) - log_z_exact(rbm)).mean()
    velocity, chains, lam = zero_velocity(rbm), v if persistent else None, torch.full_like(rbm.b_hidden, 0.5)
    for _ in range(400):
        phases = contrastive_divergence(v, rbm, 1, chains, False)
        chains = phases.v_model if persistent else None
        g = gradient(phases, rbm)
        if centring:
            g = centred(g, v.mean(0), lam.lerp_(phases.h_data.mean(0), 0.05), rbm)
        update_(rbm, velocity, g, 0.1, 0.5, 0.0)
    log_p = (-free_energy(v, rbm) - log_z_exact(rbm)).mean()
    assert start + 2 < log_p < -0.693147  # two patterns, equally often: no machine does better than −log 2


def enumerated_log_likelihood(v, rbm):
    """Mean log p(v) of a machine with Gaussian visible units, differentiable in every parameter."""
    return (-free_energy(v, rbm) - torch.logsumexp(-free_energy_hidden(states(3), rbm), 0)).mean()


def exact_gradient(v, rbm):
    params = [p.clone().requires_grad_() for p in (rbm.W, rbm.b_hidden, rbm.b_visible, rbm.log_var_visible)]
    log_p = enumerated_log_likelihood(v, Layer(*params[:3], "bernoulli", "gaussian", params[3]))
    return Gradient(*torch.autograd.grad(log_p, params))


@pytest.mark.parametrize("mean_field", [True, False])
def test_the_log_variance_s_gradient_is_exact_once_the_chains_are_where_the_machine_is(mean_field):
    """Hidden units drawn from their own distribution, by enumeration: the visible ones as means or as a draw."""
    rbm, v, n = small_rbm(visible="gaussian"), torch.randn(50, 4, dtype=torch.float64), 200_000
    p = torch.softmax(-free_energy_hidden(states(3), rbm), 0)
    h = states(3)[torch.multinomial(p, n, replacement=True)]
    v_model = mean_v_given_h(h, rbm) if mean_field else sample_v_given_h(h, rbm)[1]
    expected, h_data = exact_gradient(v, rbm).log_var_visible, mean_h_given_v(v, rbm)
    pieces = []
    for v_piece, h_piece in zip(v_model.split(4000), h.split(4000)):
        drawn = h_piece if mean_field else None
        phases = Phases(v, h_data, v_piece, mean_h_given_v(v_piece, rbm), drawn)
        pieces.append(gradient(phases, rbm, learn_log_var=True).log_var_visible)
    pieces = torch.stack(pieces)
    assert ((pieces.mean(0) - expected).abs() < 5 * pieces.std(0) / len(pieces) ** 0.5).all()


def test_reconstructions_that_are_means_learn_the_variance_that_they_leave():
    """Of CD-1 the gradient is ½⟨(v − v̂)²⟩/σ² − ½: exactly where h is certain, on average else."""
    rbm, v = small_rbm(visible="gaussian"), torch.randn(200_000, 4, dtype=torch.float64)
    phases = contrastive_divergence(v, rbm, 1, None, True)
    left = (v - phases.v_model) ** 2 / (2 * rbm.log_var_visible.exp()) - 0.5
    g = gradient(phases, rbm, learn_log_var=True).log_var_visible
    assert ((g - left.mean(0)).abs() < 0.02).all()
    certain = rbm._replace(b_hidden=torch.full_like(rbm.b_hidden, 500.0))
    phases = contrastive_divergence(v[:50], certain, 1, None, True)
    left = (v[:50] - phases.v_model) ** 2 / (2 * rbm.log_var_visible.exp()) - 0.5
    torch.testing.assert_close(gradient(phases, certain, learn_log_var=True).log_var_visible, left.mean(0))


def test_the_centred_gradient_is_that_of_the_machine_with_offsets_in_its_variances_too():
    """Its parameters θ_c give the plain ones, θ = f(θ_c): a step along ∇_c moves θ by J Jᵀ ∇."""
    rbm, v = small_rbm(visible="gaussian"), torch.randn(50, 4, dtype=torch.float64)
    mu, lam = torch.rand(4, dtype=torch.float64), torch.rand(3, dtype=torch.float64)

    def plain(W, b_c, a_c, log_var):  # multiply (v − μ)/σ² W (h − λ) out: offsets become shifts of the biases
        return W, b_c - (mu * torch.exp(-log_var)) @ W, a_c - W @ lam, log_var

    b_c = rbm.b_hidden + (mu * torch.exp(-rbm.log_var_visible)) @ rbm.W
    here = rbm.W, b_c, rbm.b_visible + rbm.W @ lam, rbm.log_var_visible
    exact = exact_gradient(v, rbm)
    _, centred_slope = torch.autograd.functional.vjp(plain, here, tuple(exact))
    _, step = torch.autograd.functional.jvp(plain, here, centred_slope)
    for mine, expected in zip(centred(exact, mu, lam, rbm), step):
        torch.testing.assert_close(mine, expected)


def test_the_learned_variance_becomes_the_data_s():
    rbm = small_rbm(visible="gaussian", n_visible=3, scale=0.0)
    v = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64) * torch.randn(4000, 3, dtype=torch.float64)
    velocity = zero_velocity(rbm)
    for _ in range(300):
        phases = contrastive_divergence(v, rbm, 1, None, False)
        update_(rbm, velocity, gradient(phases, rbm, learn_log_var=True), 0.1, 0.5, 0.0)
        rbm.W.zero_()
    torch.testing.assert_close(rbm.log_var_visible, v.var(0).log(), atol=0.1, rtol=0)


@pytest.mark.cuda
def test_an_update_never_waits_for_the_device():
    rbm = small_rbm(visible="gaussian", n_visible=60, n_hidden=40, scale=0.1).to(torch.float32).to("cuda")
    v, velocity = torch.randn(30, 60, device="cuda"), zero_velocity(rbm)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            phases = contrastive_divergence(v, rbm, 2, None, False)
            g = centred(gradient(phases, rbm, learn_log_var=True), v.mean(0), phases.h_data.mean(0), rbm)
            update_(rbm, velocity, sparse(g, phases, phases.h_data.mean(0), 0.1, 0.1, rbm), 0.01, 0.5, 2e-4)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert rbm.W.isfinite().all()
