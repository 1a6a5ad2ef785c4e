"""Chains in a multirun and on several devices: pretraining is done once, whoever asks for it and how many at a time."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import aelab, composed
from omegaconf import OmegaConf
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
    "launcher, module, options",
    [
        ("joblib", "joblib_launcher", ["hydra.launcher.n_jobs=2"]),
        ("submitit_local", "submitit_launcher", ["hydra.launcher.timeout_min=5"]),
        ("ray", "ray_launcher", ["+hydra.launcher.ray.init.include_dashboard=false"]),
    ],
)
def test_parallel_jobs_that_want_one_stage_at_once_run_it_once(tmp_path, launcher, module, options):
    if importlib.util.find_spec(f"hydra_plugins.hydra_{module}") is None:
        pytest.skip(f"hydra-{module.replace('_', '-')} is not installed")
    overrides = [*TINY, "chain.finetune.optimizer.lr=0.001,0.01", f"chain.store={tmp_path / 'store'}"]
    command = ["-m", f"hydra/launcher={launcher}", *options, *overrides, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    done = subprocess.run(
        [sys.executable, "-m", "aelab.app", *command], capture_output=True, text=True, cwd=tmp_path, timeout=500
    )

    assert done.returncode == 0, done.stderr
    assert times_run(tmp_path / "sweep") == {"rbm1": 1, "rbm2": 1, "finetune": 2}


TWO = ("hardware.devices=2", "hardware.strategy=ddp")


def test_two_devices_fine_tune_as_one_does(capsys, tmp_path):
    """The stages run in processes of their own; two halves of a minibatch give the step that the whole of it gives."""
    chain = run_tiny(capsys, tmp_path, *TWO, "chain.widths=[3]")

    assert chain.outcome.status == 0, chain.outcome.error
    assert chain.found() == {"rbm1": False, "finetune": False}
    one = aelab(
        capsys, *TINY[1:6], "model=deep_autoencoder", f"below={chain.stage('rbm1')}", "optimizer=adam",
        "optimizer.lr=0.002", "schedule=one_cycle", "train.epochs=2", "train.batch_size=20",
        f"hydra.run.dir={tmp_path / 'one'}",
    )  # fmt: skip
    assert one.status == 0, one.error
    theirs, layers = weights(tmp_path / "one"), run_folder.read_layers(chain.stage("rbm1"), "below")
    for name, value in weights(chain.stage("finetune")).items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(load(chain.folder).encoder[0].weight, layers[0].W.t(), atol=1e-4), "nothing moved"
    assert run_tiny(capsys, tmp_path, *TWO, "chain.widths=[3]").found() == {"rbm1": True, "finetune": True}


EACH_RANK = """
import sys
from pathlib import Path
import torch
from aelab.runs import train
from aelab.runs.progress import Told

def leave_weights(self, trainer, model):
    torch.save(model.state_dict(), Path(sys.argv[1]) / f"rank{trainer.global_rank}.pt")

Told.on_train_end = leave_weights
train.main()
"""


def test_the_ranks_of_a_machine_agree_on_its_weights(tmp_path):
    """Each rank draws its own units from its own samples: only the gradients' mean over both keeps them together."""
    script, folder = tmp_path / "each_rank.py", tmp_path / "run"
    script.write_text(EACH_RANK)
    cfg = composed(
        "model=rbm", "model/recipe=pcd", "model.n_hidden=5", "model.recipe.momentum=0.5", "schedule=constant",
        "logger=csv", "data.train_size=60", "data.validation=20", "train.batch_size=20", "train.epochs=2", *TWO,
    )  # fmt: skip
    folder.mkdir()
    files.write_text(tmp_path / "asked.yaml", OmegaConf.to_yaml(cfg))

    line = [sys.executable, script, folder, tmp_path / "asked.yaml", "aelab"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)

    assert done.returncode == 0, done.stderr
    ranks = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name in ("W", "b_hidden", "b_visible", "velocity_W"):
        assert torch.equal(ranks[0][name], ranks[1][name]), name
    assert (folder / "metrics.json").exists()
