"""Other people's code: the README's own example, and one of each kind, in a package that aelab knows nothing of."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from helpers import aelab as command_line
from omegaconf import OmegaConf

import aelab
from aelab import files
from aelab.errors import UserError

README = (Path(__file__).parents[1] / "README.md").read_text()
QUICK = ("logger=csv", "train.epochs=1", "train.batch_size=64", "data.train_size=128", "evaluate.probe.c=0.01")

ZOO = '''
import torch
from pytorch_lightning import Callback

from aelab.data.arrays import Arrays, from_numpy
from aelab.functional.corruption import Corrupted, Corruption
from aelab.ranges import Count, Fraction


def stripes(n: Count) -> Arrays:
    """Images of 4 x 4 with one bright column."""
    x = torch.zeros(n, 4, 4)
    y = torch.arange(n) % 4
    x[torch.arange(n), :, y] = 1.0
    x, y = x.flatten(1).numpy(), y.numpy()
    return from_numpy(x[n // 4 :], y[n // 4 :], x[: n // 4], y[: n // 4], (4, 4), unit_interval=True)


class Fade(Corruption):
    def __init__(self, by: Fraction):
        super().__init__(by, None)

    def __call__(self, x, progress=1.0):
        return Corrupted(x * (1 - self.strength(progress)), torch.ones_like(x, dtype=torch.bool))


class Largest:
    """The largest code of the test set."""

    def __call__(self, model, data):
        return {"largest_code": float(model.encode(data.test.x).abs().max())}


class Counts(Callback):
    def __init__(self, path: str):
        self.path = path

    def on_train_epoch_end(self, trainer, module):
        with open(self.path, "a") as file:
            file.write(f"{trainer.current_epoch} ")
'''
CONFIGS = {
    "data/stripes.yaml": """
        defaults: [_base, _self_]
        name: stripes
        source: {_target_: zoo.stripes, n: 64}
    """,
    "corruption/fade.yaml": """
        _target_: zoo.Fade
        by: 0.5
    """,
    "evaluate/largest.yaml": """
        # @package evaluate
        largest: {_target_: zoo.Largest}
    """,
    "callbacks/counts.yaml": """
        # @package callbacks
        counts: {_target_: zoo.Counts, path: counted}
    """,
    "chain/twice.yaml": """
        defaults:
          - _base
          - _stage@one
          - _stage@two
          - /model@one.model: rbm
          - /model@two.model: deep_autoencoder
          - override /corruption@two.corruption: fade
          - _self_
        stages: [one, two]
        one: {train: {epochs: 1, batch_size: 16}}
        two: {train: {epochs: 1, batch_size: 16}}
    """,
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to be in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("mypkg", "zoo"):
            del sys.modules[name]


@pytest.fixture
def example(here, monkeypatch):
    """The files of the README, in the folder that it calls my_experiments."""
    blocks = re.findall(r"`my_experiments/(\S+)`:\n\n```\w+\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 2
    for name, text in blocks:
        files.write_text(made(here / name), text)
    return here


@pytest.fixture
def zoo(here):
    (here / "zoo.py").write_text(ZOO)
    for name, text in CONFIGS.items():
        lines = text.strip("\n").splitlines()
        made(here / "my_conf" / name).write_text("\n".join(line[8:] for line in lines))
    return here


def made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_the_commands_of_the_readme(example, capsys):
    commands = [shlex.split(line)[1:] for line in re.findall(r"^aelab --config-dir.*$", README, re.MULTILINE)]
    run, resume, chain, sweep = commands
    assert command_line(capsys, *run, *QUICK).status == 0
    outcome = command_line(capsys, *[word.replace("150", "2") for word in resume])
    assert outcome.status == 0, outcome.error
    assert "test/length" in files.read_json(Path("outputs/short/metrics.json"))
    stages = ("chain.widths=[4,3]", "chain.layer.train.epochs=1", "chain.finetune.train.epochs=1")
    outcome = command_line(capsys, *chain, "logger=csv", "data.train_size=128", *stages)
    assert outcome.status == 0, outcome.error
    outcome = command_line(capsys, *sweep, *QUICK, "hydra.sweep.dir=sweep")
    assert outcome.status == 0 and Path("sweep/2/metrics.json").exists(), outcome.error
    typo = command_line(capsys, *run[:-1], "model.cost=-1")
    assert typo.status == 1 and typo.error == ["aelab: model.cost: must be at least 0, got -1"]


def test_its_folder_is_a_stranger_s_to_whoever_does_not_trust_it(example, capsys):
    run = aelab.run(["model=short", *QUICK, "hydra.run.dir=outputs/short"], config_dir="my_conf")
    assert type(run.model.model).__name__ == "Short"
    with pytest.raises(aelab.UserError, match=r"calls mypkg.short.Short at model._target_.*trust=\[mypkg\]"):
        aelab.load("outputs/short")
    for trust in (["mypkg"], "mypkg"):
        assert type(aelab.load("outputs/short", trust=trust).model).__name__ == "Short"
    with pytest.raises(UserError, match=r"^overrides: expected a list of them, got the text 'seed=1'"):
        aelab.compose("seed=1")
    refused = command_line(capsys, "resume=outputs/short", "train.epochs=2")
    assert refused.status == 1 and "trust=[mypkg]" in refused.error[-1]
    assert command_line(capsys, "resume=outputs/short", "train.epochs=2", "trust=[mypkg]").status == 0


def test_a_refused_run_takes_no_folder_away_that_was_there(tmp_path, monkeypatch):
    """Not even an empty one that the script stands in."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"^train\.epochs: "):
        aelab.run(["train.epochs=-1", "hydra.run.dir=run"])
    assert tmp_path.exists() and not list(tmp_path.iterdir())


def test_one_of_each_kind(zoo, capsys):
    own = ("--config-dir", "my_conf", "data=stripes")
    chosen = ("corruption=fade", "evaluate=[pca,largest]", "callbacks=counts", "model.n_code=2")
    words = (*own, *chosen, "logger=csv", "train.epochs=3", "train.batch_size=16", "hydra.run.dir=run")
    outcome = command_line(capsys, *words)
    assert outcome.status == 0, outcome.error
    assert files.read_json(Path("run/metrics.json"))["test/largest_code"] > 0
    assert Path("counted").read_text().split() == ["0", "1", "2"]
    config = OmegaConf.load("run/config.yaml")
    assert config.corruption._target_ == "zoo.Fade" and config.data.source._target_ == "zoo.stripes"

    chain = ("chain=twice", "logger=csv", "hydra.run.dir=chain", "evaluate=[pca,largest]")
    outcome = command_line(capsys, *own, *chain)
    assert outcome.status == 0, outcome.error
    assert "test/largest_code" in files.read_json(Path("chain/metrics.json"))
    outcome = command_line(capsys, *own, *chain)
    assert outcome.status == 0 and outcome.output.count("found in") == 2

    outcome = command_line(capsys, "-m", *own, *chosen, "corruption.by=0.1,0.2", "logger=csv", "train.epochs=1",
                           "train.batch_size=16", "hydra.sweep.dir=sweep")  # fmt: skip
    assert outcome.status == 0 and Path("sweep/1/metrics.json").exists(), outcome.error


def test_code_of_one_s_own_is_found_beside_the_configs_only(zoo, capsys, monkeypatch):
    shutil.move("my_conf", made(Path("elsewhere/my_conf")))
    outcome = command_line(capsys, "--config-dir", "elsewhere/my_conf", "data=stripes", "hydra.run.dir=run")
    assert outcome.status == 1 and "zoo" in outcome.error[-1]
    assert not Path("run").exists() or not list(Path("run").iterdir())
