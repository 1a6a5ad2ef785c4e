"""One run: data, model, trainer, fit, test, figures, and the folder they are left in.

``python -m aelab.runs.train FOLDER CONFIG COMMAND`` is a run in a process of its own, which never starts Hydra: that is
how a run on several devices is launched, for each rank starts the same command again.
"""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from aelab import files, log, signals
from aelab.clock import STARTED
from aelab.config.overrides import plain
from aelab.errors import Pruned, Stopped, UserError
from aelab.runs import folder as run_folder
from aelab.runs import ranks
from aelab.runs.precision import settle

if TYPE_CHECKING:
    from aelab.data.batches import Data
    from aelab.models.base import Model
    from aelab.rbm.layer import Layer

OF_TRAINER = ("accelerator", "devices", "num_nodes", "strategy", "precision")  # keys of hardware, by Lightning's names
PRUNED = 75  # exit status of a run in a process of its own that a sweep's pruner ended


def run(cfg: DictConfig, folder: Path, command: str, source: Any = None) -> dict[str, float]:
    """Train as ``cfg`` says in ``folder``, in this process or, for several devices, in processes of their own.

    ``source`` are the samples of ``cfg.data``, where they were read already. Returns the final metrics. Raises
    ``UserError`` for anything a person can mend.
    """
    if not ranks.is_first():
        return train(cfg, folder, command, source)
    with run_folder.claimed(folder, "hydra.run.dir" if cfg.resume is None else "resume"):
        if cfg.resume is None and run_folder.holds_a_run(folder):
            raise UserError(f"hydra.run.dir: {folder} holds a run; choose another, or go on with resume={folder}")
        if ranks.from_torchrun() or (cfg.hardware.devices == 1 and cfg.hardware.num_nodes == 1):
            return train(cfg, folder, command, source)
        check_devices(cfg)
        return run_ranks(cfg, folder, command)


def run_ranks(cfg: DictConfig, folder: Path, command: str) -> dict[str, float]:
    """``train`` in processes of their own, one per device."""
    asked = folder / ".asked.yaml"
    files.write_text(asked, OmegaConf.to_yaml(cfg))
    try:
        first = subprocess.Popen([sys.executable, "-m", "aelab.runs.train", str(folder), str(asked), command])
        try:
            status = first.wait()
        except Stopped as stop:
            try:
                first.wait(5 if stop.number == signal.SIGINT else 0)  # a terminal sends Ctrl-C to all of them
            except subprocess.TimeoutExpired:
                first.send_signal(stop.number)
                first.wait()
            raise
    finally:
        asked.unlink()
    if status == PRUNED:
        raise Pruned(f"{folder}: pruned")
    if status:
        raise UserError(f"hardware.devices: the run's own process ended with status {status}; see {folder}")
    return files.read_json(folder / "metrics.json")


def train(cfg: DictConfig, folder: Path, command: str, source: Any = None) -> dict[str, float]:
    """One process's part of a run; leaves a run folder and returns its metrics.

    Nothing is written before all that can be refused was: data and model are made.
    """
    with log.phase("loading PyTorch"):
        import pytorch_lightning as pl
        import torch

    from aelab.results.directions import mode_of
    from aelab.results.evaluation import build_evaluators
    from aelab.results.report import refuse_misspelt
    from aelab.runs.callbacks import build_callbacks, check_callbacks, refusal, refuse_to_lose_the_average
    from aelab.runs.checkpoint import EpochEnd
    from aelab.runs.compared import compared_of, miss_before, monitored_by
    from aelab.runs.evaluations import while_training
    from aelab.runs.progress import Clock, Told
    from aelab.watch import loggers as watch

    quiet()
    settle(cfg.hardware)  # where nobody has, as the command does
    check_devices(cfg)
    refuse_misspelt(cfg.objective)
    if cfg.hardware.threads is not None:
        torch.set_num_threads(cfg.hardware.threads)
    checkpoint = run_folder.read_checkpoint(folder, "last", "resume") if cfg.resume is not None else None
    layers, data, model = assembled(cfg, folder, checkpoint, source)
    evaluators = build_evaluators(cfg.evaluate)
    clock = Clock()
    settings = plain(cfg)
    text = OmegaConf.to_yaml({**settings, "resume": None})
    mode = mode_of(cfg.train.monitor, cfg.train.mode)
    compared = compared_of(cfg, evaluators)
    ends = EpochEnd(folder, cfg.train.monitor, mode, text, compared)
    asked_for = build_callbacks(cfg.callbacks, folder)
    more = [*while_training(evaluators), *asked_for.values()]
    if checkpoint is not None:
        refuse_to_lose_the_average(checkpoint, more, folder)
    check_callbacks(asked_for, settings["logger"], model)
    miss_before({**compared, **monitored_by(asked_for)}, model, data, more)
    callbacks = [clock, ends, Told(clock, ends, bar=log.has_bars()), *more]
    loggers = watch.build_loggers(settings["logger"], folder, settings)
    callbacks += [logger for logger in loggers if isinstance(logger, pl.Callback)]  # one that looks at the model too
    trainer = pl.Trainer(
        **{name: cfg.hardware[name] for name in OF_TRAINER}, max_epochs=cfg.train.epochs,
        callbacks=callbacks, logger=loggers or False, log_every_n_steps=min(50, len(data.train.x) // data.batch_size),
        default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )  # fmt: skip
    ckpt_path = folder / "last.ckpt" if checkpoint else None
    if not trainer.is_global_zero:
        with signals.safe_points():
            trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
        return {}
    if checkpoint is None:
        put_down(folder, text, command, data, layers)
    with log.kept_in(folder):
        log.note(command)
        log.say(f"{sizes(model, data)}, {cfg.hardware.accelerator}")
        warn_of_slow_bf16(cfg)
        if checkpoint is not None:
            log.say(f"goes on after epoch {epochs_done(checkpoint)} of {cfg.train.epochs}")
        try:
            with signals.safe_points():
                trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
            if checkpoint is None and not ends.rows:
                ends.save_untrained(trainer)
            metrics, pictures = measure_and_draw(cfg, folder, model, data, evaluators, ends, clock)
        except BaseException as error:
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(signal.SIGTERM)  # the other ranks would wait for this one
            failed, reason = not isinstance(error, Pruned), str(error) or type(error).__name__
            watch.finish(loggers, {}, {}, trainer.global_step, failed, reason)
            said = refusal(error) if isinstance(error, Exception) else None
            if said is not None:
                raise said from error
            raise
        with log.phase("closing what watches the run"):
            watch.finish(loggers, metrics, pictures, trainer.global_step)
    return metrics


def assembled(
    cfg: DictConfig, folder: Path, checkpoint: dict[str, Any] | None, source: Any
) -> "tuple[list[Layer], Data, Model]":
    """The layers below, the data and the model, with the weights that its training begins or goes on with."""
    import pytorch_lightning as pl

    from aelab.runs.assembly import build_data, build_in_training

    layers = stands_on(cfg, folder)
    start = run_folder.read_start(cfg.start_from) if checkpoint is None and cfg.start_from is not None else None
    pl.seed_everything(cfg.seed, verbose=False)
    with log.phase(f"reading {cfg.data.name}"):
        data = build_data(cfg, layers, source)
    model = build_in_training(cfg, data, layers)
    if checkpoint is None:
        model.initialize_from(data)
        if start is not None:
            run_folder.start_from(model, start, cfg.start_from)
        return layers, data, model
    run_folder.put_weights(model, checkpoint, f"resume: {folder}")
    done = epochs_done(checkpoint)
    if done > cfg.train.epochs:
        raise UserError(f"train.epochs: {done} are behind this run, got {cfg.train.epochs}; give at least {done}")
    return layers, data, model


def put_down(folder: Path, settings: str, command: str, data: "Data", layers: "list[Layer]") -> None:
    """What a run folder has before the first epoch: how it was asked for, and what data and layers it is about."""
    from aelab.rbm.layer import save_layers

    run_folder.clear(folder)
    run_folder.begin(folder, settings)
    files.write_text(folder / "command.txt", command + "\n")
    files.write_json(folder / "schema.json", data.schema.plain())
    if layers:
        save_layers(folder / "below.pt", layers)


def epochs_done(checkpoint: dict[str, Any]) -> int:
    """How many epochs are behind the run whose ``checkpoint`` that is."""
    return checkpoint["epoch"] + 1 if checkpoint["global_step"] else 0


def stands_on(cfg: DictConfig, folder: Path) -> list:
    """The layers that a run stands on: those of ``below``, else those that the run it starts from stood on.

    A run that goes on stands on its own copy, whatever the other folder has become.
    """
    if cfg.resume is not None:
        own = (folder / "below.pt").exists() or cfg.below is not None
        return run_folder.read_layers(folder, "resume", "below.pt") if own else []
    if cfg.below is not None or cfg.start_from is None:
        return run_folder.read_layers(cfg.below, "below")
    start = run_folder.last_stage(cfg.start_from, "start_from")
    return run_folder.read_layers(start, "start_from", "below.pt") if (start / "below.pt").exists() else []


def sizes(model, data) -> str:
    """1294 train / 143 validation / 360 test, 27 k parameters."""
    parameters = sum(p.numel() for p in model.parameters())
    count = f"{parameters / 1e6:.3g} M" if parameters >= 1e6 else f"{parameters / 1e3:.3g} k"
    samples = f"{len(data.train.x)} train / {len(data.val.x)} validation / {len(data.test.x)} test"
    return f"{samples}, {count if parameters >= 1e3 else parameters} parameters"


def measure_and_draw(cfg: DictConfig, folder: Path, model, data, evaluators, ends, clock) -> tuple[dict, dict]:
    """Write the layers for later stages, measure the model, draw it; returns metrics and paths of pictures.

    What was learned and what it is worth are on disk before the first picture is drawn.
    """
    from aelab.rbm.layer import save_layers
    from aelab.results import figures, saved_figures
    from aelab.results.evaluation import alone, evaluate, finite
    from aelab.results.tables import comma_separated

    started = time.perf_counter()
    layers = model.learned_layers()  # of the last weights, whichever are tested
    if layers:
        save_layers(folder / "layers.pt", layers)
    if cfg.evaluate.weights == "best":
        run_folder.put_weights(model, run_folder.read_checkpoint(folder, "best", "evaluate.weights"), str(folder))
    model.to(data.test.x.device).eval()
    metrics = {name: value for name, value in (ends.rows[-1] if ends.rows else {}).items() if name != "epoch"}
    with log.phase("testing"):
        metrics = finite(metrics) | evaluate(model, data, evaluators)
    run_folder.begin(folder, ends.settings)
    run_folder.finish(folder, metrics, clock.timing(started, STARTED))
    with alone("tables"):
        for name, rows in model.tables(data).items():
            files.write_text(folder / f"{name}.csv", comma_separated(rows))
    pictures: dict[str, Path] = {}
    with alone("figures"), log.phase("drawing figures"):
        drawn = figures.run_figures(model, data, ends.rows, metrics, evaluators)
        pictures = saved_figures.save(drawn, folder / "figures", saved_figures.Style(**cfg.figures))
    return metrics, pictures


def check_devices(cfg: DictConfig) -> None:
    """Raise ``UserError`` unless the hardware that was asked for is there."""
    import torch

    wanted = cfg.hardware
    if wanted.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("hardware: no CUDA GPU was found on this machine; take hardware=cpu")
    if wanted.devices == 0 or (wanted.devices == -1 and wanted.accelerator == "cpu"):
        raise UserError(f"hardware.devices: expected a number of devices, or -1 for all GPUs, got {wanted.devices}")
    if wanted.accelerator == "gpu" and wanted.devices > torch.cuda.device_count():
        raise UserError(f"hardware.devices: {wanted.devices} GPUs asked for, {torch.cuda.device_count()} found")
    most = 2 * (os.cpu_count() or 1)  # two processes on one core are slow, and still end
    if wanted.accelerator == "cpu" and wanted.devices > most:
        raise UserError(f"hardware.devices: must be at most {most}, two processes per core, got {wanted.devices}")


def warn_of_slow_bf16(cfg: DictConfig) -> None:
    """Say so where half the bits make a run slower, on a processor that has no instructions for them."""
    from aelab.rbm.ways import bf16_costs

    if cfg.hardware.precision == "bf16-mixed" and cfg.hardware.accelerator == "cpu" and (costs := bf16_costs()) > 1:
        log.warn(
            f"hardware.precision: on this processor a product in bf16 takes {costs:.2g} times as long as in float32; "
            "hardware.precision=32-true is faster"
        )


def quiet() -> None:
    """Silence what Lightning says of itself; what a person needs to know, aelab says."""
    import logging

    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"pytorch_lightning|lightning_fabric|torch\.jit")


def main() -> None:
    """``python -m aelab.runs.train FOLDER CONFIG COMMAND``: one rank of the run that CONFIG describes, in FOLDER."""
    folder, config, command = sys.argv[1:]
    try:
        with signals.heard():
            cfg = OmegaConf.load(config)
            assert isinstance(cfg, DictConfig)  # a run's own
            train(cfg, Path(folder), command)
    except Stopped as stop:
        sys.exit(stop.status)
    except UserError as error:
        sys.exit(f"aelab: {error}")
    except Pruned as error:
        print(error)
        sys.exit(PRUNED)


if __name__ == "__main__":
    main()
