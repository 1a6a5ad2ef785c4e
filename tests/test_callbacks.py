"""Lightning's callbacks do in a run what their documentation says, chosen as a config group; updates are the steps."""

import re

import pytest
import torch
from helpers import aelab as command_line
from helpers import command, made_layers, small
from pytorch_lightning.callbacks import Callback
from test_resume import assert_same, results

import aelab
from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs.train import run

STEPS = 3  # updates of an epoch of ``small``: 48 samples in batches of 16
MODELS = ("autoencoder", "rbm", "vae", "top_k", "deep_autoencoder", "classifier", "deep_belief_network")
SEEN: list = []


class Ear(Callback):
    """Notes what each hook round and within an update is given."""

    def on_train_batch_start(self, trainer, model, batch, index):
        SEEN.append(("start", trainer.global_step, index, tuple(batch.x.shape)))

    def on_train_batch_end(self, trainer, model, outputs, batch, index):
        SEEN.append(("end", trainer.global_step, index, outputs))

    def on_before_zero_grad(self, trainer, model, optimizer):
        SEEN.append(("zero_grad", trainer.global_step))

    def on_before_backward(self, trainer, model, loss):
        SEEN.append(("before_backward", float(loss.detach())))

    def on_after_backward(self, trainer, model):
        SEEN.append(("after_backward", sum(p.grad is not None for p in model.parameters())))

    def on_before_optimizer_step(self, trainer, model, optimizer):
        self.log("gradient", sum(p.grad.norm() for p in model.parameters()))
        SEEN.append(("optimizer_step", optimizer.param_groups[0]["lr"]))


class Updates(Callback):
    def on_train_epoch_end(self, trainer, model):
        self.log("updates", float(trainer.global_step))


class Judge(Callback):
    """Notes what validation came to, when it has just ended."""

    def on_validation_end(self, trainer, model):
        SEEN.append({name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")})


@pytest.fixture(autouse=True)
def _ours(monkeypatch):
    """Pictures take most of a short run's time."""
    monkeypatch.setattr("aelab.results.figures.run_figures", lambda *_: {})
    SEEN.clear()


def config(folder, *overrides, epochs=2):
    cfg = small("evaluate.probe=null", "evaluate.knn=null", *overrides, epochs=epochs)
    if any(f"model={name}" in overrides for name in ("deep_autoencoder", "classifier", "deep_belief_network")):
        cfg.below = str(folder / "below" if (folder / "below").exists() else made_layers(folder / "below"))
    return cfg


def mine(name: str) -> str:
    return f"+callbacks.mine._target_=test_callbacks.{name}"


@pytest.mark.parametrize("model", MODELS)
def test_the_global_step_counts_updates_and_who_listens_changes_nothing(model, tmp_path):
    run(config(tmp_path, f"model={model}", "data.shift=1", "corruption=masking"), tmp_path / "plain", command())
    cfg = config(tmp_path, f"model={model}", "data.shift=1", "corruption=masking", mine("Ear"))
    run(cfg, tmp_path / "heard", command())

    plain, heard = (run_folder.read_checkpoint(tmp_path / name, "last", "test") for name in ("plain", "heard"))
    assert plain["global_step"] == heard["global_step"] == 2 * STEPS
    assert_same(plain["state_dict"], heard["state_dict"])
    ends = [entry for entry in SEEN if entry[0] == "end"]
    assert [(step, index) for _, step, index, _ in ends] == [(n + 1, n % STEPS) for n in range(2 * STEPS)]
    assert [entry[1:3] for entry in SEEN if entry[0] == "start"] == [(n, n % STEPS) for n in range(2 * STEPS)]


def test_the_hooks_of_an_update_come_in_order_with_what_they_document(tmp_path):
    run(config(tmp_path, mine("Ear"), epochs=1), tmp_path / "run", command())
    order = ["start", "zero_grad", "before_backward", "after_backward", "optimizer_step", "end"]
    assert [entry[0] for entry in SEEN] == order * STEPS
    of = {name: [entry for entry in SEEN if entry[0] == name] for name in order}
    assert of["start"][0][3] == (16, 64)
    assert [e[3]["loss"] for e in of["end"]] == pytest.approx([e[1] for e in of["before_backward"]])
    assert len({entry[1] for entry in of["optimizer_step"]}) == STEPS, "one_cycle changes the rate at each"
    (gradient,) = run_folder.read_history(tmp_path / "run")["gradient"]
    assert gradient > 0, "self.log reaches the history"


def test_a_callback_sees_the_validation_of_its_own_epoch_as_the_history_has_it(tmp_path):
    run(config(tmp_path, mine("Judge"), epochs=3), tmp_path / "run", command())
    history = run_folder.read_history(tmp_path / "run")
    validated = {name: values for name, values in history.items() if name.startswith("val/")}
    assert len({seen["val/loss"] for seen in SEEN}) == 3, "each epoch's own"
    assert {name: [seen[name] for seen in SEEN] for name in validated} == validated


@pytest.mark.parametrize("model", ["autoencoder", "rbm"])
def test_checkpoints_are_saved_at_the_right_updates(model, tmp_path):
    cfg = config(tmp_path, f"model={model}", "callbacks=checkpoints", "callbacks.checkpoints.every_n_train_steps=2")
    run(cfg, tmp_path / "run", command())
    saved = {p.stem: torch.load(p, weights_only=True) for p in (tmp_path / "run" / "checkpoints").glob("*.ckpt")}
    assert {name: saved[name]["global_step"] for name in saved} == {"step-2": 2, "step-4": 4, "step-6": 6}
    last = run_folder.read_checkpoint(tmp_path / "run", "last", "test")["state_dict"]
    assert_same(saved["step-6"]["state_dict"], last)
    weight = next(name for name in last if last[name].ndim == 2)
    assert not torch.equal(saved["step-2"]["state_dict"][weight], saved["step-4"]["state_dict"][weight])


def test_early_stopping_by_a_metric_that_is_not_there_is_one_line(tmp_path, capsys):
    """Of the validation set before anything is written, of training after the first epoch."""
    key, folder = "callbacks.early_stopping.monitor", tmp_path / "run"
    for name in ("val/los", "val_loss", "train/los"):
        words = ("callbacks=early_stopping", f"{key}={name}", "logger=csv", "train.epochs=1")
        outcome = command_line(capsys, *words, f"hydra.run.dir={folder}")
        assert outcome.status == 1 and len(outcome.error) == 1
        said = "callbacks: .*train/los" if name == "train/los" else f"{key}: this model logs no {name}; .* val/loss"
        assert re.match(f"aelab: {said}", outcome.error[0])
        assert (folder / "config.yaml").exists() == (name == "train/los")


def test_what_a_callback_can_do_without_is_not_missed(tmp_path, capsys):
    node = "{_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:val/mine,strict:false}"
    words = ("logger=csv", "train.epochs=1", f"+callbacks.mine={node}")
    assert command_line(capsys, *words, f"hydra.run.dir={tmp_path / 'run'}").status == 0


def test_a_timer_ends_a_run_that_then_goes_on(tmp_path, capsys):
    """At once, or at the end of an epoch; with more time, what follows are whole epochs."""
    for interval, updates in (("step", 1), ("epoch", STEPS)):
        folder = tmp_path / interval
        words = ["callbacks=timer", f"callbacks.timer.interval={interval}", "callbacks.timer.duration={seconds:1}"]
        cfg = config(tmp_path, *words, "schedule=constant", epochs=3)
        cfg.callbacks.timer.duration = {"microseconds": 1}
        with pytest.MonkeyPatch.context() as patch:  # time is up once training has begun, and not before
            patch.setattr("pytorch_lightning.callbacks.Timer.on_fit_start", lambda *_: None)
            run(cfg, folder, command())
        checkpoint = run_folder.read_checkpoint(folder, "last", "test")
        assert (checkpoint["epoch"], checkpoint["global_step"]) == (0, updates)
        assert command_line(capsys, f"resume={folder}", "callbacks=none").status == 0
        assert run_folder.read_history(folder)["epoch"] == [0, 1, 2]
        assert run_folder.read_checkpoint(folder, "last", "test")["global_step"] == updates + 2 * STEPS


def test_averaged_weights_are_what_is_kept_loaded_and_gone_on_from(tmp_path, capsys):
    """w̄ ← d w̄ + (1 − d) w after each update, from w̄ = w after the first."""
    words = ("callbacks=[weight_averaging,checkpoints]", "callbacks.checkpoints.every_n_train_steps=1")
    cfg = config(tmp_path, *words, "callbacks.weight_averaging.decay=0.8", "schedule=constant", epochs=2)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(cfg, whole, command())
    expected = None
    for step in range(1, 2 * STEPS + 1):
        saved = torch.load(whole / "checkpoints" / f"step-{step}.ckpt", weights_only=True)
        new = saved["current_model_state"]["encoder.0.weight"]
        expected = new if expected is None else 0.8 * expected + 0.2 * new
    model = aelab.load(whole).model
    torch.testing.assert_close(model.encoder[0].weight.detach(), expected)

    cfg.train.epochs = 1
    run(cfg, broken, command())
    assert command_line(capsys, f"resume={broken}", "train.epochs=2").status == 0
    states = [torch.load(f / "last.ckpt", weights_only=True) for f in (whole, broken)]
    for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
        assert_same(states[0][part], states[1][part])


def test_an_average_is_not_gone_on_from_as_if_it_had_been_trained(tmp_path, capsys):
    folder = tmp_path / "run"
    run(config(tmp_path, "callbacks=[weight_averaging]"), folder, command())
    before = (folder / "last.ckpt").read_bytes()
    outcome = command_line(capsys, f"resume={folder}", "train.epochs=9", "callbacks=none")
    assert outcome.status == 1 and "callbacks: " in outcome.error[-1] and "averages its weights" in outcome.error[-1]
    assert (folder / "last.ckpt").read_bytes() == before
    assert command_line(capsys, f"resume={folder}", "train.epochs=9").status == 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("option", ["weight_averaging", "checkpoints", "early_stopping", "timer"])
def test_every_model_takes_them(model, option, tmp_path):
    run(config(tmp_path, f"model={model}", f"callbacks={option}"), tmp_path / "run", command())
    assert aelab.load(tmp_path / "run") is not None


@pytest.mark.parametrize(
    "target", ["StochasticWeightAveraging", "GradientAccumulationScheduler", "LearningRateFinder", "BatchSizeFinder"]
)
def test_what_drives_automatic_optimisation_is_refused_before_training(target, tmp_path):
    needs = {"StochasticWeightAveraging": ["+callbacks.mine.swa_lrs=0.1"]}
    needs |= {"GradientAccumulationScheduler": ["+callbacks.mine.scheduling={4:2}"]}
    words = [f"+callbacks.mine._target_=pytorch_lightning.callbacks.{target}", *needs.get(target, [])]
    with pytest.raises(UserError, match=rf"^callbacks\.mine: {target} needs automatic optimisation"):
        run(config(tmp_path, *words), tmp_path / "run", command())
    assert not (tmp_path / "run" / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["callbacks=early_stopping", "callbacks.early_stopping.patience=0"], "patience: must be at least 1, got 0"),
        (["callbacks=timer", "callbacks.timer.duration=soon"], r"callbacks\.timer: .*'soon'.* is not a valid duration"),
        (
            ["callbacks=learning_rate", "logger=csv"],
            r"callbacks\.learning_rate: LearningRateMonitor writes to a logger, .* has none; take logger=wandb",
        ),
        (["+callbacks.mine._target_=torch.nn.Identity"], r"callbacks\.mine: Identity is no pytorch_lightning Callback"),
    ],
)
def test_what_cannot_be_is_one_line(words, says, tmp_path):
    with pytest.raises(UserError, match=says) as error:
        run(config(tmp_path, *words), tmp_path / "run", command())
    assert "\n" not in str(error.value)


def test_what_a_callback_logs_is_in_the_history_and_null_leaves_one_out(tmp_path):
    cfg = config(tmp_path, "callbacks=[early_stopping,timer]", mine("Updates"), "callbacks.timer=null")
    run(cfg, tmp_path / "run", command())
    assert run_folder.read_history(tmp_path / "run")["updates"] == [STEPS, 2 * STEPS]
    saved = run_folder.read_checkpoint(tmp_path / "run", "last", "test")["callbacks"]
    assert any(name.startswith("EarlyStopping") for name in saved) and "Timer" not in saved


def test_a_run_resumed_with_a_step_counting_callback_is_the_same_run(tmp_path, capsys):
    """The length of a chunk is no part of what is saved."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    random = ("corruption=masking", "data.shift=1", "schedule=constant")
    run(config(tmp_path, *random, epochs=4), whole, command())
    run(config(tmp_path, *random, epochs=2), broken, command())
    words = ("callbacks=checkpoints", "callbacks.checkpoints.every_n_train_steps=1")
    assert command_line(capsys, f"resume={broken}", "train.epochs=3", *words).status == 0
    assert len(list((broken / "checkpoints").glob("*.ckpt"))) == STEPS
    assert command_line(capsys, f"resume={broken}", "train.epochs=4", "callbacks=none").status == 0
    a, b = results(whole), results(broken)
    assert_same(a["history"], b["history"])
    assert_same(a["checkpoints"][0]["state_dict"], b["checkpoints"][0]["state_dict"])
