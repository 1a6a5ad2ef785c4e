"""metrics.json: what stands under each name, against its definition."""

import math

import numpy as np
import pytest
import torch
from helpers import command, composed

from aelab import files
from aelab.config.build import build
from aelab.runs.folder import load
from aelab.runs.train import run


@pytest.fixture(scope="module")
def linear(made_data, tmp_path_factory):
    """The closed form, not trained: PCA itself."""
    folder = tmp_path_factory.mktemp("linear") / "run"
    overrides = ("model=linear", "model.n_code=5", "model.start=closed_form", "optimizer.lr=1e-30", "train.epochs=1")
    cfg = composed(*overrides, "logger=csv")
    return run(cfg, folder, command(*overrides)), load(folder), cfg


def data_of(cfg):
    return build(cfg.data, "data", seed=cfg.seed, batch_size=cfg.train.batch_size, below=[])


def test_squared_error_is_summed_over_pixels_and_averaged_over_images(linear):
    metrics, model, cfg = linear
    x = data_of(cfg).test.x
    with torch.no_grad():
        error = (model.reconstruct(x) - x).double().square().sum(1).mean()
    assert metrics["test/squared_error"] == pytest.approx(float(error), rel=1e-5)
    assert metrics["test/psnr"] == pytest.approx(10 * math.log10(x.shape[1] / float(error)), rel=1e-5)


def test_pca_is_the_baseline_of_the_same_size_fitted_on_the_training_set(linear):
    metrics, _, cfg = linear
    data = data_of(cfg)
    train, test = data.train.x.double().numpy(), data.test.x.double().numpy()
    mean = train.mean(0)
    components = np.linalg.svd(train - mean, full_matrices=False)[2][:5]
    left = (test - mean) - (test - mean) @ components.T @ components
    expected = (left**2).sum(1).mean()
    assert metrics["test/pca_squared_error"] == pytest.approx(expected, rel=1e-5)
    assert metrics["test/squared_error"] == pytest.approx(expected, rel=1e-4)
    assert metrics["test/principal_angle"] < 1e-3


def test_errors_of_classifiers_are_shares_of_the_test_set(linear):
    """A vote among the five nearest training codes, counted by hand."""
    metrics, model, cfg = linear
    data = data_of(cfg)
    with torch.no_grad():
        train, test = model.encode(data.train.x), model.encode(data.test.x)
    nearest = torch.cdist(test.double(), train.double()).topk(5, largest=False).indices
    votes = data.train.y[nearest]
    counts = torch.stack([(votes == label).sum(1) for label in range(10)], 1)
    wrong = 100 * (counts.argmax(1) != data.test.y).double().mean()
    assert metrics["test/knn_error"] == pytest.approx(float(wrong), abs=100 * 3 / len(test))  # ties of distance
    assert 0 < metrics["test/probe_error"] < 40


def test_loss_terms_add_up_to_the_loss(linear):
    metrics, _, _ = linear
    for part in ("train", "val", "test"):
        assert metrics[f"{part}/loss"] == pytest.approx(metrics[f"{part}/reconstruction"])


def test_metrics_file_is_flat_finite_and_the_same_again(linear, made_data, tmp_path):
    metrics, _, cfg = linear
    again = run(cfg, tmp_path / "again", "aelab")
    assert again == metrics == files.read_json(tmp_path / "again" / "metrics.json")
    assert all(isinstance(value, float) and math.isfinite(value) for value in metrics.values())
