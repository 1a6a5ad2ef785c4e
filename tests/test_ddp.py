"""Two processes on the CPU, of one machine or of two, train to what one process reaches at the same total batch."""

import os
import socket
import subprocess
import sys

import pytest
from helpers import aelab

from aelab import files
from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs import ranks

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
    assert_same_learning(one, two)


def test_two_machines_equal_one(capsys, made_data, tmp_path):
    """What torchrun starts on each of two machines, told to each by its environment: the first rank has the folder."""
    one, two = tmp_path / "one", tmp_path / "two"
    assert aelab(capsys, *SETTINGS, f"hydra.run.dir={one}").status == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "aelab.app", *SETTINGS, "hardware.num_nodes=2", "hardware.strategy=ddp"]
    processes = [
        subprocess.Popen(
            [*command, f"hydra.run.dir={two}"],
            env=os.environ | of_torchrun(rank, 2, here=1) | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "squared error of a test sample" in said[0] and said[1] == ""
    assert_same_learning(one, two)


@pytest.mark.parametrize(
    ("world", "multirun", "chain", "key"),
    [(4, False, "none", "hardware.devices"), (2, True, "none", "hydra"), (2, False, "deep_autoencoder", "chain")],
)
def test_what_torchrun_cannot_share_out_is_refused(monkeypatch, world, multirun, chain, key):
    hardware = type("Hardware", (), {"devices": 1, "num_nodes": 2})
    ranks.refuse_another_plan(hardware, multirun, chain)  # nobody started ranks
    for name, value in of_torchrun(0, world, here=1).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=rf"^{key}: torchrun start(ed|s) "):
        ranks.refuse_another_plan(hardware, multirun, chain)


def of_torchrun(rank: int, world: int, here: int) -> dict[str, str]:
    """The environment of one rank, ``here`` of them on each machine."""
    numbers = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank % here, "LOCAL_WORLD_SIZE": here}
    numbers |= {"GROUP_RANK": rank // here}
    return {"TORCHELASTIC_RUN_ID": "none", **{name: str(number) for name, number in numbers.items()}}


def assert_same_learning(one, two):
    a, b = (files.read_json(folder / "metrics.json") for folder in (one, two))
    assert a == pytest.approx(b, rel=1e-4, abs=1e-4)
    a, b = (run_folder.read_history(folder) for folder in (one, two))
    assert a["train/loss"] == pytest.approx(b["train/loss"], rel=1e-5)
    assert a["val/loss"] == pytest.approx(b["val/loss"], rel=1e-5)
    assert (two / "figures" / "reconstructions.png").exists()
