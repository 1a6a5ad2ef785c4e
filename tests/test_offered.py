"""What a person may choose: whole options, a part by its group, launchers that are there, metrics there are."""

import sys

import pytest
from helpers import aelab

from aelab.config.offered import refuse
from aelab.errors import UserError

CHOICES = {
    "model": "autoencoder",
    "model/network": "mlp",
    "data": "digits",
    "corruption@chain.layer.corruption": "none",
}


@pytest.mark.parametrize(("override", "remedy"), [
    ("model.network=conv", "model.network: an option is chosen by its group; write model/network=conv"),
    ("chain.layer.corruption=blocks", "write corruption@chain.layer.corruption=blocks"),
    ("data=_base", "data: _base is only a part of other options"),
])  # fmt: skip
def test_what_is_no_choice_is_refused_with_the_word_that_is_one(override, remedy):
    with pytest.raises(UserError, match=remedy):
        refuse(CHOICES, ["seed=1", override])


@pytest.mark.parametrize(
    "override",
    ["model=linear", "model/network=conv", "model.network.n_hidden=8", "model.network=null", "+data.name=x",
     "callbacks@callbacks.pruning=_pruning", "corruption@chain.layer.corruption=blocks", "~model.network"],
)  # fmt: skip
def test_what_is_a_choice_is_taken(override):
    refuse(CHOICES, [override])


def test_help_offers_no_parts(capsys):
    outcome = aelab(capsys, "--help")
    assert "data: array, convex" in outcome.output and not [w for w in outcome.output.split() if w.startswith("_")]


def test_help_breaks_no_word_at_the_edge_of_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    groups, found, _ = aelab(capsys, "--help").output.partition("Examples:")
    assert found and 60 < max(map(len, groups.splitlines()[3:])) <= 80 and "  deep_autoencoder" in groups


def test_slurm_without_slurm_is_one_line(capsys, monkeypatch, tmp_path):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["-m", "hydra/launcher=submitit_slurm", "seed=0,1", "logger=csv", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    outcome = aelab(capsys, *words)
    assert outcome.status == 1 and "there is no srun here; take submitit_local" in outcome.error[-1]


@pytest.mark.parametrize("key", ["objective", "train.monitor"])
def test_a_misspelt_metric_of_validation_is_missed_before_training(key, capsys, tmp_path):
    outcome = aelab(capsys, "logger=csv", f"{key}=val/los", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 1 and not list((tmp_path / "run").glob("*"))
    assert outcome.error[-1].startswith(f"aelab: {key}: this model logs no val/los; take one of val/loss")


def test_one_that_a_callback_may_log_is_missed_after_the_first_epoch(capsys, tmp_path):
    words = ["logger=csv", "data.train_size=48", "data.validation=16", "train.batch_size=16", "callbacks=statistics"]
    outcome = aelab(capsys, *words, "objective=val/los", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 1 and not (tmp_path / "run" / "last.ckpt").exists()
    assert outcome.error[-1].startswith("aelab: objective: this model logs no val/los; take one of val/loss")


def test_a_run_without_epochs_needs_no_objective(capsys, tmp_path):
    words = ["logger=csv", "train.epochs=0", "evaluate.probe=null", "evaluate.knn=null"]
    assert aelab(capsys, *words, f"hydra.run.dir={tmp_path / 'run'}").status == 0
