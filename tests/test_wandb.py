"""Weights & Biases, read back from its offline files: everything is there, once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from helpers import aelab, small
from tiny_chain import run_tiny
from wandb_files import read

from aelab.errors import Pruned
from aelab.runs import checkpoint
from aelab.runs import folder as run_folder
from aelab.runs.train import run

COMMAND = "aelab seed=3 model.n_code=2"
OFFLINE = ("logger=wandb", "logger.mode=offline")
QUICK = ("evaluate.probe=null", "evaluate.knn=null")


def train(folder: Path, *overrides: str, epochs: int = 2) -> dict[str, float]:
    return run(small("logger=wandb", *QUICK, *overrides, epochs=epochs), folder, f"{COMMAND} logger.group='g'")


@pytest.fixture
def stops(monkeypatch):
    """``stops(epoch, error)``: the run raises ``error`` in that epoch."""

    def stop(epoch: int, error: BaseException) -> None:
        whole = checkpoint.EpochEnd.on_train_epoch_end

        def end(self, trainer, model):
            if trainer.current_epoch == epoch:
                raise error
            whole(self, trainer, model)

        monkeypatch.setattr(checkpoint.EpochEnd, "on_train_epoch_end", end)

    return stop


def test_a_run_is_there_once_and_without_noise(tmp_path, capfd):
    folder = tmp_path / "run"
    metrics = train(folder, "seed=3", "model.n_code=2", "logger.tags=[a,b]", "logger.group=g")

    (part,) = read(folder)
    assert part.run["run_id"] == (folder / "wandb-id").read_text()
    told = {key: part.run[key] for key in ("display_name", "project", "run_group", "job_type", "tags", "notes")}
    assert told == dict(
        display_name="run", project="aelab", run_group="g", job_type="train", tags=["a", "b"], notes=COMMAND
    )
    assert part.config["model.n_code"] == 2 and part.config["seed"] == 3
    assert part.config["parameters"] > 1000 and part.config["samples.test"] == 360
    assert part.config["model.kind"] == "Autoencoder" and part.config["optimizer.kind"] == "Adam"
    assert len(part.config["code.commit"]) == 40 and part.config["code.dirty"] in (True, False)
    assert not [k for k in part.config if "_target_" in k or k.startswith(("logger", "hydra", "chain", "task"))]

    history = run_folder.read_history(folder)
    assert part.epochs_of("val/loss") == part.epochs_of("train/loss") == [0, 1]
    for name, values in history.items():
        assert [row[name] for row in part.rows if "val/loss" in row] == pytest.approx(values)
    plain = {key for row in part.rows for key in row if not key.startswith(("_", "figures/"))}
    assert plain == set(history), "nothing but what history.csv has"
    figures = {f"figures/{path.stem}": 1 for path in (folder / "figures").glob("*.png")}
    assert part.pictures() == figures and len(figures) >= 4

    loss = history["val/loss"]
    assert part.summary["val/loss"] == {"min": pytest.approx(min(loss)), "last": pytest.approx(loss[-1])}
    assert {k: v for k, v in part.summary.items() if k.startswith("test/")} == {
        k: v for k, v in metrics.items() if k.startswith("test/")
    }
    assert part.summary["timing/train_seconds"] > 0
    assert part.exit_code == 0
    steps = {r["metric"].get("name"): r["metric"].get("step_metric") for r in part.records if r["type"] == "metric"}
    assert steps["val/loss"] == "epoch"
    assert "wandb" not in capfd.readouterr().err.replace(str(folder), "")


def test_looking_on_request_changes_no_result(tmp_path):
    asked = ("logger.pictures_every=1", "logger.histograms=true", "logger.watch=true", "logger.artifacts=true")
    plain = train(tmp_path / "plain", "model=vae", "evaluate.nll_samples=2", "logger=csv", epochs=3)
    looked = train(tmp_path / "looked", "model=vae", "evaluate.nll_samples=2", *asked, epochs=3)
    assert looked == plain
    for name in ("history.csv", "metrics.json"):
        assert (tmp_path / "looked" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()

    (part,) = read(tmp_path / "looked")
    pictures = part.pictures()
    assert pictures.pop("figures/samples_over_time") == 1, "it is about all epochs"
    assert set(pictures.values()) == {3}, "after epochs 1 and 2, and at the end"
    assert (tmp_path / "looked/figures/epoch-2/reconstructions.png").is_file()
    assert not (tmp_path / "looked/figures/epoch-3").exists()
    kinds = {key.removesuffix("._type") for row in part.rows for key, v in row.items() if v == "histogram"}
    for prefix in ("weights/encoder.", "gradients/encoder.", "code"):
        metric = next(kind for kind in kinds if kind.startswith(prefix))
        assert part.epochs_of(f"{metric}._type") == [0, 1, 2]
    (artifact,) = [r["artifact"] for r in part.records if r["type"] == "artifact"]
    assert {entry["path"] for entry in artifact["manifest"]["contents"]} == {"config.yaml", "last.ckpt", "best.ckpt"}
    assert artifact["type"] == "model"


def test_a_failed_run_is_shown_as_failed_and_the_next_is_its_own(tmp_path, stops, monkeypatch):
    with monkeypatch.context():
        stops(1, RuntimeError("the disk is on fire"))
        with pytest.raises(RuntimeError, match="on fire"):
            train(tmp_path / "failed")
        monkeypatch.undo()
    train(tmp_path / "next")

    (failed,), (following,) = read(tmp_path / "failed"), read(tmp_path / "next")
    assert failed.exit_code == 1 and failed.summary["ended"] == "the disk is on fire"
    assert following.exit_code == 0 and "ended" not in following.summary
    assert failed.run["run_id"] != following.run["run_id"]
    assert failed.epochs_of("val/loss") == [0] and following.epochs_of("val/loss") == [0, 1]


def test_a_pruned_trial_is_no_failure(tmp_path, stops):
    stops(1, Pruned("epoch 1: val/loss 9 is hopeless"))
    with pytest.raises(Pruned):
        train(tmp_path / "run", epochs=4)
    (part,) = read(tmp_path / "run")
    assert part.exit_code == 0 and part.summary["ended"] == "epoch 1: val/loss 9 is hopeless"


def test_a_run_killed_and_gone_on_with_tells_each_epoch_once(tmp_path, capsys):
    folder = tmp_path / "run"
    words = [*OFFLINE, *QUICK, "train.epochs=4000", "data.train_size=48", "data.validation=16", "train.batch_size=16"]
    program = [sys.executable, "-m", "aelab.app", *words, f"hydra.run.dir={folder}", "logger.watch=true"]
    own = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # not this process's wandb
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, env=own) as process:
        while process.poll() is None and len(history(folder)) < 4:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    reached = run_folder.read_checkpoint(folder, "last", "resume")["epoch"] + 1

    outcome = aelab(capsys, f"resume={folder}", f"train.epochs={reached + 2}")

    assert outcome.status == 0, outcome.error
    first, second = read(folder)
    assert first.run["run_id"] == second.run["run_id"]
    assert first.epochs_of("val/loss") == list(range(len(first.epochs_of("val/loss"))))
    assert 0 < len(first.epochs_of("val/loss")) <= reached, "told when saved; a kill may lose the very last"
    assert second.epochs_of("val/loss") == [reached, reached + 1] and second.exit_code == 0
    steps = [row["_step"] for row in first.rows + second.rows if "epoch" in row]
    assert steps == sorted(set(steps)), "the parts follow each other when they are sent"
    assert not first.pictures() and set(second.pictures().values()) == {1}

    outcome = aelab(capsys, f"resume={folder}", f"train.epochs={reached + 3}")

    assert outcome.status == 0, outcome.error
    third = read(folder)[2]
    assert third.epochs_of("val/loss") == [reached + 2] == third.epochs_of("gradients/encoder.0.weight._type")
    assert min(row["_step"] for row in third.rows) > max(steps)


def history(folder: Path) -> list[str]:
    path = folder / "history.csv"
    return path.read_text().splitlines() if path.exists() else []


def test_each_stage_of_a_chain_is_a_run_of_the_chains_group(tmp_path, capsys):
    chain = run_tiny(capsys, tmp_path, *OFFLINE)
    assert chain.outcome.status == 0, chain.outcome.error
    ids = set()
    for stage in ("rbm1", "rbm2", "finetune"):
        (part,) = read(chain.stage(stage))
        assert (part.run["run_group"], part.run["job_type"]) == ("chain", stage)
        assert part.epochs_of("val/loss") == [0, 1] and part.exit_code == 0
        assert set(part.pictures().values()) == {1}
        assert part.run["display_name"] == f"chain/{stage}"
        ids.add(part.run["run_id"])
    assert len(ids) == 3
    assert not (chain.folder / "wandb").exists(), "a stage is told once, by its own run"


def test_the_jobs_of_a_multirun_are_a_group(tmp_path, capsys):
    folder = tmp_path / "sweeps" / "codes"
    words = ["train.epochs=1", "data.train_size=48", "data.validation=16", "train.batch_size=16", *QUICK, *OFFLINE]
    outcome = aelab(capsys, "-m", "model.n_code=2,3", f"hydra.sweep.dir={folder}", *words)
    assert outcome.status == 0, outcome.error
    jobs = [read(folder / "0"), read(folder / "1"), read(folder)]
    assert [len(parts) for parts in jobs] == [1, 1, 1]
    runs = [parts[0].run for parts in jobs]
    assert {r["run_group"] for r in runs} == {"codes"}
    assert [r["job_type"] for r in runs] == ["train", "train", "sweep"]
    assert [r["display_name"] for r in runs] == ["codes/n_code=2", "codes/n_code=3", "sweep codes"]
    assert runs[0]["tags"] == ["Autoencoder", "digits"]
    assert [parts[0].config.get("model.n_code") for parts in jobs] == [2, 3, None]
    assert [parts[0].epochs_of("val/loss") for parts in jobs[:2]] == [[0], [0]]
    assert len({r["run_id"] for r in runs}) == 3


def test_wandb_leet_shows_a_run(tmp_path):
    train(tmp_path / "run", epochs=1)
    command = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--summary", tmp_path / "run" / "wandb"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for word in (
        "finished (exit code 0)",
        "val/loss.min",
        "test/squared_error",
        "model.n_code",
        "figures/reconstructions",
    ):
        assert word in text


@pytest.mark.parametrize("offline", [False, True])
def test_each_stage_says_whose_layers_it_uses(capsys, tmp_path, monkeypatch, offline):
    """With artifacts on W&B's graph of the runs is the chain; an offline run cannot say it, and is none the worse."""
    runs = []

    def start(folder, mode, config, run_id, **about):
        runs.append(MagicMock(offline=offline, id=run_id, job=about["job_type"]))
        return runs[-1]

    monkeypatch.setattr("aelab.watch.wandb_start.start", start)
    monkeypatch.setattr("aelab.watch.wandb_start.finish", lambda *_: None)
    monkeypatch.setattr("aelab.results.figures.run_figures", lambda *_: {})
    chain = run_tiny(capsys, tmp_path, "logger=wandb", "logger.artifacts=true")
    assert chain.outcome.status == 0, chain.outcome.error
    made = {run.job: run.log_artifact.call_args.args[0].name for run in runs}
    used = {run.job: [call.args[0] for call in run.use_artifact.call_args_list] for run in runs}
    if offline:
        assert used == {"rbm1": [], "rbm2": [], "finetune": []}
        return
    assert {job: [artifact.name for artifact in of] for job, of in used.items()} == {
        "rbm1": [], "rbm2": [made["rbm1"]], "finetune": [made["rbm2"]],
    }  # fmt: skip
    logged = {run.job: run.log_artifact.call_args.args[0].digest for run in runs}
    assert used["rbm2"][0].digest == logged["rbm1"] and used["finetune"][0].digest == logged["rbm2"]


def test_a_version_of_wandb_whose_telemetry_has_no_switch(monkeypatch, tmp_path):
    proxy = pytest.importorskip("wandb.analytics.opentelemetry.opentelemetry_proxy")
    monkeypatch.delattr(proxy, "disable", raising=False)
    train(tmp_path / "run", epochs=1)
    (part,) = read(tmp_path / "run")
    assert part.exit_code == 0
