"""Faces: split by person, standardised, deterministic; patches that are what the geometry says."""

import numpy as np
import pytest
import torch
from fake_data import write_olivetti

from aelab.data.arrays import fingerprint
from aelab.data.faces import faces, patches, read_photos
from aelab.errors import UserError


@pytest.fixture
def options(tmp_path):
    write_olivetti(tmp_path / "olivetti")
    return {
        "root": str(tmp_path),
        "cache": str(tmp_path / "cache"),
        "download": False,
        "n_train": 600,
        "n_test": 250,
        "seed": 0,
        "scale_over": "all",
        "validate_on": "patches",
    }


def test_people_are_not_shared_and_photographs_are_used_evenly(options):
    arrays = faces(**options)
    assert arrays.train_x.shape == (600, 625) and arrays.shape == (25, 25) and not arrays.unit_interval
    assert torch.equal(torch.bincount(arrays.train_y), torch.full((30,), 20))
    assert torch.equal(torch.bincount(arrays.test_y)[30:], torch.full((10,), 25)) and int(arrays.test_y.min()) == 30


def test_mean_is_the_training_sets_and_scale_as_asked(options):
    both, train = faces(**options), faces(**options | {"scale_over": "train"})
    for arrays in (both, train):
        assert arrays.train_x.mean(0).abs().max() < 1e-4
    assert float(train.train_x.var(0, correction=0).mean()) == pytest.approx(1, abs=1e-4)
    whole = torch.cat([both.train_x, both.test_x])
    assert float(whole.var(0, correction=0).mean()) == pytest.approx(1, abs=1e-4)
    ratio = both.test_x / train.test_x
    assert torch.allclose(ratio, ratio[0, 0], rtol=1e-4)


def test_who_is_validated_on_is_not_trained_on(options):
    arrays = faces(**options | {"validate_on": "people"})
    parts = arrays.parts("faces", 0.1, 400, torch.Generator().manual_seed(0))
    assert len(parts.val.y.unique()) == 3 and len(parts.val.x) == 60 and len(parts.train.x) == 400
    assert not torch.isin(parts.train.y, parts.val.y).any() and len(parts.train.y.unique()) == 27
    mixed = faces(**options)
    assert fingerprint(arrays) != fingerprint(mixed)
    assert len(mixed.parts("faces", 0.1, None, torch.Generator().manual_seed(0)).val.y.unique()) > 20


def test_seed_decides(options):
    assert fingerprint(faces(**options)) == fingerprint(faces(**options))
    assert fingerprint(faces(**options)) != fingerprint(faces(**options | {"seed": 1}))


def test_photographs_stand_upright_and_in_order(tmp_path):
    columns = np.zeros((4096, 400), np.uint8)
    columns[2 * 64 + 5, 7] = 9  # by columns: row 5 of column 2, photograph 7
    write_olivetti(tmp_path, columns)
    photos = read_photos(tmp_path / "olivettifaces.mat")
    assert photos.nonzero().tolist() == [[7, 5, 2]] and float(photos[7, 5, 2]) == 9


def test_patches_of_a_plane_are_that_plane_turned_and_stretched():
    # Bilinear sampling is exact on f(row, column) = row: a patch is linear with gradient (s cos a, s sin a) a pixel.
    row = torch.arange(64.0)[:, None].expand(64, 64)
    x, person = patches(row.expand(20, 64, 64), 400, [0, 0])
    x = x.view(-1, 25, 25)
    down, right = x.diff(dim=1), x.diff(dim=2)
    assert (down - down[:, :1, :1]).abs().max() < 1e-4 and (right - right[:, :1, :1]).abs().max() < 1e-4
    spacing = torch.hypot(down[:, 0, 0], right[:, 0, 0])
    assert 2.25 / 1.8 - 1e-4 < spacing.min() < 1.27 and 1.58 < spacing.max() < 2.25 / 1.4 + 1e-4
    assert torch.allclose(x[:, 12, 12], torch.tensor(31.5), atol=1e-4)
    assert (down[:, 0, 0] > -1e-4).all() and right.min() < -1.2 and right.max() > 1.2  # up to ±90°, no further
    assert torch.equal(person, torch.arange(2).repeat_interleave(200))


def test_patches_never_reach_beyond_the_photograph():
    x, _ = patches(torch.ones(1, 64, 64), 500, [0, 0])
    assert torch.allclose(x, torch.tensor(1.0), atol=1e-5)


def test_wrong_files_are_named(options, tmp_path):
    path = tmp_path / "olivetti/olivettifaces.mat"
    raw = path.read_bytes()
    for damaged in (b"", b"<html>", raw[: len(raw) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"^data.root: .*olivettifaces.mat is damaged") as error:
            faces(**options)
        assert "\n" not in str(error.value)
    write_olivetti(path.parent, np.zeros((10, 400), np.uint8))
    with pytest.raises(UserError, match=r"olivettifaces.mat holds \(10, 400\)"):
        faces(**options)
    write_olivetti(path.parent, np.full((4096, 400), 7, np.uint8))
    with pytest.raises(UserError, match=r"one value throughout"):
        faces(**options)
    path.unlink()
    with pytest.raises(UserError, match=r"^data.root: olivetti/olivettifaces.mat is neither"):
        faces(**options)
