"""Two processes on the CPU, of one machine or of two, train to what one process reaches at the same total batch."""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers import aelab, composed
from torch.nn.parallel import DistributedDataParallel

from aelab import files
from aelab.config.build import build
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


def test_persistent_chains_are_of_each_rank_on_two_machines(tmp_path, made_data):
    """What torchrun starts on each of two machines, told to each by its environment: the first rank has the folder."""
    folder = tmp_path / "two"
    rbm = ("model=rbm", "model/recipe=pcd", "model.n_hidden=6", "data.train_size=120", "train.batch_size=16")
    settings = (
        *rbm,
        "evaluate=[]",
        "logger=csv",
        "hardware.threads=1",
        "hardware.num_nodes=2",
        "hardware.strategy=ddp",
    )
    said = on_two_machines(*settings, "train.epochs=2", f"hydra.run.dir={folder}")
    assert "squared error of a test sample" in said[0] and said[1] == ""
    saved = run_folder.read_checkpoint(folder, "last", "test")
    first, second = saved["of_ranks"]["chains"]
    assert torch.equal(first, saved["state_dict"]["chains"]) and not torch.equal(first, second)

    model = build(composed(*rbm).model, "model", shape=(64,))
    assert named_as_shared(model).isdisjoint(("chains", "rungs")) and "velocity_W" in named_as_shared(model)
    for world, rank, expected in ((2, 1, second), (2, 0, first), (4, 3, first)):
        model._trainer = SimpleNamespace(world_size=world, global_rank=rank)
        again = {**saved, "state_dict": dict(saved["state_dict"])}
        model.on_load_checkpoint(again)  # as a resumed run does before it takes the weights
        assert torch.equal(again["state_dict"]["chains"], expected), (world, rank)


def named_as_shared(model) -> set[str]:
    """The buffers that every rank is given anew, before each call, as the first rank has them."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        shared = DistributedDataParallel(model).modules_buffers
    finally:
        torch.distributed.destroy_process_group()
    return {name for name, buffer in model.named_buffers() if any(buffer is one for one in shared)}


def on_two_machines(*command: str) -> list[str]:
    """What the command says on each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "aelab.app", *command],
            env=os.environ | of_torchrun(rank, 2, here=1) | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    return said


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
