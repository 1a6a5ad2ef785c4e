"""Evaluators: a person's own in YAML, each failing alone; a finished training is whole whatever comes after it."""

import json
import logging

import pytest
import torch
from helpers import CONF, OPTIONS, OWN_KIND, command, made_layers, small
from helpers import aelab as command_line

import aelab
from aelab import files
from aelab.config.build import build, made_from_layers
from aelab.data.arrays import Arrays
from aelab.results.evaluation import build_evaluators, evaluate
from aelab.runs.assembly import build_in_training
from aelab.runs.pages import write_page
from aelab.runs.train import run, stands_on

MODELS = [option for option in OPTIONS if option.startswith("model=")]
DATA = {"one test image": 0, "one class": 1, "constant images": 2}


class Smallest:
    """A person's own: what the code's entries are at least, and at most if asked."""

    def __init__(self, largest: bool):
        self.largest = largest

    def __call__(self, model, data):
        code = model.encode(data.test.x)
        return {"smallest": code.min()} | ({"largest": code.max()} if self.largest else {})


def breaks(model, data):
    raise ZeroDivisionError("nothing to divide by\nand more")


def not_a_number(model, data):
    return {"nan": float("nan"), "inf": float("inf"), "fine": 1.0}


def one_test_image(n: int = 40) -> Arrays:
    return arrays(n, test=1)


def one_class(n: int = 40) -> Arrays:
    return arrays(n, y=0)


def constant(n: int = 40) -> Arrays:
    return arrays(n, constant=True)


def arrays(n: int, test: int = 8, y: int | None = None, constant: bool = False) -> Arrays:
    draw = torch.Generator().manual_seed(0)
    x = (torch.rand(n + test, 64, generator=draw) * (0 if constant else 1) + (0.3 if constant else 0)).float()
    labels = torch.arange(n + test) % 3 if y is None else torch.full((n + test,), y)
    return Arrays(x[:n], labels[:n], x[n:], labels[n:], (8, 8), True)


@pytest.fixture
def said(monkeypatch):
    """The lines of warning."""
    lines = []
    monkeypatch.setattr(logging.getLogger("aelab"), "warning", lines.append)
    return lines


def configured(folder, *overrides, epochs=1):
    cfg = small(*overrides, epochs=epochs)
    if made_from_layers(cfg.model):
        cfg.below = str(made_layers(folder / "below"))
    return cfg


def test_a_person_adds_one_in_yaml_of_their_own(tmp_path, capsys):
    group = tmp_path / "conf" / "evaluate"
    group.mkdir(parents=True)
    (group / "smallest.yaml").write_text("smallest:\n  _target_: test_evaluators.Smallest\n  largest: false\n")
    folder = tmp_path / "run"
    words = ("evaluate=[smallest,knn]", "evaluate.smallest.largest=true", "logger=csv", "train.epochs=1")
    path = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    outcome = command_line(capsys, path, *words, f"hydra.run.dir={folder}")
    assert outcome.status == 0, outcome.error
    metrics = files.read_json(folder / "metrics.json")
    assert {"test/smallest", "test/largest", "test/knn_error", "test/loss", "test/squared_error"} <= metrics.keys()
    assert not {"test/probe_error", "test/pca_squared_error"} & metrics.keys()


def test_a_mistyped_key_of_an_evaluator_is_found_before_training(tmp_path, capsys):
    outcome = command_line(capsys, "+evaluate.probe.C=2", "logger=csv", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 1 and "evaluate.probe.C: no such key" in outcome.error[-1]
    assert not (tmp_path / "run" / "last.ckpt").exists()


def test_each_fails_alone_in_one_line(tmp_path, said, monkeypatch):
    own = ("breaks", "not_a_number")
    cfg = configured(tmp_path, *(f"+evaluate.{f}={{_target_:test_evaluators.{f},_partial_:true}}" for f in own))
    monkeypatch.setattr("aelab.results.figures.run_figures", breaks_with_any)
    metrics = run(cfg, tmp_path / "run", command())
    assert {"test/fine", "test/knn_error", "test/loss"} <= metrics.keys()
    assert not {"test/nan", "test/inf"} & metrics.keys()
    failed = "failed (ZeroDivisionError: nothing to divide by); the run goes on without it"
    left_out = "no finite number; left out"
    nans = [f"test/inf: is inf, {left_out}", f"test/nan: is nan, {left_out}"]
    assert sorted(said) == [f"evaluate.breaks: {failed}", f"figures: {failed}", *nans]


def breaks_with_any(*_):
    breaks(None, None)


def test_what_is_measured_does_not_depend_on_what_else_is(tmp_path):
    metrics = run(configured(tmp_path, "model=vae", "evaluate.nll_samples=3"), tmp_path / "run", command())
    alone = configured(tmp_path, "model=vae", "evaluate.nll_samples=3")
    alone.evaluate = {"weights": "last", "nll_samples": 3, "nll": alone.evaluate.nll}
    again = run(alone, tmp_path / "alone", command())
    assert set(again) < set(metrics)
    assert {name: metrics[name] for name in again} == again


@pytest.mark.parametrize("option", MODELS)
def test_a_loaded_model_is_measured_as_the_run_was(option, tmp_path, made_data):
    """Also what needs the corruption that it was trained with; and there is a page of every kind of model."""
    words = [option, *(["corruption=masking"] if option == "model=autoencoder" else [])]
    cfg = configured(tmp_path, *words, "evaluate.nll_samples=2")
    metrics = run(cfg, tmp_path / "run", command())
    model = aelab.load(tmp_path / "run").model
    data = build(cfg.data, "data", seed=cfg.seed, batch_size=cfg.train.batch_size, below=model.below)
    to_train = build_in_training(cfg, data, stands_on(cfg, tmp_path / "run"))
    again = evaluate(model, data, build_evaluators(cfg.evaluate))
    assert again == {name: metrics[name] for name in again}
    assert {name for name in metrics if name.startswith("test/")} <= again.keys()
    assert {name for name in metrics if name.startswith("val/")} - again.keys() == to_train.names_validated(data)
    assert ("test/psnr_gained" in metrics) == (option == "model=autoencoder")
    write_page(tmp_path / "run", tmp_path / "page.html", trust=[])
    assert "Figures of merit" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize("source", ["one_test_image", "one_class", "constant"])
@pytest.mark.parametrize("option", [option for option in MODELS if option.partition("=")[2] not in OWN_KIND])
def test_whatever_the_data_a_finished_training_is_whole(option, source, tmp_path):
    cfg = configured(tmp_path, option, "data.train_size=null", "data.validation=8", epochs=2)
    cfg.data.source = {"_target_": f"test_evaluators.{source}"}
    if option in ("model=classifier", "model=deep_belief_network", "model=deep_autoencoder"):
        cfg.train.epochs = 1
    folder = tmp_path / "run"
    metrics = run(cfg, folder, command(option))
    text = (folder / "metrics.json").read_text()
    assert json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON")) == metrics
    assert "test/loss" in metrics
    assert aelab.load(folder) is not None


def test_every_evaluator_of_conf_is_one_that_is_taken_by_default():
    default = set(small().evaluate) - {"weights", "nll_samples"}
    slow = {"svm", "label_spreading"}  # minutes on ten thousand samples and more
    assert {path.stem for path in (CONF / "evaluate").glob("*.yaml")} == default | slow
