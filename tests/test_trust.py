"""What came with a folder runs nothing but what aelab's own conf/ names at that place, and what is trusted by name."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import CONF, command, composed
from helpers import aelab as command_line
from omegaconf import OmegaConf

import aelab
from aelab.config.reading import DEEPEST, LARGEST, read_plain
from aelab.errors import UserError
from aelab.runs.train import run

TINY = ("logger=csv", "train.epochs=1", "data.train_size=48", "train.batch_size=16", "evaluate.knn=null",
        "evaluate.probe=null", "model.network.widths=[8]", "model.n_code=2")  # fmt: skip
MARK = "touched"  # the file that a hostile config would make
OPEN = {"_target_": "io.open", "file": MARK, "mode": "w"}
# place in the config -> what a stranger would put there
HOSTILE = {
    "the model itself": ("model", OPEN),
    "a part of it": ("model.network", OPEN),
    "in a list": ("model.network.widths", [8, OPEN]),
    "in a list in a mapping": ("model.network.widths", {"a": [[OPEN]]}),
    "arguments of a module": ("model.network", {"_target_": "torch.nn.Identity", "args": [OPEN]}),
    "positional": ("model.network", {"_target_": "aelab.models.network.MLP", "_args_": [OPEN]}),
    "partial": ("model.network", {"_target_": "functools.partial", "_partial_": True, "_args_": [OPEN]}),
    "a pickle": ("model.network", {"_target_": "torch.load", "f": "x", "weights_only": False}),
    "our own writer": ("model.network", {"_target_": "aelab.rbm.layer.save_layers", "path": MARK, "layers": []}),
    "our own download": (
        "model.network",
        {"_target_": "aelab.data.download.find", "relative": MARK, "root": None, "cache": ".", "download": True,
         "mirrors": ["http://127.0.0.1:9/"], "checksum": "md5:0"},
    ),
    "our own request": ("model.network", {"_target_": "aelab.watch.wandb_start.refusal", "url": "x:", "key": "k"}),
    "known, at another place": (
        "model.network",
        {"_target_": "aelab.data.curves.curves", "n_train": 1, "n_test": 1, "seed": 0, "cache": "."},
    ),
    "known, with an argument of the stranger's": ("model.extra", MARK),
    "no name": ("model.network", {"_target_": {"_target_": "io.open"}}),
    "reached through aelab": ("model.network", {"_target_": "aelab.runs.train.subprocess.run", "args": "ls"}),
}  # fmt: skip
DOORS = ("load", "resume", "report", "verify")


@pytest.fixture(scope="module")
def a_run(made_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run(composed(*TINY), folder, command(*TINY))
    return folder


@pytest.fixture
def stranger(a_run, tmp_path, monkeypatch):
    """A copy of a finished run, and an empty folder to be in, where a hostile config would leave its mark."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Path(shutil.copytree(a_run, tmp_path / "stranger"))


def through(door: str, folder: Path, capsys) -> str:
    """The one line with which a door refuses the folder."""
    if door == "load":
        with pytest.raises(UserError) as refusal:
            aelab.load(folder)
        return str(refusal.value)
    said = {
        "resume": [f"resume={folder}"],
        "report": ["task=report", f"run={folder}", "out=page.html"],
        "verify": ["task=verify", "result=linear_mnist", f"run={folder}"],
        "evaluate": ["task=evaluate", f"run={folder}", "out=figures.json"],
    }[door]
    outcome = command_line(capsys, *said)
    assert outcome.status == 1 and len(outcome.error) == 1 and "Traceback" not in outcome.output, outcome
    return outcome.error[0].removeprefix("aelab: ")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_that_a_folder_names_is_called(case, door, stranger, capsys):
    place, value = HOSTILE[case]
    config = OmegaConf.load(stranger / "config.yaml")
    OmegaConf.update(config, place, value, merge=False, force_add=True)
    (stranger / "config.yaml").write_text(OmegaConf.to_yaml(config))
    before = sorted(stranger.iterdir())
    line = through(door, stranger, capsys)
    assert line.startswith(f"{door if door in ('load', 'resume') else 'run'}: ") and "trust=[" in line, line
    assert not Path(MARK).exists() and sorted(stranger.iterdir()) == before


@pytest.mark.parametrize(
    "door, place",
    [("verify", "evaluate.mine"), ("verify", "evaluate.pca"), ("verify", "data.source"), ("evaluate", "data.source")],
)
def test_neither_a_folder_s_evaluators_nor_its_data_are_called(door, place, stranger, capsys):
    config = OmegaConf.load(stranger / "config.yaml")
    OmegaConf.update(config, place, OPEN, merge=False, force_add=True)
    (stranger / "config.yaml").write_text(OmegaConf.to_yaml(config))
    line = through(door, stranger, capsys)
    assert line.startswith("run: ") and place in line and "trust=[" in line, line
    assert not Path(MARK).exists()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("text", ["${oc.env:HOME}", "x${oc.env:HOME}", "${model.n_code}", "${oc.decode:1}"])
def test_no_interpolation_of_a_folder_is_resolved(text, door, stranger, capsys, monkeypatch):
    monkeypatch.setenv("HOME", "a secret")
    path = stranger / "config.yaml"
    path.write_text(path.read_text().replace("name: digits", f"name: {json.dumps(text)}"))
    line = through(door, stranger, capsys)
    assert text in line and "a secret" not in line


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi")),
        "a: " + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1),
        "a: " + "[" * 100_000,
        "x: y\n" * LARGEST,
        "- a list",
        "model: !!python/object/apply:os.system [ls]",
        "a: 1\na: 2",
        "\0",
        "a: " + "9" * 100_000,
        "? [1, 2]\n: 3",
        "model: '${unclosed'",
    ],
    ids=["bomb", "deep", "deeper", "huge", "list", "tag", "twice", "binary", "number", "key", "unclosed"],
)
def test_a_config_that_no_run_writes_is_refused_at_once(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"^load: \S+config.yaml .*"):
        read_plain(path, "load")


@pytest.mark.parametrize("content", ["model: 5", "model: [1, 2]", "model: null", "{}", "5: 6"])
@pytest.mark.parametrize("door", DOORS)
def test_nodes_of_the_wrong_kind(content, door, stranger, capsys):
    (stranger / "config.yaml").write_text(content)
    assert ": " in through(door, stranger, capsys)


@pytest.mark.parametrize(
    ("key", "words"), [("resume", ["resume={run}", "train.epochs=2"]), ("run", ["task=likelihood", "run={run}"])]
)
@pytest.mark.parametrize("name", ["figures", "best.ckpt", "wandb"])
def test_who_writes_into_a_run_folder_writes_into_that_folder_only(name, key, words, stranger, capsys, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = stranger / name
    shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
    target.symlink_to(outside)
    outcome = command_line(capsys, *(word.format(run=stranger) for word in words))
    assert outcome.status == 1 and len(outcome.error) == 1
    assert outcome.error[0].startswith(f"aelab: {key}: ")
    assert "is a link to" in outcome.error[0] and not list(outside.iterdir())


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "a/../../b"])
def test_checkpoints_stay_in_the_folder(name, stranger, capsys):
    path = stranger / "config.yaml"
    config = OmegaConf.load(path)
    node = OmegaConf.load(CONF / "callbacks" / "checkpoints.yaml")
    config.callbacks = OmegaConf.merge(node, {"checkpoints": {"filename": name}})
    path.write_text(OmegaConf.to_yaml(config))
    outcome = command_line(capsys, f"resume={stranger}", "train.epochs=2")
    assert outcome.status == 1 and len(outcome.error) == 1
    assert outcome.error[0].startswith("aelab: callbacks.checkpoints.filename: "), outcome.error
    assert "leads out of the run folder" in outcome.error[0]


def test_a_study_that_a_folder_names_is_not_gone_to(stranger, capsys, tmp_path):
    path = stranger / "config.yaml"
    config = OmegaConf.load(path)
    target = OmegaConf.load(CONF / "callbacks" / "_pruning.yaml")._target_
    theirs = {"storage": str(tmp_path / "study"), "study": "theirs", "number": 0, "monitor": "val/loss"}
    config.callbacks = {"pruning": {"_target_": target, **theirs}}
    path.write_text(OmegaConf.to_yaml(config))
    outcome = command_line(capsys, f"resume={stranger}", "train.epochs=2")
    assert outcome.status == 0, outcome.error
    assert not (tmp_path / "study").exists()
