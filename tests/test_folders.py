"""Whose a folder is, and that no command which fails changes one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import Outcome, aelab, composed, made_layers

from aelab import files, locks
from aelab.config.folders import claim
from aelab.runs import folder as run_folder
from aelab.runs.folder import load
from aelab.runs.train import run

TINY = (
    "logger=csv", "train.epochs=2", "data.train_size=48", "train.batch_size=16", "evaluate.probe=null",
    "evaluate.knn=null", "model.network.widths=[8]", "model.n_code=2",
)  # fmt: skip


@pytest.fixture(autouse=True)
def here(monkeypatch, made_data, tmp_path):
    monkeypatch.setattr("aelab.results.figures.run_figures", lambda *_: {})
    monkeypatch.chdir(tmp_path)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(outcome: Outcome, key: str, *words: str) -> None:
    assert outcome.status == 1 and len(outcome.error) == 1, outcome.error
    assert outcome.error[0].startswith(f"aelab: {key}: "), outcome.error
    assert all(word in outcome.error[0] for word in words), outcome.error


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return run_folder.read_checkpoint(folder, "last", "test")["state_dict"]


def assert_equal_weights(one: Path, other: Path) -> None:
    theirs = weights(other)
    assert all(torch.equal(value, theirs[name]) for name, value in weights(one).items())


# --- claims ------------------------------------------------------------------------------------------------------


def test_names_asked_for_at_once_are_different(tmp_path):
    program = "import sys; from aelab.config.folders import claim; print(claim(sys.argv[1]))"
    line = [sys.executable, "-c", program, str(tmp_path / "day" / "12-00-00")]
    processes = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    names = [process.communicate()[0].strip() for process in processes]
    assert len({*names}) == 3 and all(Path(name).is_dir() for name in names)
    assert sorted(Path(name).name for name in names) == ["12-00-00", "12-00-00-2", "12-00-00-3"]


def test_a_place_that_cannot_be_written_is_refused_where_it_is_written_to():
    assert claim("/proc/outputs/run") == "/proc/outputs/run"


@pytest.mark.parametrize("typed", ["hydra.run.dir", "resume"])
def test_a_folder_at_work_is_nobody_elses(typed, capsys, tmp_path):
    folder = tmp_path / "run"
    if typed == "resume":
        run(composed(*TINY), folder, "aelab")
    lock = locks.take(folder / ".lock")
    before = tree(folder)
    overrides = TINY if typed == "hydra.run.dir" else ("train.epochs=3",)
    refused(aelab(capsys, *overrides, f"{typed}={folder}"), typed, "another process is at work", str(folder))
    assert tree(folder) == before
    lock.release()
    assert aelab(capsys, *overrides, f"{typed}={folder}").status == 0


def test_the_same_command_goes_on_with_what_it_began(capsys, tmp_path):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    line = (*TINY, f"hydra.run.dir={folder}")
    run(composed(*TINY), whole, "aelab")
    shutil.copytree(whole, folder)
    (folder / "metrics.json").unlink()  # as if it had been stopped while it was tested
    refused(aelab(capsys, *line, "seed=1"), "hydra.run.dir", "choose another", f"resume={folder}")
    outcome = aelab(capsys, *line)
    assert outcome.status == 0 and "goes on after epoch 2 of 2" in outcome.output
    assert (folder / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()
    refused(aelab(capsys, *line), "hydra.run.dir", "choose another", f"resume={folder}")


def test_a_start_that_came_to_nothing_leaves_nothing_of_it_behind(capsys, tmp_path):
    """What a run with layers below left before its first epoch is none of the next one's, which has none."""
    folder, below = tmp_path / "run", made_layers(tmp_path / "below")
    folder.mkdir()
    shutil.copy(below / "layers.pt", folder / "below.pt")
    assert aelab(capsys, *TINY, f"hydra.run.dir={folder}").status == 0
    assert not (folder / "below.pt").exists()
    load(folder)


def test_commands_that_leave_nothing_leave_no_folder(capsys, tmp_path):
    for overrides in (["task=stages"], ["resume=/nonexistent"], [*TINY, "train.batch_size=5000"]):
        aelab(capsys, *overrides)
        assert not list((tmp_path / "outputs").rglob("*")), overrides


# --- what may change when a run goes on ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_run(made_data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aelab.results.figures.run_figures", lambda *_: {})
        folder = tmp_path_factory.mktemp("runs") / "run"
        run(composed(*TINY, "train.epochs=4"), folder, "aelab")
    return folder


@pytest.fixture
def finished(a_run, tmp_path):
    return Path(shutil.copytree(a_run, tmp_path / "finished"))


@pytest.mark.parametrize(
    ("override", "key", "words"),
    [
        ("train.epochs=2", "train.epochs", ["4 are behind this run, got 2", "at least 4"]),
        ("train.epochs=-2", "train.epochs", ["at least 0"]),
        ("train.mode=best", "train.mode", ["one of auto, min, max"]),
        ("train.batch_size=5000", "train.batch_size", ["48 training samples"]),
        ("evaluate.weights=first", "evaluate.weights", ["one of last, best"]),
        ("hardware.precision=8", "hardware.precision", ["32-true"]),
        ("model=linear", "model", ["cannot change", "leave it out"]),
        ("seed=1", "seed", ["cannot change"]),
        ("hydra.run.dir=elsewhere", "hydra.run.dir", ["stays in its own folder"]),
    ],
)
def test_a_refused_resume_changes_nothing(override, key, words, finished, capsys):
    before = tree(finished)
    refused(aelab(capsys, f"resume={finished}", override), key, *words)
    assert tree(finished) == before


def test_a_resume_that_fails_before_its_first_epoch_changes_no_result(finished, capsys, monkeypatch):
    before = tree(finished)
    monkeypatch.setattr("aelab.models.base.Model.batch_terms", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        aelab(capsys, f"resume={finished}", "train.epochs=6")
    after = tree(finished)
    assert "ZeroDivisionError" in after.pop("log").decode()
    assert after == {name: content for name, content in before.items() if name != "log"}
    monkeypatch.undo()
    assert aelab(capsys, f"resume={finished}", "train.epochs=5").status == 0


def test_a_run_that_goes_on_is_not_finished_until_it_is(finished, capsys, monkeypatch):
    """Its figures of merit are those of other weights from the first new epoch on."""
    monkeypatch.setattr("aelab.runs.train.measure_and_draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        aelab(capsys, f"resume={finished}", "train.epochs=5")
    assert not (finished / "metrics.json").exists()
    assert run_folder.read_config(finished).train.epochs == 5
    monkeypatch.undo()
    assert aelab(capsys, f"resume={finished}").status == 0
    assert run_folder.read_history(finished)["epoch"] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("what_happened", ["it moved", "it was trained further", "we are elsewhere"])
def test_what_a_run_stands_on_is_its_own(what_happened, capsys, tmp_path, monkeypatch):
    """``below`` in the config is where the layers came from; what counts afterwards is the run's own below.pt."""
    made_layers(tmp_path / "a")
    overrides = ("model=classifier", *TINY[:-2], "below=a", "train.epochs=4")
    for name in ("broken", "whole"):
        assert aelab(capsys, *overrides, f"hydra.run.dir={name}").status == 0
    run_folder.begin(tmp_path / "broken", (tmp_path / "broken" / "config.yaml").read_text())  # no more finished
    if what_happened == "it moved":
        shutil.move("a", "b")
    elif what_happened == "it was trained further":
        shutil.rmtree("a")
        torch.manual_seed(1)
        made_layers(tmp_path / "a")
    else:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert aelab(capsys, f"resume={tmp_path / 'broken'}").status == 0
    whole = tmp_path / "whole"
    assert files.read_json(tmp_path / "broken" / "metrics.json") == files.read_json(whole / "metrics.json")
    x = torch.rand(3, 64)
    assert torch.equal(load(tmp_path / "broken").encode(x), load(whole).encode(x))


# --- which epoch is the best one --------------------------------------------------------------------------------------


def best_and_history(folder: Path, metric: str) -> tuple[int, list[float]]:
    return run_folder.read_checkpoint(folder, "best", "test")["epoch"], run_folder.read_history(folder)[metric]


@pytest.mark.parametrize("mode", ["auto", "min", "max"])
def test_a_monitor_is_good_where_its_mode_says(mode, capsys, tmp_path):
    folder = tmp_path / "run"
    settings = (*TINY, "model=vae", "train.epochs=5", "train.monitor=val/elbo", f"train.mode={mode}")
    assert aelab(capsys, *settings, f"hydra.run.dir={folder}").status == 0
    epoch, elbo = best_and_history(folder, "val/elbo")
    assert len(set(elbo)) == 5
    assert epoch == elbo.index(min(elbo) if mode == "min" else max(elbo))


def test_another_monitor_begins_its_best_anew_and_says_so(finished, capsys):
    outcome = aelab(capsys, f"resume={finished}", "train.monitor=val/squared_error", "train.epochs=6")
    assert outcome.status == 0
    assert "train.monitor: best.ckpt is from now on the best by val/squared_error" in outcome.output
    epoch, errors = best_and_history(finished, "val/squared_error")
    assert epoch == 4 + errors[4:].index(min(errors[4:]))
