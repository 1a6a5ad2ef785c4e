"""Two processes on the CPU train to what one process reaches at the same total batch."""

import pytest
from helpers import aelab

from aelab import files
from aelab.runs import folder as run_folder

SETTINGS = (
    "data.train_size=120", "train.batch_size=16", "train.epochs=3", "model.n_code=3", "model.network.widths=[8]",
    "optimizer.lr=0.01", "logger=csv", "evaluate.probe=null", "hardware.threads=1",
)  # fmt: skip


def test_two_processes_equal_one(capsys, made_data, tmp_path):
    """120 samples in batches of 16 leave a last one of 8, shared as 4 and 4."""
    one, two = tmp_path / "one", tmp_path / "two"
    assert aelab(capsys, *SETTINGS, f"hydra.run.dir={one}").status == 0
    outcome = aelab(capsys, *SETTINGS, "hardware.devices=2", "hardware.strategy=ddp", f"hydra.run.dir={two}")
    assert outcome.status == 0, outcome.error
    a, b = (files.read_json(folder / "metrics.json") for folder in (one, two))
    assert a == pytest.approx(b, rel=1e-4, abs=1e-4)
    a, b = (run_folder.read_history(folder) for folder in (one, two))
    assert a["train/loss"] == pytest.approx(b["train/loss"], rel=1e-5)
    assert a["val/loss"] == pytest.approx(b["val/loss"], rel=1e-5)
    assert (two / "figures" / "reconstructions.png").exists()
