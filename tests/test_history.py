"""The history table: printed beside measured, made from runs, and a figure that was changed by hand is noticed."""

import json
from html import escape
from pathlib import Path

import numpy as np
import pytest
from helpers import aelab
from matplotlib.image import imsave
from omegaconf import OmegaConf

import aelab as aelab_package
from aelab.app import CONF
from aelab.errors import UserError
from aelab.results import tables
from aelab.results.history import (
    Measured,
    Paper,
    as_text,
    ours,
    page,
    paper_of,
    read_measured,
    read_papers,
    read_studies,
    rows,
    status,
    with_table,
)
from aelab.runs.folder import last_stage
from aelab.runs.history import BEGIN, END, collected, verify

README = Path(__file__).parents[1] / "README.md"
PAPER = Paper("x", 2006, "S", "digits", "test/squared_error", "error", "3.00", "lower", "A", "https://a", "seen", "sum")


def measured(*values: float) -> Measured:
    seeds = {str(seed): value for seed, value in enumerate(values)}
    return Measured(seeds, "aelab experiment=x", 60.0, "a processor", "2026-01-01", {"torch": "2"}, {"rbm1": "k"})


@pytest.mark.parametrize(
    "paper, values, words",
    [
        (PAPER, [2.5], "better"),
        (PAPER, [3.004], "as good"),
        (PAPER, [3.2], "missed by 0.2"),
        (PAPER, [2.9, 3.2], "within the seeds' spread"),
        (PAPER._replace(better="higher"), [3.2], "better"),
        (PAPER._replace(better="higher"), [2.5], "missed by 0.5"),
        (PAPER._replace(printed=None), [2.5], "–"),
    ],
)
def test_status(paper, values, words):
    assert status(paper, measured(*values)) == words


def test_several_seeds_are_a_mean_with_its_spread():
    assert ours(measured(2.0, 4.0)) == "3.000 ± 1.4 (2)" and ours(measured(86.7)) == "86.70"


def test_a_figure_changed_by_hand_is_noticed(tmp_path):
    path = tmp_path / "measured.json"
    path.write_text(as_text({"x": measured(2.5)}))
    assert read_measured(path) == {"x": measured(2.5)}
    path.write_text(path.read_text().replace("2.5", "1.5"))
    with pytest.raises(UserError, match=r"result: the figures of x .* measure again"):
        read_measured(path)


@pytest.mark.parametrize("change", [{"mark": "heard"}, {"better": "up"}, {"years": 3}])
def test_a_paper_says_all_of_what_it_must(change):
    with pytest.raises(UserError, match="paper"):
        paper_of(PAPER._asdict() | change, "x.yaml")


def test_every_experiment_s_paper_is_whole_and_has_its_file_s_name():
    papers = read_papers(CONF / "experiment")
    assert len(papers) >= 7 and all((CONF / "experiment" / f"{paper.name}.yaml").exists() for paper in papers)


def test_a_paper_is_what_hydra_composes_of_its_experiment_and_those_it_stands_on():
    for paper in read_papers(CONF / "experiment"):
        if paper.beside or paper.name.startswith("burda2015"):
            composed = aelab_package.compose([f"experiment={paper.name}"]).paper
            assert paper_of(OmegaConf.to_container(composed), paper.name) == paper


def test_what_stands_beside_a_result_comes_after_it_and_must_find_it(tmp_path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    said = {"paper": PAPER._asdict() | {"name": "main", "printed": "1.5"}}
    (folder / "main.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(said)))
    (folder / "a_rival.yaml").write_text(
        "defaults: [main, _self_]\npaper: {name: a_rival, beside: main, printed: '2.5'}\n"
    )
    main, rival = read_papers(folder)
    assert (main.name, rival.name, rival.system, rival.printed) == ("main", "a_rival", main.system, "2.5")
    shown = page([main, rival], {"main": measured(1.0), "a_rival": measured(2.0)}, {}, ())
    assert shown.count("<h2") == 2 and "2.000" in shown.split("<h2")[2]  # the table and one section, with both
    (folder / "main.yaml").unlink()
    (folder / "a_rival.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create({"paper": rival._asdict()})))
    with pytest.raises(UserError, match=r"paper\.beside: a_rival stands beside 'main'"):
        read_papers(folder)


def test_the_readme_s_table_is_made_from_what_was_measured():
    """A figure typed into it fails here."""
    table = tables.markdown(rows(read_papers(CONF / "experiment"), read_measured(CONF / "measured.json")))
    assert with_table(README.read_text(), table, BEGIN, END) == README.read_text(), "aelab task=results out=README.md"


def test_a_terminal_of_80_columns_shows_each_experiment_s_figures(capsys):
    outcome = aelab(capsys, "task=results")
    assert outcome.status == 0 and "not shown: " in outcome.output
    assert all(paper.name in outcome.output for paper in read_papers(CONF / "experiment"))


def test_runs_become_figures_and_a_table(tmp_path, capsys):
    conf = tmp_path / "conf" / "experiment"
    conf.mkdir(parents=True)
    node = json.dumps(PAPER._asdict())
    head = "# @package _global_\ndefaults: [override /model: linear]\n"
    (conf / "x.yaml").write_text(f"{head}model: {{n_code: 3}}\npaper: {node}\n")
    for seed in (0, 1):
        outcome = aelab(
            capsys, f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "experiment=x", "logger=csv", "train.epochs=1",
            f"seed={seed}", f"hydra.run.dir={tmp_path / str(seed)}",
        )  # fmt: skip
        assert outcome.status == 0, outcome.error
    found = collected([str(tmp_path / "*")])["x"]
    assert set(found.values) == {"0", "1"} and found.command.startswith("aelab ") and found.seconds > 0
    assert "seed=" not in found.command and "experiment=x" in found.command
    assert found.values["1"] == json.loads((tmp_path / "1" / "metrics.json").read_text())["test/squared_error"]
    with pytest.raises(UserError, match="runs: no folder matches"):
        collected([str(tmp_path / "nothing*")])
    assert aelab(capsys, "task=results").status == 0


def test_the_history_is_one_page_year_by_year_with_the_pictures_of_the_runs_that_are_there(tmp_path, capsys):
    paper = read_papers(CONF / "experiment")[0]
    node = paper._asdict() | {"picture": "loss"}
    (tmp_path / "experiment").mkdir()
    head = "# @package _global_\ndefaults: [override /model: linear]\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(f"{head}paper: {json.dumps(node)}\n")
    words = ["experiment=mine", "logger=csv", "train.epochs=1", f"hydra.run.dir={tmp_path / 'run'}"]
    assert aelab(capsys, "--config-dir", str(tmp_path), *words).status == 0
    (tmp_path / "run" / "figures" / "loss.png").rename(tmp_path / "run" / "figures" / f"{paper.picture}.png")
    out = tmp_path / "history.html"
    outcome = aelab(capsys, "task=report", f"runs={tmp_path / 'run'}", f"out={out}")
    assert outcome.status == 0, outcome.error
    text = out.read_text()
    papers = [paper for paper in read_papers(CONF / "experiment") if not paper.beside]
    places = [text.index(escape(f"{paper.year}  {paper.system}, {paper.data}")) for paper in papers]
    assert places == sorted(places) and len(set(places)) == len(papers)
    assert all(escape(paper.new) in text and paper.new and paper.picture for paper in papers)
    assert text.count("<img") == 1
    for name, found in read_measured(CONF / "measured.json").items():
        assert escape(found.command) in text and ours(found) in text, name
    assert aelab(capsys, "task=report").status == 1


def test_the_page_of_the_history_has_the_pictures_of_the_sweeps_that_are_there(tmp_path, capsys):
    """At their year, with what there is to see, the command, and the means over seeds."""
    studies = read_studies(CONF / "experiment")
    assert {"dose_of_pretraining", "why_pretraining"} <= {study.name for study in studies}
    assert all((CONF / "experiment" / f"{study.name}.yaml").exists() for study in studies)
    sweep = tmp_path / "sweep"
    for study in studies:
        (sweep / study.name / "0").mkdir(parents=True)
        imsave(sweep / study.name / f"{study.picture}.png", np.zeros((4, 4, 3)))
        (sweep / study.name / "0" / "config.yaml").write_text(f"model: {{}}\nstudy: {{name: {study.name}}}\n")
        board = "test/class_error,test/class_error sd,test/class_error n,seed,folder\n2.5,,,0,0\n2.5,0.25,3,all,\n"
        (sweep / study.name / "leaderboard.csv").write_text(board)
    out = tmp_path / "history.html"
    outcome = aelab(capsys, "task=report", f"runs={sweep}/*", f"out={out}")
    assert outcome.status == 0, outcome.error
    text = out.read_text()
    assert text.count("<img") == len(studies) and text.count("2.50 ± 0.25 (3)") == len(studies)
    for study in studies:
        assert escape(study.says) in text and escape(study.command) in text
        place = text.index(escape(f"{study.year}  {study.title}"))
        for paper in (paper for paper in read_papers(CONF / "experiment") if not paper.beside):
            other = text.index(escape(f"{paper.year}  {paper.system}, {paper.data}"))
            assert (other < place) is (paper.year <= study.year)


def test_a_figure_is_measured_again_from_its_weights_or_by_its_command(tmp_path, capsys, monkeypatch):
    """Of a chain, a look into its store; of a run, its command; a figure that is another one says what has changed."""
    conf = tmp_path / "conf"
    for folder in ("chain", "experiment"):
        (conf / folder).mkdir(parents=True)
    (conf / "chain" / "_base.yaml").write_text(f"store: {tmp_path / 'stages'}\n")
    node = json.dumps(PAPER._asdict())
    chain = "defaults: [override /chain: deep_autoencoder]\nchain: {widths: [4], rbm: {train: {epochs: 1}}}\n"
    (conf / "experiment" / "x.yaml").write_text(f"# @package _global_\n{chain}paper: {node}\n")
    words = [f"hydra.searchpath=[file://{conf}]", "experiment=x", "logger=csv", "chain.finetune.train.epochs=1"]
    words += [f"chain.store={tmp_path / 'stages'}", f"hydra.run.dir={tmp_path / 'run'}"]
    assert aelab(capsys, *words).status == 0
    made_by = {"date": "2001-02-03", "processor": "another machine", "versions": {"torch": "1"}}
    path = last_stage(tmp_path / "run") / "made_by.json"
    assert set(json.loads(path.read_text())) == set(made_by)
    found = collected([str(tmp_path / "run")])
    (path.parent / "SHA256SUMS").unlink()
    path.write_text(json.dumps(made_by))
    assert collected([str(tmp_path / "run")])["x"] == found["x"]._replace(**made_by), (
        "where it ran, not where it is read"
    )
    path.unlink()
    assert collected([str(tmp_path / "run")]) == found
    (conf / "measured.json").write_text(as_text(found))

    def asked(**changes):
        entry = found["x"]._replace(**changes)
        (conf / "measured.json").write_text(as_text({"x": entry}))
        return verify(conf, "x", None, tmp_path / "own", [])

    assert asked().endswith("; equal")
    assert verify(conf, "x", tmp_path / "run", tmp_path / "own", []).endswith("; equal")
    value = found["x"].values["0"]
    assert asked(values={"0": value * 1.005}).endswith("; within 1 %")
    assert asked(values={"1": value, "2": value * 1.5}).endswith("; within the seeds' spread")
    parts = found["x"].parts | {"optimizer": "another"}
    with pytest.raises(UserError, match=r"result: x: .* different; changed since: the config's optimizer; torch 1 → "):
        asked(values={"0": 2 * value}, parts=parts, versions={"torch": "1"})
    with pytest.raises(UserError, match="result: there is no figure of y; take one of x"):
        verify(conf, "y", None, tmp_path / "own", [])

    ran = []
    monkeypatch.setattr("aelab.runs.history.run_anew", lambda command, own: ran.append(command) or tmp_path / "run")
    assert asked(keys={}).endswith("; equal") and ran == [found["x"].command]
    assert aelab(capsys, "task=verify").error[-1].startswith("aelab: result: task=verify needs the name")
