"""Arrays and their check, the IDX files, the embedded digits."""

import gzip

import numpy as np
import pytest
import torch
from fake_data import idx_bytes, write_mnist

from aelab.data.arrays import check, fingerprint, from_numpy
from aelab.data.digits import digits
from aelab.data.idx import read_idx
from aelab.data.mnist import fashion_mnist, mnist
from aelab.errors import UserError


def small(unit_interval=True, **changed):
    parts = {
        "train_x": np.linspace(0, 1, 12).reshape(3, 2, 2),
        "train_y": [0, 1, 2],
        "test_x": np.zeros((2, 2, 2)),
        "test_y": [0, 1],
    }
    return from_numpy(**(parts | changed), shape=(2, 2), unit_interval=unit_interval)


def test_check_passes_good_arrays_unchanged():
    arrays = small()
    assert check(arrays, "data") is arrays
    assert arrays.train_x.shape == (3, 4) and arrays.train_x.dtype == torch.float32
    assert arrays.train_y.dtype == torch.int64
    check(small(unit_interval=False, train_x=np.full((3, 2, 2), -7.0)), "data")
    check(small(train_y=None, test_y=None), "data")


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"train_x": np.zeros((0, 2, 2)), "train_y": []}, "train set is empty"),
        ({"test_x": np.zeros((2, 5))}, "not the 4 of"),
        ({"test_y": [0]}, "2 test samples but 1 labels"),
        ({"train_x": np.array([[0] * 4, [0, np.nan, 0, np.inf], [np.nan] * 4])}, "6 values.*first in row 1"),
        ({"train_x": np.array([[0] * 4, [0, 0, 0, -np.inf], [0] * 4])}, "1 values.*first in row 1"),
        ({"test_x": np.full((2, 4), 255)}, "from 255 to 255"),
        ({"train_x": np.full((3, 4), -0.5)}, r"outside \[0, 1\]"),
    ],
)
def test_check_names_the_key_and_the_fault(changed, said):
    with pytest.raises(UserError, match=f"^some.key: .*{said}") as error:
        check(small(**changed), "some.key")
    assert "\n" not in str(error.value)


def test_fingerprint_depends_on_every_part():
    same, original = fingerprint(small()), fingerprint(small())
    assert same == original
    x = np.linspace(0, 1, 12).reshape(3, 2, 2)
    x[2, 1, 1] = np.nextafter(np.float32(1), np.float32(0))
    others = [
        small(train_x=x),
        small(train_y=[0, 1, 3]),
        small(test_x=np.ones((2, 2, 2))),
        small(test_y=None),
        small(unit_interval=False),
        small()._replace(shape=(4, 1)),
    ]
    assert len({original, *map(fingerprint, others)}) == 7


def test_digits_are_split_by_seed_within_each_class():
    arrays = digits(test_fraction=0.2, seed=0)
    assert arrays.train_x.shape == (1437, 64) and arrays.test_x.shape == (360, 64) and arrays.shape == (8, 8)
    assert float(arrays.train_x.max()) == 1 and float(arrays.train_x.min()) == 0
    share = torch.bincount(arrays.test_y) / (torch.bincount(arrays.train_y) + torch.bincount(arrays.test_y))
    assert torch.allclose(share, torch.tensor(0.2), atol=0.01)
    assert fingerprint(digits(test_fraction=0.2, seed=0)) == fingerprint(arrays)
    assert fingerprint(digits(test_fraction=0.2, seed=1)) != fingerprint(arrays)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("source", [mnist, fashion_mnist])
def test_idx_sets_are_read_from_root_packed_or_not(tmp_path, source, packed):
    written = write_mnist(tmp_path / source.__name__, 30, 20, packed)
    arrays = source(root=str(tmp_path), cache=str(tmp_path / "none"), download=False)
    assert arrays.shape == (28, 28) and arrays.unit_interval
    assert np.array_equal((arrays.train_x * 255).round().reshape(30, 28, 28), written["train-images-idx3-ubyte"])
    assert np.array_equal(arrays.test_y, written["t10k-labels-idx1-ubyte"])


@pytest.mark.parametrize("array", [np.arange(6, dtype=np.int32), np.float32([[1.5, -2], [0, 3]])])
def test_read_idx_reads_other_types_and_a_gz_name_that_lies(tmp_path, array):
    path = tmp_path / "x.gz"  # not packed, whatever its name
    path.write_bytes(idx_bytes(array))
    assert np.array_equal(read_idx(path, array.ndim), array)


IMAGES = idx_bytes(np.zeros((3, 28, 28), np.uint8))
HUGE = bytes([0, 0, 8, 3]) + b"\xff" * 12 + bytes(100)
BOMB = gzip.compress(bytes([0, 0, 8, 3]) + (2000).to_bytes(4, "big") + 2 * (1000).to_bytes(4, "big") + bytes(10**7))
PACKED = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, (50, 10, 10), np.uint8)), mtime=0)


@pytest.mark.parametrize(
    "raw, said",
    [
        (b"", "no IDX file"),
        (b"<html>not found", "no IDX file"),
        (bytes([0, 0, 7]) + IMAGES[3:], "no IDX file"),
        (IMAGES[:-1], "truncated"),
        (IMAGES[:9], "truncated"),
        (IMAGES + b"\0", "goes on after"),
        (HUGE, "unpacks to"),
        (BOMB, "is 0.0.* MB and unpacks to 2 GB"),
        (idx_bytes(np.zeros(3, np.uint8)), "has 1 dimensions, not 3"),
        (PACKED[:-100], "damaged gzip"),
        (PACKED[:100] + b"\xff" * 100 + PACKED[200:], "damaged gzip"),
        (PACKED[:12], "damaged gzip"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, raw, said):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(raw)
    with pytest.raises(UserError, match=f"^data.root: .*train-images.*{said}") as error:
        read_idx(path, dimensions=3)
    assert "\n" not in str(error.value)


def test_sets_whose_files_do_not_belong_together_are_refused(tmp_path):
    folder = tmp_path / "mnist"
    read = {"root": str(tmp_path), "cache": str(tmp_path / "none"), "download": False}
    write_mnist(folder, 30, 20, packed=False)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(19, np.uint8)))
    with pytest.raises(UserError, match=r"20 test samples but 19 labels"):
        mnist(**read)
    write_mnist(folder, 30, 20, packed=False)
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((20, 8, 8), np.uint8)))
    with pytest.raises(UserError, match=r"training images of \(28, 28\), test images of \(8, 8\)"):
        mnist(**read)
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((20, 28, 28), np.float32)))
    with pytest.raises(UserError, match=r"float32 values, not bytes"):
        mnist(**read)


def test_a_missing_file_or_folder_is_named_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match=r"^data.root: mnist/train-images-idx3-ubyte.gz is neither .*download=true"):
        mnist(root=str(tmp_path), cache=str(tmp_path), download=False)
    with pytest.raises(UserError, match=r"^data.root: there is no folder .*nowhere"):
        mnist(root=str(tmp_path / "nowhere"), cache=str(tmp_path), download=True)
