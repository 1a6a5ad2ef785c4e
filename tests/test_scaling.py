"""Scaling: agreement with scikit-learn, fitted in blocks as at once, invertible, blind to what is missing."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from aelab.data.scaling import IQR, Scaling, fit

FITTED = ("standard", "robust", "minmax", "quantile")
RNG = np.random.default_rng(0)
X = np.stack([RNG.normal(1e6, 1, 400), RNG.lognormal(size=400), RNG.integers(0, 5, 400), np.full(400, 7.0)], 1)


def fitted(x: np.ndarray, how: str, n_blocks: int = 1) -> Scaling:
    return fit(np.array_split(x, n_blocks), len(x), how, fill=True, levels=255.0)


@pytest.mark.parametrize(
    ("how", "theirs"),
    [("standard", StandardScaler()), ("minmax", MinMaxScaler()),
     ("robust", RobustScaler(unit_variance=True))],
)  # fmt: skip
def test_it_is_what_scikit_learn_computes(how, theirs):
    np.testing.assert_allclose(fitted(X, how).apply(X), theirs.fit_transform(X), rtol=1e-5, atol=1e-5)
    assert norm.ppf(0.75) * 2 == pytest.approx(IQR)


@pytest.mark.parametrize("how", FITTED)
def test_blocks_are_fitted_as_the_whole(how):
    whole, blocks = fitted(X, how), fitted(X, how, n_blocks=7)
    for one, other in zip(whole, blocks):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("how", FITTED)
def test_it_is_undone_also_outside_the_training_part(how):
    scaling = Scaling.of(fitted(X, how).plain())  # as it is read back from a run folder
    new = X[:50] + np.linspace(-3, 3, 50)[:, None] * X.std(0)
    atol = 1.0 if how == "quantile" else 0.2  # single precision of numbers about 1e6
    np.testing.assert_allclose(scaling.undo(scaling.apply(new))[:, 0], new[:, 0], atol=atol)
    np.testing.assert_allclose(scaling.undo(scaling.apply(new))[:, 1], new[:, 1], rtol=1e-2, atol=1e-3)


def test_quantiles_make_a_normal_distribution_and_keep_what_is_outside_apart():
    z = fitted(X, "quantile").apply(X)
    assert abs(z[:, 1].mean()) < 0.02 and abs(z[:, 1].std() - 1) < 0.03
    assert not z[:, 3].any(), "a constant column is 0"
    x = np.linspace(-5, 60, 300)[:, None]
    scores = fitted(X[:, 1:2], "quantile").apply(x)[:, 0]
    assert (np.diff(scores) >= 0).all() and scores[0] < z[:, 1].min() and scores[-1] > z[:, 1].max()


@pytest.mark.parametrize("how", FITTED)
def test_missing_values_are_passed_over(how):
    holes = np.concatenate([X, np.full((100, 4), np.nan)])
    for one, other in zip(fitted(X, how), fitted(holes, how, n_blocks=3)):
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40), st.sampled_from(FITTED))
@example([0.0, 0.0, 5e-128], "robust")
@example([0.0, 0.0, 1e-127, 1e-127, 1e6], "robust")
@example([0.0, 5e-128, 1e-310], "quantile")
@example([0.0, 0.0, -2.2250738585e-313, -2.225073858507e-311], "quantile")
def test_order_is_kept_and_nothing_becomes_nan(values, how):
    x = np.array(values)[:, None]
    z = fitted(x, how).apply(x)[:, 0]
    assert np.isfinite(z).all() and (np.diff(z[np.argsort(x[:, 0], kind="stable")]) >= -1e-6).all()


def test_what_is_too_large_for_single_precision_becomes_its_largest_number():
    largest = np.finfo(np.float32).max
    for scaling in (Scaling(np.zeros(()), np.ones(())), Scaling(np.ones(()), np.ones(()))):
        assert scaling.apply(np.array([[1e39, -1e300]])).tolist() == [[largest, -largest]]


def test_grey_levels_are_divided_and_nothing_else():
    x = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.testing.assert_array_equal(fitted(x, "grey").apply(x), np.float32(x) / 255)
    np.testing.assert_array_equal(fitted(x, "none").apply(x), x)
