"""metrics.json: what stands under each name, against its definition."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import command, composed, small

from aelab import files
from aelab.config.build import build, build_model
from aelab.data.parts import Split
from aelab.functional.pca import fit_pca
from aelab.results import metrics as metrics_of
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


def test_explained_variance_is_the_part_of_the_variance_that_reconstructions_keep(linear):
    """Against scikit-learn's R², weighted by variance, of the test and of the validation set."""
    from sklearn.metrics import r2_score

    metrics, model, cfg = linear
    data = data_of(cfg)
    for prefix, split in (("test/", data.test), ("val/", data.val)):
        with torch.no_grad():
            expected = r2_score(split.x, model.reconstruct(split.x), multioutput="variance_weighted")
        for name in ("explained_variance", "pca_explained_variance"):  # the model is PCA
            assert metrics[prefix + name] == pytest.approx(expected, rel=1e-4)


def test_missing_values_count_in_no_figure():
    """Whatever stands in a place that is missing, every figure of reconstruction is the same."""
    torch.manual_seed(0)
    model, figures = build_model(small("model=linear", "model.n_code=2").model, (6,), [], None), []
    x, observed = torch.randn(40, 6), torch.rand(40, 6) > 0.3
    observed[:, 0] = False  # never seen at all
    for filled in (0.0, 1e3):
        split = Split(x.where(observed, torch.tensor(filled)), None, observed)
        data = SimpleNamespace(test=split, val=split, train=split, ends=(x.amin(0), x.amax(0)), pca=lambda n: None)
        with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(model, "reconstruct", lambda rows: torch.zeros_like(rows), raising=False)
            patch.setattr(metrics_of, "baseline", lambda *_: None)
            figures.append(metrics_of.fidelity(data, model.reconstruct) | metrics_of.ExplainedVariance()(model, data))
    assert figures[0] == pytest.approx(figures[1])
    assert figures[0]["squared_error"] == pytest.approx(float((x.square() * observed).sum() / 40))


def test_data_that_are_all_the_same_have_no_variance_to_explain(tmp_path):
    split = Split(torch.full((20, 6), 0.5), None)
    model = build_model(small("model=linear", "model.n_code=2").model, (6,), [], None)
    data = SimpleNamespace(test=split, val=split, train=split, pca=lambda n: fit_pca(split.x, n))
    assert metrics_of.ExplainedVariance()(model, data) == {}


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
