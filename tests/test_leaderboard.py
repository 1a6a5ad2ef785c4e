"""The end of a multirun: the best first, nothing lost."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
from matplotlib.image import imsave
from omegaconf import OmegaConf
from toy_sweep import ToySweep

from aelab import locks
from aelab.errors import Pruned, UserError
from aelab.sweep import launching
from aelab.sweep.board import Board
from aelab.sweep.jobs import Job, outcome, read_job, read_jobs
from aelab.sweep.leaderboard import publish
from aelab.sweep.summary_run import log_summary, sweep_name


def job(folder, number, overrides, status="done", values=(), reason=""):
    made = Job(number, folder / str(number), list(overrides), status, list(values), 1.5, reason)
    made.folder.mkdir(parents=True, exist_ok=True)
    made.write()
    return made


@pytest.fixture
def jobs(tmp_path):
    return [
        job(tmp_path, 0, ["lr=1e-3", "act=tanh", "data=mnist"], values=[3.0]),
        job(tmp_path, 1, ["lr=1e-1", "act=relu", "data=mnist"], values=[2.0]),
        job(tmp_path, 2, ["lr=1", "act=relu", "data=mnist"], "failed", reason="optimizer.lr: loss is NaN | lower it"),
        job(tmp_path, 3, ["lr=2", "act=relu", "data=mnist"], "pruned", reason="epoch 1: val/loss 50 is hopeless"),
        job(tmp_path, 4, ["lr=3", "act=relu", "data=mnist"], "running"),
    ]


def config(**keys):
    figures = {"format": "png", "dpi": 60}
    return OmegaConf.create({"hydra": {"runtime": {"choices": {"logger": "csv"}}}, "figures": figures} | keys)


def test_a_job_is_read_back_as_it_was_written(jobs, tmp_path):
    assert [read_job(made.folder) for made in jobs] == jobs
    assert read_job(tmp_path / "none") is None


def test_a_running_job_without_a_process_was_killed(jobs, tmp_path):
    at_work = locks.take(locks.of_job(tmp_path, 4))
    assert read_jobs(tmp_path)[4].status == "running"
    at_work.release()
    assert read_jobs(tmp_path)[4].status == "killed"


def test_a_job_that_ends_while_it_is_read_is_done(jobs, tmp_path, monkeypatch):
    def ends_meanwhile(lock):
        job(tmp_path, 4, jobs[4].overrides, values=[1.0])
        return False

    monkeypatch.setattr(locks, "is_held", ends_meanwhile)
    assert read_jobs(tmp_path)[4].status == "done"


@pytest.mark.parametrize(("direction", "best"), [("minimize", 1), ("maximize", 0)])
def test_the_best_stands_first_and_the_failed_last(jobs, direction, best):
    board = Board(jobs, ["test/loss"], direction)
    assert [made.number for made in board.ranked] == [best, 1 - best, 3, 4, 2]
    assert board.swept == ["lr", "act"] and board.common == ["data=mnist"]
    assert [made.number for made in board.failures] == [2]


def test_a_failure_that_was_run_again_is_none(jobs, tmp_path):
    again = job(tmp_path, 5, jobs[2].overrides, values=[1.0])
    assert Board([*jobs, again], ["test/loss"], "minimize").failures == []


def test_what_is_written_and_printed(jobs, tmp_path, capsys):
    figures = jobs[1].folder / "figures"
    figures.mkdir()
    imsave(figures / "reconstructions.png", np.random.default_rng(0).random((20, 60, 3)))
    publish(Board(jobs, ["test/loss"], "minimize"), tmp_path, config())
    with open(tmp_path / "leaderboard.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["folder"] for row in rows] == ["1", "0", "3", "4", "2"]
    first = {"place": "1", "test/loss": "2.0", "lr": "0.1", "act": "relu", "seconds": "1.5", "status": "done"}
    assert rows[0] == first | {"folder": "1"}
    page = (tmp_path / "leaderboard.md").read_text()
    assert "| 1 | 2 | 0.1 | relu | 1.5 | done | 1 |" in page
    assert "- job 2 failed: optimizer.lr: loss is NaN | lower it  (lr=1 act=relu data=mnist)" in page
    shown = capsys.readouterr().out
    assert "every job: data=mnist" in shown and "job 2 failed: optimizer.lr: loss is NaN" in shown
    for name in ("parameters", "parallel", "best"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_to_draw_is_no_error(tmp_path, caplog):
    only = [job(tmp_path, 0, ["x=1"], "failed", reason="no memory")]
    publish(Board(only, ["test/loss"], "minimize"), tmp_path, config())
    assert not caplog.records and not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (1, ("done", [1.0], "")),
        ((1.0, 2.0), ("done", [1.0, 2.0], "")),
        (None, ("done", [], "")),
        (float("nan"), ("failed", [], "the objective is nan, no finite number")),
        ("text", ("failed", [], "the objective is text, no finite number")),
        (Pruned("epoch 2"), ("pruned", [], "epoch 2")),
        (UserError("model.n_code: too small; give more"), ("failed", [], "model.n_code: too small; give more")),
        (ValueError("first\nsecond"), ("failed", [], "ValueError: first")),
    ],
)
def test_how_a_job_ended(returned, expected):
    assert outcome(returned) == expected


def test_a_grid_goes_on_after_a_failure_and_ends_with_status_1(tmp_path):
    toy = ToySweep(tmp_path)
    text = toy.run("x=0,1,2", "fails_at=1", status=1)
    assert text.index("folder") < text.index("job 1 failed: RuntimeError: x is where it fails  (x=1 fails_at=1)")
    assert [made.status for made in read_jobs(toy.grid)] == ["done", "failed", "done"]
    assert "RuntimeError: x is where it fails\nand more" in (toy.grid / "1" / "traceback.txt").read_text()
    assert "## Failed" in (toy.grid / "leaderboard.md").read_text()


def test_a_launcher_that_is_not_installed_says_what_to_install():
    from hydra.core.config_store import ConfigStore

    from hydra_plugins.aelab.missing import MissingLauncher, register

    register("parallel", "no_such_package", {"no_such_launcher": {"n_jobs": -1}})
    node = ConfigStore.instance().repo["hydra"]["launcher"]["no_such_launcher.yaml"].node
    assert node._target_ == "hydra_plugins.aelab.missing.MissingLauncher"
    with pytest.raises(UserError, match=r'hydra/launcher=no_such_launcher: .*pip install "aelab\[parallel\]"'):
        MissingLauncher(**{key: value for key, value in node.items() if key != "_target_"}).setup()


@pytest.mark.parametrize(("address", "at_once"), [(None, 3), ("192.0.2.2:6379", 0)])
def test_ray_s_workers_are_told_of_the_sweep_and_a_cluster_is_joined(monkeypatch, address, at_once):
    ray = MagicMock()
    ray.is_initialized.side_effect = lambda: ray.init.called
    monkeypatch.setitem(sys.modules, "ray", ray)
    init = {"address": address, "num_cpus": 3, "runtime_env": {"env_vars": {"MINE": "1", "OMP_NUM_THREADS": "8"}}}
    node = OmegaConf.create(
        {"_target_": "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher", "ray": {"init": init}}
    )
    assert launching.jobs_at_once(node, 5) == at_once
    launcher = SimpleNamespace(ray_cfg=node.ray)
    for _ in range(2):  # batches
        launching.join_ray(launcher, {"OMP_NUM_THREADS": "1", "SWEEP": "2"})
    told = {"MINE": "1", "OMP_NUM_THREADS": "8", "SWEEP": "2"}
    assert launcher.ray_cfg.init.runtime_env.env_vars == told
    calls = [call.kwargs["runtime_env"]["env_vars"] for call in ray.init.call_args_list]
    assert calls == ([told] if address else [])


def test_the_summary_run_has_the_table_and_the_pictures(jobs, tmp_path):
    imsave(tmp_path / "parameters.png", np.zeros((4, 4, 3)))
    rows = Board(jobs, ["test/loss"], "minimize").rows(tmp_path)
    wandb = {"hydra": {"runtime": {"choices": {"logger": "wandb"}}}, "logger": {"project": "toys", "mode": "offline"}}
    log_summary(rows, [tmp_path / "parameters.png"], tmp_path, config(**wandb))
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(run)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    records = [json.loads(line) for line in lines]
    (begun,) = [record["run"] for record in records if record["type"] == "run"]
    assert (begun["project"], begun["job_type"], begun["run_group"]) == ("toys", "sweep", tmp_path.name)
    logged = json.dumps([record for record in records if record["type"] == "history"])
    assert "media/table/leaderboard" in logged and "media/images/sweep/parameters" in logged
    (table,) = (run / "files" / "media" / "table").glob("leaderboard*.json")
    assert json.loads(table.read_text())["data"][0] == [1, 2.0, 0.1, "relu", 1.5, "done", "1"]


def test_no_summary_run_where_the_jobs_have_none(jobs, tmp_path):
    log_summary(Board(jobs, ["test/loss"], "minimize").rows(tmp_path), [], tmp_path, config())
    assert not (tmp_path / "wandb").exists()


def test_the_group_is_the_path_below_sweeps(tmp_path):
    assert sweep_name(tmp_path / "sweeps" / "linear-digits" / "2026") == "linear-digits/2026"
    assert sweep_name(tmp_path / "elsewhere") == "elsewhere"
