"""Ranks that torchrun starts: one weight for all, samples and persistent chains of its own for each.

That two train to what one process reaches at the same total batch is in test_chain_sweep.py.
"""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers import composed
from torch.nn.parallel import DistributedDataParallel

from aelab.config.build import build
from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs import ranks

LEAVING = """
import sys
import torch
place = sys.argv.pop()
from aelab.app import main
from aelab.runs.progress import Told

def leave_weights(self, trainer, model):
    torch.save(model.state_dict(), f"{place}/rank{trainer.global_rank}.pt")

Told.on_train_end = leave_weights
main()
"""


def test_ranks_of_two_machines_agree_on_weights_and_have_chains_of_their_own(tmp_path, made_data):
    """Each draws its own units from its own samples: only the gradients' mean over both keeps them together."""
    folder = tmp_path / "two"
    rbm = ("model=rbm", "model/recipe=pcd", "model.n_hidden=6", "model.recipe.momentum=0.5")
    settings = ("schedule=constant", "data.train_size=120", "train.batch_size=16", "train.epochs=2", "evaluate=[]")
    where = ("logger=csv", "figures.dpi=30", "hardware.num_nodes=2", "hardware.strategy=ddp", f"hydra.run.dir={folder}")
    said = on_two_machines(tmp_path, *rbm, *settings, *where)
    assert "squared error of a test sample" in said[0] and said[1] == ""
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name in ("W", "b_hidden", "b_visible", "velocity_W"):
        assert torch.equal(ranks[0][name], ranks[1][name]), name
    first, second = ranks[0]["chains"], ranks[1]["chains"]
    assert not torch.equal(first, second)

    saved = run_folder.read_checkpoint(folder, "last", "test")
    model = build(composed(*rbm).model, "model", shape=(64,))
    assert shared_buffers(model).isdisjoint(("chains", "rungs")) and "velocity_W" in shared_buffers(model)
    for world, rank, expected in ((2, 1, second), (2, 0, first), (4, 3, first)):
        model._trainer = SimpleNamespace(world_size=world, global_rank=rank)
        again = {**saved, "state_dict": dict(saved["state_dict"])}
        model.on_load_checkpoint(again)  # as a resumed run does before it takes the weights
        assert torch.equal(again["state_dict"]["chains"], expected), (world, rank)


def shared_buffers(model) -> set[str]:
    """The buffers that every rank is given anew, before each call, as the first rank has them."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        shared = DistributedDataParallel(model).modules_buffers
    finally:
        torch.distributed.destroy_process_group()
    return {name for name, buffer in model.named_buffers() if any(buffer is one for one in shared)}


def on_two_machines(place, *command: str) -> list[str]:
    """What torchrun starts on each, told to each by its environment; what each says. Both leave their weights."""
    script = place / "leaving.py"
    script.write_text(LEAVING)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, script, *command, str(place)],
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
