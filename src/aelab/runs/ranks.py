"""Ranks that torchrun started: on each machine it starts the same command once per device, and they find each other.

The first of all ranks has the run folder and says what goes on; the others only train.
"""

import os
from typing import Any

from aelab.errors import UserError


def from_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_first() -> bool:
    """Whether this process has the run folder: all have that torchrun did not start, and of the others one."""
    return not from_torchrun() or os.environ["RANK"] == "0"


def refuse_another_plan(hardware: Any, multirun: bool, chain: str) -> None:
    """Raise ``UserError`` unless torchrun started one run, and as many processes as ``hardware`` has devices."""
    if not from_torchrun():
        return
    world, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if multirun:
        raise UserError("hydra: torchrun starts the processes of one run; give a multirun without it")
    if chain != "none":
        raise UserError(
            "chain: torchrun starts one run; give it the command of a stage (hydra.verbose=true prints each, with its "
            "below=FOLDER), or run the chain on one machine with hardware.devices"
        )
    if (hardware.devices, hardware.num_nodes) != (here, world // here):
        raise UserError(
            f"hardware.devices: torchrun started {here} processes on each of {world // here} machines; set "
            f"hardware.devices={here} hardware.num_nodes={world // here}"
        )
