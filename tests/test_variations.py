"""Rectangles, shapes, and MNIST turned or on a background: what is drawn is what the label, the angle, the seed say."""

import math

import numpy as np
import pytest
import torch
from fake_data import write_mnist

from aelab.data.convex import convex, dented
from aelab.data.mnist_variations import mnist_variation, on_background, rotated
from aelab.data.rectangles import rectangles
from aelab.errors import UserError


def test_a_rectangle_is_an_outline_as_tall_or_wide_as_its_label_says(tmp_path):
    arrays = rectangles(400, 100, 0, str(tmp_path))
    images, labels = arrays.train_x.numpy().reshape(-1, 28, 28), arrays.train_y.numpy()
    for image, label in zip(images, labels):
        rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert abs(height - width) >= 3 and label == (height > width)
        inner = image[rows[0] + 1 : rows[-1], columns[0] + 1 : columns[-1]]
        assert not inner.any() and image.sum() == height * width - inner.size
    assert 0.4 < labels.mean() < 0.6 and {images.min(), images.max()} == {0, 1}


def test_a_shape_is_convex_as_its_label_says(tmp_path):
    arrays = convex(600, 100, 0, str(tmp_path))
    images, labels = arrays.train_x.numpy().reshape(-1, 28, 28), arrays.train_y.numpy()
    assert (dented(images > 0) == (labels == 0)).all()
    for image in images[labels == 1][:40]:  # by another test: every pixel in the hull of the shape belongs to it
        pixels = np.argwhere(image)
        assert len(pixels) >= 19
        steps = [(i, j) for i in range(-27, 28) for j in range(28) if math.gcd(i, j) == 1]
        along = np.argwhere(np.ones_like(image)) @ np.transpose(steps)
        held = pixels @ np.transpose(steps)
        assert ((along >= held.min(0)) & (along <= held.max(0))).all(1).sum() == len(pixels)
    assert 0.4 < labels.mean() < 0.6 and {images.min(), images.max()} == {0, 1}
    covered = [images[labels == label].mean() for label in (0, 1)]  # how much is white does not give the label away
    assert covered == [pytest.approx(0.22, abs=0.04)] * 2


def test_a_midpoint_outside_is_a_dent():
    corner, whole = np.zeros((2, 28, 28), bool)
    corner[:3, 0] = corner[2, :3] = True
    whole[:] = True
    assert dented(np.stack([corner, whole, ~whole])).tolist() == [True, False, False]


@pytest.mark.parametrize("made", [rectangles, convex])
def test_a_drawn_set_hangs_on_its_seed_alone(made, tmp_path):
    first, kept = made(50, 20, 0, str(tmp_path / "a")), made(50, 20, 0, str(tmp_path / "a"))
    more, other = made(80, 20, 0, str(tmp_path / "b")), made(50, 20, 1, str(tmp_path / "a"))
    assert torch.equal(first.train_x, kept.train_x) and torch.equal(first.test_x, more.test_x)
    assert not torch.equal(first.train_x, other.train_x)


def test_an_image_is_turned_anticlockwise_by_its_angle():
    image = torch.rand(2, 28, 28, generator=torch.Generator().manual_seed(0))
    turned = rotated(image.flatten(1), (28, 28), torch.tensor([math.pi / 2, math.pi])).view(2, 28, 28)
    assert torch.allclose(turned[0], image[0].rot90(), atol=1e-4)
    assert torch.allclose(turned[1], image[1].rot90(2), atol=1e-4)


def test_ink_stands_on_its_background():
    x, noise = torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[0.3, 0.4, 0.9]])
    assert on_background(x, noise).tolist() == [[pytest.approx(0.3), 0.5, 1.0]]


@pytest.mark.parametrize("kind", ["basic", "rotated", "random_background"])
def test_a_variation_takes_every_image_once(kind, tmp_path):
    write_mnist(tmp_path / "mnist", 60, 20)
    arrays = mnist_variation(kind, 50, 30, 0, str(tmp_path), str(tmp_path), False)
    same = mnist_variation("basic", 50, 30, 0, str(tmp_path), str(tmp_path), False)
    assert arrays.train_x.shape == (50, 784) and arrays.test_x.shape == (30, 784)
    assert torch.equal(arrays.train_y, same.train_y) and torch.equal(arrays.test_y, same.test_y)
    assert torch.equal(arrays.train_x, same.train_x) == (kind == "basic")
    whole = torch.cat([same.train_x, same.test_x])
    assert len(whole.unique(dim=0)) == 80
    assert torch.cat([arrays.train_y, arrays.test_y]).bincount().tolist() == [8] * 10


def test_more_images_than_there_are_is_refused(tmp_path):
    write_mnist(tmp_path / "mnist", 60, 20)
    with pytest.raises(UserError, match=r"data\.source\.n_train: with n_test at most 80 images, got 81"):
        mnist_variation("basic", 61, 20, 0, str(tmp_path), str(tmp_path), False)
