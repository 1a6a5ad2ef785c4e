"""Augmentations against their definitions: moves, mirrors, turns and mixtures of training images."""

import pytest
import torch
from helpers import small
from torch import Tensor

from aelab.config.build import build
from aelab.data.augmentation import Augmentation, mirrored, mixed, shifted, warped
from aelab.errors import UserError
from aelab.models.classifier import Classifier
from aelab.rbm.layer import Layer

NONE = Augmentation(shift=0, mirror="none", rotate=0.0, zoom=0.0, mix=0.0)


def test_a_shift_moves_whole_images():
    image = torch.zeros(5, 6)
    image[2, 3] = 1.0
    moved = shifted(image.flatten().repeat(2000, 1), (5, 6), 1).view(2000, 5, 6)
    assert moved.sum((1, 2)).tolist() == [1.0] * 2000
    places = {tuple(place) for place in moved.nonzero()[:, 1:].tolist()}
    assert places == {(row, column) for row in (1, 2, 3) for column in (2, 3, 4)}


def test_a_shift_loses_what_leaves_the_image():
    moved = shifted(torch.ones(500, 30), (5, 6), 2)
    assert set(moved.sum(1).tolist()) <= {float(a * b) for a in (3, 4, 5) for b in (4, 5, 6)}
    assert float(moved.sum(1).min()) == 12


@pytest.fixture
def colour() -> Tensor:
    """Six images of three channels, 5 × 7 pixels, all values different."""
    return torch.rand(6, 3 * 5 * 7)


def test_channels_move_together(colour):
    grey = colour.view(6, 3, 35)[:, 0]
    same = grey.repeat(1, 3)
    for change in (
        lambda x, s: shifted(x, s, 2),
        lambda x, s: mirrored(x, s, "both"),
        lambda x, s: warped(x, s, 30, 0.1),
    ):
        a, b, c = change(same, (3, 5, 7)).view(6, 3, 35).unbind(1)
        assert torch.equal(a, b) and torch.equal(b, c)


@pytest.mark.parametrize("axes, flips", [("horizontal", [(3,)]), ("vertical", [(2,)]), ("both", [(3,), (2,), (2, 3)])])
def test_a_mirrored_image_is_itself_or_turned_over(colour, axes, flips):
    images = colour.view(6, 3, 5, 7)
    kinds = torch.stack([colour, *(images.flip(f).flatten(1) for f in flips)])
    seen = torch.zeros(len(kinds))
    for _ in range(60):
        equal = (mirrored(colour, (3, 5, 7), axes) == kinds).all(2)
        assert bool((equal.sum(0) == 1).all())
        seen += equal.float().sum(1)
    assert bool((seen / 360 - 1 / len(kinds)).abs().max() < 0.1)


def test_no_turn_and_no_zoom_leave_an_image_as_it_is(colour):
    torch.testing.assert_close(warped(colour, (3, 5, 7), 0.0, 0.0), colour, atol=1e-5, rtol=0)


def test_a_turn_keeps_the_middle_and_the_range(colour):
    x = torch.zeros(400, 9 * 9)
    x[:, 40] = 1.0
    turned = warped(x, (9, 9), 180.0, 0.0)
    assert bool((turned[:, 40] > 0.99).all()) and turned.min() >= 0 and turned.max() <= 1
    bar = torch.zeros(400, 9, 9)
    bar[:, 4, 1:8] = 1.0
    turned = warped(bar.flatten(1), (9, 9), 180.0, 0.0).view(400, 9, 9)
    upright = turned[:, 1:8, 4].sum(1) > 6.5
    assert 0 < int(upright.sum()) < 100  # some of the bars stand up, and as long as they lay


def test_a_zoom_changes_the_size_about_the_middle():
    square = torch.zeros(300, 21, 21)
    square[:, 7:14, 7:14] = 1.0
    zoomed = warped(square.flatten(1), (21, 21), 0.0, 0.3).view(300, 21, 21)
    area = zoomed.sum((1, 2))
    assert area.min() > 49 * 0.7**2 - 4 and area.max() < 49 * 1.3**2 + 4 and area.std() > 5
    torch.testing.assert_close(zoomed, zoomed.flip(1).flip(2), atol=1e-4, rtol=0)


def test_a_mixture_lies_between_two_samples():
    x = torch.eye(50)
    y = mixed(x, 0.5)
    torch.testing.assert_close(y.sum(1), torch.ones(50))
    assert bool((y.diagonal() >= 0.5 - 1e-6).all()) and bool(((y > 0).sum(1) <= 2).all())
    assert y.diagonal().std() > 0.05


def test_an_image_is_shifted_or_turned_but_not_both():
    x = torch.zeros(2000, 11 * 11)
    x[:, 60] = 1.0  # the middle, which a turn keeps
    out = NONE._replace(shift=1, rotate=10.0)(x, (11, 11))
    stays = out[:, 60] > 0.99
    assert 0.5 < float(stays.float().mean()) < 0.63  # half are turned, a ninth of the others moves by nothing


@pytest.mark.parametrize(
    "setting", ["data.rotate=181", "data.rotate=-1", "data.zoom=1", "data.zoom=nan", "data.mix=1.5", "data.mix=-0.1"]
)
def test_a_setting_out_of_range_is_refused_by_its_key(setting):
    with pytest.raises(UserError, match=setting.split("=")[0]):
        cfg = small(setting)
        build(cfg.data, "data", seed=0, batch_size=16, below=[])


@pytest.mark.parametrize("setting", ["data.mirror=both", "data.rotate=5", "data.zoom=0.1", "data.shift=1"])
def test_points_are_no_images(setting):
    with pytest.raises(UserError, match="no images"):
        cfg = small("data=swiss_roll", "model=linear", "model.n_code=2", setting)
        build(cfg.data, "data", seed=0, batch_size=16, below=[])


def test_labels_are_not_mixed():
    cfg = small("data.mix=0.5")
    data = build(cfg.data, "data", seed=0, batch_size=16, below=[])
    layer = Layer(torch.rand(64, 5), torch.zeros(5), torch.zeros(64), "bernoulli", "bernoulli")
    model = Classifier((64,), [layer], 10, top_only_epochs=0, dropout=0.0, start="layers", initialization="glorot")
    with pytest.raises(UserError, match=r"data\.mix: .*label"):
        model.initialize_from(data)
