"""Places to watch a run: what they are told, what their settings may be, and how a person is told to look."""

import re
import sys

import pytest
from helpers import aelab, composed, small
from omegaconf import OmegaConf

from aelab.run import folder as run_folder
from aelab.run.train import run
from aelab.watch import loggers as watch
from aelab.watch import provenance

TINY = ("evaluate.probe=null", "evaluate.knn=null")


class Writer:
    """Keeps what TensorBoard's writer would write."""

    def __init__(self):
        self.rows, self.status = [], None

    def log_metrics(self, metrics, step):
        self.rows.append((step, metrics))

    def finalize(self, status):
        self.status = status


def test_tensorboard_is_told_each_epoch_once_and_the_end(tmp_path, monkeypatch):
    writer = Writer()
    monkeypatch.setattr(watch, "no_logger", lambda folder, settings: watch.TensorBoard(writer))
    monkeypatch.setattr(watch.no_logger, "__module__", "aelab.watch.loggers")
    metrics = run(small("logger=csv", *TINY), tmp_path / "run", "aelab")
    assert [step for step, _ in writer.rows] == [0, 1, 2]
    history = run_folder.read_history(tmp_path / "run")
    assert [row["val/loss"] for _, row in writer.rows[:2]] == pytest.approx(history["val/loss"])
    assert writer.rows[2][1] == {name: value for name, value in metrics.items() if name.startswith("test/")}
    assert writer.status == "success"


def test_tensorboard_that_is_not_installed_is_said_in_one_line(tmp_path, capsys, monkeypatch):
    for module in ("tensorboard", "tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("pytorch_lightning.loggers.tensorboard._TENSORBOARD_AVAILABLE", False, raising=False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr("lightning_fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE", False)
    outcome = aelab(capsys, "logger=tensorboard", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 1
    assert outcome.error == ["aelab: logger: tensorboard is not installed; pip install tensorboard, or take logger=csv"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("logger.project=a/b", r"logger.project: 'a/b' has \['/'\]"),
        ("logger.project=''", "logger.project: '' has too few or too many characters"),
        ("logger.tags=['']", "logger.tags: '' must have 1 to 64 characters"),
        ("logger.pictures_every=-1", "logger.pictures_every: must be at least 0, got -1"),
        ("logger.mode=sometimes", "logger.mode: expected one of auto, online, offline, disabled, got 'sometimes'"),
        ("logger.histograms=2", "logger.histograms: expected bool, got 2"),
        ("logger.projct=a", "logger.projct: no such key; did you mean project?"),
    ],
)
def test_what_wandb_would_refuse_is_said_before_a_run_begins(override, message, tmp_path, capsys):
    sign = "" if "projct" not in override else "+"
    outcome = aelab(capsys, "logger=wandb", sign + override, f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 1
    assert len(outcome.error) == 1 and re.search(message, outcome.error[0])
    assert not (tmp_path / "run" / "wandb").exists()


def test_disabled_leaves_nothing(tmp_path, capfd):
    run(small("logger=wandb", "logger.mode=disabled", *TINY), tmp_path / "run", "aelab")
    assert not list((tmp_path / "run").glob("wandb/*run*"))
    assert "wandb" not in capfd.readouterr().err


def test_how_to_look_is_a_command_for_what_is_there(tmp_path):
    assert watch.how_to_look(tmp_path) == str(tmp_path / "figures")
    (tmp_path / "wandb" / "run-20260101_000000-abcd").mkdir(parents=True)
    assert watch.how_to_look(tmp_path) == f"the W&B page above, or {tmp_path / 'figures'}"
    (tmp_path / "wandb" / "offline-run-20260101_000000-abcd").mkdir()
    shown = f"wandb leet {tmp_path / 'wandb'}    (to send it: wandb sync {tmp_path / 'wandb'})"
    assert watch.how_to_look(tmp_path) == shown

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "events.out.tfevents.17.vm.1.0").touch()
    assert watch.how_to_look(tmp_path / "other") == f"tensorboard --logdir {tmp_path / 'other'}"


def test_settings_are_what_matters_under_the_keys_that_overrides_have():
    settings = settings_of("model=top_k", "corruption=masking", "logger.tags=[a]")
    assert settings["model.k"] == 10 and settings["model.kind"] == "TopK" and settings["corruption.kind"] == "Masking"
    assert settings["data.name"] == "digits" and settings["model.network.kind"] == "Single"
    assert None not in settings.values() and [] not in settings.values()
    assert not [key for key in settings if key.split(".")[0] in ("logger", "task", "objective", "chain")]

    chain = settings_of("chain=deep_autoencoder", "chain.widths=[5,3]")
    assert chain["chain.widths"] == [5, 3] and chain["chain.finetune.train.epochs"] == 200
    assert not [key for key in chain if key.startswith(("model", "optimizer", "train", "chain.stages", "chain.store"))]


def settings_of(*overrides: str) -> dict:
    return provenance.settings(OmegaConf.to_container(composed(*overrides)))


def test_the_commit_is_known_in_a_checkout_of_aelab_only(tmp_path, monkeypatch):
    here = provenance.code_state()
    assert len(here["code.commit"]) == 40 and isinstance(here["code.dirty"], bool)

    provenance.code_state.cache_clear()
    provenance._git(tmp_path, "init")  # somebody's repository round an environment in which aelab is installed
    (tmp_path / "site-packages").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "site-packages" / "provenance.py"))
    (tmp_path / "site-packages" / "provenance.py").write_text("")
    assert set(provenance.code_state()) == {"code.version"}
    provenance.code_state.cache_clear()
