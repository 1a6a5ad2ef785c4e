"""A run in Weights & Biases: one row per epoch, best values, pictures; on request histograms, gradients, weights."""

import hashlib
import secrets
import shlex
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import Logger

from aelab.data.batches import data_of, epochs_of
from aelab.files import read_json, write_text
from aelab.results.directions import mode_of
from aelab.results.evaluation import alone
from aelab.watch import conventions, provenance, wandb_start

BEST = (
    "val/loss",
    "val/squared_error",
    "val/class_error",
    "val/pseudo_log_likelihood",
    "val/log_likelihood_lower",
    "val/elbo",
)
CODES = 1000  # validation samples whose codes a histogram shows
BINS = 64


class WandbRun(Checkpoint, Logger):
    """One W&B run of one run folder: begun once training is ready, ended with the run, gone on with by a resumed one.

    A ``Logger`` is told what ``self.log`` collects and callbacks such as LearningRateMonitor see; it is a callback as
    well because pictures and histograms need the model, and a ``Checkpoint`` because Lightning calls those last: an
    epoch is told only after it was saved, and a run that is killed and goes on tells none twice. Lightning's own
    WandbLogger asks for a key, waits for the network and stops a run that W&B fails.
    ``about`` is what the run is found by: project, entity, name, group, job_type, tags. ``pictures_every`` epochs the
    figures are drawn and shown (0: at the end only).
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], mode: str, about: dict[str, Any], pictures_every: int,
        histograms: bool, gradients: bool, artifacts: bool,
    ):  # fmt: skip
        self.folder, self.mode, self.about = folder, mode, about
        kind = str(settings["model"]["_target_"]).rpartition(".")[2]
        self.tags = [word for word in (kind, settings["data"].get("name")) if word]
        self.config = provenance.settings(settings)
        monitor = settings["train"]["monitor"]
        best = {name: mode_of(name) for name in BEST}
        self.best = {**best, monitor: mode_of(monitor, settings["train"]["mode"])}
        self.pictures_every, self.histograms, self.style = pictures_every, histograms, settings["figures"]
        self.gradients, self.artifacts = gradients, artifacts
        self.below = None if settings["below"] is None else Path(settings["below"])
        self.run: Any = None
        self.parts = self.epochs = 0
        self.beside: dict[str, Any] | None = None  # what goes into the row of the epoch that ends, while one does

    # --- the logger -----------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.about["name"] or self.folder.name

    @property
    def version(self) -> str:
        return run_id(self.folder)

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @property
    def experiment(self) -> Any:
        """W&B's own run; None where it could not begin, and in all processes but the first."""
        return self.run

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: the run was begun with its settings."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """The row of an epoch that was saved, which is sent at once; before that one of the update ``step``."""
        if self.run is None:
            return
        row = {"trainer/global_step": step, **metrics} if self.beside is None else {**metrics, **self.beside}
        self.beside = None
        with wandb_start.harmless(self.folder):
            self.run.log(row)

    # --- the callback ---------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.parts = len(list(self.folder.glob("wandb/*run-*/*.wandb")))
        command = self.folder / "command.txt"
        words = shlex.split(command.read_text()) if command.exists() else []
        notes = " ".join(word for word in words if not word.startswith("logger.")) or None  # W&B knows those anyway
        otherwise = {"name": self.folder.name, "notes": notes, "job_type": "train", "tags": self.tags}
        about = conventions.filled(self.about, otherwise)
        config = self.config | sizes(model, data_of(trainer)) | provenance.code_state()
        with wandb_start.harmless(self.folder):
            run = wandb_start.start(self.folder, self.mode, config, run_id(self.folder), **about)
            run.define_metric("epoch")
            run.define_metric("*", step_metric="epoch")
            run.define_metric("lr-*", step_metric="trainer/global_step")
            for metric, best in self.best.items():
                run.define_metric(metric, step_metric="epoch", summary=f"{best},last")
            self.run = run
        if self.run is not None and self.artifacts and not self.run.offline:  # which W&B takes from no offline run
            with wandb_start.harmless(self.folder):
                self.use_layers_below()

    def use_layers_below(self) -> None:
        """Say in W&B which run's artifact this one stands on, so that its graph of a chain's runs is the chain.

        The same files under the same name are the artifact that the run below has logged.
        """
        if self.below is not None and (self.below / "wandb-id").exists():
            self.run.use_artifact(checkpoints(self.below, run_id(self.below)))

    def on_train_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        self.epochs = trainer.current_epoch  # as restored, and not before now
        if self.run is None:
            return
        loader: Any = trainer.train_dataloader
        n_batches = loader.n_batches
        with wandb_start.harmless(self.folder):
            if self.parts:  # W&B's own count of rows must never go back, and what a killed part had told is not known
                rows_before = trainer.global_step + self.epochs + self.parts * (n_batches + 2)
                self.run.log({}, step=rows_before, commit=False)
            if self.gradients:  # a second run of a process has no other names
                self.run.watch(model, log="gradients", log_freq=n_batches, idx=0)

    def on_train_epoch_end(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        """The epoch is saved, and Lightning's next word to the loggers is its row."""
        if self.run is None:
            return
        ends: Any = trainer.checkpoint_callback  # it holds the rows of the run
        self.beside, rows = {}, ends.rows
        self.epochs = trainer.current_epoch + 1
        last = trainer.should_stop or self.epochs >= epochs_of(trainer)  # its pictures come with the end
        draws = self.pictures_every and self.epochs % self.pictures_every == 0 and not last
        if draws or self.histograms:
            model.eval()
            with torch.random.fork_rng(), torch.no_grad():  # looking changes no draw of the run
                self.beside |= histograms_of(model, data_of(trainer).val.x[:CODES]) if self.histograms else {}
                with alone("logger.pictures_every"):
                    self.beside |= self.drawn(model, data_of(trainer), rows) if draws else {}
            model.train()

    def drawn(self, model: Any, data: Any, rows: list[dict[str, float]]) -> dict[str, Any]:
        """The run's figures as they are now, kept in figures/epoch-N too."""
        from aelab.results import figures, saved_figures

        drawn = figures.run_figures(model, data, rows, rows[-1])
        folder = self.folder / f"figures/epoch-{self.epochs}"
        return self.shown(saved_figures.save(drawn, folder, saved_figures.Style(**self.style)))

    def shown(self, pictures: dict[str, Path]) -> dict[str, Any]:
        import wandb

        caption = f"after {self.epochs} epochs"
        return {f"figures/{k}": wandb.Image(str(path), caption=f"{k}, {caption}") for k, path in pictures.items()}

    def end(self, metrics: dict[str, float], pictures: dict[str, Path], failed: bool, reason: str) -> None:
        if self.run is None:
            return
        run, self.run = self.run, None
        with wandb_start.harmless(self.folder):
            if self.gradients:
                run.unwatch()
            if pictures:
                run.log({"epoch": max(self.epochs - 1, 0), **self.shown(pictures)})
            timing = {f"timing/{k}": v for k, v in read_json(self.folder / "timing.json").items()} if metrics else {}
            tested = {k: v for k, v in metrics.items() if not k.startswith(("train/", "val/"))}
            run.summary.update({**tested, **timing, **({"ended": reason} if reason else {})})
            if self.artifacts and not failed:
                run.log_artifact(checkpoints(self.folder, run.id))
        with wandb_start.harmless(self.folder):
            wandb_start.finish(run, self.folder, failed)


def tell_agent(cfg: dict[str, Any], folder: Path, metrics: dict[str, float]) -> None:
    """What a chain came to, as the run that ``wandb agent`` waits for: its stages are others, or were found."""
    import wandb

    if not wandb_start.has_agent() or "group" not in cfg["logger"]:
        return
    about = {key: cfg["logger"][key] for key in ("project", "entity", "name", "tags")}
    about |= {"group": cfg["logger"]["group"] or folder.name, "job_type": "chain"}
    config = provenance.settings(cfg) | provenance.code_state()
    with wandb_start.harmless(folder):
        run = wandb_start.start(folder, wandb_start.wanted(cfg["logger"]["mode"]), config, run_id(folder), **about)
        figures = sorted((folder / "figures").glob("*.png"))
        run.log(metrics | {f"figures/{path.stem}": wandb.Image(str(path), caption=path.stem) for path in figures})
        wandb_start.finish(run, folder, failed=False)


def tell_found(cfg: dict[str, Any], stage: Path, folder: Path, metrics: dict[str, float]) -> None:
    """A stage that was found, as a run of the group of the chain in ``folder``: its figures, and where it was trained.

    Nothing of its history is copied: ``found.run`` is the id of the W&B run that has it, where there is one.
    """
    if wandb_start.has_agent() or "group" not in cfg["logger"]:
        return
    about = {key: cfg["logger"][key] for key in ("project", "entity", "name", "group", "job_type", "tags")}
    about["notes"] = f"found in {stage.resolve()}"
    config = provenance.settings(cfg) | {"found.folder": str(stage.resolve())}
    if (stage / "wandb-id").exists():
        config["found.run"] = run_id(stage)
    own = hashlib.sha256(f"{about['group']}/{about['name']}/{stage.name}".encode()).hexdigest()[:8]
    with wandb_start.harmless(folder):
        run = wandb_start.start(folder, wandb_start.wanted(cfg["logger"]["mode"]), config, own, **about)
        run.summary.update(metrics)
        wandb_start.finish(run, folder, failed=False)


def tell_later(cfg: Any, folder: Path, metrics: dict[str, float]) -> None:
    """Add ``metrics`` to the W&B run of a folder whose training is over; nothing where it has none."""
    if not (folder / "wandb-id").exists() or "group" not in (cfg.logger or ()):
        return
    about = {key: cfg.logger[key] for key in ("project", "entity")}
    with wandb_start.harmless(folder):
        run = wandb_start.start(folder, wandb_start.wanted(cfg.logger.mode), {}, run_id(folder), **about)
        run.summary.update(metrics)
        wandb_start.finish(run, folder, failed=False)


def sizes(model: pl.LightningModule, data: Any) -> dict[str, int]:
    """How many parameters the model has, and how many samples each part of the data."""
    parts = {"training": data.train, "validation": data.val, "test": data.test}
    counts = {f"samples.{name}": len(part.x) for name, part in parts.items()}
    return {"parameters": sum(p.numel() for p in model.parameters()), **counts}


def histograms_of(model: Any, x: torch.Tensor) -> dict[str, Any]:
    """Every weight of ``model``, and its code of the samples ``x``, as W&B histograms."""
    import numpy as np
    import wandb

    tensors = {f"weights/{name}": weight for name, weight in model.named_parameters()} | {"code": model.encode(x)}
    arrays = {name: tensor.detach().float().cpu().numpy() for name, tensor in tensors.items()}
    return {
        name: wandb.Histogram(np_histogram=np.histogram(array[np.isfinite(array)], bins=BINS))
        for name, array in arrays.items()
    }


def checkpoints(folder: Path, run_id: str) -> Any:
    """The run's checkpoints and its layers for later stages, as an artifact of type model."""
    import wandb

    artifact = wandb.Artifact(f"run-{run_id}", type="model")
    for name in ("config.yaml", "last.ckpt", "best.ckpt", "layers.pt", "below.pt"):
        if (folder / name).exists():
            artifact.add_file(str(folder / name), name)
    return artifact


def run_id(folder: Path) -> str:
    """The id of this folder's W&B run: drawn at its first start and kept there, for a resumed run is the same."""
    path = folder / "wandb-id"
    if not path.exists():
        write_text(path, secrets.token_hex(4))
    return path.read_text()
