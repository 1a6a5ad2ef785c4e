"""``hardware.precision=auto``: what it stands for on this machine, settled before anything is named by its config."""

from typing import Any

from aelab import log

PAYS = 0.7  # time of a product in bf16 over that in float32 from which on the casts round it are paid for, too


def settle(hardware: Any) -> None:
    """Put bf16-mixed or 32-true in the place of auto, in the config node ``hardware``: measured, once per process.

    What is chosen stands in the run's config and in a stage's key: a run that goes on, here or elsewhere, has the same.
    """
    if hardware["precision"] != "auto":
        return
    import torch

    from aelab.rbm.ways import bf16_costs

    if hardware["accelerator"] == "gpu":
        pays = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        why = "the GPU has it" if pays else "the GPU has no bf16"
    else:
        costs = bf16_costs()
        pays, why = costs <= PAYS, f"a product in bf16 takes {costs:.2g} times as long as in float32"
    hardware["precision"] = "bf16-mixed" if pays else "32-true"
    log.say(f"hardware.precision: {hardware['precision']} on this machine ({why})")
