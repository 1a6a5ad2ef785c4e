"""Corruptions: how much they touch, what they put there, and that the seed decides."""

import inspect
import math
from pathlib import Path

import pytest
import torch
import yaml

from aelab.errors import UserError
from aelab.functional import corruption
from aelab.functional.corruption import Blocks, Gaussian, Masking, NoCorruption, SaltAndPepper, blocks

GREY = torch.tensor(0.0), torch.tensor(1.0)  # the ends of grey levels
IMAGES = torch.full((400, 12 * 10), 0.5)
FILES = sorted((Path(__file__).parents[1] / "conf" / "corruption").glob("*.yaml"))
EVERY = [
    NoCorruption(),
    Masking(0.3, False, None, 1.0, 1.0),
    Masking(0.3, True, None, 1.0, 1.0),
    SaltAndPepper(0.3, False, None, 1.0, 1.0),
    SaltAndPepper(0.3, True, None, 1.0, 1.0),
    Gaussian(0.3, None),
    Blocks(0.3, 4, None, 1.0, 1.0),
]


def named(corruption: corruption.Corruption) -> str:
    return type(corruption).__name__ + (" exact" if getattr(corruption, "exact", False) else "")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("corrupt", EVERY, ids=named)
def test_untouched_entries_stay_and_the_input_is_not_written_to(corrupt):
    x = torch.rand(50, 120)
    before = x.clone()
    corrupted, touched = corrupt.bind((12, 10), GREY)(x)
    assert torch.equal(x, before)
    assert corrupted.shape == touched.shape == x.shape
    assert touched.dtype == torch.bool
    assert torch.equal(corrupted[~touched], x[~touched])


@pytest.mark.parametrize("corrupt", EVERY[1:], ids=named)
def test_the_seed_decides(corrupt):
    corrupt.bind((12, 10), GREY)
    torch.manual_seed(7)
    first, second = corrupt(IMAGES), corrupt(IMAGES)
    torch.manual_seed(7)
    again = corrupt(IMAGES)
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.touched, again.touched)
    assert not torch.equal(first.x, second.x)


@pytest.mark.parametrize("kind", [Masking, SaltAndPepper])
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.4, 1.0])
def test_the_fraction_touched_is_the_one_asked_for(kind, fraction):
    touched = kind(fraction, False, None, 1.0, 1.0).bind((12, 10), GREY)(IMAGES).touched.float().mean().item()
    # four standard errors of a mean of Bernoulli draws; none at 0 and 1, which are exact
    assert touched == pytest.approx(fraction, abs=4 * math.sqrt(fraction * (1 - fraction) / IMAGES.numel()) + 1e-6)


@pytest.mark.parametrize("kind", [Masking, SaltAndPepper])
@pytest.mark.parametrize("fraction, count", [(0.0, 0), (0.004, 0), (0.1, 12), (0.404, 48), (1.0, 120)])
def test_exactly_as_many_are_touched_in_each_sample_and_every_place_as_often(kind, fraction, count):
    touched = kind(fraction, True, None, 1.0, 1.0).bind((12, 10), GREY)(IMAGES.repeat(10, 1)).touched
    assert touched.sum(1).tolist() == [count] * len(touched)
    share = count / 120
    assert ((touched.float().mean(0) - share).abs() <= 5 * (share * (1 - share) / len(touched)) ** 0.5).all()


@pytest.mark.parametrize("exact", [False, True])
def test_masking_puts_zeros(exact):
    corrupted, touched = Masking(0.4, exact, None, 1.0, 1.0)(IMAGES)
    assert touched.any() and (corrupted[touched] == 0).all()


@pytest.mark.parametrize("exact", [False, True])
def test_salt_and_pepper_puts_the_ends_of_the_data_in_equal_parts(exact):
    corrupt = SaltAndPepper(0.4, exact, None, 1.0, 1.0)
    corrupted, touched = corrupt.bind((12, 10), GREY)(IMAGES)
    put = corrupted[touched]
    assert set(put.unique().tolist()) == {0.0, 1.0}
    assert put.mean().item() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(put.numel()))
    x = torch.randn(400, 120) * torch.linspace(0.1, 5, 120)  # each input has ends of its own
    low, high = x.amin(0), x.amax(0)
    corrupted, touched = corrupt.bind((12, 10), (low, high))(x)
    assert ((corrupted == low) | (corrupted == high))[touched].all() and torch.equal(corrupted[~touched], x[~touched])
    assert ((corrupted == low).sum(0) > 40).all() and ((corrupted == high).sum(0) > 40).all()


def test_gaussian_adds_noise_of_its_standard_deviation_everywhere():
    corrupted, touched = Gaussian(0.2, None)(IMAGES)
    assert touched.all()
    noise = corrupted - IMAGES
    assert noise.std().item() == pytest.approx(0.2, rel=0.02)
    assert noise.mean().item() == pytest.approx(0.0, abs=0.005)


def test_none_gives_the_input_back():
    corrupted, touched = NoCorruption()(IMAGES)
    assert corrupted is IMAGES
    assert not touched.any()


def test_blocks_touch_whole_squares_and_as_many_in_every_image():
    corrupted, touched = blocks(IMAGES[:, :96], 0.4, 4, (12, 8))
    assert (corrupted[touched] == 0).all()
    squares = touched.view(-1, 3, 4, 2, 4).transpose(2, 3).reshape(-1, 6, 16)
    assert (squares.all(2) == squares.any(2)).all()
    assert (squares.all(2).sum(1) == round(0.4 * 6)).all()
    assert squares.all(2).float().mean(0).tolist() == pytest.approx([2 / 6] * 6, abs=0.1)


def test_blocks_are_cut_off_at_the_edge_and_shared_by_channels():
    _, touched = blocks(torch.rand(30, 3 * 7 * 5), 0.5, 3, (3, 7, 5))
    channels = touched.view(30, 3, 7, 5)
    assert (channels == channels[:, :1]).all()
    assert (channels[:, 0, 6:, 3:].sum((1, 2)) % 2 == 0).all()


def test_strength_goes_in_a_straight_line_from_start_to_final():
    rising = Masking(0.1, False, 0.5, 1.0, 1.0)
    assert [rising.strength(t) for t in (0.0, 0.25, 1.0)] == pytest.approx([0.1, 0.2, 0.5])
    assert Masking(0.1, False, None, 1.0, 1.0).strength(0.7) == 0.1
    assert Gaussian(0.5, 0.0)(IMAGES, 1.0).x.equal(IMAGES)
    assert not Gaussian(0.5, 0.0)(IMAGES, 0.5).x.equal(IMAGES)


@pytest.mark.parametrize(
    "wrong, key",
    [
        (lambda: Masking(0.5, False, None, 0.0, 0.0), ".alpha"),
        (lambda: Blocks(0.5, 9, None, 1.0, 1.0).bind((8, 8), GREY), ".size"),
        (lambda: Blocks(0.5, 2, None, 1.0, 1.0).bind((64,), GREY), ""),
    ],
)
def test_what_makes_no_sense_names_its_key(wrong, key):
    with pytest.raises(UserError, match=rf"^corruption{key}: "):
        wrong()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_gives_exactly_its_class_s_options(path):
    config = yaml.safe_load(path.read_text())
    kind = getattr(corruption, config.pop("_target_").removeprefix("aelab.functional.corruption."))
    assert list(config) == list(inspect.signature(kind).parameters)
    assert kind(**config).bind((12, 10), GREY)(IMAGES).x.shape == IMAGES.shape
