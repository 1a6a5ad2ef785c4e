"""Every test runs on the CPU, offline, on one torch thread."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from helpers import made_data  # noqa: F401 - a fixture for every file

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and there is none here"))


def pytest_collection_finish():
    """What is loaded by now stays: looking through it for garbage, again and again, costs a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
