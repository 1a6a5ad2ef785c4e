"""Which rows test, validate and train: disjoint, by label's share, by whole groups, as a column or a file says."""

import json

import numpy as np
import pytest
import torch

from aelab.data.splitting import Told, parts_of_index, parts_of_words, split
from aelab.errors import UserError


def rows(told: Told, test=0.2, validation=0.1, test_seed=0, seed=0):
    return split(told, test, validation, test_seed, torch.Generator().manual_seed(seed))


def test_every_row_is_in_one_part_and_the_test_rows_stay_whatever_the_seed():
    first, other = rows(Told(100)), rows(Told(100), seed=1)
    assert sorted(np.concatenate(first).tolist()) == list(range(100))
    assert [len(part) for part in first] == [72, 8, 20]
    assert np.array_equal(first.test, other.test) and not np.array_equal(first.val, other.val)
    assert not np.array_equal(first.test, rows(Told(100), test_seed=1).test)
    assert len(rows(Told(100), test=7, validation=3).test) == 7


def test_a_rare_label_has_its_share_of_the_test_set():
    label = np.array(["common"] * 190 + ["rare"] * 10)
    for seed in range(5):
        assert (label[rows(Told(200, label=label), test_seed=seed).test] == "rare").sum() == 2


def test_a_group_is_never_torn():
    group = np.repeat(np.arange(30), np.arange(30) % 4 + 1).astype(str)
    parts = rows(Told(len(group), group=group))
    owners = [set(group[part]) for part in parts]
    assert not owners[0] & owners[1] and not owners[0] & owners[2] and not owners[1] & owners[2]
    assert all(owners) and abs(len(parts.test) - 0.2 * len(group)) <= 4


def test_a_given_split_that_tears_a_group_is_refused():
    part = np.array(["train"] * 6 + ["test"] * 4)
    with pytest.raises(UserError, match=r"^data\.group: 'a'.*both in the test set"):
        rows(Told(10, part, group=np.array(["b"] * 5 + ["a"] * 5)))


def test_a_column_says_which_rows_are_which():
    words = np.array(["Train", "train", "training", "TEST", "valid", None, "train"], dtype=object)
    parts = rows(Told(7, parts_of_words(words, "part")))
    assert sorted(parts.train) == [0, 1, 2, 6] and parts.val.tolist() == [4] and parts.test.tolist() == [3]
    drawn = rows(Told(6, parts_of_words(np.array(["train"] * 4 + ["test"] * 2, dtype=object), "part")), validation=1)
    assert drawn.test.tolist() == [4, 5] and len(drawn.val) == 1
    with pytest.raises(UserError, match=r"^data\.split_column: 'part' holds 'often'"):
        parts_of_words(np.array(["often", "train"], dtype=object), "part")


@pytest.mark.parametrize("suffix", [".npy", ".txt", ".npz", ".json"])
def test_a_file_of_row_numbers(suffix, tmp_path):
    path, test = tmp_path / f"rows{suffix}", [1, 5, 8]
    match suffix:
        case ".npy":
            np.save(path, test)
        case ".txt":
            path.write_text("1\n5\n8\n")
        case ".npz":
            np.savez(path, test=test)
        case ".json":
            path.write_text(json.dumps({"test": test, "validation": [0]}))
    parts = rows(Told(10, parts_of_index(str(path), 10)), validation=1)
    assert parts.test.tolist() == test and len(parts.val) == 1 and len(parts.train) == 6


def test_rows_that_no_part_of_a_full_list_names_are_left_out(tmp_path):
    np.savez(tmp_path / "rows.npz", train=[0, 1, 2], validation=[3], test=[4])
    parts = rows(Told(10, parts_of_index(str(tmp_path / "rows.npz"), 10)))
    assert sorted(np.concatenate(parts).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("named", "said"),
    [({"test": [3, 99]}, "names row 99"), ({"test": [3, 3]}, "row 3 twice"), ({"test": [1], "train": [1]}, "twice"),
     ({"train": [1]}, "no test rows"), ({"prüfen": [1]}, "names a part"), ({"test": [0.5]}, "no row numbers"),
     ({"test": [-1]}, "names row")],
)  # fmt: skip
def test_a_file_that_leaks_or_names_no_rows_is_refused(named, said, tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(named))
    with pytest.raises(UserError, match=rf"^data\.split_index: .*{said}"):
        parts_of_index(str(path), 10)


@pytest.mark.parametrize("path", ["nowhere.npy", "nowhere.txt"])
def test_a_file_that_is_not_there(path):
    with pytest.raises(UserError, match=r"^data\.split_index: cannot read"):
        parts_of_index(path, 10)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.001, 10])
def test_a_part_without_rows_is_refused(fraction):
    with pytest.raises(UserError, match=r"^data\.test: .* give a number of them, from 1 to 9$"):
        rows(Told(10), test=fraction)
    with pytest.raises(UserError, match=r"^data\.validation: "):
        rows(Told(13), validation=fraction)
