"""Curves: the spline, the ink, the smoothing; determinism and the numbers the set is matched to."""

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from aelab.data import curves as module
from aelab.data.arrays import fingerprint
from aelab.data.curves import curves, ink, natural_spline, smooth, three_points


def test_points_keep_their_distance_and_their_range():
    x, y = three_points(5000, np.random.default_rng(0))
    assert np.diff(x).min() >= 2 and x.min() >= 2 and x.max() <= 26
    assert y.min() >= 2 and y.max() <= 26
    # Uniform under the gap: x less its gaps are the order statistics of three uniforms on [2, 22], means at quarters.
    assert np.allclose((x - [0, 2, 4]).mean(0), [7, 12, 17], atol=0.2)


def test_spline_is_scipys_natural_one():
    x, y = three_points(20, np.random.default_rng(1))
    at, values = natural_spline(x, y, 64)
    expected = [CubicSpline(*knots, bc_type="natural")(t) for *knots, t in zip(x, y, at)]
    assert np.allclose(values, expected, rtol=0, atol=1e-9)


def test_ink_is_length_times_dots_with_its_centre_on_the_stroke():
    image = ink(np.array([[3.0, 9.3, 9.3]]), np.array([[4.0, 4.0, 20.7]]))[0]
    assert np.isclose(image.sum(), 4 * (6.3 + 16.7))
    rows, columns = np.indices(image.shape)
    assert np.isclose((image * rows).sum(), 4 * (6.3 * 4 + 16.7 * (4 + 20.7) / 2))
    assert np.isclose((image * columns).sum(), 4 * (6.3 * (3 + 9.3) / 2 + 16.7 * 9.3))


def test_ink_beside_the_image_is_lost_and_never_lands_elsewhere():
    x = np.array([[5.0, 5.0], [5.0, 5.0], [5.0, 5.0], [-0.5, -0.5]])
    y = np.array([[-30, -20.0], [40, 50.0], [27.2, 27.8], [9.9, 10.1]])
    image = ink(x, y)
    assert image[:2].sum() == 0
    assert np.isclose(image[2].sum(), 4 * 0.6 / 2) and np.isclose(image[2, 27, 5], image[2].sum())
    assert np.isclose(image[3].sum(), 4 * 0.2 / 2) and np.isclose(image[3, 10, 0], image[3].sum())


def test_smoothing_is_the_binomial_kernel_with_zeros_outside():
    image = np.zeros((1, 5, 5))
    image[0, 2, 2] = 16
    assert np.array_equal(smooth(image)[0, 1:4, 1:4], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    assert np.isclose(smooth(np.ones((1, 5, 5)))[0, 0, 0], 9 / 16)


def test_seed_decides_and_the_cache_gives_the_same(tmp_path, monkeypatch):
    first = curves(n_train=30, n_test=20, seed=0, cache=str(tmp_path / "a"))
    again = curves(n_train=30, n_test=20, seed=0, cache=str(tmp_path / "b"))
    other = curves(n_train=30, n_test=20, seed=1, cache=str(tmp_path / "a"))
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    monkeypatch.setattr(module, "make", lambda *_: pytest.fail("made again although it is in the cache"))
    assert fingerprint(curves(n_train=30, n_test=20, seed=0, cache=str(tmp_path / "a"))) == fingerprint(first)


def test_parts_depend_on_the_seed_alone(tmp_path, monkeypatch):
    few = curves(n_train=10, n_test=20, seed=0, cache=str(tmp_path))
    monkeypatch.setattr(module, "CHUNK", 7)
    many = curves(n_train=30, n_test=40, seed=0, cache=str(tmp_path))
    assert torch.equal(few.train_x, many.train_x[:10]) and torch.equal(few.test_x, many.test_x[:20])
    assert not torch.equal(few.test_x[:10], few.train_x)


def test_the_set_has_the_two_known_numbers(tmp_path):
    arrays = curves(n_train=4000, n_test=2000, seed=0, cache=str(tmp_path))
    mean = arrays.train_x.mean(0)
    _, vectors = torch.linalg.eigh((arrays.train_x - mean).T @ (arrays.train_x - mean))
    centred = arrays.test_x - mean
    assert float(centred.square().sum(1).mean()) == pytest.approx(16.5, rel=0.03)
    left = centred - centred @ vectors[:, -18:] @ vectors[:, -18:].T
    assert float(left.square().sum(1).mean()) == pytest.approx(5.90, rel=0.03)
