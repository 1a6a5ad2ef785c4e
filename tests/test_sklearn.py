"""The estimator: scikit-learn's own checks, and what people put estimators into."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from aelab.functional.joint_density import fit_joint, minus_log_joint
from aelab.sklearn import Autoencoder

EXCEPTIONS = {
    "check_methods_subset_invariance": "float32: matrix products of other shapes round otherwise, by 1e-6 of the score",
}
SMALL = {"model.network.widths": [8]}


def two_clusters(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    return (2 * y[:, None] - 1) * np.array([3, -3, 3, -3, 3]) + rng.normal(size=(n, 5)), y


@pytest.mark.slow
def test_scikit_learn_s_own_checks():
    expected = dict(EXCEPTIONS)
    results = check_estimator(Autoencoder(epochs=2, overrides=SMALL), expected_failed_checks=expected, on_fail=None)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []
    assert sum(r["status"] == "passed" for r in results) > 40


@pytest.mark.parametrize("model", ["autoencoder", "vae", "linear", "sparse", "rbm"])
def test_every_kind_of_model_is_fitted_the_same_by_the_same_seed(model):
    X, _ = two_clusters()
    overrides = SMALL if model in ("autoencoder", "vae") else None
    made = Autoencoder(model, 2, epochs=3, overrides=overrides).fit(X)
    codes = made.transform(X)
    assert codes.shape == (80, 2) and np.isfinite(codes).all()
    back = made.inverse_transform(codes)
    assert back.shape == X.shape and np.isfinite(back).all()
    np.testing.assert_array_equal(clone(made).fit(X).transform(X), codes)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(made)).score_samples(X), made.score_samples(X))
    assert 0 < (made.predict(X) == -1).mean() <= 0.1


def test_a_chain_is_fitted_too(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    X, _ = two_clusters()
    quick = {"chain.rbm.train.epochs": 1, "chain.finetune.train.epochs": 2, "chain.rbm.train.batch_size": 16,
             "chain.finetune.train.batch_size": 16}  # fmt: skip
    made = Autoencoder(chain="deep_autoencoder", widths=[6, 2], overrides=quick).fit(X)
    assert made.transform(X).shape == (80, 2) and made.inverse_transform(made.transform(X)).shape == X.shape
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"


def test_a_chain_s_minibatches_are_no_larger_than_the_rows():
    X, _ = two_clusters(30)
    quick = {"chain.rbm.train.epochs": 1, "chain.finetune.train.epochs": 1}
    widths = np.array([4, 2])  # NumPy's numbers are as good as Python's
    assert Autoencoder(chain="deep_autoencoder", widths=widths, overrides=quick).fit_transform(X).shape == (30, 2)
    with pytest.raises(ValueError, match="minimum of 3"):
        Autoencoder(chain="deep_autoencoder", widths=widths, overrides=quick).fit(X[:2])


@pytest.mark.parametrize(("model", "n_code"), [("autoencoder", 0.9), ("vae", 2)])
def test_missing_values_are_out_of_scores_and_are_filled_by_the_reconstruction(model, n_code):
    X, _ = two_clusters()
    X[::7, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        Autoencoder(model, n_code, epochs=1).fit(X)
    for missing in ("fill", "mask"):
        made = clone(Autoencoder(model, n_code, epochs=60, overrides=SMALL | {"optimizer.lr": 0.01}, missing=missing))
        codes = made.fit_transform(X)
        assert np.isfinite(codes).all() and np.isfinite(made.score_samples(X)).all()
        if missing == "mask":
            filled = made.inverse_transform(codes)[::7, 1]
            assert np.corrcoef(filled, X[::7, 0])[0, 1] < -0.8, "column 1 is the negative of column 0"
    X[:, 1] = np.nan
    with pytest.raises(ValueError, match="column 1"):
        made.fit(X)


def test_it_stands_in_pipelines_column_transformers_and_searches():
    X, y = two_clusters()
    one = Autoencoder(epochs=10, overrides=SMALL | {"optimizer.lr": 0.01})
    assert make_pipeline(one, LogisticRegression()).fit(X, y).score(X, y) > 0.95
    columns = ColumnTransformer([("some", clone(one), [0, 1, 2])], remainder="passthrough")
    assert columns.fit_transform(X).shape == (80, 2 + 2)
    search = GridSearchCV(one, {"n_code": [1, 3], "overrides": [SMALL]}, cv=2).fit(X)
    assert search.best_params_["n_code"] in (1, 3)
    assert list(one.fit(X).get_feature_names_out()) == ["autoencoder0", "autoencoder1"]


def test_outliers_are_found():
    X, _ = two_clusters()
    made = Autoencoder("linear", 1, contamination=0.05).fit(X)
    strange = np.array([[3.0, 3, -3, 3, 3]])
    assert made.predict(strange) == [-1] and made.decision_function(strange) < 0 < made.decision_function(X[:1])


def test_what_is_reconstructed_well_and_lies_far_off_is_strange_by_the_joint_density():
    """Of rows on a plane the scores are those of a Gaussian on it: half the squared Mahalanobis distance."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(128, 2)) @ rng.normal(size=(2, 4)) + 0.01 * rng.normal(size=(128, 4))
    far = np.vstack([X.mean(0), X.mean(0) + 8 * (X[0] - X.mean(0))])
    settings = {"model": "linear", "n_code": 0.999, "epochs": 60, "overrides": {"optimizer.lr": 0.03}}
    joint, error = Autoencoder(**settings).fit(X), Autoencoder(**settings, outliers_by="error").fit(X)
    assert joint.transform(X).shape == (128, 2), "two components hold 99.9 % of the variance"
    centred = PCA(2).fit_transform(X)
    expected = 0.5 * np.square(centred / centred.std(0)).sum(1)
    np.testing.assert_allclose(-joint.score_samples(X), expected, rtol=0.1, atol=0.1)
    assert joint.predict(far).tolist() == [1, -1]
    np.testing.assert_allclose(error.score_samples(X), error.applied_.score_samples(X), rtol=1e-5)
    assert joint.score(X) == pytest.approx(error.score(X)), "a search compares reconstructions"


def test_the_joint_density_bears_units_that_never_change_and_two_rows():
    codes = torch.tensor([[1.0, 5, 0], [3, 5, 0]])
    density = fit_joint(codes, torch.tensor([[0.0, 7], [4, 7]]))
    scores = minus_log_joint(density, torch.tensor([[3.0, 9, 1]]), torch.tensor([[8.0, 3]]))
    np.testing.assert_allclose(scores.numpy(), [0.5 * (8 / 4 + 3 + 1)], rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [({"model": "vaee"}, "vae"), ({"overrides": {"optimizer.lrr": 1}}, "lr"), ({"n_code": 0}, "n_code"),
     ({"contamination": 0.9}, "contamination"), ({"random_state": "x"}, "random_state"), ({"scale": "log"}, "scale"),
     ({"outliers_by": "density"}, "outliers_by"), ({"n_code": 1.5}, "n_code"), ({"missing": "no"}, "missing"),
     ({"model": "deep_autoencoder"}, "chain='deep_autoencoder'"), ({"model": "classifier"}, "labels"),
     ({"contamination": "0.1"}, "contamination"), ({"overrides": ["optimizer.lr=1"]}, "overrides must be a mapping"),
     ({"overrides": {"data": "mnist"}}, "data cannot be set"), ({"overrides": {"callbacks": "timer"}}, "callbacks"),
     ({"chain": "deep_autoencoder", "overrides": {"train.epochs": 1}}, "train.epochs cannot be set"),
     ({"chain": "deep_autoencoder", "widths": 3}, "widths must be a list"),
     ({"overrides": {"hardware": "gpu"}}, "hardware")],
)  # fmt: skip
def test_mistaken_parameters_are_named(words, said):
    with pytest.raises(ValueError, match=said):
        Autoencoder(**words).fit(two_clusters()[0])
