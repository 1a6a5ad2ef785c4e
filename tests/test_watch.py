"""Places to watch a run: what they are told, what their settings may be, and how a person is told to look."""

import re
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from helpers import aelab, composed, small
from omegaconf import OmegaConf
from pytorch_lightning.loggers import Logger
from wandb_files import read

from aelab.config.build import build
from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs.train import run
from aelab.watch import loggers as watch
from aelab.watch import provenance

TINY = ("evaluate.probe=null", "evaluate.knn=null")


class Ledger(Logger):
    """A person's own: keeps what it is told, and which epochs were on disk then."""

    name = version = "ledger"
    rows: ClassVar[list] = []
    ended: ClassVar[list] = []

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def log_hyperparams(self, *_, **__):
        """None are kept."""

    def log_metrics(self, metrics, step=None):
        saved = run_folder.read_history(self.folder).get("epoch", [])
        self.rows.append((step, metrics, [int(epoch) for epoch in saved]))

    def finalize(self, status):
        self.ended.append(status)


@pytest.fixture
def ledger():
    Ledger.rows.clear()
    Ledger.ended.clear()
    return Ledger


@pytest.mark.parametrize("model", ["model=autoencoder", "model=rbm"])
def test_a_logger_of_ones_own_is_told_each_epoch_once_when_it_was_saved(model, ledger, tmp_path):
    cfg = small(model, *TINY, "+logger.mine._target_=test_watch.Ledger")
    metrics = run(cfg, tmp_path / "run", "aelab")
    history = run_folder.read_history(tmp_path / "run")
    epochs = [(step, row) for step, row, saved in ledger.rows if row.get("epoch") in saved]
    assert len(ledger.rows) == 3 and [step for step, _ in epochs] == [2, 5], "the update it was after, from 0"
    for name, values in history.items():
        assert [row[name] for _, row in epochs] == pytest.approx(values)
    assert ledger.rows[2][:2] == (6, {name: value for name, value in metrics.items() if name.startswith("test/")})
    assert ledger.ended[-1] == "success"


def test_a_logger_may_stand_alone_or_beside_wandb(ledger, tmp_path):
    run(small(*TINY, "+logger._target_=test_watch.Ledger", epochs=1), tmp_path / "alone", "aelab")
    assert len(ledger.rows) == 2
    cfg = small("logger=wandb", *TINY, "+logger.mine._target_=test_watch.Ledger", epochs=1)
    run(cfg, tmp_path / "beside", "aelab")
    (part,) = read(tmp_path / "beside")
    assert part.epochs_of("val/loss") == [0] and len(ledger.rows) == 4
    with pytest.raises(UserError, match=r"logger\.mine: Identity is no pytorch_lightning Logger"):
        run(small(*TINY, "+logger.mine._target_=torch.nn.Identity"), tmp_path / "none", "aelab")


@pytest.mark.parametrize(("model", "name"), [("autoencoder", "lr-Adam"), ("rbm", "lr-SGD")])
def test_the_rate_of_every_update_is_seen(model, name, ledger, tmp_path):
    """one_cycle from .04 of the rate up and down to 0, at the updates 0, 1/5, … 1 of training."""
    words = (
        f"model={model}",
        "callbacks=learning_rate",
        "+logger.mine._target_=test_watch.Ledger",
        "schedule=one_cycle",
    )
    cfg = small(*TINY, *words, "schedule=one_cycle", "data.train_size=96", "train.batch_size=48", epochs=3)
    run(cfg, tmp_path / "run", "aelab")
    base = cfg.model.recipe.learning_rate if model == "rbm" else cfg.optimizer.lr
    seen = {step: row[name] for step, row, _ in ledger.rows if name in row}
    schedule = build(cfg.schedule, "schedule")
    assert seen == pytest.approx({step: base * schedule(step / 5) for step in seen}) and set(seen) == {1, 3, 5}
    assert run_folder.read_history(tmp_path / "run")["train/learning_rate"] == pytest.approx(list(seen.values()))


def test_wandb_sees_the_rate_too(tmp_path):
    run(small("logger=wandb", *TINY, "callbacks=learning_rate"), tmp_path / "run", "aelab")
    (part,) = read(tmp_path / "run")
    rates = [(row["trainer/global_step"], row["lr-Adam"]) for row in part.rows if "lr-Adam" in row]
    assert [step for step, _ in rates] == [2, 5] and all(rate >= 0 for _, rate in rates)
    assert part.epochs_of("val/loss") == [0, 1]


def test_tensorboard_is_told_each_epoch_once_and_the_end_with_its_pictures(tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    metrics = run(small("logger=tensorboard", *TINY), tmp_path / "run", "aelab")
    history, told, seen = run_folder.read_history(tmp_path / "run"), {}, set()
    for file in sorted((tmp_path / "run").glob("events.out.tfevents.*")):
        events = reading.EventAccumulator(str(file)).Reload()
        seen |= set(events.Tags()["images"])
        for name in events.Tags()["scalars"]:
            told.setdefault(name, []).extend((event.step, event.value) for event in events.Scalars(name))
    assert {"figures/loss", "figures/reconstructions"} <= seen
    assert [step for step, _ in told["val/loss"]] == [2, 5]
    assert [value for _, value in told["val/loss"]] == pytest.approx(history["val/loss"])
    assert told["test/loss"] == [(6, pytest.approx(metrics["test/loss"]))]


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
    shown = f"wandb leet {tmp_path / 'wandb'}\nto send it  wandb sync {tmp_path / 'wandb'}"
    assert watch.how_to_look(tmp_path) == shown

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "events.out.tfevents.17.vm.1.0").touch()
    assert watch.how_to_look(tmp_path / "other") == f"tensorboard --logdir {tmp_path / 'other'}"


def test_settings_are_what_matters_under_the_keys_that_overrides_have():
    settings = settings_of("model=top_k", "model.k=10", "corruption=masking", "logger.tags=[a]")
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
