"""Tables: how files are written is recognised, columns are told apart, and what can't be learned is refused by name."""

import functools

import numpy as np
import pytest
import torch

pa = pytest.importorskip("pyarrow", reason="tables need pyarrow: pip install 'aelab[data]'")

import pyarrow.parquet as pq  # noqa: E402
from helpers import composed  # noqa: E402
from omegaconf import DictConfig, OmegaConf  # noqa: E402

from aelab.config.build import build  # noqa: E402
from aelab.data.schemas import of_plain  # noqa: E402
from aelab.data.table import TableData  # noqa: E402
from aelab.errors import UserError  # noqa: E402

N = 60


def columns(n: int = N) -> dict[str, list]:
    """Numbers, a category, true and false; nothing missing."""
    rng = np.random.default_rng(0)
    return {
        "age": rng.normal(40, 10, n).round(2).tolist(),
        "job": rng.choice(["smith", "nurse", "clerk"], n).tolist(),
        "income": rng.lognormal(9, 1, n).round(2).tolist(),
        "smoker": [bool(v) for v in rng.integers(0, 2, n)],
        "children": rng.integers(0, 4, n).tolist(),
    }


def write_csv(path, table: dict[str, list], sep: str = ",", decimal: str = ".", encoding: str = "utf-8") -> str:
    def cell(value) -> str:
        text = "" if value is None else str(value)
        text = text.replace(".", decimal) if isinstance(value, float) else text
        return f'"{text}"' if sep in text else text

    lines = [sep.join(table), *(sep.join(map(cell, row)) for row in zip(*table.values()))]
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return str(path)


@functools.cache
def defaults() -> DictConfig:
    return composed("data=table", "data.path=given below").data


def data(path, *overrides: str) -> TableData:
    said = OmegaConf.from_dotlist([f"data.path={path}", *overrides]).data
    return build(OmegaConf.merge(defaults(), said), "data", seed=0, batch_size=4, below=[])


@pytest.mark.parametrize(
    ("sep", "decimal", "encoding", "overrides"),
    [(",", ".", "utf-8", ()), (";", ",", "utf-8", ()), ("\t", ".", "utf-8-sig", ()), (",", ",", "utf-8", ()),
     ("|", ".", "utf-8", ()), (";", ",", "cp1252", ("data.encoding=cp1252",)),
     (",", ".", "utf-16", ("data.encoding=utf-16",))],
)  # fmt: skip
def test_however_it_is_written_it_is_the_same_table(sep, decimal, encoding, overrides, tmp_path):
    table = columns() | {"job": ["Müller" if job == "clerk" else job for job in columns()["job"]]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    expected, got = (
        data(tmp_path / "t.parquet"),
        data(write_csv(tmp_path / "t.csv", table, sep, decimal, encoding), *overrides),
    )
    assert torch.equal(got.train.x, expected.train.x) and torch.equal(got.test.x, expected.test.x)
    assert got.schema.plain() == expected.schema.plain()


def test_columns_become_inputs_and_come_back_under_their_names(tmp_path):
    table = columns()
    made = data(write_csv(tmp_path / "t.csv", table))
    assert made.schema.numbers == ["age", "income", "children"]
    assert {c.name: sorted(c.values) for c in made.schema.columns} == {
        "job": ["clerk", "nurse", "smith"], "smoker": ["false", "true"]}  # fmt: skip
    assert made.schema.names[3:] and made.train.x.shape[1] == 3 + 4 + 3
    rows = pa.table(table)
    schema = of_plain(made.schema.plain())
    back = schema.decode(schema.encode(rows, "x").x.numpy())
    assert back.column_names == list(table)
    np.testing.assert_allclose(back["income"], table["income"], rtol=1e-4)
    assert back["job"].to_pylist() == table["job"]


def test_only_training_rows_are_fitted(tmp_path):
    """Test and validation rows may hold anything: scaling, categories and training inputs stay bit for bit."""
    table = columns()
    first = data(write_csv(tmp_path / "t.csv", table))
    wild = {name: list(values) for name, values in table.items()}
    kept = {tuple(row) for row in first.train.x.numpy().round(3).tolist()}
    rows = first.schema.encode(pa.table(table), "x").x.numpy().round(3).tolist()
    for i, row in enumerate(rows):
        if tuple(row) not in kept:
            wild["age"][i], wild["job"][i], wild["income"][i] = 1e9, f"new {i}", -1e9
    second = data(write_csv(tmp_path / "wild.csv", wild))
    assert torch.equal(first.train.x, second.train.x)
    assert first.schema.plain() == second.schema.plain()
    assert not torch.equal(first.test.x, second.test.x)


def test_new_rows_by_the_schema_of_the_run(tmp_path):
    schema = data(write_csv(tmp_path / "t.csv", columns())).schema
    table = columns()
    shuffled = {name: table[name] for name in ("smoker", "children", "age", "job", "income")} | {"more": ["x"] * N}
    assert torch.equal(schema.encode(pa.table(shuffled), "x").x, schema.encode(pa.table(table), "x").x)
    unseen = schema.encode(pa.table(table | {"job": ["pilot"] * N}), "x").x
    assert schema.decode(unseen.numpy())["job"].to_pylist() == ["(other)"] * N
    with pytest.raises(UserError, match=r"^data\.path: new\.csv has no column 'age'"):
        schema.encode(pa.table({k: v for k, v in table.items() if k != "age"}), "data.path: new.csv")
    with pytest.raises(UserError, match=r"'age' is 'old' in row 2, which is no number"):
        schema.encode(pa.table(table | {"age": ["1", "2", "old"] * (N // 3)}), "x")
    with pytest.raises(UserError, match=r"'age' is missing in row 1, .*data.missing=fill"):
        schema.encode(pa.table(table | {"age": [1.0, None, *table["age"][2:]]}), "x")
    refusing = data(tmp_path / "t.csv", "data.unseen=refuse").schema
    with pytest.raises(UserError, match=r"'job' is 'pilot' in row 0, which training never met"):
        refusing.encode(pa.table(table | {"job": ["pilot"] * N}), "x")


def test_frames_are_read_like_files(tmp_path):
    pd = pytest.importorskip("pandas")
    schema = data(write_csv(tmp_path / "t.csv", columns())).schema
    frame = pd.DataFrame(columns())
    frame["job"] = frame["job"].astype("category")
    assert torch.equal(schema.encode(frame, "x").x, schema.encode(pa.table(columns()), "x").x)


@pytest.mark.parametrize("missing", ["fill", "mask"])
def test_missing_values(missing, tmp_path):
    table = columns()
    table["age"][3:9], table["job"][5:15] = [None] * 6, [None] * 10
    path = write_csv(tmp_path / "t.csv", table)
    made = data(path, f"data.missing={missing}")
    x, observed = made.schema.encode(pa.table(table), "x")
    age, job = made.schema.names.index("age"), made.schema.names.index("job=smith")
    middle = made.schema.scaling.apply(made.schema.scaling.typical[None])[0, 0]
    assert torch.allclose(x[3:9, age], torch.tensor(float(middle)))
    if missing == "fill":
        assert observed is None and made.train.observed is None
        assert x[5:15, job - 3 : job + 3].sum() >= 10, "the commonest category"
    else:
        assert not observed[3:9, age].any() and observed[:3].all() and not made.complete
        start = len(made.schema.numbers)
        assert not x[5:15, start : start + 4].any() and not observed[5:15, start : start + 4].any()


def test_columns_by_name_and_pattern(tmp_path):
    table = {f"s{i}": np.random.default_rng(i).normal(size=N).tolist() for i in range(4)} | columns()
    path = write_csv(tmp_path / "t.csv", table)
    assert data(path, "data.columns=['s[0-9]',age]", "data.exclude=[s2]").schema.order == ["s0", "s1", "s3", "age"]
    made = data(path, "data.categories=[children]", "data.exclude=[smoker]", "data.label=job")
    assert "children=0" in made.schema.names and made.schema.labels == ["clerk", "nurse", "smith"]
    assert made.n_classes == 3 and int(made.train.y.max()) == 2
    pixels = data(path, "data.columns=['s[0-9]']", "data.shape=[2,2]", "data.shift=1")
    assert pixels.pixel_shape == (2, 2)


def test_words_that_mean_missing_and_numbers_that_look_like_ids(tmp_path):
    table = columns() | {
        "size": ["?", "-9,5", *[f"{i},5" for i in range(N - 2)]],
        "order_id": [3 * i for i in range(N)],
    }
    path = write_csv(tmp_path / "t.csv", table)
    made = data(path, "data.missing_words=['?']", "data.missing=mask", "data.numbers=[order_id]", "data.decimal=','")
    assert {"size", "order_id", "age"} <= set(made.schema.numbers)
    assert float(made.schema.encode(pa.table(table | {"size": [-9.5] * N}), "x").x[0, 3]) < 0
    with pytest.raises(UserError, match=r"'order_id' looks like an id"):
        data(path, "data.missing_words=['?']", "data.missing=mask", "data.decimal=','")


def test_a_test_file_of_its_own_and_its_unknown_label(tmp_path):
    table = columns()
    train = write_csv(tmp_path / "t.csv", table | {"class": ["a", "b"] * (N // 2)})
    test = write_csv(tmp_path / "new.csv", {k: v[:7] for k, v in table.items()} | {"class": ["b"] * 6 + ["c"]})
    made = data(train, f"data.test_path={test}", "data.label=class")
    assert len(made.test.x) == 7 and len(made.train.x) + len(made.val.x) == N
    assert made.test.y.tolist() == [1] * 6 + [2] and made.n_classes == 2


def test_values_that_can_be_probabilities(tmp_path):
    path = write_csv(tmp_path / "t.csv", {k: v for k, v in columns().items() if k not in ("job", "smoker")})
    assert not data(path).unit_interval and not data(path, "data.scale=minmax").unit_interval
    cut = data(path, "data.scale=minmax", "data.clip=[0,1]")
    assert cut.unit_interval and float(cut.test.x.min()) >= 0 and float(cut.test.x.max()) <= 1


# --- what is refused, and how it is said ----------------------------------------------------------------------------

ROWS = [str(i) for i in range(N)]
SPOILED = {
    "dates": (
        {"when": [f"2024-01-{i % 28 + 1:02}" for i in range(N)]},
        "columns: 'when' holds dates or times; .*exclude=",
    ),
    "dates of another country": ({"when": [f"{i % 28 + 1}.1.2024" for i in range(N)]}, "'when' holds dates"),
    "an id": ({"customer": [f"c{i:04}" for i in range(N)]}, "'customer' looks like an id"),
    "row numbers": ({"": list(range(N))}, "'' looks like an id"),
    "an id of numbers": ({"user_id": [7 * i * i for i in range(N)]}, "'user_id' looks like an id"),
    "mixed types": ({"size": [*ROWS[:50], *["big"] * 10]}, "'size' mixes numbers and text such as 'big'"),
    "numbers of three decimals": ({"pay": [f"0.{i:03}" for i in range(N - 1)] + ["abc"]}, "such as 'abc'"),
    "separators of thousands": ({"pay": [f"1,{i:03}.5" for i in range(N)]}, "separators of thousands"),
    "an empty column": ({"nothing": [None] * N}, "'nothing' is empty"),
    "infinite values": ({"x": [1.5] * 59 + [float("inf")]}, "path: .*'x' is infinite in row 59"),
    "formulas": ({"sum": ["=A1+B1", *["a"] * 59]}, "path: .*'sum' holds the formula '=A1\\+B1' in row 0"),
    "too many categories": ({"word": [f"w{i // 2}" for i in range(N)]}, "has 30 different texts"),
    "missing values": ({"x": [None, 2.5, *[0.5] * 58]}, "missing: 1 columns of .*'x' in 1 rows, the first in row 0"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_columns_that_cannot_be_learned_are_named(how, tmp_path):
    more, said = SPOILED[how]
    path = write_csv(tmp_path / "t.csv", columns() | more)
    with pytest.raises(UserError, match=rf"^data\.{said}|^data\.columns: .*{said}") as error:
        data(path, "data.max_categories=20")
    assert "\n" not in str(error.value)


FILES = {
    "an empty file": (b"", "is empty"),
    "a header alone": (b"a,b\n", "no rows"),
    "one row": (b"a,b\n1,2\n", "1 rows"),
    "one column": (b"a\n1\n2\n3\n4\n", "1 column to learn from"),
    "two columns of one name": (b"a,b,a\n1,2,3\n", "'a' for one"),
    "not UTF-8": ("a,b\nMüller,1\n".encode("cp1252"), r"data\.encoding=cp1252"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), r"data\.encoding=utf-16"),
    "ragged rows": (b"a,b\n1,2\n3,4,5\n6,7\n", "cannot be read"),
    "a spreadsheet": (b"PK\x03\x04rubbish", "a spreadsheet"),
    "a packed file": (b"\x1f\x8b\x08rubbish", "packed"),
    "zero bytes": (b"a,b\n\0,2\n", "zero bytes"),
}


@pytest.mark.parametrize("how", FILES)
def test_files_that_are_no_table(how, tmp_path):
    raw, said = FILES[how]
    (tmp_path / "t.csv").write_bytes(raw)
    with pytest.raises(UserError, match=rf"^data\.path: .*t\.csv.*{said}") as error:
        data(tmp_path / "t.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [("data.columns=[agee]", r"data\.columns: .*did you mean age"), ("data.label=jobb", r"data\.label: .*mean job"),
     ("data.group=x", r"data\.group: "), ("data.shape=[3,3]", r"data\.shape: .*the columns make 10"),
     ("data.delimiter=ab", r"data\.delimiter: "), ("data.encoding=klingon", r"data\.encoding: "),
     ("data.decimal=x", r"data\.decimal: "), ("data.split_column=job", r"data\.split_column: 'job' holds"),
     ("data.split_column=job data.split_index=x", r"data\.split_column: "), ("data.shift=1", r"data\.shift: "),
     ("data.numbers=[job]", r"data\.columns: 'job' holds text"), ("data.test_path=none.csv", r"data\.test_path: none"),
     ("data.exclude=['*']", "no column")],
)  # fmt: skip
def test_mistaken_keys_are_named(overrides, said, tmp_path):
    with pytest.raises(UserError, match=said):
        data(write_csv(tmp_path / "t.csv", columns()), *overrides.split())


def test_files_that_are_elsewhere_or_of_another_kind(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and rubbish")
    (tmp_path / "t.xlsx").write_bytes(b"PK")
    for path, said in (("no.csv", "does not exist"), ("t.parquet", "damaged"), ("t.xlsx", "no table"), ("", "folder")):
        with pytest.raises(UserError, match=rf"^data\.path: .*{said}"):
            data(tmp_path / path)


@pytest.mark.parametrize("cell", [0.5, "a long text " * 100_000], ids=["one number", "one long text"])
def test_a_parquet_file_that_is_one_value_many_times_is_refused_unread(cell, tmp_path, monkeypatch):
    """A few kilobytes that would be gigabytes: here 80 MB of memory stand for the machine's."""
    monkeypatch.setattr("aelab.data.delimited.memory", lambda: 80_000_000)
    monkeypatch.setattr("aelab.data.delimited.ROWS_AT_ONCE", 10)
    n = 6_000_000 if cell == 0.5 else 60
    pq.write_table(pa.table({"a": pa.array([cell]).take(pa.array(np.zeros(n, int)))}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 3e6
    with pytest.raises(UserError, match=r"^data\.path: .*t\.parquet is 0\.0\d+ GB or more in memory, and 0\.04 are"):
        data(tmp_path / "t.parquet")


def test_ten_thousand_columns(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 10_000)).round(3)
    path = write_csv(tmp_path / "t.csv", {f"c{i}": column.tolist() for i, column in enumerate(x.T)})
    assert data(path).train.x.shape == (14, 10_000)
