"""evaluate.likelihood: bounds that hold the sum, what has no likelihood, the band that is watched while training."""

import csv
import json
import logging
from types import SimpleNamespace

import pytest
import torch
from helpers import aelab, small
from test_energy import states
from test_wake_sleep import layer

from aelab.config.build import build
from aelab.data.parts import Split
from aelab.errors import UserError
from aelab.models.deep_belief_network import DeepBeliefNetwork
from aelab.rbm.energy import free_energy
from aelab.rbm.partition import log_z_exact

DIAGNOSTICS = {"annealing_temperatures", "annealing_ess", "tempering_swap_rate", "tempering_round_trips"}


def evaluator(**changes):
    node = small("model=rbm").evaluate.likelihood
    return build({**node, "burn_in": 100, **changes}, "evaluate.likelihood")


def data_of(x):
    split = Split(x, None)
    return SimpleNamespace(test=split, train=split, train_for_evaluation=split)


def model_of(rbm, **changes):
    """A model that is the machine ``rbm``, of bits or of real values as its visible units say."""
    cfg = small("model=rbm", f"model.visible={rbm.visible}", f"model.n_hidden={rbm.W.shape[1]}")
    model = build(cfg.model, "model", shape=(rbm.W.shape[0],))
    for ours, theirs in zip((model.W, model.b_hidden, model.b_visible), rbm):
        ours.data.copy_(theirs)
    return model


@pytest.mark.parametrize("visible", ["bernoulli", "gaussian"])
def test_the_bounds_hold_the_sum(visible):
    torch.manual_seed(0)
    rbm = layer(6, 4, 0, scale=0.5, units=visible).to(torch.float32)
    x = states(6).float() if visible == "bernoulli" else torch.randn(50, 6)
    found = evaluator(raise_inputs=64)(model_of(rbm), data_of(x))
    exact = float(-free_energy(x.double(), rbm.to(torch.float64)).mean()) - log_z_exact(rbm)
    assert found["log_likelihood"] == pytest.approx(exact, abs=1e-4)
    assert found["log_likelihood_lower"] < exact < found["log_likelihood_upper"]
    assert found["log_likelihood_gap"] == found["log_likelihood_upper"] - found["log_likelihood_lower"] < 0.5
    assert found["raise"] == pytest.approx(exact, abs=0.5)
    assert set(found) >= DIAGNOSTICS


def test_without_the_sum_there_is_a_bracket_alone():
    found = evaluator(exact=False)(model_of(layer(6, 4, 0).to(torch.float32)), data_of(states(6).float()))
    assert "log_likelihood" not in found and "log_likelihood_lower" in found
    found = evaluator(exact=3)(model_of(layer(6, 4, 0).to(torch.float32)), data_of(states(6).float()))
    assert "log_likelihood" not in found


@pytest.mark.parametrize("labels", [0, 3])
def test_a_belief_network_has_a_bound_and_its_log_likelihood_is_above(labels):
    torch.manual_seed(0)
    below, top = layer(5, 4, 0).to(torch.float32), layer(4, 3, 1).to(torch.float32)
    settings = dict(momentum=0.0, weight_decay=0.0, steps=1, top_only_epochs=0, fantasy_steps=1, learning_rate=0.1)
    net = DeepBeliefNetwork((5,), [below, top], 3 if labels else None, bool(labels), **settings)
    x, s = states(5).float(), states(4).float()
    log_f = -free_energy(s, top) + (torch.tensor(3.0).log() if labels else 0)  # its label weights are still 0
    log_p_x = -torch.nn.functional.binary_cross_entropy_with_logits(
        (s @ below.W.t() + below.b_visible).expand(32, 16, 5), x[:, None].expand(32, 16, 5), reduction="none"
    ).sum(-1)
    exact = float((log_p_x + log_f).logsumexp(1).mean()) - float(log_f.logsumexp(0))
    found = evaluator(samples=300)(net, data_of(x))
    assert found["bound_lower"] < found["bound"] < found["bound_upper"]
    assert found["log_likelihood_lower"] == found["bound_lower"] and "log_likelihood_upper" not in found
    assert exact - 0.1 < found["bound"] < exact + 0.05
    assert evaluator(samples=1)(net, data_of(x))["bound"] < found["bound"]


def test_what_has_no_likelihood_has_no_figure(caplog):
    grey = data_of(torch.rand(20, 6))
    assert evaluator()(model_of(layer(6, 4, 0).to(torch.float32)), grey) == {}
    relu = build(small("model=rbm", "model.hidden=relu").model, "model", shape=(6,))
    assert evaluator()(relu, data_of(states(6).float())) == {}
    autoencoder = build(small("model=autoencoder").model, "model", shape=(8, 8))
    assert evaluator()(autoencoder, data_of(torch.rand(9, 64).round())) == {}


def test_a_doubtful_bracket_is_said_in_words(caplog):
    rbm = layer(6, 4, 0, scale=6.0).to(torch.float32)
    with caplog.at_level(logging.WARNING):
        evaluator(burn_in=1, draws=1, thin=1, runs=3)(model_of(rbm), data_of(states(6).float()))
    assert any(record.message.startswith("evaluate.likelihood: ") for record in caplog.records)


@pytest.mark.parametrize(
    ("key", "value"),
    [("runs", 1), ("every", 0), ("exact", 26), ("step_ess", 1.0), ("temperatures", "many"), ("burn_in", 0)],
)
def test_a_value_that_makes_no_sense_is_refused_by_its_key(key, value):
    with pytest.raises(UserError, match=rf"evaluate\.likelihood\.{key}"):
        evaluator(**{key: value})


def test_a_band_while_training_that_best_weights_and_sweeps_can_go_by(capsys, tmp_path):
    folder = tmp_path / "run"
    outcome = aelab(
        capsys, "model=rbm", "model.n_hidden=6", "data.binarize=bernoulli", "data.train_size=300", "train.epochs=5",
        "evaluate=[likelihood]", "evaluate.likelihood.every=3", "evaluate.likelihood.burn_in=50", "logger=csv",
        "objective=val/log_likelihood_lower", "direction=maximize", f"hydra.run.dir='{folder}'",
    )  # fmt: skip
    assert outcome.status == 0, outcome.error
    rows = list(csv.DictReader((folder / "history.csv").open()))
    lower, upper = ([float(row[f"val/log_likelihood_{side}"]) for row in rows] for side in ("lower", "upper"))
    exact = [float(row["val/log_likelihood"]) for row in rows]
    assert all(a < b < c for a, b, c in zip(lower, exact, upper))
    assert exact[0] == exact[1] and exact[2] == exact[3] and len({exact[0], exact[2], exact[4]}) == 3
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["val/log_likelihood_lower"] == pytest.approx(lower[-1])
    assert metrics["test/log_likelihood_lower"] < metrics["test/log_likelihood"]
    before = metrics.pop("test/annealing_temperatures")
    again = aelab(capsys, "task=likelihood", f"run='{folder}'", "evaluate.likelihood.step_ess=0.999")
    assert again.status == 0 and "log p(x) of a test sample" in again.output
    measured = json.loads((folder / "metrics.json").read_text())
    assert measured["test/log_likelihood"] == metrics["test/log_likelihood"]
    assert measured["test/annealing_temperatures"] < before
    assert measured["val/loss"] == metrics["val/loss"]


def test_a_folder_without_a_finished_run_has_no_likelihood(capsys, tmp_path):
    assert "run: task=likelihood needs" in aelab(capsys, "task=likelihood").error[-1]
    assert "is no run folder" in aelab(capsys, "task=likelihood", f"run='{tmp_path}'").error[-1]


def test_the_task_measures_a_variational_autoencoder_too(capsys, tmp_path):
    folder = tmp_path / "run"
    outcome = aelab(capsys, "model=vae", "train.epochs=1", "evaluate=[nll]", "logger=csv", f"hydra.run.dir='{folder}'")
    assert outcome.status == 0 and "test/nll" not in json.loads((folder / "metrics.json").read_text())
    few = "likelihood.samples=20", "likelihood.images=3", "evaluate.annealing.temperatures=5"
    outcome = aelab(capsys, "task=likelihood", f"run='{folder}'", *few)
    assert outcome.status == 0, outcome.error
    measured = json.loads((folder / "metrics.json").read_text())
    assert {"test/nll", "test/annealed_nll", "test/annealed_difference"} <= measured.keys()


def test_what_has_no_likelihood_is_said_with_what_has(capsys, tmp_path):
    folder = tmp_path / "run"
    assert aelab(capsys, "train.epochs=1", "evaluate=[nll]", "logger=csv", f"hydra.run.dir='{folder}'").status == 0
    assert "has no likelihood; it needs an RBM" in aelab(capsys, "task=likelihood", f"run='{folder}'").error[-1]
    nothing = aelab(capsys, "task=likelihood", f"run='{folder}'", "evaluate=[probe]")
    assert "evaluate: task=likelihood needs one of likelihood, nll" in nothing.error[-1]
