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

IMAGES = torch.full((400, 12 * 10), 0.5)
FILES = sorted((Path(__file__).parents[1] / "conf" / "corruption").glob("*.yaml"))
EVERY = [
    NoCorruption(),
    Masking(0.3, None, 1.0, 1.0),
    SaltAndPepper(0.3, None, 1.0, 1.0),
    Gaussian(0.3, None),
    Blocks(0.3, 4, None, 1.0, 1.0),
]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("corrupt", EVERY, ids=lambda c: type(c).__name__)
def test_untouched_entries_stay_and_the_input_is_not_written_to(corrupt):
    x = torch.rand(50, 120)
    before = x.clone()
    corrupted, touched = corrupt.bind((12, 10))(x)
    assert torch.equal(x, before)
    assert corrupted.shape == touched.shape == x.shape
    assert touched.dtype == torch.bool
    assert torch.equal(corrupted[~touched], x[~touched])


@pytest.mark.parametrize("corrupt", EVERY[1:], ids=lambda c: type(c).__name__)
def test_the_seed_decides(corrupt):
    corrupt.bind((12, 10))
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
    touched = kind(fraction, None, 1.0, 1.0)(IMAGES).touched.float().mean().item()
    # four standard errors of a mean of Bernoulli draws; none at 0 and 1, which are exact
    assert touched == pytest.approx(fraction, abs=4 * math.sqrt(fraction * (1 - fraction) / IMAGES.numel()) + 1e-6)


def test_masking_puts_zeros():
    corrupted, touched = Masking(0.4, None, 1.0, 1.0)(IMAGES)
    assert (corrupted[touched] == 0).all()


def test_salt_and_pepper_puts_zeros_and_ones_in_equal_parts():
    corrupted, touched = SaltAndPepper(0.4, None, 1.0, 1.0)(IMAGES)
    put = corrupted[touched]
    assert set(put.unique().tolist()) == {0.0, 1.0}
    assert put.mean().item() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(put.numel()))


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
    rising = Masking(0.1, 0.5, 1.0, 1.0)
    assert [rising.strength(t) for t in (0.0, 0.25, 1.0)] == pytest.approx([0.1, 0.2, 0.5])
    assert Masking(0.1, None, 1.0, 1.0).strength(0.7) == 0.1
    assert Gaussian(0.5, 0.0)(IMAGES, 1.0).x.equal(IMAGES)
    assert not Gaussian(0.5, 0.0)(IMAGES, 0.5).x.equal(IMAGES)


@pytest.mark.parametrize(
    "wrong, key",
    [
        (lambda: Masking(1.5, None, 1.0, 1.0), ".fraction"),
        (lambda: Masking(math.nan, None, 1.0, 1.0), ".fraction"),
        (lambda: SaltAndPepper(0.5, -0.1, 1.0, 1.0), ".final"),
        (lambda: Masking(0.5, None, -1.0, 1.0), ".alpha"),
        (lambda: Masking(0.5, None, 1.0, math.inf), ".beta"),
        (lambda: Masking(0.5, None, 0.0, 0.0), ".alpha"),
        (lambda: Gaussian(-0.1, None), ".sigma"),
        (lambda: Gaussian(0.1, -0.1), ".final"),
        (lambda: Blocks(0.5, 0, None, 1.0, 1.0), ".size"),
        (lambda: Blocks(0.5, 9, None, 1.0, 1.0).bind((8, 8)), ".size"),
        (lambda: Blocks(0.5, 2, None, 1.0, 1.0).bind((64,)), ""),
    ],
)
def test_a_value_out_of_range_names_its_key(wrong, key):
    with pytest.raises(UserError, match=rf"^corruption{key}: "):
        wrong()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_gives_exactly_its_class_s_options(path):
    config = yaml.safe_load(path.read_text())
    kind = getattr(corruption, config.pop("_target_").removeprefix("aelab.functional.corruption."))
    assert list(config) == list(inspect.signature(kind).parameters)
    assert kind(**config).bind((12, 10))(IMAGES).x.shape == IMAGES.shape
