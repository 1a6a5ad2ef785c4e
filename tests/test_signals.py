"""A signal ends the command with one line that says how it goes on, and with the status that a shell expects."""

import os
import shlex
import signal
import sys
from pathlib import Path

import pytest
import torch
from helpers import aelab as aelab_command
from helpers import small

from aelab import app, signals
from aelab.errors import Stopped
from aelab.models.training import Trained
from aelab.runs import folder as run_folder
from aelab.runs.train import run

SETTINGS = (
    "logger=csv", "data.train_size=48", "train.batch_size=16", "model.network.widths=[8]", "model.n_code=2",
    "evaluate.probe=null", "evaluate.knn=null", "train.epochs=4",
)  # fmt: skip
UPDATES = 3  # per epoch
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr("aelab.results.figures.run_figures", lambda *_: {})


@pytest.fixture
def sent(monkeypatch, capsys):
    """A function: run the command, which is sent ``number`` at its ``update``-th update; (status, lines on stderr)."""

    def sent(number: int, update: int, *overrides: str) -> tuple[int, list[str]]:
        step, done = Trained.minibatch_step, []
        if signal.getsignal(number) is signal.SIG_IGN:  # as where the tests run in the background
            signal.signal(number, signal.SIG_DFL)

        def counted(self, *arguments):
            done.append(1)
            if len(done) == update:
                os.kill(os.getpid(), number)
            return step(self, *arguments)

        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(Trained, "minibatch_step", counted)
            patch.setattr(sys, "argv", ["aelab", *overrides])
            patch.delenv("HYDRA_FULL_ERROR", raising=False)
            with pytest.raises(SystemExit) as end:
                app.main()
        return end.value.code, capsys.readouterr().err.splitlines()

    return sent


def typed_after(line: str, words: str) -> list[str]:
    """The arguments of the command that ``line`` names after ``words``, as a shell reads them."""
    program, *arguments = shlex.split(line.partition(words)[2])
    assert program == "aelab"
    return arguments


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return run_folder.read_checkpoint(folder, "last", "test")["state_dict"]


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_the_line_goes_on_to_the_same_weights(name, status, sent, capsys, tmp_path):
    folder, whole = tmp_path / "a run, [c] 1", tmp_path / "whole"
    overrides = (*SETTINGS, f"hydra.run.dir='{folder}'")
    assert aelab_command(capsys, *SETTINGS, f"hydra.run.dir={whole}").status == 0
    reached, lines = sent(getattr(signal, name), 2 * UPDATES + 2, *overrides)
    assert reached == status and len(lines) == 1
    assert lines[0].startswith(f"aelab: stopped by {name}; go on with: aelab ")
    assert run_folder.read_history(folder)["epoch"] == [0, 1]
    assert f"ended: stopped by {name}" in (folder / "log").read_text()

    assert aelab_command(capsys, *typed_after(lines[0], "go on with: ")).status == 0

    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(folder).items())
    assert (folder / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()


def test_in_its_first_epoch_a_run_has_nothing_to_go_on_from(sent, tmp_path):
    overrides = [*SETTINGS, f"hydra.run.dir={tmp_path / 'run'}"]
    _, lines = sent(signal.SIGTERM, 2, *overrides)
    assert typed_after(lines[0], "go on with: ") == overrides


def test_a_sweep_names_its_own_command_and_its_folder(sent, tmp_path):
    overrides = ["-m", *SETTINGS, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    status, lines = sent(signal.SIGTERM, 4 * UPDATES + 4, *overrides)
    assert status == 143 and typed_after(lines[-1], "go on with: ") == overrides


def test_a_chain_names_its_own_command(sent, tmp_path):
    overrides = ["chain=deep_autoencoder", "chain.widths=[5,3]", "logger=csv", f"chain.store={tmp_path / 'store'}"]
    status, lines = sent(signal.SIGINT, 3, *overrides, f"hydra.run.dir={tmp_path / 'chain'}")
    assert status == 130 and typed_after(lines[-1], "go on with: ")[: len(overrides)] == overrides


def test_what_nohup_has_ignored_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.heard():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Stopped, match="SIGTERM"):
                os.kill(os.getpid(), signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# --- SLURM: a warning before the time is over, then the same command once more -------------------------------------


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    """The environment of job 12, and an ``scontrol`` that writes down what it is asked."""
    asked = tmp_path / "asked"
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    return asked


def test_a_warned_run_saves_its_epoch_and_the_same_command_goes_on(sent, slurm, capsys, tmp_path):
    folder, whole = tmp_path / "run", tmp_path / "whole"
    overrides = [*SETTINGS, f"hydra.run.dir={folder}"]
    assert aelab_command(capsys, *SETTINGS, f"hydra.run.dir={whole}").status == 0

    status, lines = sent(signal.SIGUSR1, 2, *overrides)  # in the first epoch, which is ended and saved

    assert status == 138 and run_folder.read_history(folder)["epoch"] == [0]
    assert lines[0].endswith("(SLURM job 12 is requeued)") and slurm.read_text().split() == ["requeue", "12"]
    outcome = aelab_command(capsys, *overrides)
    assert outcome.status == 0 and "goes on after epoch 1 of 4" in outcome.output
    assert (folder / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()


def test_a_member_of_an_array_is_requeued_alone(sent, slurm, monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    sent(signal.SIGUSR1, 2, *SETTINGS, f"hydra.run.dir={tmp_path / 'run'}")
    assert slurm.read_text().split() == ["requeue", "10_3"]


def test_a_command_that_would_start_anew_is_not_requeued(sent, slurm, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, lines = sent(signal.SIGUSR1, 2, *SETTINGS)
    assert status == 138 and not slurm.exists()
    assert "go on with: aelab resume=outputs/" in lines[0] and "give hydra.run.dir" in lines[0]


def test_without_slurm_a_warning_only_stops(sent, tmp_path):
    folder = tmp_path / "run"
    status, lines = sent(signal.SIGUSR1, UPDATES + 1, *SETTINGS, f"hydra.run.dir={folder}")
    assert status == 138 and "SLURM" not in lines[0]
    assert run_folder.read_history(folder)["epoch"] == [0, 1]


def test_python_is_left_alone(tmp_path):
    """A run in a program of one's own changes no handler."""
    before = signal.getsignal(signal.SIGTERM)
    run(small("evaluate.probe=null", "evaluate.knn=null", epochs=1), tmp_path / "run", "aelab")
    assert signal.getsignal(signal.SIGTERM) is before
