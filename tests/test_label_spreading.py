"""A few labels that spread over codes: along what hangs together, and no further than what is asked."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import aelab

from aelab import files
from aelab.data.parts import Split
from aelab.results.label_spreading import LabelSpreading, some_labels

MIRROR = SimpleNamespace(encode=lambda x: -x, training=False, eval=lambda: None)


def moons(n: int, seed: int) -> Split:
    """Points on two half circles that reach into each other: the nearest labelled point is often of the other one."""
    from sklearn.datasets import make_moons

    x, y = make_moons(n, noise=0.05, random_state=seed)
    return Split(torch.from_numpy(x).float(), torch.from_numpy(y).long())


def errors(train: Split, test: Split, **settings: float) -> dict[str, float]:
    settings = {"per_class": 3, "neighbours": 7, "alpha": 0.99, "draws": 4} | settings
    return LabelSpreading(**settings)(MIRROR, SimpleNamespace(train_for_evaluation=train, test=test))


def test_labels_spread_along_what_hangs_together():
    train, test = moons(1000, 0), moons(400, 1)
    assert errors(train, test)["spread_error"] < 1
    assert errors(train, test, alpha=0.01)["spread_error"] > 5  # hardly beyond the neighbours of the labelled ones
    assert set(errors(train, test, draws=1)) == {"spread_error"}


def test_only_labels_that_are_known_count():
    train, test = moons(1000, 0), moons(400, 1)
    scarce = train._replace(y=torch.where(torch.arange(1000) < 40, train.y, -1))
    assert errors(scarce, test)["spread_error"] < 1
    hidden = test._replace(y=torch.where(torch.arange(400) < 200, test.y, -1))
    assert errors(train, hidden)["spread_error"] < 1
    for y in (None, torch.zeros(1000).long(), torch.full((1000,), -1)):
        assert errors(train._replace(y=y), test) == {}
    assert errors(train, test._replace(y=None)) == errors(train, test._replace(y=torch.full((400,), -1))) == {}


@pytest.mark.parametrize("n", [3, 20])
def test_codes_that_are_few_or_all_the_same_have_a_figure(n):
    train = Split(torch.zeros(n, 2), torch.arange(n) % 2)
    assert 0 <= errors(train, train)["spread_error"] <= 100


def test_as_many_labels_of_each_class_are_kept_as_are_asked_for_or_there():
    y = np.repeat([-1, 0, 1, 2], [50, 30, 20, 2])
    first, second = (some_labels(y, 5, np.random.default_rng(seed)) for seed in (0, 1))
    assert [int((first == label).sum()) for label in (0, 1, 2)] == [5, 5, 2]
    assert (first[first >= 0] == y[first >= 0]).all() and not np.array_equal(first, second)


def test_a_run_is_measured_by_it(tmp_path, capsys):
    words = "model=vae", "train.epochs=2", "evaluate=label_spreading", "logger=csv", f"hydra.run.dir={tmp_path / 'run'}"
    outcome = aelab(capsys, *words)
    assert outcome.status == 0, outcome.error
    metrics = files.read_json(tmp_path / "run" / "metrics.json")
    assert 0 < metrics["test/spread_error"] < 60 and metrics["test/spread_error_sd"] > 0
