"""A chain that trains in a moment: digits, two small machines, no figures and no classifiers on the code."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from helpers import Outcome, aelab, with_hydra
from omegaconf import open_dict

from aelab.runs.plan import Plan, plan

TINY = (
    "chain=deep_autoencoder", "logger=csv", "data.train_size=60", "data.validation=20", "evaluate.probe=null",
    "evaluate.knn=null", "chain.widths=[5,3]", "chain.rbm.train.epochs=2", "chain.rbm.train.batch_size=20",
    "chain.finetune.train.epochs=2", "chain.finetune.train.batch_size=20", "figures.dpi=30",
)  # fmt: skip


class Chain(NamedTuple):
    """A chain's folder and what its command printed."""

    folder: Path
    outcome: Outcome

    def about(self) -> dict:
        return json.loads((self.folder / "chain.json").read_text())

    def found(self) -> dict[str, bool]:
        """Stage → whether it was found, not run."""
        return {name: stage["found"] for name, stage in self.about()["stages"].items()}

    def keys(self) -> dict[str, str]:
        return {name: stage["key"] for name, stage in self.about()["stages"].items()}

    def commands(self) -> dict[str, str]:
        """Stage → the ordinary command that its folder says."""
        return {name: (self.stage(name) / "command.txt").read_text() for name in self.found()}

    def stage(self, name: str) -> Path:
        return next((self.folder / "stages").glob(f"*-{name}")).resolve()


def run_tiny(capsys, root: Path, *overrides: str, name: str = "chain", store: str = "store") -> Chain:
    """The tiny chain in ``root / name`` with its stages in ``root / store``."""
    outcome = aelab(capsys, *TINY, f"chain.store='{root / store}'", f"hydra.run.dir='{root / name}'", *overrides)
    return Chain(root / name, outcome)


def weights(folder: Path, which: str = "last") -> dict[str, torch.Tensor]:
    """Weights, buffers and persistent chains of a run's checkpoint."""
    return torch.load(folder / f"{which}.ckpt", weights_only=True)["state_dict"]


def assert_same_run(one: Path, other: Path) -> None:
    """Equal metrics byte for byte, equal weights, layers and history bit for bit."""
    for name in ("metrics.json", "history.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for which in ("last", "best"):
        here, there = weights(one, which), weights(other, which)
        assert here.keys() == there.keys()
        assert all(torch.equal(value, there[name]) for name, value in here.items()), which
    for path in one.glob("*.pt"):
        assert path.read_bytes() == (other / path.name).read_bytes(), path.name


def planned(*overrides: str) -> list[Plan]:
    """The stages that a command would run, composed and not run."""
    cfg = with_hydra(*overrides)
    choices = dict(cfg.hydra.runtime.choices)
    with open_dict(cfg):
        del cfg["hydra"]
    return plan(cfg, choices, cfg.chain.keys)


quick = pytest.mark.usefixtures("no_figures")


@pytest.fixture
def no_figures(monkeypatch):
    """Pictures take longer than a tiny chain's training."""
    monkeypatch.setattr("aelab.results.figures.run_figures", lambda *_: {})
