"""Every test runs on the CPU, offline, on one torch thread."""

import gc
import os
from base64 import b64decode
from functools import cache

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from helpers import made_data  # noqa: F401 - a fixture for every file
from lightning_fabric.utilities import registry

from aelab import files
from aelab.results import saved_figures

torch.set_num_threads(1)
registry.entry_points = cache(registry.entry_points)  # each Trainer reads those of every package
for device in (torch.cuda, torch.xpu, torch.mtia):
    if not device.is_available():  # torch keeps a formatted stack of each call for a device that might still come
        device.manual_seed_all = lambda seed: None

# Files whose tests take a third of a second of CPU and more on average, as measured: commands that train, chains,
# processes of their own. The others, mathematics above all, are the daily subset, pytest -m "not slow".
SLOW = {
    "app", "applying", "bad_input", "benchmarks", "callbacks", "chain", "chain_bad_input", "chain_composition",
    "chain_kill", "chain_sweep", "classification_rbm", "configs", "data_grows", "ddp", "deep_belief_network",
    "defaults", "divergence", "emphasis", "evaluators", "export", "folders", "forecast", "hierarchical_vae", "history",
    "leaderboard", "likelihood_evaluator", "manifold", "network", "optuna_sweeper", "options", "own_code", "own_data",
    "page", "pictures", "precision", "progress", "rating_rbm", "rbm_model", "resume", "signals", "sklearn", "stages",
    "statistics", "streamed", "sweep_pictures", "top_k", "trust", "wandb", "wandb_sweeps", "watch", "why_pretraining",
}  # fmt: skip

# Files that draw every kind of figure; the others only look whether there is one.
DRAWN = {"manifold", "options", "pictures", "samples", "statistics", "sweep_pictures"}
BLANK = b64decode(  # a PNG of 40 × 30 white pixels
    "iVBORw0KGgoAAAANSUhEUgAAACgAAAAeCAAAAAB7tgMBAAAAG0lEQVR4nGP8z0AcYCJS3ajCUYWjCkcVDohCAF1wATt0jG0WAAAAAElFTkSuQmCC"
)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_power_cut(monkeypatch):
    """What is written is not waited for until it is on the disk: no test cuts the power."""
    monkeypatch.setattr(files, "sync", lambda path: None)


@pytest.fixture(autouse=True)
def _quick_pictures(request, monkeypatch):
    """Figures are put together everywhere, and drawn, a tenth of the suite's time, only where DRAWN says, coarsely."""
    if request.node.get_closest_marker("full_dpi"):
        return
    draw, drawn = saved_figures.save_figure, request.path.stem.removeprefix("test_") in DRAWN

    def quickly(figure, path, kind, dpi):
        if drawn or kind != "png":
            draw(figure, path, kind=kind, dpi=max(20, dpi // 5))
        else:
            path.write_bytes(BLANK)

    monkeypatch.setattr(saved_figures, "save_figure", quickly)


@pytest.hookimpl(tryfirst=True)  # before pytest looks which tests -m chooses
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem.removeprefix("test_") in SLOW:
            item.add_marker(pytest.mark.slow)
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and there is none here"))


def pytest_collection_finish():
    """What is loaded by now stays: looking through it for garbage, again and again, costs a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)
