"""The k-sparse autoencoder as a model: how many units it keeps when, and what keeps them alive."""

import pytest
import torch
from helpers import small

from aelab.errors import UserError
from aelab.functional import likelihood as nll
from aelab.functional import sparsity
from aelab.models.network import MLP, Conv, Single
from aelab.models.top_k import TopK
from aelab.rbm.layer import decode_through, encode_through
from aelab.runs.folder import load
from aelab.runs.train import run, train

SETTINGS = dict(
    n_code=20, code="linear", likelihood="gaussian", selection="top_k", k=3, k_start=9, anneal=0.5, alpha=2.0,
    pre_bias=True, unit_norm=False, auxiliary=0.0, k_auxiliary=4, dead_after=10,
)  # fmt: skip


def made(network=None, **changed) -> TopK:
    return TopK((4, 4), network=network or Single("glorot", tied=True), **{**SETTINGS, **changed})


def active(code: torch.Tensor) -> list[int]:
    return (code != 0).sum(1).tolist()


@pytest.mark.parametrize("progress, k", [(0.0, 9), (0.25, 6), (0.5, 3), (1.0, 3)])
def test_k_falls_in_a_line_and_is_kept_exactly_in_training(progress, k):
    model = made().train()
    model.progress = progress
    assert active(model(torch.rand(7, 16)).code) == [k] * 7


def test_a_trained_model_keeps_alpha_k_and_its_loss_takes_k():
    model, x = made().eval(), torch.rand(7, 16)
    assert active(model.encode(x)) == [6] * 7
    assert active(model(x).code) == [3] * 7
    assert active(made(alpha=None).eval().encode(x)) == [20] * 7


def test_the_greatest_signed_values_are_kept_or_of_a_rectifier_the_positive_ones():
    x = torch.randn(7, 16)
    model = made(alpha=1.0).eval()
    pre, code = model.pre_code(x), model.encode(x)
    assert (pre < 0).any()
    torch.testing.assert_close(code.sort(1).values[:, -3:], pre.sort(1).values[:, -3:])
    assert (made(code="relu", alpha=None).eval().encode(x) >= 0).all()


def test_lifetime_selection_gives_each_unit_its_share_of_the_batch():
    model = made(selection="lifetime", k=5, k_start=5).train()
    assert (model(torch.randn(40, 16)).code != 0).sum(0).tolist() == [10] * 20


@pytest.mark.parametrize("selection", ["batch_top_k", "lifetime"])
def test_a_batch_selects_in_training_and_thresholds_of_it_afterwards(selection):
    model, x = made(selection=selection, alpha=2.0, k=4, anneal=0.0).train(), torch.randn(50, 16)
    out = model(x)
    assert sum(active(out.code)) == 50 * 4
    model.after_step(out)
    model.eval()
    torch.testing.assert_close(model(x).code, out.code, msg="the thresholds of one batch select what the batch did")
    assert sum(active(model.encode(x))) == 50 * 8, "alpha times as many"
    for _ in range(200):
        model.after_step(model(torch.randn(50, 16)))
    code = model(torch.randn(5000, 16)).code
    assert sum(active(code)) / 5000 == pytest.approx(4, rel=0.1)
    if selection == "lifetime":
        torch.testing.assert_close((code != 0).float().mean(0), torch.full((20,), 0.2), atol=0.05, rtol=0)


@pytest.mark.parametrize("alpha", [1.0, 2.0, None])
@pytest.mark.parametrize("selection", ["top_k", "batch_top_k", "lifetime"])
def test_no_row_s_code_depends_on_another_s_outside_training(selection, alpha):
    model, x = made(selection=selection, alpha=alpha).train(), torch.randn(50, 16)
    model.after_step(model(x))
    model.eval()
    torch.testing.assert_close(model.encode(x[:1]), model.encode(x)[:1])
    torch.testing.assert_close(model(x[:1]).output, model(x).output[:1])


def test_the_encoder_sees_x_less_the_decoder_s_bias():
    model, x = made(), torch.rand(5, 16)
    model.decoder[0].bias.data.uniform_()
    plain = made(pre_bias=False)
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model.pre_code(x), plain.pre_code(x - model.decoder[0].bias))


@pytest.mark.parametrize("tied", [True, False])
def test_training_keeps_decoder_weights_at_norm_one(tied, tmp_path):
    cfg = small("model=top_k", "model.unit_norm=true", f"model.network.tied={tied}", "hardware.threads=1")
    run(cfg, tmp_path, "aelab")

    W, dim = load(tmp_path).decoder_columns()
    torch.testing.assert_close(W.norm(dim=dim), torch.ones(W.shape[1 - dim]))


@pytest.mark.parametrize("tied", [True, False])
def test_no_gradient_is_left_along_the_decoder_weights(tied):
    model, x = made(Single("glorot", tied=tied), unit_norm=True), torch.rand(9, 16)
    W, dim = model.decoder_columns()
    sparsity.unit_norm_(W.data, dim)
    sum(model.loss_terms(x, model(x)).values()).backward()
    assert (W.grad * W).sum(dim).abs().max() > 1e-3
    model.before_step()
    assert (W.grad * W).sum(dim).abs().max() < 1e-6


def test_untied_weights_start_as_the_transpose():
    model = made(Single("glorot", tied=False))
    assert torch.equal(model.decoder[0].weight, model.encoder[0].weight.t())
    assert model.decoder[0].weight.data_ptr() != model.encoder[0].weight.data_ptr()


def test_units_silent_for_long_enough_are_dead_and_get_a_gradient_from_the_auxiliary_loss():
    model, x = made(auxiliary=1 / 32, anneal=0.0).train(), torch.rand(6, 16)
    model.encoder[0].bias.data[:5] = -3.0  # never among the greatest
    out = model(x)
    model.after_step(out)
    assert model.loss_terms(x, out)["auxiliary"].item() == 0, "6 images are fewer than dead_after=10"
    model.after_step(out)
    silent = (out.code == 0).all(0)
    assert silent[:5].all()
    assert torch.equal(model.silent, 12.0 * silent)
    gradient = torch.autograd.grad(model.loss_terms(x, out)["auxiliary"], out.pre_code)[0]
    dead_with_gradient = (gradient != 0).any(0)
    assert dead_with_gradient.any() and (dead_with_gradient <= silent).all()


def test_the_auxiliary_loss_has_the_paper_s_weight_beside_the_error():
    """Both divided by the variance: FVU + weight · ‖e − ê‖² / ‖e − mean e‖² (Gao et al. 2024)."""
    model, x = made(auxiliary=0.25, dead_after=1, anneal=0.0, k=1, k_start=1), torch.rand(6, 16)
    model.silent.fill_(5.0)
    out = model(x)
    terms = model.loss_terms(x, out)
    e = x - out.output
    rebuilt = sparsity.top_k(out.pre_code, 4) @ model.encoder[0].weight
    expected = 0.25 * (e - rebuilt).square().sum() / (e - e.mean(0)).square().sum()
    half_variance = 0.5 * (x - x.mean(0)).square().sum() / len(x)
    torch.testing.assert_close(terms["auxiliary"] / half_variance, expected)
    unexplained = 0.5 * nll.squared_error(out.output, x) / half_variance
    torch.testing.assert_close(unexplained, (x - out.output).square().sum() / (x - x.mean(0)).square().sum())


def test_what_was_not_observed_teaches_dead_units_nothing():
    """Neither its error nor the value that fills its place counts: only then is the term what it is without it."""
    model = made(auxiliary=0.25, dead_after=1, anneal=0.0, pre_bias=False)
    model.silent.fill_(5.0)
    x, weight = torch.rand(6, 16), torch.ones(6, 16)
    x[:, 10:], weight[:, 10:] = 0.5, 0.0
    out = model(x)
    before = model.loss_terms(x, out, weight)["auxiliary"]
    torch.testing.assert_close(model.loss_terms(x, out, torch.ones(6, 16)), model.loss_terms(x, out))
    x[:, 10:] = 7.0
    torch.testing.assert_close(model.loss_terms(x, out, weight)["auxiliary"], before)
    model.decoder_columns()[0].data[:, 10:] += 1.0
    torch.testing.assert_close(model.loss_terms(x, out, weight)["auxiliary"], before)


def test_a_run_reports_active_units_dead_units_and_explained_variance(tmp_path):
    metrics = train(small("model=top_k", "model.k=3", "model.k_start=5", "model.alpha=2"), tmp_path, "aelab")
    assert metrics["test/l0"] == pytest.approx(6)
    assert 0 <= metrics["test/dead_fraction"] < 1
    assert -1 < metrics["test/explained_variance"] < 1
    assert (tmp_path / "figures" / "lifetime_sparsity.png").exists()


@pytest.mark.parametrize(
    "changed, key",
    [
        (dict(k=21), "model.k"), (dict(k_start=21), "model.k_start"), (dict(k_auxiliary=21), "model.k_auxiliary"),
        (dict(k=5, k_start=4), "model.k_start"), (dict(auxiliary=1.0, likelihood="bernoulli"), "model.auxiliary"),
        (dict(auxiliary=1.0, network=MLP([5], "relu", "he", False)), "model.auxiliary"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together_are_refused_by_key(changed, key):
    with pytest.raises(UserError, match=f"^{key}: "):
        made(**changed)


@pytest.mark.parametrize("network", [MLP([12], "relu", "he", True), Conv([3], "relu", "he")])
def test_every_network_can_be_k_sparse(network):
    model = made(network, unit_norm=True, likelihood="bernoulli")
    sparsity.unit_norm_(*((model.decoder_columns()[0].data), model.decoder_columns()[1]))
    x = torch.rand(5, 16)
    out = model(x)
    sum(model.loss_terms(x, out).values()).backward()
    model.before_step()
    assert out.output.shape == x.shape and active(model.eval().encode(x)) == [6] * 5


@pytest.mark.parametrize("code", ["linear", "relu"])
@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize("tied", [True, False])
def test_as_a_layer_of_a_stack_it_hands_on_its_code_before_the_selection(code, pre_bias, tied):
    model, x = made(Single("glorot", tied), code=code, pre_bias=pre_bias), torch.rand(7, 16)
    model.decoder_bias().data.uniform_()
    with torch.no_grad():
        torch.testing.assert_close(encode_through(model.learned_layers(), x), model.pre_code(x))
        code = torch.rand(7, 20)
        torch.testing.assert_close(decode_through(model.learned_layers(), code), model.decode(code))
    assert made(MLP([5], "silu", "he", tied=False)).learned_layers() == []
