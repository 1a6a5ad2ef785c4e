"""Killed at any moment and resumed by the command, a run ends as an unbroken one does, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import CONF, OPTIONS, command, made_layers, small
from helpers import aelab as aelab_command
from omegaconf import OmegaConf

import aelab.runs.checkpoint
import aelab.runs.train
from aelab import files
from aelab.config.build import made_from_layers
from aelab.models.base import Model
from aelab.runs import folder as run_folder

EPOCHS = 4
PATIENT = ("callbacks=early_stopping", "callbacks.early_stopping.patience=2")
RANDOM = (  # every source of randomness and every state that there is at once
    "corruption=masking", "corruption.fraction=0.3", "corruption.final=0.6", "data.binarize=bernoulli", "data.shift=1",
    "optimizer=adam", "schedule=one_cycle", "train.clip=1",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """Pictures take most of a short run's time and are not compared here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aelab.results.figures.run_figures", lambda *_: {})
        yield


def killed(cfg, folder: Path, patch) -> None:
    """Run ``cfg`` in a fork of this process that ``patch()`` makes kill itself, by a signal that nothing can catch."""
    child = os.fork()
    if child == 0:
        try:
            patch()
            aelab.runs.train.run(cfg, folder, "aelab")
        finally:
            os._exit(1)  # it should not have come here
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(owner, name: str, number: int, after: bool = False):
    """A patch: the process dies at the ``number``-th call of ``owner.name``, before it or after it."""
    original, calls = getattr(owner, name), []

    def patched(*args, **kwargs):
        calls.append(args)
        if len(calls) == number and not after:
            die()
        result = original(*args, **kwargs)
        if len(calls) == number:
            die()
        return result

    return lambda: setattr(owner, name, patched)


def results(folder: Path) -> dict:
    """What has to be the same: weights, states of optimiser and callbacks, figures of merit, history."""
    checkpoints = [torch.load(folder / f"{name}.ckpt", weights_only=True) for name in ("last", "best")]
    for checkpoint in checkpoints:
        for callback, state in checkpoint["callbacks"].items():
            if callback.startswith("Clock"):
                state.clear()
    kept = [{k: c[k] for k in ("state_dict", "optimizer_states", "callbacks", "epoch")} for c in checkpoints]
    return {
        "checkpoints": kept,
        "metrics": (folder / "metrics.json").read_bytes(),
        "history": (folder / "history.csv").read_bytes(),
    }


def assert_same(a, b, where: str = "") -> None:
    """Equal to the last bit, tensors too."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f"{where}/{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


@pytest.fixture(scope="module")
def unbroken(made_data, tmp_path_factory):
    """The run that the others have to equal."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    aelab.runs.train.run(small(*RANDOM, epochs=EPOCHS), folder, "aelab")
    return results(folder)


# three minibatches and three files an epoch: best.ckpt, history.csv, last.ckpt
MOMENTS = {
    "in the second epoch": at_call(Model, "minibatch_step", 5),
    "in the last epoch": at_call(Model, "minibatch_step", 3 * EPOCHS),
    "while a checkpoint is written": at_call(torch, "save", 2, after=True),
    "before best.ckpt has its name": at_call(aelab.runs.checkpoint.os, "link", 2),
    "after best.ckpt": at_call(aelab.runs.checkpoint.os, "link", 2, after=True),
    "before history.csv": at_call(aelab.runs.checkpoint, "write_history", 2),
    "after history.csv of the last epoch": at_call(aelab.runs.checkpoint, "write_history", EPOCHS, after=True),
    "when training is over": at_call(aelab.runs.train, "measure_and_draw", 1),
    "before metrics.json": at_call(files, "write_json", 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_and_resumed_is_unbroken(moment, unbroken, made_data, tmp_path, capsys):
    folder = tmp_path / "run"
    killed(small(*RANDOM, epochs=EPOCHS), folder, MOMENTS[moment])
    assert not (folder / "metrics.json").exists()
    outcome = aelab_command(capsys, f"resume={folder}")
    assert outcome.status == 0, outcome.error
    assert_same(results(folder), unbroken)
    assert not list(folder.rglob(".*.part"))


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.startswith(("model=", "optimizer=", "corruption="))])
def test_every_model_optimizer_and_corruption_resumes(option, made_data, tmp_path, capsys):
    cfg = small(option, epochs=3)
    if made_from_layers(cfg.model):
        cfg.below = str(made_layers(tmp_path / "below"))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    aelab.runs.train.run(cfg, whole, command(option))
    killed(cfg, broken, at_call(aelab.runs.checkpoint, "write_history", 3))
    assert len(run_folder.read_history(broken)["epoch"]) == 2
    assert aelab_command(capsys, f"resume={broken}").status == 0
    assert_same(results(broken), results(whole))


def test_early_stopping_is_part_of_the_state(made_data, tmp_path, capsys):
    """A rate of 0 makes no progress: with a patience of 2 the run ends after three epochs, resumed or not."""
    cfg = small("optimizer.lr=1e-30", *PATIENT, epochs=6)
    whole = tmp_path / "whole"
    aelab.runs.train.run(cfg, whole, "aelab")
    assert run_folder.read_history(whole)["epoch"] == [0, 1, 2]
    moments = at_call(Model, "minibatch_step", 7), at_call(aelab.runs.train, "measure_and_draw", 1)
    for number, moment in enumerate(moments):
        broken = tmp_path / f"broken{number}"
        killed(cfg, broken, moment)
        assert aelab_command(capsys, f"resume={broken}").status == 0
        assert_same(results(broken), results(whole))


def test_more_patience_lets_a_stopped_run_go_on(made_data, tmp_path, capsys):
    folder = tmp_path / "run"
    aelab.runs.train.run(small("optimizer.lr=1e-30", *PATIENT, epochs=6), folder, "aelab")
    assert (
        aelab_command(
            capsys, f"resume={folder}", "callbacks=early_stopping", "callbacks.early_stopping.patience=4"
        ).status
        == 0
    )
    assert run_folder.read_history(folder)["epoch"] == [0, 1, 2, 3, 4]


def test_a_finished_run_goes_on_for_more_epochs(made_data, tmp_path, capsys):
    """With a constant rate, two epochs and then two more are four."""
    overrides = (*RANDOM, "schedule=constant", "corruption.final=null")
    short, long = tmp_path / "short", tmp_path / "long"
    aelab.runs.train.run(small(*overrides, epochs=2), short, "aelab")
    aelab.runs.train.run(small(*overrides, epochs=4), long, "aelab")
    assert aelab_command(capsys, f"resume={short}", "train.epochs=4").status == 0
    assert run_folder.read_config(short).train.epochs == 4
    assert run_folder.read_config(short).resume is None
    assert_same(results(short), results(long))


def test_the_command_that_began_a_run_may_be_said_again(tmp_path, capsys):
    """As a cluster does that starts a job once more; only another value is refused."""
    began = ("model=vae", "model.n_code=3", "data.train_size=40", "train.batch_size=10", "logger=csv")
    assert aelab_command(capsys, *began, "train.epochs=1", f"hydra.run.dir={tmp_path / 'run'}").status == 0
    again = aelab_command(capsys, *began, "train.epochs=2", f"resume={tmp_path / 'run'}")
    assert again.status == 0, again.error
    assert run_folder.read_history(tmp_path / "run")["epoch"] == [0, 1]
    for changed in (["model.n_code=4"], ["model=vae"], ["data.train_size=41"]):
        other = aelab_command(capsys, *changed, "train.epochs=3", f"resume={tmp_path / 'run'}")
        assert other.status == 1 and "cannot change when a run is resumed" in other.error[-1]


@pytest.mark.parametrize(
    "key", ["score", "score.by", "figures.dpi", "sample.steps", "evaluate.nll_samples", "hardware.threads"]
)
def test_a_run_from_before_there_was_a_key_goes_on_with_its_default(key, made_data, tmp_path, capsys):
    folder = tmp_path / "run"
    aelab.runs.train.run(small(epochs=1), folder, "aelab")
    cfg = run_folder.read_config(folder)
    *path, last = key.split(".")
    node = OmegaConf.select(cfg, ".".join(path)) if path else cfg
    del node[last]
    run_folder.begin(folder, OmegaConf.to_yaml(cfg))
    assert aelab_command(capsys, f"resume={folder}", "train.epochs=2").status == 0
    assert OmegaConf.select(run_folder.read_config(folder), key) == OmegaConf.select(small(), key)


@pytest.mark.parametrize("option", ["model=autoencoder", "model=rbm", "model=deep_belief_network"])
def test_a_run_of_no_epochs_is_loaded_and_goes_on_as_if_it_had_been_asked_for_more(option, made_data, tmp_path, capsys):
    """As the network of ``chain=deep_belief_network``, which is its layers unless it is fine-tuned."""
    short, whole = tmp_path / "short", tmp_path / "whole"
    layers = [f"below={made_layers(tmp_path / 'below')}"] if option == "model=deep_belief_network" else []
    aelab.runs.train.run(small(option, *layers, epochs=0), short, "aelab")
    aelab.runs.train.run(small(option, *layers, epochs=2), whole, "aelab")
    for weights in ("last", "best"):
        assert run_folder.load(short, weights).encode(torch.rand(3, 64)).shape[0] == 3
    assert aelab_command(capsys, f"resume={short}").status == 0
    assert not run_folder.read_history(short)
    assert aelab_command(capsys, f"resume={short}", "train.epochs=2").status == 0
    assert_same(results(short), results(whole))


def test_the_command_killed_from_outside(made_data, tmp_path, capsys):
    """The real command in a process of its own, killed at whatever moment it is at after its second epoch."""
    overrides = (*RANDOM, "model.network.widths=[8]", "model.n_code=2", "data.train_size=200", "logger=csv")
    length = ("train.batch_size=8", "train.epochs=60")
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    line = [sys.executable, "-m", "aelab.app", *overrides, *length, f"hydra.run.dir={broken}"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=CONF.parent)
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        history = broken / "history.csv"
        if history.exists() and len(history.read_text().splitlines()) > 2:
            break
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (broken / "metrics.json").exists()
    assert aelab_command(capsys, f"resume={broken}").status == 0
    assert aelab_command(capsys, *overrides, *length, f"hydra.run.dir={whole}").status == 0
    assert_same(results(broken), results(whole))
