"""dry=true and task=stages why=RUN: what would be found or run, and why, said before anything is trained or written."""

import pytest
from helpers import aelab
from tiny_chain import TINY, no_figures, quick, run_tiny  # noqa: F401 - a fixture

from aelab import run
from aelab.errors import UserError

pytestmark = quick


@pytest.fixture
def nothing_trains(monkeypatch):
    def forbid():
        monkeypatch.setattr("aelab.models.training.Trained.training_step", lambda *_: 1 / 0)

    return forbid


def everything(root):
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.suffix != ".lock")


def test_a_chain_says_what_it_would_find_and_run_and_what_is_new_in_it(capsys, tmp_path, nothing_trains):
    empty = run_tiny(capsys, tmp_path, "dry=true")
    assert empty.outcome.status == 0 and empty.outcome.output.count("to run") == 3
    assert "no other rbm is there" in empty.outcome.output and everything(tmp_path) == []
    done = run_tiny(capsys, tmp_path)
    nothing_trains()
    before = everything(tmp_path)

    again = run_tiny(capsys, tmp_path, "dry=true", name="again").outcome
    assert again.output.count("found") == 3 and "to run" not in again.output
    other = run_tiny(capsys, tmp_path, "dry=true", "chain.finetune.optimizer.lr=0.5", name="again").outcome
    lines = other.output.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("rbm")] == ["found", "found"]
    assert any(line.startswith("finetune  to run") for line in lines)
    assert f"nearest is {done.stage('finetune').name}" in other.output and "(here 0.5)" in " ".join(
        other.output.split()
    )
    below = run_tiny(capsys, tmp_path, "dry=true", "chain.rbm.train.epochs=3", name="again").outcome
    said = " ".join(below.output.split())
    assert said.count("train.epochs=2 (here 3)") == 2 and f"below={done.stage('rbm1').name}" in said
    measured = run_tiny(capsys, tmp_path, "dry=true", "evaluate.weights=best", name="again").outcome
    assert measured.output.count("to measure") == 3

    assert everything(tmp_path) == before


def test_what_is_wrong_is_said_as_when_it_runs(capsys, tmp_path):
    outcome = run_tiny(capsys, tmp_path, "dry=true", "chain.finetune.optimizer.lr=abc").outcome
    assert outcome.status == 1 and "chain.finetune.optimizer.lr" in outcome.error[-1]
    outcome = aelab(capsys, "dry=true", "train.batch_size=5000", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 1 and outcome.error[-1].startswith("aelab: train.batch_size: 5000 is more than")
    outcome = aelab(capsys, "dry=true", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 0 and "Autoencoder  to run" in outcome.output
    assert everything(tmp_path) == []
    with pytest.raises(UserError, match=r"dry: aelab\.run hands back what it trained"):
        run(["dry=true"])


def test_a_grid_says_it_of_each_job_and_a_search_cannot(capsys, tmp_path, nothing_trains):
    run_tiny(capsys, tmp_path, "chain.finetune.optimizer.lr=0.001")
    nothing_trains()
    places = [f"chain.store={tmp_path / 'store'}", f"hydra.sweep.dir={tmp_path / 'sweeps' / 'one'}"]
    outcome = aelab(capsys, "-m", *TINY, *places, "dry=true", "chain.finetune.optimizer.lr=0.001,0.002")
    assert outcome.status == 0, outcome.error
    first, second = outcome.output.split("job 0: ")[1].split("job 1: ")
    assert first.startswith("lr=0.001") and first.count("found") == 3
    assert second.startswith("lr=0.002") and second.count("found") == 2 and second.count("to run") == 1
    assert not (tmp_path / "sweeps").exists()
    words = ["-m", "dry=true", "hydra/sweeper=optuna", "seed=range(5)", places[1]]
    outcome = aelab(capsys, *words)
    assert outcome.status == 1 and outcome.error[-1].startswith("aelab: dry: ") and not (tmp_path / "sweeps").exists()


def test_why_a_stage_that_was_run_was_a_new_one(capsys, tmp_path):
    first = run_tiny(capsys, tmp_path)
    second = run_tiny(capsys, tmp_path, "seed=1", name="second")
    store = f"chain.store={tmp_path / 'store'}"
    outcome = aelab(capsys, "task=stages", store, f"why={second.folder}")
    assert outcome.status == 0, outcome.error
    said = " ".join(outcome.output.split())
    assert f"nearest is {first.stage('rbm1').name}, with seed=0 (here 1)" in said and said.count("seed=0 (here 1)") == 3
    one = aelab(capsys, "task=stages", store, f"why={second.stage('finetune')}").output
    assert f"nearest is {first.stage('finetune').name}" in " ".join(one.split())
    assert aelab(capsys, "task=stages", store, "why=nowhere").error[-1].startswith("aelab: why: there is no folder")
    assert aelab(capsys, "task=stages", store, f"why={tmp_path}").error[-1].endswith("an ordinary run has no key")
