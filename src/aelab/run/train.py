"""One run: data, model, trainer, fit, test, figures, and the folder they are left in.

``python -m aelab.run.train FOLDER`` runs the config.yaml of a folder in a process of its own, which never starts Hydra:
that is how a run on several devices is launched, for each rank starts the same command again.
"""

import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from aelab import files
from aelab.clock import STARTED
from aelab.errors import Pruned, UserError
from aelab.run import folder as run_folder

PRUNED = 75  # exit status of a run in a process of its own that a sweep's pruner ended


def run(cfg: DictConfig, folder: Path, command: str, source: Any = None) -> dict[str, float]:
    """Train as ``cfg`` says in ``folder``, in this process or, for several devices, in one of their own.

    ``source`` are the samples of ``cfg.data``, where they were read already. Returns the final metrics. Raises
    ``UserError`` for anything a person can mend.
    """
    if cfg.resume is None:
        if (folder / "last.ckpt").exists():  # a start that never finished an epoch left nothing to lose
            raise UserError(f"hydra.run.dir: {folder} holds a run; choose another, or go on with resume={folder}")
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / "command.txt", command + "\n")
        files.write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg))
    for part in folder.glob(".*.part"):  # what a killed process was writing
        part.unlink()
    if cfg.hardware.devices == 1 and cfg.hardware.num_nodes == 1:
        return train(cfg, folder, source)
    check_devices(cfg)
    resume = [] if cfg.resume is None else ["--resume"]
    done = subprocess.run([sys.executable, "-m", "aelab.run.train", str(folder), *resume], check=False)
    if done.returncode == PRUNED:
        raise Pruned(f"{folder}: pruned")
    if done.returncode:
        raise UserError(f"hardware.devices: the run's own process ended with status {done.returncode}; see {folder}")
    return files.read_json(folder / "metrics.json")


def train(cfg: DictConfig, folder: Path, source: Any = None) -> dict[str, float]:
    """One process's part of a run; leaves a run folder and returns its metrics."""
    import pytorch_lightning as pl
    import torch

    from aelab.config.build import build
    from aelab.rbm.layer import save_layers
    from aelab.run.assembly import build_data, build_in_training
    from aelab.run.callbacks import build_callbacks, refusal
    from aelab.run.checkpoint import EpochEnd
    from aelab.run.progress import Bar, Clock
    from aelab.watch import loggers as watch

    quiet()
    check_devices(cfg)
    if cfg.hardware.threads is not None:
        torch.set_num_threads(cfg.hardware.threads)
    checkpoint = run_folder.read_checkpoint(folder, "last", "resume") if cfg.resume is not None else None
    layers = run_folder.read_layers(cfg.below, "below")
    pl.seed_everything(cfg.seed, verbose=False)
    data = build_data(cfg, layers, source)
    model = build_in_training(cfg, data, layers)
    if layers and checkpoint is None:
        save_layers(folder / "below.pt", layers)
    if checkpoint is None:
        model.initialize_from(data)
    else:
        run_folder.put_weights(model, checkpoint, f"resume: {folder}")
    clock = Clock()
    ends = EpochEnd(folder, cfg.train.monitor)
    title = f"{type(model).__name__} on {data.name}"
    callbacks = [clock, ends, Bar(title, clock), *build_callbacks(cfg.callbacks, folder)]
    settings = OmegaConf.to_container(cfg)
    loggers = watch.build_loggers(settings["logger"], folder, settings)
    callbacks += [logger for logger in loggers if isinstance(logger, pl.Callback)]  # one that looks at the model too
    trainer = pl.Trainer(
        accelerator=cfg.hardware.accelerator, devices=cfg.hardware.devices, num_nodes=cfg.hardware.num_nodes,
        strategy=cfg.hardware.strategy, precision=cfg.hardware.precision, max_epochs=cfg.train.epochs,
        callbacks=callbacks, logger=loggers or False, log_every_n_steps=min(50, len(data.train.x) // data.batch_size),
        default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )  # fmt: skip
    try:
        trainer.fit(model, datamodule=data, ckpt_path=folder / "last.ckpt" if checkpoint else None, weights_only=True)
        if not trainer.is_global_zero:
            return {}
        metrics, pictures = conclude(cfg, folder, model, data, ends.rows, clock)
    except BaseException as error:
        failed, reason = not isinstance(error, Pruned), str(error) or type(error).__name__
        watch.finish(loggers, {}, {}, trainer.global_step, failed, reason)
        said = refusal(error)
        if said is not None:
            raise said from error
        raise
    watch.finish(loggers, metrics, pictures, trainer.global_step)
    return metrics


def conclude(cfg: DictConfig, folder: Path, model, data, rows: list[dict[str, float]], clock) -> tuple[dict, dict]:
    """Leave what the trained model hands on, measure it, draw it; metrics and paths of pictures.

    What was learned and what it is worth are on disk before the first picture is drawn.
    """
    from aelab.rbm.layer import save_layers
    from aelab.results import figures
    from aelab.results.evaluation import alone, build_evaluators, evaluate, finite

    started = time.perf_counter()
    handed = model.hand_on()  # of the last weights, whichever are tested
    if handed:
        save_layers(folder / "layers.pt", handed)
    if cfg.evaluate.weights == "best":
        run_folder.put_weights(model, run_folder.read_checkpoint(folder, "best", "evaluate.weights"), str(folder))
    model.to(data.train.x.device).eval()
    metrics = {name: value for name, value in (rows[-1] if rows else {}).items() if name != "epoch"}
    metrics = finite(metrics) | evaluate(model, data, build_evaluators(cfg.evaluate))
    files.write_json(folder / "timing.json", clock.timing(started, STARTED))
    files.write_json(folder / "metrics.json", metrics)  # a folder with metrics.json is a finished run
    pictures: dict[str, Path] = {}
    with alone("figures"):
        pictures = figures.save(figures.run_figures(model, data, rows), folder / "figures")
    return metrics, pictures


def check_devices(cfg: DictConfig) -> None:
    """Raise ``UserError`` unless the hardware that was asked for is there."""
    import torch

    wanted = cfg.hardware
    if wanted.accelerator not in ("cpu", "gpu"):
        raise UserError(f"hardware.accelerator: expected cpu or gpu, got {wanted.accelerator}")
    if wanted.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("hardware: no CUDA GPU was found on this machine; take hardware=cpu")
    if wanted.devices < -1 or wanted.devices == 0 or (wanted.devices == -1 and wanted.accelerator == "cpu"):
        raise UserError(f"hardware.devices: expected a number of devices, or -1 for all GPUs, got {wanted.devices}")
    if wanted.accelerator == "gpu" and wanted.devices > torch.cuda.device_count():
        raise UserError(f"hardware.devices: {wanted.devices} GPUs asked for, {torch.cuda.device_count()} found")
    if wanted.num_nodes < 1:
        raise UserError(f"hardware.num_nodes: must be at least 1, got {wanted.num_nodes}")
    if wanted.strategy not in ("auto", "ddp"):
        raise UserError(f"hardware.strategy: expected auto or ddp, got {wanted.strategy}")
    if wanted.precision not in ("32-true", "bf16-mixed"):
        raise UserError(f"hardware.precision: expected 32-true or bf16-mixed, got {wanted.precision}")
    if wanted.threads is not None and wanted.threads < 1:
        raise UserError(f"hardware.threads: must be at least 1, got {wanted.threads}; null is torch's own choice")


def quiet() -> None:
    """Silence what Lightning says of itself; what a person needs to know, aelab says."""
    import logging

    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch\.jit")


def main() -> None:
    """``python -m aelab.run.train FOLDER [--resume]``: one rank of the run that FOLDER/config.yaml describes."""
    folder = Path(sys.argv[1])
    cfg = run_folder.read_config(folder, "aelab.run.train")
    if "--resume" in sys.argv[2:]:
        cfg.resume = str(folder)
    try:
        train(cfg, folder)
    except UserError as error:
        sys.exit(f"aelab: {error}")
    except Pruned as error:
        print(error)
        sys.exit(PRUNED)


if __name__ == "__main__":
    main()
