"""The command itself: help, config, completion, many runs, other tasks; and that it starts without anything heavy."""

import os
import subprocess
import sys

import pytest
from helpers import CONF, OPTIONS, aelab
from omegaconf import OmegaConf

from aelab import app, files
from aelab.errors import UserError
from aelab.results import report
from aelab.runs import folder as run_folder

TINY = ("logger=csv", "train.epochs=1", "data.train_size=48", "train.batch_size=16", "model.network.widths=[8]")
HEAVY = ("torch", "pytorch_lightning", "torchmetrics", "wandb", "matplotlib", "sklearn", "scipy", "optuna", "rich")
STARTED = f"""
import sys
from aelab.app import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", *[name for name in {HEAVY!r} if name in sys.modules])
"""


def fresh(*arguments: str, **environment: str) -> tuple[str, list[str]]:
    """stdout of ``aelab ARGUMENTS`` in a process of its own, and the heavy modules that it had loaded at its end."""
    line = [sys.executable, "-c", STARTED, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    assert done.returncode == 0, done.stderr
    output, _, loaded = done.stdout.rpartition("LOADED")
    return output, loaded.split()


def test_help_names_every_option_and_gives_three_examples():
    output, loaded = fresh("--help")
    for choice in OPTIONS:
        group, option = choice.split("=")
        line = next((text for text in output.splitlines() if text.startswith(f"{group}:")), "")
        assert option in line.removeprefix(f"{group}:").replace(",", " ").split(), f"{choice} is not in the help"
    assert len([line for line in output.splitlines() if line.strip().startswith("aelab ") and "=" in line]) >= 3
    assert "resume=" in output and "-m" in output
    assert not loaded


def test_config_is_shown_without_running():
    output, loaded = fresh("--cfg", "job", "model=linear", "model.n_code=7")
    shown = OmegaConf.create(output)
    assert shown.model.n_code == 7 and shown.train.epochs >= 1
    assert not loaded


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("aelab model=", "model=linear"),
        ("aelab corruption=ma", "corruption=masking"),
        ("aelab train.ep", "train.epochs="),
    ],
)
def test_tab_completes(typed, expected):
    output, loaded = fresh("-sc", "query=bash", COMP_LINE=typed, COMP_POINT=str(len(typed)))
    assert expected in output.split()
    assert not loaded


def test_m_runs_every_combination(capsys, made_data, tmp_path):
    sweep = tmp_path / "sweep"
    outcome = aelab(capsys, "-m", *TINY, "model.n_code=2,3", "seed=0,1", f"hydra.sweep.dir={sweep}")
    assert outcome.status == 0, outcome.error
    tried = set()
    for folder in sorted(sweep.glob("[0-9]*")):
        cfg = run_folder.read_config(folder)
        tried.add((cfg.model.n_code, cfg.seed))
        assert "test/squared_error" in files.read_json(folder / "metrics.json")
    assert tried == {(2, 0), (2, 1), (3, 0), (3, 1)}


def test_a_run_says_what_it_reached_and_where_it_lies(capsys, made_data, tmp_path):
    folder = tmp_path / "run"
    outcome = aelab(capsys, *TINY, "model.n_code=2", f"hydra.run.dir={folder}")
    assert outcome.status == 0 and not outcome.error
    metrics = files.read_json(folder / "metrics.json")
    for name in ("test/squared_error", "test/pca_squared_error", "test/psnr", "test/probe_error", "test/knn_error"):
        assert f"{metrics[name]:.4g}" in outcome.output and name in outcome.output
    assert str(folder) in outcome.output.replace("\n", "")
    assert "images per second" in outcome.output and "seconds" in outcome.output
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "command.txt", "last.ckpt", "best.ckpt", "metrics.json", "history.csv", "figures"} <= names
    assert (folder / "command.txt").read_text().startswith("aelab logger=csv train.epochs=1 ")
    assert OmegaConf.to_yaml(run_folder.read_config(folder), resolve=False).count("${") == 0


def test_a_narrow_screen_wraps_words_and_no_figure(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    report.show({"test/squared_error": 12.34, "test/pca_squared_error": 0.0567})
    shown = capsys.readouterr().out
    assert "12.34" in shown and "0.0567" in shown and max(map(len, shown.splitlines())) <= 40


def test_no_line_of_the_table_is_cut_at_80_columns(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    report.print_run(
        tmp_path, dict.fromkeys(report.LINES, -12.345678), {"train_seconds": 1.0, "images_per_second": 1.0}, "ls"
    )
    lines = capsys.readouterr().out.splitlines()
    for name, words in report.LINES.items():
        assert any(line.split() == [*words.split(), "-12.35", name] for line in lines), name


def test_tasks(capsys, made_data, tmp_path):
    """task=stages lists an empty store and refuses to delete what is not there; task=compare reads runs."""
    store = f"chain.store={tmp_path / 'store'}"
    assert aelab(capsys, "task=stages", store).status == 0
    outcome = aelab(capsys, "task=stages", store, "delete=[nothing]")
    assert outcome.status == 1 and outcome.error[0].startswith("aelab: delete: "), outcome.error
    folders = [tmp_path / "runs" / str(n) for n in (2, 3)]
    for folder, n in zip(folders, (2, 3)):
        assert aelab(capsys, *TINY, f"model.n_code={n}", f"hydra.run.dir={folder}").status == 0
    outcome = aelab(capsys, "task=compare", f"runs={tmp_path / 'runs' / '*'}", f"hydra.run.dir={tmp_path / 'c'}")
    assert outcome.status == 0, outcome.error
    assert "n_code" in outcome.output


def test_objective_is_what_a_sweep_is_told():
    metrics = {"val/loss": 3.0, "test/psnr": 5.0}
    assert app.objective(OmegaConf.create({"objective": "val/loss"}), metrics) == 3.0
    assert app.objective(OmegaConf.create({"objective": "test/psnr, val/loss"}), metrics) == [5.0, 3.0]
    with pytest.raises(UserError, match="objective: this run has no val/los; take one of test/psnr, val/loss"):
        app.objective(OmegaConf.create({"objective": "val/los"}), metrics)


def test_our_own_fault_keeps_its_traceback(monkeypatch, capsys, made_data, tmp_path):
    """What no person can mend is not dressed up as a message."""
    monkeypatch.setattr("aelab.runs.train.measure_and_draw", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        aelab(capsys, *TINY, f"hydra.run.dir={tmp_path / 'run'}")


def test_every_key_has_a_comment():
    """Each option appears once, with a comment that says what it does: on its line, or above it."""
    for path in CONF.rglob("*.yaml"):
        if "hydra" in path.parts or "experiment" in path.parts or "chain" in path.parts:
            continue
        lines = path.read_text().splitlines()
        group = path.parent.relative_to(CONF).as_posix()
        if group != ".":
            assert lines[0].startswith("# "), f"{path} does not say what it is"
        inside = False
        for line in lines:
            inside = line.startswith("hydra:") or (inside and line.startswith(" "))
            key, _, value = line.strip().partition(":")
            plain = value.strip() and not key.startswith(("#", "-", "_")) and key not in ("name",)
            if plain and not inside and not value.strip().startswith("${data."):
                assert "#" in line, f"{path}: {key} has no comment"


FIRST = """
import os, sys
from aelab import app, log
def say(text):
    print(text, "torch" in sys.modules, flush=True)
    os._exit(0)
log.say = say
app.main()
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["model=linear", "hydra.run.dir=there"], "Linear on digits → there False"),
        (["chain=deep_autoencoder", "hydra.run.dir=there"], "deep_autoencoder on digits → there False"),
        (["-m", "seed=0,1", "hydra.sweep.dir=there"], "2 jobs → there False"),
    ],
)
def test_the_first_line_comes_before_pytorch_is_loaded(words, line, tmp_path):
    """Which takes seconds; the first line is there within one."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST, *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout.strip() == line, done.stderr


def test_a_reader_that_has_seen_enough_is_no_error_of_the_command(tmp_path):
    """aelab task=results | head -1: no line about a folder that cannot be written."""
    line = [sys.executable, "-m", "aelab.app", "task=results", f"hydra.run.dir={tmp_path}"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1 and "aelab:" not in said and "Traceback" not in said, said
