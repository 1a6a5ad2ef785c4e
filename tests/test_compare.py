"""Any runs on disk, side by side."""

import csv
import json

import pytest
from figure_boxes import assert_readable
from helpers import aelab

from aelab.errors import UserError
from aelab.functional.drawing.comparison import Curves, learning_curves
from aelab.results.saved_figures import Style
from aelab.results.tables import show
from aelab.sweep.compare import compare, read_runs

STYLE = Style("png", 60)


def make_run(folder, settings="model: {n_code: 2}", metrics=None, epochs=3):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"{settings}\nseed: 0\nlogger: {{name: {folder.name}}}\n")
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps(metrics | {"val/loss": 1.0}))
    rows = ["epoch,train/loss,val/loss,val/extra", *(f"{e},{1 / (1 + e)},{2 / (1 + e)}," for e in range(epochs))]
    (folder / "history.csv").write_text("\n".join(rows) + "\n")
    return folder


def make_chain(folder):
    """A finished chain: its own config has a model that none of its stages is."""
    make_run(folder, "chain: {stages: [rbm, finetune]}\nmodel: {_target_: aelab.models.autoencoder.Autoencoder}")
    stage = make_run(
        folder / "stages" / "2-finetune", "model: {_target_: aelab.models.deep_autoencoder.DeepAutoencoder}"
    )
    about = {"last": "finetune", "link": "stages/2-finetune", "stages": {"rbm1": {}, "finetune": {}}}
    (folder / "chain.json").write_text(json.dumps(about))
    (folder / "metrics.json").write_text(json.dumps({"test/squared_error": 1.5, "test/scratch_squared_error": 2.0}))
    return stage


def test_a_folder_whose_name_is_a_glob_is_that_folder(tmp_path, capsys):
    make_run(tmp_path / "ac").rename(tmp_path / "a[c]")
    make_run(tmp_path / "ac")
    assert [run.name for run in read_runs([str(tmp_path / "a[c]")])] == ["a[c]"]


def test_runs_are_told_apart_by_what_differs(tmp_path, capsys):
    runs = tmp_path / "runs"
    make_run(runs / "a", "model: {n_code: 2, widths: [9, 4]}", {"test/squared_error": 5.0})
    make_run(runs / "c", "model: {n_code: 4, widths: [9, 4]}")  # not at its end yet
    rows = compare([str(runs / "[ac]")], tmp_path / "out", STYLE)
    assert rows == [
        {"run": "a", "n_code": 2, "test/squared_error": 5.0},
        {"run": "c", "n_code": 4, "test/squared_error": None},
    ]
    with open(tmp_path / "out" / "compare.csv") as file:
        assert next(csv.DictReader(file)) == {"run": "a", "n_code": "2", "test/squared_error": "5.0"}
    assert (tmp_path / "out" / "compare.md").read_text().splitlines()[-1] == "| c | 4 | – |"
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert "test/squared_error" in capsys.readouterr().out


def test_of_unlike_runs_the_table_has_what_they_share_and_the_csv_the_rest(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    runs = tmp_path / "runs"
    for number in range(7):
        own = f"own_setting_number_{number}: {number}"
        metrics = {"test/squared_error": float(number), f"test/figure_of_its_own_{number}": 1.0}
        make_run(runs / f"plain{number}", f"model: {{_target_: aelab.models.m{number}.Model{number}, {own}}}", metrics)
    make_chain(runs / "stack")
    (runs / "no_run").mkdir()
    (runs / "leaderboard.csv").write_text("no run")
    rows = compare([str(runs / "plain*"), str(runs / "[ns]*")], tmp_path / "out", STYLE)
    assert [row["run"] for row in rows] == [*(f"plain{number}" for number in range(7)), "stack"]
    assert list(rows[0]) == ["run", "kind", "chain", "test/squared_error"]
    assert rows[-1] == {
        "run": "stack",
        "kind": "DeepAutoencoder",
        "chain": "rbm1 → finetune",
        "test/squared_error": 1.5,
    }
    shown = capsys.readouterr().out
    assert "passed over: " in shown and "no_run" in shown and "┏┳" not in shown
    assert max(map(len, shown.split("compare.md")[0].splitlines()[1:])) <= 80
    with open(tmp_path / "out" / "compare.csv") as file:
        whole = list(csv.DictReader(file))
    assert whole[3]["own_setting_number_3"] == "3" and whole[-1]["test/scratch_squared_error"] == "2.0"


@pytest.mark.slow
def test_a_list_of_globs_is_given_on_the_command_line(tmp_path, capsys):
    make_run(tmp_path / "x" / "y", metrics={"test/loss": 2.0})
    make_run(tmp_path / "z", metrics={"test/loss": 3.0})
    globs = f"runs=['{tmp_path}/x/*','{tmp_path}/z']"
    outcome = aelab(capsys, "task=compare", globs, f"hydra.run.dir='{tmp_path / 'out'}'")
    assert outcome.status == 0, outcome.error
    assert "x/y" in outcome.output and (tmp_path / "out" / "compare.png").exists()
    outcome = aelab(capsys, "task=compare", "runs=3", f"hydra.run.dir='{tmp_path / 'out'}'")
    assert outcome.status == 1 and "runs: expected a glob or a list of globs, got 3" in outcome.error[-1]


def test_any_depth_and_one_run_alone(tmp_path):
    make_run(tmp_path / "x" / "y", metrics={"test/squared_error": 5.0})
    assert [run.name for run in read_runs([str(tmp_path / "**" / "y")])] == ["y"]
    assert read_runs([str(tmp_path / "x" / "y")])[0].history["val/loss"] == [2.0, 1.0, 2 / 3]
    assert compare([str(tmp_path / "x" / "y")], tmp_path, STYLE)[0]["test/squared_error"] == 5.0


@pytest.mark.parametrize("n", [1, 3, 14, 60])
def test_one_exploded_run_leaves_the_others_to_be_seen_and_nothing_overlaps(n):
    runs = [
        Curves(f"run-with-a-rather-long-name/{i}", {"epoch": [0, 1, 2], "val/loss": [3.0, 2.0, 1 + i / n]})
        for i in range(n)
    ]
    runs.append(Curves("exploded", {"epoch": [0, 1, 2], "val/loss": [3.0, 1e9, 1e12]}))
    sheet = learning_curves("Learning curves", runs, ["val/loss"])
    sheet.sign("of a test")
    assert_readable(sheet, f"{n} runs")
    low, high = sheet.axes[0].get_ylim()
    assert n < 3 or (0 < low <= 1 and high < 10)


def test_a_table_that_does_not_fit_is_turned_or_loses_columns_that_are_named(monkeypatch, capsys):
    row = {"run": "a", **{f"test/metric_{i}": float(i) for i in range(9)}}
    for columns, header in ((80, "│ test/metric_3 │ 3"), (300, "┃ test/metric_3 ┃")):
        monkeypatch.setenv("COLUMNS", str(columns))
        show([row, row | {"run": "b"}], "two")
        assert header in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    show([row | {"run": f"run {i}"} for i in range(30)], "thirty", first=["run", "test/metric_8"])
    shown = capsys.readouterr().out
    assert "test/metric_8 ┃" in shown and "run 29" in shown
    assert "\nnot shown: test/metric_" in shown and max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: None, "no folder matches"),
        (lambda folder: folder.mkdir(), "none of 1 folders is a run's"),
        (lambda folder: (make_run(folder, metrics={}), (folder / "metrics.json").write_text("{")), "is damaged"),
        (lambda folder: (make_run(folder), (folder / "history.csv").write_text("epoch,a\n1,x\n")), "is damaged"),
        (lambda folder: (make_run(folder), (folder / "config.yaml").write_text("a: [")), "is damaged"),
    ],
)
def test_what_cannot_be_compared_is_named(tmp_path, spoil, says):
    spoil(tmp_path / "run")
    with pytest.raises(UserError, match=f"^runs: .*{says}.*; ") as error:
        compare([str(tmp_path / "r*")], tmp_path / "out", STYLE)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
