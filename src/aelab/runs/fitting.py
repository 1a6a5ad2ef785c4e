"""A model, or a chain of them, fitted to an array without a run folder: no figures, no checkpoints, no table."""

import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np

from aelab import log
from aelab.config.build import resolved
from aelab.config.check import check
from aelab.config.composing import composed, job_of
from aelab.data.batches import Data
from aelab.data.held import Held
from aelab.data.scaling import Scale
from aelab.data.scaling import fit as fit_scaling
from aelab.data.schema import Missing
from aelab.models.applied import Applied
from aelab.runs.assembly import build_in_training
from aelab.runs.precision import settle


def fit(overrides: list[str], x: np.ndarray, scale: Scale, missing: Missing) -> Applied:
    """The model that ``overrides`` say, trained on all rows x (n, input)."""
    import pytorch_lightning as pl
    import torch

    from aelab.runs.train import check_devices, quiet

    with composed(overrides) as cfg:
        cfg = resolved(job_of(cfg))
    check(cfg)
    check_devices(cfg)
    settle(cfg.hardware)
    quiet()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
        torch.manual_seed(cfg.seed)
        node = {key: value for key, value in cfg.data.items() if key not in ("_target_", "source", "name")}
        batch_size = min(cfg.train.batch_size, len(x))
        data = Data(Held(x, scale, missing), "X", **node, seed=cfg.seed, batch_size=batch_size, below=[])
        model = build_in_training(cfg, data, [])
        model.initialize_from(data)
        trainer = pl.Trainer(
            accelerator=cfg.hardware.accelerator, devices=1, max_epochs=cfg.train.epochs, logger=False,
            precision=cfg.hardware.precision, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, use_distributed_sampler=False,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
    model.trainer = None
    return Applied(model.cpu().eval(), data.schema, node["binarize"] == "threshold")


def fit_chain(overrides: list[str], x: np.ndarray, scale: Scale, missing: Missing) -> Applied:
    """The chain that ``overrides`` say, run in a folder that is taken away again.

    As in :func:`fit`, a minibatch is at most all rows.
    """
    from aelab.runs.applying import load
    from aelab.runs.chain import Command, run_chain

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", x)
        words = [f"data.path={folder}/x.npy", "data.test=1", "data.validation=1", f"data.scale={scale}"]
        words += [f"data.missing={missing}"]
        words += ["data.clip=[0,1]"] if scale == "minmax" else []
        words = ["data=array", *words, *overrides, f"chain.store={folder}/store"]
        with composed(words) as cfg, log.quietly(bars=False):
            choices = dict(cfg.hydra.runtime.choices)
            cfg = resolved(job_of(cfg))
            for stage in cfg.chain.stages:
                if (train := cfg.chain[stage].get("train")) is not None:
                    train.batch_size = min(train.batch_size, len(x) - 2)  # without the validation and the test row
            run_chain(cfg, folder / "chain", Command(words, choices, [], False))
        return load(folder / "chain", "last")


def units_for_variance(x: np.ndarray, scale: Scale, fraction: float) -> int:
    """How many principal components of the scaled columns of x (n, input) hold this ``fraction`` of their variance."""
    scaling = fit_scaling([x], len(x), scale, True, 1.0)
    assert scaling.typical is not None  # it was fitted for rows with holes
    z = scaling.apply(np.where(np.isnan(x), scaling.typical, x)).astype(np.float64)
    variances = np.linalg.svd(z - z.mean(0), compute_uv=False) ** 2
    shares = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
    return min(int(np.searchsorted(shares, fraction, side="right")) + 1, len(variances))
