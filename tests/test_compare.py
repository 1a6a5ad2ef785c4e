"""Any runs on disk, side by side."""

import csv
import json

import pytest

from aelab.errors import UserError
from aelab.results.tables import show
from aelab.sweep.compare import compare, read_runs


def make_run(folder, n_code, error, epochs=3):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        f"model: {{n_code: {n_code}, widths: [9, 4]}}\nseed: 0\nlogger: {{name: {n_code}}}\n"
    )
    if error is not None:
        (folder / "metrics.json").write_text(json.dumps({"test/squared_error": error, "val/loss": 1.0}))
    rows = ["epoch,train/loss,val/loss,val/extra", *(f"{e},{1 / (1 + e)},{2 / (1 + e)}," for e in range(epochs))]
    (folder / "history.csv").write_text("\n".join(rows) + "\n")


def test_runs_are_told_apart_by_what_differs(tmp_path, capsys):
    make_run(tmp_path / "runs" / "a", 2, 5.0)
    make_run(tmp_path / "runs" / "b" / "long", 8, 3.25, epochs=1)
    make_run(tmp_path / "runs" / "c", 4, None)  # not at its end yet
    (tmp_path / "runs" / "leaderboard.csv").write_text("no run")
    (tmp_path / "runs" / "b" / "config.yaml").write_text("{}")
    rows = compare(str(tmp_path / "runs" / "*"), tmp_path / "out")
    assert [row["run"] for row in rows] == ["a", "b", "c"]
    assert [row["model.n_code"] for row in rows] == [2, None, 4]
    rows = compare(str(tmp_path / "runs" / "[ac]"), tmp_path / "out")
    assert rows == [
        {"run": "a", "model.n_code": 2, "test/squared_error": 5.0},
        {"run": "c", "model.n_code": 4, "test/squared_error": None},
    ]
    with open(tmp_path / "out" / "compare.csv") as file:
        assert next(csv.DictReader(file)) == {"run": "a", "model.n_code": "2", "test/squared_error": "5.0"}
    assert (tmp_path / "out" / "compare.md").read_text().splitlines()[-1] == "| c | 4 | – |"
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "test/squared_error" in capsys.readouterr().out


def test_any_depth_and_one_run_alone(tmp_path):
    make_run(tmp_path / "x" / "y", 2, 5.0)
    assert [run.name for run in read_runs(str(tmp_path / "**" / "y"))] == ["y"]
    assert read_runs(str(tmp_path / "x" / "y"))[0].history["val/loss"] == [2.0, 1.0, 2 / 3]
    assert compare(str(tmp_path / "x" / "y"), tmp_path)[0]["test/squared_error"] == 5.0


def test_a_table_too_wide_for_the_terminal_is_turned(monkeypatch, capsys):
    row = {"run": "a", **{f"test/metric_{i}": float(i) for i in range(9)}}
    for columns, header in ((80, "│ test/metric_3 │ 3"), (300, "┃ test/metric_3 ┃")):
        monkeypatch.setenv("COLUMNS", str(columns))
        show([row, row | {"run": "b"}], "two")
        assert header in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: None, "no folder matches"),
        (lambda folder: folder.mkdir(), "is no run folder"),
        (lambda folder: (make_run(folder, 2, 1.0), (folder / "metrics.json").write_text("{")), "is damaged"),
        (
            lambda folder: (make_run(folder, 2, 1.0), (folder / "history.csv").write_text("epoch,a\n1,x\n")),
            "is damaged",
        ),
        (lambda folder: (make_run(folder, 2, 1.0), (folder / "config.yaml").write_text("a: [")), "is damaged"),
    ],
)
def test_what_cannot_be_compared_is_named(tmp_path, spoil, says):
    spoil(tmp_path / "run")
    with pytest.raises(UserError, match=f"^runs: .*{says}.*; ") as error:
        compare(str(tmp_path / "r*"), tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
