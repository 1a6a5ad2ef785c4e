"""Chains in a multirun and on several devices: pretraining is done once, whoever asks for it and how many at a time."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from helpers import aelab
from test_app import fresh
from tiny_chain import TINY, no_figures, run_tiny, weights  # noqa: F401 - a fixture

from aelab import files
from aelab.runs import folder as run_folder
from aelab.runs.folder import load

GRID = ("chain.finetune.optimizer.lr=0.001,0.01,0.1", "chain.finetune.train.batch_size=20,30")


def ran(sweep: Path) -> list[dict[str, bool]]:
    """Of each job, stage → whether this job ran it."""
    jobs = [json.loads((folder / "chain.json").read_text()) for folder in sorted(sweep.glob("[0-9]*"))]
    return [{name: not stage["found"] for name, stage in job["stages"].items()} for job in jobs]


def times_run(sweep: Path) -> dict[str, int]:
    jobs = ran(sweep)
    return {name: sum(job[name] for job in jobs) for name in jobs[0]}


@pytest.mark.usefixtures("no_figures")
def test_three_by_two_fine_tunings_share_one_pretraining(capsys, tmp_path):
    overrides = [*TINY, *GRID, f"chain.store={tmp_path / 'store'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    outcome = aelab(capsys, "-m", *overrides)

    assert outcome.status == 0, outcome.error
    assert times_run(tmp_path / "sweep") == {"rbm1": 1, "rbm2": 1, "finetune": 6}
    assert len([p for p in (tmp_path / "store").iterdir() if p.is_dir()]) == 2 + 6
    values = {(folder / "metrics.json").read_text() for folder in (tmp_path / "sweep").glob("[0-9]*")}
    assert len(values) == 6, "settings that reached no run"


@pytest.mark.parametrize(
    "launcher, module, options, rates",
    [
        ("joblib", "joblib_launcher", ["hydra.launcher.n_jobs=2"], ["0.001", "0.01"]),
        ("submitit_local", "submitit_launcher", ["hydra.launcher.timeout_min=5"], ["0.01"]),  # a process for each job
        ("ray", "ray_launcher", ["+hydra.launcher.ray.init.include_dashboard=false"], ["0.001", "0.01"]),
    ],
)
def test_parallel_jobs_that_want_one_stage_at_once_run_it_once(tmp_path, monkeypatch, launcher, module, options, rates):
    """The process that starts them, and draws the leaderboard, loads no PyTorch."""
    if importlib.util.find_spec(f"hydra_plugins.hydra_{module}") is None:
        pytest.skip(f"hydra-{module.replace('_', '-')} is not installed")
    overrides = [*TINY, f"chain.finetune.optimizer.lr={','.join(rates)}", f"chain.store={tmp_path / 'store'}"]
    command = ["-m", f"hydra/launcher={launcher}", *options, *overrides, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    monkeypatch.chdir(tmp_path)

    _, loaded = fresh(*command)

    assert "torch" not in loaded
    assert times_run(tmp_path / "sweep") == {"rbm1": 1, "rbm2": 1, "finetune": len(rates)}


def test_two_devices_fine_tune_as_one_does(capsys, tmp_path):
    """The stage runs in processes of its own; two halves of a minibatch give the step that the whole of it gives.

    So do those of the last minibatch: 60 samples leave 12.
    """
    devices = ("+chain.finetune.hardware.devices=2", "+chain.finetune.hardware.strategy=ddp")
    two = ("chain.widths=[3]", "chain.finetune.train.batch_size=16", *devices)
    chain = run_tiny(capsys, tmp_path, *two)

    assert chain.outcome.status == 0, chain.outcome.error
    assert chain.found() == {"rbm1": False, "finetune": False}
    one = aelab(
        capsys, *TINY[1:6], "model=deep_autoencoder", f"below={chain.stage('rbm1')}", "optimizer=adam",
        "optimizer.lr=0.002", "schedule=one_cycle", "train.epochs=2", "train.batch_size=16",
        f"hydra.run.dir={tmp_path / 'one'}",
    )  # fmt: skip
    assert one.status == 0, one.error
    assert_same_learning(tmp_path / "one", chain.stage("finetune"))
    theirs, layers = weights(tmp_path / "one"), run_folder.read_layers(chain.stage("rbm1"), "below")
    for name, value in weights(chain.stage("finetune")).items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(load(chain.folder).encoder[0].weight, layers[0].W.t(), atol=1e-4), "nothing moved"
    assert run_tiny(capsys, tmp_path, *two).found() == {"rbm1": True, "finetune": True}


def assert_same_learning(one, two):
    a, b = (files.read_json(folder / "metrics.json") for folder in (one, two))
    assert a == pytest.approx(b, rel=1e-4, abs=1e-4)
    a, b = (run_folder.read_history(folder) for folder in (one, two))
    assert a["train/loss"] == pytest.approx(b["train/loss"], rel=1e-5)
    assert a["val/loss"] == pytest.approx(b["val/loss"], rel=1e-5)
    assert (two / "figures" / "reconstructions.png").exists()
