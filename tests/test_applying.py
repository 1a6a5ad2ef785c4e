"""What a finished run can do with rows: encode, reconstruct, draw, go from row to row, and say which are strange."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_data import write_own
from helpers import aelab as command
from helpers import composed, made_layers
from PIL import Image

import aelab
from aelab.errors import UserError
from aelab.models import applied
from aelab.rbm.layer import load_layers
from aelab.runs import scoring

pytest.importorskip("pyarrow", reason="tables need pyarrow: pip install 'aelab[data]'")

QUICK = ("logger=csv", "train.epochs=1", "train.batch_size=16", "evaluate.probe=null", "data.validation=0.2")
NET = ("model.network.widths=[8]", "model.n_code=2")
TABLE = ("data=table", "data.path=table.csv", "data.exclude=[household]", "model.likelihood=gaussian")
RUNS = {
    "table": ("model=vae", *NET, *TABLE),
    "array": ("model=autoencoder", *NET, "data=array", "data.path=array.npz", "data.array=x", "data.label=kind"),
    "images": ("model=autoencoder", *NET, "data=images", "data.path=images"),
    "rbm": ("model=rbm", "model.n_hidden=4", "data=array", "data.path=array.npz", "data.array=x"),
    "bounded": ("model=autoencoder", *NET, "model.code=sigmoid", *TABLE),
    "public": ("model=autoencoder", *NET, "data=digits", "data.train_size=100"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a person's files and a run of each kind, trained where it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    write_own(folder)
    return folder


@pytest.fixture
def run(runs, monkeypatch, capsys):
    monkeypatch.chdir(runs)

    def trained(name: str) -> str:
        folder = f"run-{name}"
        if not Path(folder).exists():
            outcome = command(capsys, *QUICK, *RUNS[name], f"hydra.run.dir={folder}")
            assert outcome.status == 0, outcome.error
        return folder

    return trained


def do(capsys, task: str, run: str, out, *words: str) -> str:
    outcome = command(capsys, f"task={task}", f"run={run}", f"out={out}", *words)
    assert outcome.status == 0, outcome.error
    return outcome.output


def table_of(path) -> dict[str, list[str]]:
    with open(path, newline="") as file:
        names, *rows = csv.reader(file)
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


@pytest.mark.parametrize("kind", RUNS)
def test_codes_are_the_same_in_every_file_and_in_python(kind, run, tmp_path, capsys):
    import pyarrow.parquet as pq

    folder = run(kind)
    for suffix in ("npy", "csv", "parquet"):
        do(capsys, "encode", folder, tmp_path / f"c.{suffix}")
    codes = np.load(tmp_path / "c.npy")
    names = [f"code{i}" for i in range(codes.shape[1])]
    texts, whole = table_of(tmp_path / "c.csv"), pq.read_table(tmp_path / "c.parquet")
    np.testing.assert_array_equal(np.array([texts[name] for name in names], np.float32).T, codes)
    np.testing.assert_array_equal(np.stack([whole[name] for name in names], 1), codes)
    assert len(codes) == {"public": 360}.get(kind, 100)
    if kind == "images":
        assert texts["file"][0] == "a/000.png" and len(texts["file"]) == 100
    elif kind == "array":
        with np.load("array.npz") as file:
            np.testing.assert_allclose(aelab.load(folder).encode(file["x"]), codes, atol=1e-6)


def test_memory_is_bounded_by_blocks_that_change_nothing(run, tmp_path, capsys, monkeypatch):
    whole = {}
    for size in (1 << 22, 7 * 48):
        monkeypatch.setattr(applied, "BLOCK", size)
        for task in ("encode", "reconstruct", "score"):
            do(capsys, task, run("array"), tmp_path / "x.npy")
            whole.setdefault(task, []).append(np.load(tmp_path / "x.npy"))
    for first, second in whole.values():
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5)


def test_new_rows_are_read_by_the_schema_of_the_run(run, tmp_path, capsys):
    """Columns in another order, more of them, a single row, an unseen category: the same code as in the old file."""
    old = table_of("table.csv")
    new = {name: old[name][3:4] for name in ("job", "kind", "income", "score", "age")} | {"more": ["x"]}
    (tmp_path / "new.csv").write_text(",".join(new) + "\n" + ",".join(v[0] for v in new.values()) + "\n")
    do(capsys, "encode", run("table"), tmp_path / "old.npy")
    do(capsys, "encode", run("table"), tmp_path / "new.npy", "data=table", f"data.path={tmp_path}/new.csv")
    np.testing.assert_allclose(np.load(tmp_path / "new.npy")[0], np.load(tmp_path / "old.npy")[3], atol=1e-5)


def test_rows_come_back_in_their_own_units_under_their_own_names(run, tmp_path, capsys):
    import pyarrow.csv as arrow_csv

    frame = arrow_csv.read_csv("table.csv")
    for task, n in (("reconstruct", 100), ("denoise", 100), ("interpolate", 18), ("sample", 5)):
        words = {"interpolate": ["interpolate.rows=[4,9,7]", "interpolate.points=9"], "sample": ["sample.n=5"]}
        do(capsys, task, run("table"), tmp_path / "x.csv", *words.get(task, []))
        rows = table_of(tmp_path / "x.csv")
        assert list(rows) == ["age", "score", "income", "job", "kind"] and len(rows["age"]) == n
        assert 20 < np.mean(np.array(rows["age"], float)) < 60 and set(rows["job"]) <= {"smith", "nurse", "clerk"}
    model = aelab.load(run("table"))
    pd = pytest.importorskip("pandas")
    back = model.reconstruct(frame.to_pandas())
    assert isinstance(back, pd.DataFrame) and list(back) == list(rows) and 20 < back["age"].mean() < 60
    assert list(model.decode(model.encode(frame)[:3])["job"]) == list(back["job"][:3])
    assert len(model.sample(4)) == 4 and model.score_samples(frame).shape == (100,)


def test_images_are_written_as_images(run, tmp_path, capsys):
    do(capsys, "reconstruct", run("images"), tmp_path / "all")
    found = sorted(str(p.relative_to(tmp_path / "all")) for p in (tmp_path / "all").rglob("*.png"))
    assert found == sorted(str(p.relative_to("images")) for p in Path("images").rglob("*.png"))
    do(capsys, "interpolate", run("images"), tmp_path / "way.png", "interpolate.points=4")
    with Image.open(tmp_path / "way.png") as sheet, Image.open(tmp_path / "all" / found[0]) as one:
        assert sheet.size == (2 * 6, 2 * 8) and one.size == (6, 8)
        np.testing.assert_allclose(np.asarray(sheet)[:8, :6], np.asarray(one), atol=1)
    one = ("data=images", "data.path=images/a/000.png")
    do(capsys, "encode", run("array"), tmp_path / "one.npy", *one)  # trained on the same pixels as numbers
    do(capsys, "encode", run("array"), tmp_path / "all.npy")
    np.testing.assert_allclose(np.load(tmp_path / "one.npy")[0], np.load(tmp_path / "all.npy")[0], atol=1e-5)


def test_a_run_that_stands_on_layers_takes_rows_through_them(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    below = made_layers(tmp_path / "layers")
    outcome = command(capsys, *QUICK, "model=rbm", "model.n_hidden=2", f"below={below}", "hydra.run.dir=top")
    assert outcome.status == 0, outcome.error
    model = aelab.load("top")
    assert len(load_layers("top/below.pt")) == 2 and model.encode(np.zeros((2, 64))).shape == (2, 2)
    assert model.reconstruct(np.zeros((2, 8, 8))).shape == (2, 8, 8) and model.sample(3, steps=2).shape == (3, 8, 8)
    do(capsys, "score", "top", tmp_path / "s.csv")


def test_a_strange_row_is_flagged_and_what_is_strange_in_it_is_named(run, tmp_path, capsys):
    lines = Path("table.csv").read_text().splitlines()
    lines[6] = "900.0,0.1,9000.0,nurse,1,1"
    (tmp_path / "new.csv").write_text("\n".join(lines) + "\n")
    said = do(capsys, "score", run("bounded"), tmp_path / "s.csv", "data=table", f"data.path={tmp_path}/new.csv")
    rows = table_of(tmp_path / "s.csv")
    assert rows["row"] == [str(i) for i in range(100)]
    assert (rows["outlier"][5], rows["percentile"][5], rows["feature1"][5]) == ("True", "100.0", "age")
    assert float(rows["value1"][5]) == 900 and float(rows["expected1"][5]) < 100 and float(rows["share1"][5]) > 0.9
    assert sum(flag == "True" for flag in rows["outlier"]) < 20 and "outliers: score above" in said
    do(capsys, "score", run("table"), tmp_path / "s.csv", "score.threshold=-1e9", "score.top=0")
    assert set(table_of(tmp_path / "s.csv")["outlier"]) == {"True"}


def test_a_quantile_of_the_training_rows_is_flagged(run, tmp_path, capsys):
    do(capsys, "score", run("public"), tmp_path / "s.npy")
    known = np.load(Path("run-public") / "training_scores.npz")["scores"]
    assert len(known) == 100 and (np.diff(known) >= 0).all()
    do(capsys, "score", run("public"), tmp_path / "s.csv", "score.quantile=0.5")
    scores = np.load(tmp_path / "s.npy")
    flags = np.array(table_of(tmp_path / "s.csv")["outlier"]) == "True"
    np.testing.assert_array_equal(flags, scores > np.quantile(known, 0.5))


def test_a_row_far_from_the_others_is_strange_by_its_code(run, tmp_path, capsys):
    """score.by=joint adds half the code's squared Mahalanobis distance among the training codes."""
    import pyarrow.csv as arrow_csv

    do(capsys, "score", run("bounded"), tmp_path / "s.npy", "score.by=joint")
    made = dict(np.load("run-bounded/training_joint.npz"))
    model = aelab.load("run-bounded")
    samples = next(model.blocks(arrow_csv.read_csv("table.csv")))
    z = (model.codes(samples).double().numpy() - made["mean"]) @ made["whitening"]
    errors = (model.squared_errors(samples).double().numpy() / made["variances"]).sum(1)
    scores = np.load(tmp_path / "s.npy")
    np.testing.assert_allclose(scores, 0.5 * (errors + np.square(z).sum(1)), rtol=1e-4)
    said = do(capsys, "score", "run-bounded", tmp_path / "s.csv", "score.by=joint", "score.quantile=0.5")
    assert f"score above {np.quantile(made['scores'], 0.5):.6g}, −log p(x, code)" in said
    refused = command(capsys, "task=score", "run=run-bounded", f"out={tmp_path}/x.npy", "score.by=distance")
    assert refused.status == 1 and refused.error[-1].startswith("aelab: score.by: ")


KEPT = {
    "rubbish": lambda path, good: path.write_bytes(b"rubbish"),
    "cut": lambda path, good: path.write_bytes(path.read_bytes()[:-30]),
    "one array less": lambda path, good: np.savez(path, **{name: good[name] for name in list(good)[1:]}),
    "another run's": lambda path, good: np.savez(path, **good | {name: good[name][..., :1] for name in list(good)[:1]}),
    "texts": lambda path, good: np.savez(path, **good | {"scores": np.array(["a"])}),
    "objects": lambda path, good: np.savez(path, **good | {"scores": np.array([{}], object)}),
    "a bomb": lambda path, good: np.savez_compressed(path, **good | {"scores": np.zeros(1 << 20)}),
}


@pytest.mark.parametrize("by", ["own", "joint"])
@pytest.mark.parametrize("how", KEPT)
def test_what_is_kept_of_the_training_rows_is_made_again_where_it_is_not_right(how, by, run, tmp_path, monkeypatch):
    """A stranger's run folder may hold anything under its name."""
    if how == "another run's" and by == "own":
        pytest.skip("a list of scores says of no run that it is its own")
    monkeypatch.setattr("aelab.data.unpacking.LARGE", 1 << 20)
    run("bounded")
    model = aelab.load("run-bounded")
    cfg = composed(f"score.by={by}", "run=run-bounded", "task=score")
    job = SimpleNamespace(folder=Path("run-bounded"), cfg=cfg, applied=model)
    path = job.folder / {"own": "training_scores.npz", "joint": "training_joint.npz"}[by]
    _, known = scoring.scorer(job)
    with np.load(path) as good:
        arrays = dict(good)
    KEPT[how](path, arrays)
    np.testing.assert_array_equal(scoring.scorer(job)[1], known)
    with np.load(path) as again:
        assert {name: again[name].shape for name in again} == {name: a.shape for name, a in arrays.items()}


def test_labels_of_outliers_give_their_measures(run, tmp_path, capsys):
    from sklearn.metrics import roc_auc_score

    said = do(capsys, "score", run("array"), tmp_path / "s.npy", "score.outlier=1")
    auc = roc_auc_score(np.arange(100) % 2, np.load(tmp_path / "s.npy"))
    assert f"label '1', 50 rows: ROC-AUC {auc:.4f}" in said
    refused = command(capsys, "task=score", "run=run-array", f"out={tmp_path}/x.npy", "score.outlier=7")
    assert refused.status == 1 and refused.error[-1].startswith("aelab: score.outlier: ")


def test_tensors_are_the_model_s_own(run):
    model = aelab.load(run("array"))
    x = torch.rand(3, 48)
    torch.testing.assert_close(model.encode(x), model.model.encode(x))
    assert isinstance(model.reconstruct(x), torch.Tensor)


def test_training_that_goes_on_makes_scores_of_training_void(run, tmp_path, capsys):
    do(capsys, "score", run("rbm"), tmp_path / "s.npy")
    assert (Path("run-rbm") / "training_scores.npz").exists()
    assert command(capsys, "resume=run-rbm", "train.epochs=2").status == 0
    assert not (Path("run-rbm") / "training_scores.npz").exists()


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words", "said"),
    [
        ("table", "task=encode out=x.csv run=null", "run: "), ("table", "task=encode out=null", "out: "),
        ("table", "task=encode out=x.xlsx", "out: .*xlsx"), ("table", "task=encode run=nowhere", "run: nowhere"),
        ("table", "task=reconstruct out=x.npy", "out: 'job' holds text"),
        ("table", "task=reconstruct out=x.png", "out: .*no images"),
        ("table", "task=encode data=table data.path=no.csv", "data.path: no.csv does not exist"),
        ("table", "task=encode data=array data.path=array.npz", "data.path: .*another kind"),
        ("array", "task=encode data=table data.path=table.csv", "data.path: .*another kind"),
        ("array", "task=encode data=array data.path=array.npz data.array=nan", "data.array: .*not nan"),
        ("images", "task=encode data=images data.path=table.csv", "data.path: table.csv is damaged or no image"),
        ("array", "task=sample", "run: Autoencoder is no distribution"),
        ("rbm", "task=sample sample.n=0", "sample.n: "), ("rbm", "task=sample sample.label=a", "sample.label: "),
        ("array", "task=interpolate interpolate.rows=[1,100]", "interpolate.rows: .*0 to 99"),
        ("array", "task=interpolate interpolate.rows=[1]", "interpolate.rows: "),
        ("array", "task=interpolate interpolate.points=1", "interpolate.points: "),
        ("array", "task=score score.quantile=95", "score.quantile: "),
        ("array", "task=encode out=nofolder.csv/x.csv", "out: cannot write"),
    ],
)  # fmt: skip
def test_mistaken_commands_are_one_line_and_write_nothing(kind, words, said, run, capsys, tmp_path):
    run(kind)
    Path("nofolder.csv").write_text("a file\n")
    before = {p: p.read_bytes() for p in Path().iterdir() if p.is_file()}
    given = words.split()
    given += [w for w in (f"run=run-{kind}", f"out={tmp_path}/x.npy") if not any(g[:3] == w[:3] for g in given)]
    outcome = command(capsys, *given)
    assert outcome.status == 1 and outcome.error[-1].startswith("aelab: "), outcome.error

    assert re.search(f"^aelab: ({said})", outcome.error[-1]), outcome.error[-1]
    assert not list(tmp_path.iterdir()) and before == {p: p.read_bytes() for p in Path().iterdir() if p.is_file()}


def test_a_bad_row_far_down_leaves_the_old_file(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(applied, "BLOCK", 7 * 48)
    rows = np.zeros((50, 8, 6))
    rows[40] = np.inf
    np.save(tmp_path / "new.npy", rows)
    (tmp_path / "c.csv").write_text("old")
    words = (f"run={run('array')}", f"out={tmp_path}/c.csv", "data=array", f"data.path={tmp_path}/new.npy")
    refused = command(capsys, "task=encode", *words)
    assert refused.status == 1 and "is infinite in row 40" in refused.error[-1]
    assert (tmp_path / "c.csv").read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_images_of_another_size_are_refused_or_brought_to_the_model_s(run, tmp_path, capsys):
    (tmp_path / "new").mkdir()
    Image.fromarray(np.zeros((16, 12), np.uint8)).save(tmp_path / "new" / "0.png")
    words = (f"run={run('images')}", f"out={tmp_path}/c.npy", "data=images", f"data.path={tmp_path}/new")
    refused = command(capsys, "task=encode", *words)
    assert refused.status == 1 and "16 × 12 pixels, the model takes 8 × 6; data.size=[8,6]" in refused.error[-1]
    assert command(capsys, "task=encode", *words, "data.size=[8,6]").status == 0


def test_rows_that_are_none_are_refused_in_python(run):
    model = aelab.load(run("table"))
    for rows, said in (({"age": [1.0]}, "no column 'score'"), (np.zeros(3), "table")):
        with pytest.raises(UserError, match=said):
            model.encode(rows)
    with pytest.raises(UserError, match=r"codes: must be \(n, 2\)"):
        model.decode(np.zeros((3, 5)))
    for codes in (None, "abc", 3.0):
        with pytest.raises(UserError, match=r"^codes: "):
            model.decode(codes)
    for n in (0, -1, 2.5, None):
        with pytest.raises(UserError, match=r"^n: must be a whole number"):
            model.sample(n)
    with pytest.raises(UserError, match="rows: there are none"):
        aelab.load(run("array")).encode(np.zeros((0, 48)))


@pytest.mark.parametrize("ask", ["reconstruct", "decode"])
@pytest.mark.parametrize("rows", [torch.zeros(1, 3), np.zeros((1, 3))])
def test_a_model_without_a_decoder_says_so_of_tensors_too(ask, rows):
    only_codes = applied.Applied(SimpleNamespace(reconstructs=False), None, threshold=False)
    with pytest.raises(UserError, match="has no decoder"):
        getattr(only_codes, ask)(rows)


TABLES = {
    "empty": (b"", "is empty"), "a header alone": (b"age,score\n", "no rows"),
    "one column": (b"age\n1\n2\n", "no column 'score'"),
    "columns of one name": (b"age,score,income,job,kind,age\n1,2,3,smith,1,4\n", "'age' for one"),
    "not UTF-8": ("age,score,income,job,kind\n1,2,3,Müller,1\n".encode("cp1252"), r"data\.encoding=cp1252"),
    "mixed types": (b"age,score,income,job,kind\nold,2,3,smith,1\n", "'age' is 'old' in row 0"),
    "infinite": (b"age,score,income,job,kind\ninf,2,3,smith,1\n", "'age' is infinite in row 0"),
    "missing": (b"age,score,income,job,kind\n,2,3,smith,1\n", "'age' is missing in row 0"),
    "a formula": (b"age,score,income,job,kind\n1,2,3,=A1+B1,1\n", "formula"),
    "a packed file": (b"\x1f\x8b\x08rubbish", "packed"), "zero bytes": (b"age,\0\n1,2\n", "zero bytes"),
    "a cut row": (b"age,score,income,job,kind\n1,2,3,smith\n", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("how", TABLES)
def test_tables_that_are_none_are_one_line(how, run, tmp_path, capsys):
    raw, said = TABLES[how]
    (tmp_path / "new.csv").write_bytes(raw)
    words = (f"run={run('table')}", f"out={tmp_path}/out.csv", "data=table", f"data.path={tmp_path}/new.csv")
    refused = command(capsys, "task=score", *words)
    assert refused.status == 1 and re.search(rf"^aelab: data\.path: .*{said}", refused.error[-1]), refused.error
    assert [p.name for p in tmp_path.iterdir()] == ["new.csv"]


@pytest.mark.parametrize(
    "text",
    [
        "age;score;income;job;kind\n40,5;0,1;9000,5;smith;1\n",
        "kind\tjob\tage\tscore\tincome\n1\tsmith\t40.5\t0.1\t9000.5\n",
    ],
)
def test_however_new_rows_are_written_they_are_the_same(text, run, tmp_path, capsys):
    (tmp_path / "new.csv").write_text(text)
    do(capsys, "encode", run("table"), tmp_path / "c.npy", "data=table", f"data.path={tmp_path}/new.csv")
    row = {"age": [40.5], "score": [0.1], "income": [9000.5], "job": ["smith"], "kind": [1]}
    np.testing.assert_allclose(np.load(tmp_path / "c.npy"), aelab.load(run("table")).encode(row), atol=1e-6)


ARRAYS = {
    "no array": (lambda path: path.write_bytes(b"rubbish"), "damaged"),
    "no rows": (lambda path: np.save(path, np.zeros((0, 48))), "is empty"),
    "one number": (lambda path: np.save(path, np.zeros(())), "is one number"),
    "a vector": (lambda path: np.save(path, np.zeros(5)), r"rows of shape \(\)"),
    "another width": (lambda path: np.save(path, np.zeros((5, 7))), r"rows of shape \(7,\)"),
    "texts": (lambda path: np.save(path, np.array([["a"] * 48])), "not numbers"),
    "objects": (lambda path: np.save(path, np.array([[{}] * 48], object)), "Python objects"),
    "complex": (lambda path: np.save(path, np.zeros((5, 48), complex)), "complex128"),
    "infinite": (lambda path: np.save(path, np.full((5, 48), np.nan)), "missing in row 0"),
}


@pytest.mark.parametrize("how", ARRAYS)
def test_arrays_that_are_none_are_one_line(how, run, tmp_path, capsys):
    write, said = ARRAYS[how]
    write(tmp_path / "new.npy")
    words = (f"run={run('array')}", f"out={tmp_path}/out.csv", "data=array", f"data.path={tmp_path}/new.npy")
    refused = command(capsys, "task=reconstruct", *words)
    assert refused.status == 1 and re.search(rf"^aelab: data\.path: .*({said})", refused.error[-1]), refused.error
    assert [p.name for p in tmp_path.iterdir()] == ["new.npy"]


def test_new_rows_are_measured_as_the_test_set_was(run, capsys, tmp_path):
    folder = run("array")
    own = json.loads((Path(folder) / "metrics.json").read_text())
    do(capsys, "evaluate", folder, tmp_path / "own.json", "evaluate.probe=null")
    again = json.loads((tmp_path / "own.json").read_text())
    assert again and all(again[name] == pytest.approx(own[name], rel=1e-5) for name in again)
    with np.load("array.npz") as file:
        rows = {name: file[name] for name in file.files}
    np.savez(tmp_path / "same.npz", **{name: np.concatenate([values, values]) for name, values in rows.items()})
    said = do(capsys, "evaluate", folder, tmp_path / "new.json", "data=array", f"data.path={tmp_path / 'same.npz'}")
    new = json.loads((tmp_path / "new.json").read_text())
    x = torch.from_numpy(rows["x"].reshape(len(rows["x"]), -1).astype(np.float32) / 255)
    model = aelab.load(folder).model
    with torch.no_grad():
        expected = float((model.reconstruct(x) - x).square().sum(1).mean())
    assert new["test/squared_error"] == pytest.approx(expected, rel=1e-4) and "squared error" in said
    assert {"test/knn_error", "test/pca_squared_error"} <= new.keys()


def test_labels_of_new_rows_count_where_they_are_named_and_must_be_there(run, capsys, tmp_path):
    """In a file of their own too; of the run's own label new rows may have none."""
    folder = run("array")
    with np.load("array.npz") as file:
        np.save(tmp_path / "x.npy", file["x"])
        np.save(tmp_path / "kind.npy", file["kind"])
        np.save(tmp_path / "short.npy", file["kind"][:3])
    words = ("data=array", f"data.path={tmp_path / 'x.npy'}")
    out = tmp_path / "new.json"
    do(capsys, "evaluate", folder, out, *words, f"data.label={tmp_path / 'kind.npy'}")
    assert "test/knn_error" in json.loads(out.read_text())
    do(capsys, "evaluate", folder, out, *words)
    assert "test/knn_error" not in json.loads(out.read_text())
    for label, said in {
        "none.npy": "data.label: none.npy does not exist",
        "short.npy": "not a value for each of",
    }.items():
        label = str(tmp_path / label) if label == "short.npy" else label
        outcome = command(capsys, "task=evaluate", f"run={folder}", f"out={out}", *words, f"data.label={label}")
        assert outcome.status == 1 and said in outcome.error[-1], outcome
    table = run("table")
    words = ("data=table", "data.path=table.csv", "data.label=nosuch", f"out={tmp_path / 'scores.csv'}")
    outcome = command(capsys, "task=score", f"run={table}", *words)
    assert outcome.status == 1 and "data.label: table.csv has no column 'nosuch'" in outcome.error[-1], outcome


def test_a_label_to_draw_of_is_refused_where_there_is_none(run, capsys, tmp_path):
    folder = run("table")
    outcome = command(capsys, "task=sample", f"run={folder}", "sample.label=3", f"out={tmp_path / 'x.csv'}")
    assert outcome.status == 1 and "sample.label: VAE draws samples of no label; leave it out" in outcome.error[-1]


def test_labels_that_the_run_never_saw_are_one_line(run, capsys, tmp_path):
    folder = run("array")
    np.savez(tmp_path / "other.npz", x=np.zeros((20, 8, 6), np.uint8), kind=np.arange(20) % 3 + 7)
    words = ("data=array", f"data.path={tmp_path / 'other.npz'}", f"out={tmp_path / 'x.json'}")
    outcome = command(capsys, "task=evaluate", f"run={folder}", *words)
    assert outcome.status == 1 and "label '7' is none of the run's, 0, 1" in outcome.error[-1]
    outcome = command(capsys, "task=evaluate", f"run={folder}", f"out={tmp_path / 'x.csv'}")
    assert outcome.status == 1 and "give a .json file" in outcome.error[-1] and not (tmp_path / "x.json").exists()
