"""A stage that a chain found is a run of the chain's W&B group too: linked to the run that trained it, not copied."""

from types import SimpleNamespace

import pytest
from helpers import composed

from aelab.config.overrides import plain
from aelab.watch import wandb_run, wandb_start


@pytest.fixture
def started(monkeypatch):
    runs = []

    def start(folder, mode, config, run_id, **about):
        runs.append(SimpleNamespace(folder=folder, config=config, id=run_id, about=about, summary={}))
        return runs[-1]

    monkeypatch.setattr(wandb_start, "start", start)
    monkeypatch.setattr(wandb_start, "finish", lambda *_, **__: None)
    return runs


def test_a_found_stage_is_a_run_of_the_group(started, tmp_path):
    stage = tmp_path / "rbm-0123456789abcdef"
    stage.mkdir()
    (stage / "wandb-id").write_text("abcd1234")
    cfg = composed("model=rbm", "logger.group=deep", "logger.name=deep/rbm1", "logger.job_type=rbm1")
    for _ in range(2):
        wandb_run.tell_found(plain(cfg), stage, tmp_path / "deep", {"test/squared_error": 2.5})
    run, again = started
    assert (run.about["group"], run.about["name"], run.about["job_type"]) == ("deep", "deep/rbm1", "rbm1")
    assert (run.config["found.folder"], run.config["found.run"]) == (str(stage), "abcd1234")
    assert run.summary == {"test/squared_error": 2.5}
    assert run.id == again.id != "abcd1234"  # found again it is the same one


def test_without_wandb_nobody_is_told(started, tmp_path):
    wandb_run.tell_found(plain(composed("model=rbm", "logger=csv")), tmp_path, tmp_path, {})
    assert started == []
