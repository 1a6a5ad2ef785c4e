"""Arrays of one's own: shapes, colours, scales, labels beside them, and what is refused."""

import functools
import zipfile

import numpy as np
import pytest
import torch
from helpers import aelab, composed
from omegaconf import DictConfig, OmegaConf

from aelab.config.build import build
from aelab.data.array import ArrayData
from aelab.data.schemas import of_plain
from aelab.errors import UserError

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(5, 3, (40, 6))
COLOURS = RNG.integers(0, 256, (40, 8, 6, 3), dtype=np.uint8)


@functools.cache
def defaults() -> DictConfig:
    return composed("data=array", "data.path=given below").data


def data(path, *overrides: str) -> ArrayData:
    said = OmegaConf.from_dotlist([f"data.path={path}", *overrides]).data
    return build(OmegaConf.merge(defaults(), said), "data", seed=0, batch_size=4, below=[])


def saved(path, array: np.ndarray):
    np.save(path, array)
    return path


@pytest.mark.parametrize(
    ("array", "overrides", "shape", "unit"),
    [(NUMBERS, (), (6,), False), (NUMBERS > 5, (), (6,), True), (COLOURS[..., 0], (), (8, 6), True),
     (COLOURS, (), (3, 8, 6), True), (np.moveaxis(COLOURS, -1, 1), (), (3, 8, 6), True),
     (COLOURS.astype(np.uint16) * 257, (), (3, 8, 6), True), (COLOURS / 255, (), (3, 8, 6), True),
     (COLOURS.reshape(40, -1), ("data.shape=[8,6,3]",), (3, 8, 6), True),
     (COLOURS.astype(np.int64), (), (3, 8, 6), False),
     (NUMBERS.reshape(40, 2, 3), ("data.scale=minmax",), (2, 3), False),
     (RNG.random((40, 4, 4, 3)), ("data.colour=first",), (4, 4, 3), True)],
)  # fmt: skip
def test_rows_become_inputs_and_come_back(array, overrides, shape, unit, tmp_path):
    made = data(saved(tmp_path / "a.npy", array), *overrides)
    assert made.pixel_shape == shape and made.unit_interval == unit
    assert len(made.train.x) + len(made.val.x) + len(made.test.x) == 40
    schema = of_plain(made.schema.plain())
    x = schema.encode(array, "x").x
    back = schema.decode(x.numpy())
    np.testing.assert_allclose(back.reshape(40, -1), array.reshape(40, -1).astype(float), rtol=1e-4, atol=1e-3)
    assert back.shape[1:] == (array.shape[1:] if "data.shape=[8,6,3]" not in overrides else (8, 6, 3))
    assert {tuple(row) for row in made.train.x.tolist()} <= {tuple(row) for row in x.tolist()}


def test_the_scale_is_of_the_training_rows_alone(tmp_path):
    first = data(saved(tmp_path / "a.npy", NUMBERS))
    tested = np.flatnonzero([not (first.train.x == row).all(1).any() for row in first.schema.encode(NUMBERS, "x").x])
    wild = NUMBERS.copy()
    wild[tested] *= 1e6
    second = data(saved(tmp_path / "b.npy", wild))
    assert torch.equal(first.train.x, second.train.x) and not torch.equal(first.test.x, second.test.x)


def test_a_test_file_may_be_of_one_row_and_what_is_wrong_there_is_said_of_it(tmp_path):
    x = np.random.default_rng(0).random((9, 4))
    np.save(tmp_path / "a.npy", x)
    np.save(tmp_path / "b.npy", x[:1] / 2)
    made = data(tmp_path / "a.npy", f"data.test_path={tmp_path / 'b.npy'}", "data.validation=2")
    assert len(made.test.x) == 1 and len(made.train.x) == 7
    np.save(tmp_path / "b.npy", x[:0])
    for name, said in (("b.npy", "is empty"), ("", "is a folder"), ("c.npy", "does not exist")):
        with pytest.raises(UserError, match=rf"^data\.test_path: .*{said}"):
            data(tmp_path / "a.npy", f"data.test_path={tmp_path / name}", "data.validation=2")


def test_labels_groups_and_parts_stand_beside_the_rows(tmp_path):
    kind, group = np.arange(40) % 3, np.arange(40) // 4
    part = np.where(np.arange(40) < 30, "train", "test")
    np.savez(tmp_path / "a.npz", x=NUMBERS, kind=kind, group=group, part=part)
    made = data(tmp_path / "a.npz", "data.label=kind", "data.split_column=part")
    assert made.schema.labels == ["0", "1", "2"] and made.test.y.tolist() == kind[30:].tolist()
    indexed = data(tmp_path / "a.npz", f"data.split_index={saved(tmp_path / 'rows.npy', np.arange(30, 40))}")
    assert torch.equal(indexed.test.x, made.test.x)
    grouped = data(tmp_path / "a.npz", "data.group=group")
    assert len(grouped.test.x) == 8
    beside = data(saved(tmp_path / "a.npy", NUMBERS), f"data.label={saved(tmp_path / 'y.npy', kind)}")
    assert beside.n_classes == 3 and len(beside.train.y) == len(beside.train.x)
    elsewhere = data(tmp_path / "a.npz", "data.label=kind", f"data.test_path={tmp_path / 'a.npz'}")
    assert elsewhere.test.y.tolist() == kind.tolist() and elsewhere.test.x.shape == (40, 6)


def test_missing_entries(tmp_path):
    holes = NUMBERS.copy()
    holes[::5, 2] = np.nan
    path = saved(tmp_path / "a.npy", holes)
    with pytest.raises(UserError, match=r"entry x2 is missing in row \d*[05], .*data.missing=fill"):
        data(path)
    made = data(path, "data.missing=mask")
    assert not made.complete and data(path, "data.missing=fill").complete
    x, observed = made.schema.encode(holes, "x")
    assert observed.sum() == 240 - 8 and torch.isfinite(x).all()
    with pytest.raises(UserError, match=r"^data\.missing: .*set data\.missing=fill"):
        data(path, "data.missing=mask", "data.mix=0.5")


def test_new_rows_of_another_shape_or_range_are_refused(tmp_path):
    schema = data(saved(tmp_path / "a.npy", COLOURS[..., 0] / 255)).schema
    assert schema.encode(np.zeros((2, 48)), "x").x.shape == (2, 48)
    for rows, said in ((np.zeros((2, 9)), r"rows of shape \(9,\), the model takes \(8, 6\)"),
                       (np.full((2, 8, 6), 2.0), "is 2 in row 0, outside"), (np.array([["a"] * 48]), "not numbers"),
                       (np.full((2, 8, 6), np.inf), "infinite in row 0")):  # fmt: skip
        with pytest.raises(UserError, match=rf"^data\.path: new\.npy.*{said}"):
            schema.encode(rows, "data.path: new.npy")


# --- what is refused, and how it is said ----------------------------------------------------------------------------


def spoiled(how: str, path) -> None:
    match how:
        case "no file":
            pass
        case "empty":
            np.save(path, np.zeros((0, 5)))
        case "one row":
            np.save(path, np.zeros((1, 5)))
        case "one column":
            np.save(path, np.zeros((9, 1)))
        case "a vector":
            np.save(path, np.zeros(9))
        case "texts":
            np.save(path, np.array([["a", "b"]] * 9))
        case "Python objects":
            np.save(path, np.array([[{}, 1]] * 9, dtype=object), allow_pickle=True)
        case "cut":
            np.save(path, NUMBERS)
            path.write_bytes(path.read_bytes()[:-50])
        case "rubbish":
            path.write_bytes(b"no array")
        case "infinite":
            np.save(path, np.where(np.arange(240).reshape(40, 6) == 100, np.inf, NUMBERS))


@pytest.mark.parametrize(
    ("how", "said"),
    [("no file", "does not exist"), ("empty", "is empty"), ("one row", "1 rows"), ("one column", "one value per row"),
     ("a vector", "several numbers"), ("texts", "not numbers"), ("Python objects", "Python objects"),
     ("cut", "damaged"), ("rubbish", "damaged"), ("infinite", "entry x4 is infinite in row 16")],
)  # fmt: skip
def test_files_that_are_no_array(how, said, tmp_path):
    spoiled(how, tmp_path / "a.npy")
    with pytest.raises(UserError, match=rf"^data\.path: .*a\.npy.*{said}") as error:
        data(tmp_path / "a.npy", "data.test=0.5" if how == "infinite" else "data.test=0.2", "data.validation=1")
    assert "\n" not in str(error.value)


def test_archives_that_are_none_or_blow_up(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "zeros.npz", x=np.zeros((3000, 1000)))
    monkeypatch.setattr("aelab.data.unpacking.LARGE", 1 << 20)
    with pytest.raises(UserError, match=r"^data\.path: .*zeros\.npz is 0\.0\d+ MB and unpacks to 0\.024 GB"):
        data(tmp_path / "zeros.npz")
    np.savez(tmp_path / "two.npz", a=NUMBERS, b=NUMBERS)
    for words, key, absent in (((), "data.array", "x"), (("data.label=y",), "data.label", "y")):
        with pytest.raises(UserError, match=rf"^{key}: .*two\.npz holds a, b, not {absent}; take one"):
            data(tmp_path / "two.npz", "data.array=b" if words else "data.scale=auto", *words)
    assert data(tmp_path / "two.npz", "data.array=b").train.x.shape == (29, 6)
    with zipfile.ZipFile(tmp_path / "no.npz", "w") as archive:
        archive.writestr("x.npy", "rubbish")
    with pytest.raises(UserError, match=r"^data\.path: .*no\.npz is damaged"):
        data(tmp_path / "no.npz")
    with pytest.raises(UserError, match=r"^data\.path: .*a\.csv does not exist"):
        data(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [("data.shape=[7]", r"^data\.shape: \[7\] is 7 values, a row has 6"), ("data.label=n.npy", r"^data\.label: n"),
     ("data.array=x", r"^data\.array: .*a\.npy is no \.npz"),
     ("data.shift=2", r"^data\.shift: "), ("data.binarize=threshold", r"^data\.binarize: ")],
)  # fmt: skip
def test_mistaken_keys_are_named(overrides, said, tmp_path):
    with pytest.raises(UserError, match=said):
        data(saved(tmp_path / "a.npy", NUMBERS), *overrides.split())


@pytest.mark.parametrize("clip", ["[0]", "[1,0]", "[2,2]", "[-1,1,9]"])
def test_what_values_are_cut_to_is_two_numbers(clip, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(40, 3)))
    outcome = aelab(capsys, "data=array", f"data.path={tmp_path / 'x.npy'}", f"data.clip={clip}", "logger=csv")
    assert outcome.status == 1 and len(outcome.error) == 1, outcome
    assert "data.clip: must be two numbers, [low, high], the second above the first, got" in outcome.error[0]
