"""The RBM as a model: its step against a hand-written one, its runs resumed, its keys, its errors, its diagnostics."""

import math

import pytest
import torch
from helpers import composed as composed_config
from helpers import fitted
from omegaconf import OmegaConf
from test_partition import two_modes

from aelab.config.build import build
from aelab.data.arrays import Arrays
from aelab.data.batches import Data
from aelab.data.parts import Batch
from aelab.data.swiss_roll import swiss_roll
from aelab.errors import UserError
from aelab.files import read_json
from aelab.models.rbm import RBM
from aelab.models.training import Training
from aelab.rbm import kernels
from aelab.rbm.contrastive_divergence import Gradient
from aelab.rbm.diagnostics import energies, fantasies, step_sizes, unit_activity
from aelab.rbm.energy import free_energy, mean_h_given_v
from aelab.rbm.layer import Layer
from aelab.rbm.partition import log_likelihood_exact
from aelab.runs.folder import load, read_checkpoint, read_history, read_layers
from aelab.runs.train import train

TINY = ["data.train_size=300", "evaluate.probe=null", "evaluate.knn=null", "logger=csv", "schedule=constant"]
TINY += ["train.batch_size=50", "train.epochs=1", "model.n_hidden=12"]


def composed(*overrides):
    return composed_config("model=rbm", *TINY, *overrides)


def run(folder, *overrides):
    cfg = composed(*overrides)
    folder.mkdir(exist_ok=True)
    OmegaConf.save(cfg, folder / "config.yaml")
    metrics = train(cfg, folder, "aelab")
    return metrics, read_checkpoint(folder, "last", "test")["state_dict"]


def model(shape=(6,), *overrides, epochs=10):
    rbm = build(composed(*overrides).model, "model", shape=shape)
    rbm.training_plan = Training(None, lambda progress: 1 - progress, None, None, epochs, 0)
    return rbm


def step(rbm, x, epoch=0):
    rbm.progress = epoch / 10
    rbm.minibatch_step(Batch(x, None), None)


def hand_written(x, W, b, a, velocity, rate, momentum, decay, mean_field):
    """One update of CD-1 as it is printed, the draws in the same order."""
    h0 = torch.sigmoid(x @ W + b)
    v1 = torch.sigmoid(kernels.bernoulli(h0) @ W.t() + a)
    v1 = v1 if mean_field else kernels.bernoulli(v1)
    h1 = torch.sigmoid(v1 @ W + b)
    n = len(x)
    dW, db, da = velocity
    dW = momentum * dW + (x.t() @ h0 - v1.t() @ h1) / n - decay * W
    db = momentum * db + (h0 - h1).mean(0)
    da = momentum * da + (x - v1).mean(0)
    return (W + rate * dW, b + rate * db, a + rate * da), (dW, db, da)


@pytest.mark.parametrize("mean_field", [True, False])
def test_a_step_is_the_hand_written_rule(mean_field, monkeypatch):
    rbm = model(
        (6,),
        f"model.recipe.mean_field_visible={mean_field}",
        "model.recipe.weight_decay=0.1",
        "model.recipe.momentum_epochs=2",
    )
    x = torch.rand(20, 6)
    parameters = tuple(p.detach().clone() for p in (rbm.W, rbm.b_hidden, rbm.b_visible))
    velocity = tuple(torch.zeros_like(p) for p in parameters)
    for epoch in range(4):
        monkeypatch.setattr(RBM, "current_epoch", epoch)
        torch.manual_seed(epoch)
        step(rbm, x, epoch)
        torch.manual_seed(epoch)
        momentum = 0.5 if epoch < 2 else 0.9
        rate = 0.1 * (1 - epoch / 10)
        parameters, velocity = hand_written(x, *parameters, velocity, rate, momentum, 0.1, mean_field)
    for ours, theirs in zip((rbm.W, rbm.b_hidden, rbm.b_visible), parameters):
        torch.testing.assert_close(ours.detach(), theirs)


@pytest.mark.skipif(not (kernels.ONEDNN or kernels.FUSED), reason="this torch has no fast path to compare")
@pytest.mark.parametrize("recipe", ["h06", "pcd", "guide2010"])
def test_the_fast_path_gives_the_plain_one_s_result(recipe, monkeypatch):
    def trained():
        torch.manual_seed(3)
        rbm = model((40,), f"model/recipe={recipe}", "model.n_hidden=30")
        for _ in range(5):
            step(rbm, torch.rand(50, 40))
        return rbm.state_dict()

    monkeypatch.setenv("AELAB_KERNELS", "onednn")
    fast = trained()
    monkeypatch.setenv("AELAB_KERNELS", "torch")
    monkeypatch.setattr(kernels, "FUSED", False)
    for name, plain in trained().items():
        torch.testing.assert_close(fast[name], plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recipe", ["h06", "pcd", "guide2010", "pcd temperatures=3", "pcd fast_rate=0.1"])
def test_a_killed_run_resumes_bit_for_bit(recipe, tmp_path, monkeypatch):
    recipe, *more = recipe.split()
    overrides = [f"model/recipe={recipe}", *(f"model.recipe.{setting}" for setting in more)]
    overrides += ["train.epochs=4", "model.recipe.momentum_epochs=1"]
    monkeypatch.setattr("aelab.results.figures.run_figures", lambda *_: {})
    metrics, weights = run(tmp_path / "whole", *overrides)

    def killed(self):
        if self.current_epoch == 2:
            raise KeyboardInterrupt
        start(self)

    start = RBM.on_train_epoch_start
    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
        patch.setattr(RBM, "on_train_epoch_start", killed)
        run(tmp_path / "killed", *overrides)
    assert read_checkpoint(tmp_path / "killed", "last", "test")["epoch"] == 1
    resumed = composed(*overrides, f"resume={tmp_path / 'killed'}")
    assert train(resumed, tmp_path / "killed", "aelab") == metrics
    again = read_checkpoint(tmp_path / "killed", "last", "test")["state_dict"]
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert ("chains" in weights) == (recipe == "pcd")


RECIPE = {  # every key of the rule, and what else must be said for it to matter
    "steps=2": [], "persistent=true": [], "n_chains=7": ["persistent=true"],
    "temperatures=3": ["persistent=true", "mean_field_visible=false"], "fast_rate=0.1": ["persistent=true"],
    "fast_decay=0.5": ["persistent=true", "fast_rate=0.1"], "mean_field_visible=false": [],
    "learning_rate=0.2": [], "momentum_start=0.1": [], "momentum=0.1": ["momentum_epochs=0"], "momentum_epochs=0": [],
    "weight_decay=0.01": [], "sparsity_target=0.3": ["sparsity_cost=0.1"], "sparsity_cost=0.1": [], "centring=true": [],
    "averaging=0.5": ["centring=true"], "weight_std=0.2": [], "bias_start=data": [],
}  # fmt: skip
KEYS = {"n_hidden=13": [], "visible=gaussian": [], "hidden=relu": [], "learn_variance=true": ["visible=gaussian"]}
KEYS |= {f"recipe.{key}": [f"recipe.{other}" for other in others] for key, others in RECIPE.items()}


def test_every_key_is_tried():
    machine = composed().model
    known = {*machine, *(f"recipe.{key}" for key in machine.recipe)}
    assert {key.split("=")[0] for key in KEYS} == {key for key in known if "_target_" not in key} - {"recipe"}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_changes_what_is_learned(key):
    def learned(*overrides):
        torch.manual_seed(0)
        rbm = model((6,), *overrides)
        rbm.initialize_from(data)
        for batch in data.train.x.split(10):
            step(rbm, batch)
        return rbm.W.detach(), rbm.b_hidden.detach(), rbm.b_visible.detach()

    x = torch.rand(40, 6)
    data = Data(
        Arrays(x, None, x, None, (6,), True), name="noise", root=None, cache="", download=False, validation=1,
        train_size=None, labelled=None, binarize="none", shift=0, mirror="none", rotate=0.0, zoom=0.0, mix=0.0, seed=0,
        batch_size=20, below=[],
    )  # fmt: skip
    given = [f"model.{other}" for other in KEYS[key]]
    pairs = zip(learned(*given), learned(*given, f"model.{key}"))
    assert any(before.shape != after.shape or not torch.equal(before, after) for before, after in pairs)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["model.n_hidden=0"], "model.n_hidden"),
        (["model.recipe.learning_rate=0"], "model.recipe.learning_rate"),
        (["model.recipe.momentum=1.0"], "model.recipe.momentum"),
        (["model.recipe.sparsity_target=1.0"], "model.recipe.sparsity_target"),
        (["model.recipe.sparsity_cost=0.1", "model.hidden=gaussian"], "model.recipe.sparsity_cost"),
        (["model.learn_variance=true"], "model.learn_variance"),
        (["model.visible=poisson"], "model.visible"),
    ],
)
def test_values_that_make_no_sense_are_refused(overrides, key):
    with pytest.raises(UserError, match=key):
        model((6,), *overrides)


class RealData:
    unit_interval, below, name, complete = False, [], "faces", True


def test_real_values_under_bernoulli_units_are_refused():
    with pytest.raises(UserError, match=r"model\.visible: .*faces.*gaussian"):
        model().initialize_from(RealData())
    data = RealData()
    data.below = [Layer(torch.zeros(4, 6), torch.zeros(6), torch.zeros(4), "relu", "bernoulli")]
    with pytest.raises(UserError, match=r"model\.visible: .*relu"):
        model().initialize_from(data)
    data.below, data.train = [], Batch(torch.randn(9, 6), None)
    with pytest.raises(UserError, match=r"model\.visible: relu .*faces.*gaussian"):
        model((6,), "model.visible=relu").initialize_from(data)


@pytest.mark.parametrize("rate", [100, 1e30])
def test_exploding_weights_stop_the_run_and_the_last_good_checkpoint_stays(rate, tmp_path, monkeypatch):
    monkeypatch.setattr(RBM, "rate", lambda self: 0.1 if self.current_epoch == 0 else rate)
    with pytest.raises(UserError, match=r"model\.recipe\.learning_rate: the weights exploded in epoch \d+.*last good"):
        run(tmp_path / "run", "train.epochs=6")
    weights = read_checkpoint(tmp_path / "run", "last", "test")["state_dict"]
    assert all(bool(weight.isfinite().all()) for weight in weights.values())
    assert len(read_history(tmp_path / "run")["epoch"]) >= 1


VARIANCE = ["model.visible=gaussian", "model.learn_variance=true", "model.recipe.learning_rate=0.003"]


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["model.recipe.centring=true"],
        ["model.recipe.mean_field_visible=false"],
        ["model.recipe.mean_field_visible=false", "model.recipe.persistent=true"],
    ],
    ids=" ".join,
)
def test_a_learned_variance_ends_at_a_density_and_not_far_from_the_data(more):
    """On whitened points every recipe stays near N(0, I), as which it starts: CD climbs no likelihood exactly."""
    x = swiss_roll(1000, 200, 0.0, 0)
    cfg = composed(*VARIANCE, *more, "train.epochs=25", "model.n_hidden=16", "data.train_size=null")
    rbm = fitted(cfg, x)
    prior = -0.5 * (x.test_x.square().sum(1).mean() + 3 * math.log(2 * math.pi))
    assert float(log_likelihood_exact(x.test_x, rbm.layer()).mean()) > float(prior) - 0.3
    assert float(rbm.log_var_visible.exp().min()) > 0.01 and float(rbm.log_var_visible.max()) <= 0.01


def test_a_variance_is_not_learned_from_persistent_chains_of_means():
    with pytest.raises(UserError, match=r"^model\.learn_variance: .*model\.recipe\.mean_field_visible=false"):
        model((6,), *VARIANCE, "model.recipe.persistent=true")


def test_a_learned_variance_stays_above_its_floor_where_the_data_never_vary():
    x = torch.randn(400, 64)
    x[:, :5] = torch.tensor([0.0, 1.0, -3.0, 100.0, 1e-4])
    data = Arrays(x[20:], None, x[:20], None, (64,), False)
    rbm = fitted(composed(*VARIANCE, "model.recipe.bias_start=data", "train.epochs=60", "data.train_size=null"), data)
    variance = rbm.log_var_visible.exp()
    assert float(variance[:5].max()) < 0.5 and float(variance.min()) >= 0.00099
    assert rbm.W.isfinite().all() and float(rbm.trainer.callback_metrics["val/loss"]) < 100


def test_what_a_run_leaves(tmp_path):
    metrics, weights = run(tmp_path / "run", "train.epochs=2", "data.binarize=bernoulli")
    assert metrics == read_json(tmp_path / "run" / "metrics.json")
    watched = "train/free_energy val/free_energy val/free_energy_gap val/pseudo_log_likelihood val/hidden_activity"
    watched += " train/weight_norm train/update_norm train/update_ratio val/reconstruction val/squared_error train/loss"
    assert set(watched.split()) | {"test/log_likelihood"} <= metrics.keys()
    assert {"fantasies.png", "hidden_activity.png", "encoder_filters.png"} <= {
        path.name for path in (tmp_path / "run" / "figures").iterdir()
    }
    layer = read_layers(tmp_path / "run", "test")[0]
    assert torch.equal(layer.W, weights["W"])
    x = torch.rand(5, 64)
    rbm = load(tmp_path / "run")
    assert torch.equal(rbm.encode(x), mean_h_given_v(x, layer))
    torch.testing.assert_close(rbm.reconstruct(x), torch.sigmoid(rbm.encode(x) @ layer.W.t() + layer.b_visible))


def test_learned_variances_enter_the_likelihood():
    rbm = model((6,), "model.visible=gaussian", "model.learn_variance=true")
    x, mean = torch.randn(9, 6), torch.randn(9, 6)
    rbm.log_var_visible.data.normal_()
    expected = -torch.distributions.Normal(mean, (rbm.log_var_visible / 2).exp()).log_prob(x).sum(-1).mean()
    torch.testing.assert_close(rbm.negative_log_likelihood(mean, x), expected)


def test_monitors():
    rbm = model((6,)).layer()
    train_x, val_x = torch.rand(30, 6), torch.rand(20, 6)
    metrics = energies(rbm, train_x, val_x)
    gap = free_energy(val_x, rbm).mean() - free_energy(train_x, rbm).mean()
    torch.testing.assert_close(metrics["val/free_energy_gap"], gap)
    torch.testing.assert_close(unit_activity(rbm, val_x), torch.sigmoid(val_x @ rbm.W + rbm.b_hidden).mean(0))
    sizes = step_sizes(torch.full((3, 3), 2.0), torch.full((3, 3), 0.01))
    assert [float(v) for v in sizes.values()] == pytest.approx([6, 0.03, 0.005])
    assert "val/pseudo_log_likelihood" not in energies(rbm._replace(visible="gaussian"), train_x, val_x)


def test_fantasies_forget_where_they_began():
    """Strong visible biases and no weights: after one step every chain shows the biases' means."""
    bias = torch.tensor([3.0, -3, 0, 1])
    rbm = Layer(torch.zeros(4, 2), torch.zeros(2), bias, "bernoulli", "bernoulli")
    rows = fantasies(rbm, torch.rand(5, 4))
    assert list(rows)[:2] == ["test", "test, step 1"]
    for name, means in rows.items():
        if "step" in name:
            torch.testing.assert_close(means, bias.sigmoid().expand(5, -1))


def test_gradients_have_the_parameters_shapes():
    """What is averaged over devices in one message is cut back into the same pieces."""
    rbm = model((6,), "model.visible=gaussian", "model.learn_variance=true")

    class TwoEqualDevices:
        world_size = 2
        strategy = type("Strategy", (), {"reduce": staticmethod(lambda flat, reduce_op: flat)})

    rbm._trainer = TwoEqualDevices()
    gradient = Gradient(torch.randn(6, 12), torch.randn(12), torch.randn(6), torch.randn(6))
    assert all(torch.equal(a, b) for a, b in zip(rbm.over_devices(gradient), gradient))


@pytest.mark.parametrize("temperatures", [1, 6])
def test_tempered_chains_leave_their_modes(temperatures):
    """All chains begin with every unit off; five sixths of the mass has them on, behind a wall of unlikely states."""
    torch.manual_seed(0)
    keys = {"model/recipe": "pcd", "model.recipe.temperatures": temperatures, "model.recipe.n_chains": 50}
    rbm = model((12,), *(f"{key}={value}" for key, value in keys.items()), "model.n_hidden=2")
    for ours, theirs in zip((rbm.W, rbm.b_hidden, rbm.b_visible), two_modes()):
        ours.data.copy_(theirs)
    rbm.mean_visible.fill_(0.5)
    for _ in range(60):
        v_model = rbm.phases(torch.zeros(5, 12)).v_model
    on = (v_model.mean(1) > 0.5).float().mean()
    assert v_model.shape == (50, 12) and (on > 0.6 if temperatures > 1 else on < 0.1)


def test_fast_weights_fade_and_leave_no_trace_in_the_machine():
    """One update is plain PCD's, for the chains have none yet; then they drive the chains, and are not handed on."""
    torch.manual_seed(0)
    x, machines = torch.rand(20, 6).round(), []
    for rate in (0.0, 0.3):
        torch.manual_seed(1)
        rbm = model((6,), "model/recipe=pcd", f"model.recipe.fast_rate={rate}")
        torch.manual_seed(2)
        step(rbm, x)
        machines.append(rbm)
    plain, fast = machines
    assert torch.equal(plain.W, fast.W) and fast.fast_W.abs().max() > 0
    before = fast.fast_W.clone()
    v = fast.phases(x)
    assert v.v_model.shape == fast.chains.shape and torch.equal(fast.fast_W, before)
    torch.testing.assert_close(fast.layer().W, plain.layer().W)
