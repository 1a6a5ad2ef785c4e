"""Every test runs on the CPU, offline, on one torch thread."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "offline"
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from helpers import made_data  # noqa: F401 - a fixture for every file

from aelab.results import figures

torch.set_num_threads(1)

# Files whose tests take a third of a second of CPU and more on average, as measured: commands that train, chains,
# processes of their own. The others, mathematics above all, are the daily subset, pytest -m "not slow".
SLOW = {
    "app", "applying", "bad_input", "callbacks", "chain", "chain_bad_input", "chain_composition", "chain_kill",
    "chain_sweep", "classification_rbm", "configs", "data_grows", "ddp", "deep_belief_network", "defaults",
    "divergence", "emphasis", "evaluators", "export", "folders", "hierarchical_vae", "history", "leaderboard",
    "likelihood_evaluator", "manifold", "network", "optuna_sweeper", "options", "own_code", "own_data", "page",
    "pictures", "precision", "progress", "rating_rbm", "rbm_model", "resume", "signals", "sklearn", "stages",
    "statistics", "streamed", "sweep_pictures", "top_k", "trust", "wandb", "wandb_sweeps", "watch", "why_pretraining",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _coarse_pictures(request, monkeypatch):
    """A fifth of the dots per inch, which are half of a picture's time; not where they are what is tested."""
    if request.node.get_closest_marker("full_dpi"):
        return
    draw = figures.save_figure

    def coarsely(*args, dpi, **kind):
        draw(*args, dpi=max(20, dpi // 5), **kind)

    monkeypatch.setattr(figures, "save_figure", coarsely)


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
