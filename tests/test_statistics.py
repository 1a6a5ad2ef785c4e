"""Statistics of each layer: the numbers that a hand-made backward pass gives, and no trace left in the run."""

import math

import pytest
import torch
from helpers import command, made_layers, small
from torch import nn

import aelab
from aelab.config.build import build
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.models.autoencoder import Autoencoder
from aelab.models.classifier import Classifier
from aelab.models.network import MLP
from aelab.rbm.layer import load_layers
from aelab.results.statistics import by_layer, layer_statistics
from aelab.runs import folder as run_folder
from aelab.runs.train import run


def autoencoder(code="sigmoid", tied=False, widths=()):
    network = MLP(list(widths), "sigmoid", "glorot", tied)
    return Autoencoder((5,), n_code=3, code=code, network=network, likelihood="bernoulli")


def test_gradients_and_activations_are_those_of_backpropagation_by_hand():
    model, x = autoencoder().double(), torch.rand(7, 5, dtype=torch.float64)
    (W, b), (V, c) = ((m[0].weight.detach(), m[0].bias.detach()) for m in (model.encoder, model.decoder))
    h = 1 / (1 + torch.exp(-(x @ W.t() + b)))
    output = h @ V.t() + c
    delta = (output.sigmoid() - x) / len(x)

    measured = layer_statistics(model, Batch(x, None))

    assert list(measured) == ["encoder.0", "decoder.0"]
    upper, lower = delta.t() @ h, ((delta @ V) * h * (1 - h)).t() @ x
    for layer, gradient, activation in ((measured["encoder.0"], lower, h), (measured["decoder.0"], upper, output)):
        torch.testing.assert_close(layer.gradient_norm, gradient.square().sum().sqrt())
        torch.testing.assert_close(layer.activation_mean, activation.mean())
        torch.testing.assert_close(layer.activation_std, activation.std(unbiased=False))


def test_tied_weights_have_one_gradient():
    measured = layer_statistics(autoencoder(tied=True), Batch(torch.rand(7, 5), None))
    assert list(measured) == ["encoder.0", "decoder.0"]
    assert measured["encoder.0"].gradient_norm == measured["decoder.0"].gradient_norm


EDGE = math.log((1 + 0.9**0.5) / (1 - 0.9**0.5))  # h(1 − h) = 1/40 there, a tenth of the steepest slope


@pytest.mark.parametrize(
    ("code", "inputs", "saturated"),
    [
        ("sigmoid", [-EDGE - 0.01, -EDGE + 0.01, 0.0, EDGE - 0.01, EDGE + 0.01], 2 / 5),
        ("tanh", [-3.0, -1.8, 0.0, 1.8, 3.0], 2 / 5),  # 1 − tanh² is 0.1 at 1.818
        ("relu", [-2.0, -0.1, 0.1, 2.0, 200.0], 2 / 5),
        ("linear", [-200.0, 0.0, 0.1, 2.0, 200.0], 0.0),
    ],
)
def test_a_unit_is_saturated_where_its_slope_is_below_a_tenth_of_the_steepest(code, inputs, saturated):
    model = autoencoder(code)
    with torch.no_grad():
        model.encoder[0].weight.copy_(torch.eye(5)[:1].expand(3, 5))  # all units see the first input as it is
        model.encoder[0].bias.zero_()
    x = torch.zeros(5, 5)
    x[:, 0] = torch.tensor(inputs)
    assert float(layer_statistics(model, Batch(x, None))["encoder.0"].saturated) == pytest.approx(saturated)


def test_measuring_leaves_no_trace(tmp_path):
    layers = load_layers(made_layers(tmp_path / "below") / "layers.pt")
    options = {"top_only_epochs": 1, "dropout": 0.5, "start": "layers", "initialization": "none"}
    model = Classifier((64,), layers, n_classes=10, **options)
    model.encoder.requires_grad_(False)  # as while the output layer learns alone
    batch = Batch(torch.rand(9, 64), torch.arange(9))
    state = torch.get_rng_state()

    measured, again = layer_statistics(model, batch), layer_statistics(model, batch)

    assert measured == again  # dropout is off
    assert list(measured) == ["encoder.0", "encoder.3", "top"]
    assert all(m.training for m in model.modules())
    assert torch.equal(state, torch.get_rng_state())
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == {"top"}
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())
    assert measured["encoder.0"].gradient_norm == 0  # V is 0 at the start, so nothing comes back through it
    nn.init.ones_(model.top.weight[:1].detach())
    assert layer_statistics(model, batch)["encoder.0"].gradient_norm > 0  # what it would be, were it free


@pytest.mark.parametrize("given", [["corruption=masking"], ["model=vae"]])
def test_a_run_goes_the_same_way_with_and_without(given, tmp_path):
    plain, watched = (small(*given, f"callbacks={option}") for option in ("none", "statistics"))
    run(plain, tmp_path / "plain", command())
    run(watched, tmp_path / "watched", command())

    weights = [run_folder.read_checkpoint(tmp_path / f, "last", "test")["state_dict"] for f in ("plain", "watched")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    extra = set(run_folder.read_history(tmp_path / "watched")) - set(run_folder.read_history(tmp_path / "plain"))
    assert extra and all(name.startswith("statistics/") for name in extra)
    assert not (tmp_path / "plain/figures/statistics.png").exists()
    assert (tmp_path / "watched/figures/statistics.png").read_bytes().startswith(b"\x89PNG")


def test_a_row_is_the_state_in_which_its_epoch_begins(tmp_path):
    cfg = small("schedule=constant", "callbacks=statistics", epochs=1)
    run(cfg, tmp_path / "one", command())
    cfg.train.epochs = 2
    run(cfg, tmp_path / "two", command())

    data = build(cfg.data, "data", seed=cfg.seed, batch_size=16, below=[])
    after_one = layer_statistics(aelab.load(tmp_path / "one").model, Batch(data.train.x, data.train.y))
    history = by_layer(run_folder.read_history(tmp_path / "two"))
    assert list(history) == list(after_one)
    for layer, values in after_one.items():
        for name, value in values._asdict().items():
            assert history[layer][name][1] == pytest.approx(float(value), rel=1e-5)


def test_layers_stand_in_the_order_of_computation():
    names = ["encoder.10", "top", "decoder.0", "encoder.2", "decoder.12", "decoder.4"]
    columns = {f"statistics/{name}/saturated": 0.0 for name in names} | {"val/loss": 1.0}
    assert list(by_layer(columns)) == ["encoder.2", "encoder.10", "decoder.0", "decoder.4", "decoder.12", "top"]


def test_a_model_without_linear_layers_is_refused_in_one_line(tmp_path):
    cfg = small("model=rbm", "callbacks=statistics")
    with pytest.raises(UserError, match=r"callbacks\.statistics: RBM has no linear layers to measure; leave it out"):
        run(cfg, tmp_path / "run", command())
