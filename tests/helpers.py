"""Every config of conf/ at a size that trains in a moment, and the command run inside the test process."""

import os
import pickle
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from fake_data import write_mnist, write_olivetti, write_own
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from aelab.app import CONF, main
from aelab.config import schema
from aelab.config.build import build, build_model, made_from_layers, resolved
from aelab.config.hydra_versions import VERSION_BASE
from aelab.data.arrays import Arrays
from aelab.data.batches import Data
from aelab.files import write_text
from aelab.models.base import Model
from aelab.models.training import Training
from aelab.rbm.layer import Layer, save_layers
from aelab.runs.train import quiet

SMALL = ("train.batch_size=16", "logger=csv")
SIZES = ("data.train_size=48", "data.validation=16")
OWN_SIZES = {
    "data=ratings": ("data.validation=0.2",),
    "data=documents": ("data.validation=0.2",),
}  # of data that are no rows to be counted
ANNEALING = {"runs": 20, "step_ess": 0.999, "burn_in": 100, "thin": 5}  # at most: a bracket in a moment, and a wide one
RATINGS = ["data=ratings", "data.path=${oc.env:AELAB_DATA}/own/ratings.csv"]
DOCUMENTS = ["data=documents", "data.path=${oc.env:AELAB_DATA}/own/documents.csv", "data.label=label"]
# What a group needs beside it to be tried at all: real values such as the faces', so no Bernoulli likelihood.
BESIDE = {
    "data=faces": ["model=linear", "data.source.n_train=300", "data.source.n_test=100"],
    "data=swiss_roll": ["model=linear", "model.n_code=2", "data.source.n_train=80", "data.source.n_test=20"],
    "data=table": [
        "data.path=${oc.env:AELAB_DATA}/own/table.csv",
        "data.exclude=[household]",
        "model=linear",
        "model.n_code=3",
    ],
    "data=array": ["data.path=${oc.env:AELAB_DATA}/own/array.npz"],
    "data=images": ["data.path=${oc.env:AELAB_DATA}/own/images"],
    "data=documents": ["model=replicated_softmax", *DOCUMENTS[1:]],
    "model=replicated_softmax": DOCUMENTS,
    "data=ratings": ["model=rating_rbm", *RATINGS[1:]],
    "model=rating_rbm": RATINGS,
    "experiment=salakhutdinov2007": [*RATINGS, "train.batch_size=7"],
    "experiment=topics": DOCUMENTS,
    "experiment=hinton2006_faces": ["data.source.n_train=300", "data.source.n_test=100"],
    "data=curves": ["data.source.n_train=80", "data.source.n_test=20"],
    **{
        f"experiment={name}_curves": ["data.source.n_train=80", "data.source.n_test=20"]
        for name in ("hinton2006", "deep_autoencoder")
    },
    "data=rectangles": ["data.source.n_train=80", "data.source.n_test=20"],
    "data=convex": ["data.source.n_train=80", "data.source.n_test=20"],
    "data=mnist_variation": ["data.source.n_train=80", "data.source.n_test=20"],
    **{
        f"experiment={path.stem}": ["data.source.n_train=80", "data.source.n_test=20"]
        for path in (CONF / "experiment").glob("vincent2010_*.yaml")
    },
    "callbacks=learning_rate": ["logger=wandb"],  # somebody has to be told of it
}
OWN_KIND = ("rating_rbm", "replicated_softmax")  # models that take one kind of data, which is no image
WIDEST = 12  # units or channels of a layer


def files() -> dict[str, Path]:
    """``group=option`` → file, for everything in conf/ that a person can choose but Hydra's own groups."""
    found = {}
    for path in sorted(CONF.rglob("*.yaml")):
        group = path.parent.relative_to(CONF).as_posix()
        if group != "." and not group.startswith("hydra") and not path.name.startswith("_"):
            found[f"{group}={path.stem}"] = path
    return found


OPTIONS = list(files())


def beside(option: str) -> list[str]:
    """What has to be chosen for ``option`` to be taken at all: for model/network=conv a model that has a network."""
    group = option.split("=")[0]
    parent, _, child = group.rpartition("/")
    if not parent:
        return BESIDE.get(option, [])
    for path in sorted((CONF / parent).glob("*.yaml")):
        defaults = OmegaConf.load(path).get("defaults", [])
        if any(child in entry for entry in defaults if isinstance(entry, DictConfig)):
            return [f"{parent}={path.stem}"]
    raise LookupError(f"no option of {parent} takes {group}")


def composed(*overrides: str) -> DictConfig:
    """The job's config, resolved and checked, as the command would get it; ``hydra:`` interpolations included."""
    cfg = with_hydra(*overrides)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return resolved(cfg)


def with_hydra(*overrides: str) -> DictConfig:
    """What Hydra composes of a command, its own part included.

    To put files together takes Hydra 150 ms: tests that choose the same options share that, and each sets its keys on a
    copy, by Hydra's own rules for them.
    """
    options = [text for text in overrides if chooses(text)]
    cfg = pickle.loads(_put_together(schema.Config, *options))
    keys = OverridesParser.create().parse_overrides([text for text in overrides if text not in options])
    ConfigLoaderImpl._apply_overrides_to_config(keys, cfg)
    cfg.hydra.overrides.task = list(overrides)
    return cfg


@cache
def _put_together(known: type, *options: str) -> bytes:
    """Pickled, which is copied fastest. ``known`` is the schema: a test may put another in its place."""
    schema.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return pickle.dumps(compose("config", list(options), return_hydra_config=True))


def chooses(override: str) -> bool:
    """Whether an override chooses an option of a group, and does not set a key."""
    key = override.lstrip("+~").partition("=")[0]
    return "@" in key or "/" in key or any(option.startswith(f"{key}=") for option in OPTIONS)


def small(*overrides: str, epochs: int = 2) -> DictConfig:
    """``composed``, shrunk: few samples, few units, few epochs. What a test gives in ``overrides`` stays."""
    given = list(overrides)
    needed = [extra for choice in given if choice in OPTIONS for extra in beside(choice)]
    sizes = next((OWN_SIZES[choice] for choice in [*needed, *given] if choice in OWN_SIZES), SIZES)
    cfg = composed(*SMALL, *sizes, f"train.epochs={epochs}", *needed, *given)
    names = {text.lstrip("+").split("=")[0] for text in given}
    shrink(cfg.model, "model", names)
    if cfg.evaluate.get("probe") and "evaluate.probe.c" not in names:
        cfg.evaluate.probe.c = 0.01  # quick
    for key, most in ANNEALING.items():
        if cfg.evaluate.get("likelihood") and f"evaluate.likelihood.{key}" not in names:
            cfg.evaluate.likelihood[key] = min(most, cfg.evaluate.likelihood[key])
    return cfg


def shrink(node: DictConfig | ListConfig, where: str, given: set[str]) -> None:
    """Bring every count of units in ``node`` down to ``WIDEST``, whole numbers and lists of them, but for ``given``."""
    for key in list(node.keys() if isinstance(node, DictConfig) else range(len(node))):
        value = node[key]
        if f"{where}.{key}" in given:
            continue
        if isinstance(value, (DictConfig, ListConfig)):
            shrink(value, f"{where}.{key}", given)
        elif isinstance(value, int) and not isinstance(value, bool) and value > WIDEST:
            node[key] = WIDEST


def fitted(cfg: DictConfig, source: Arrays, below: list[Layer] = ()) -> Model:
    """The model of ``cfg`` trained on ``source``, or on its own files: what a run does, without its folder.

    ``below`` are given to it if it asks for them.
    """
    layers = list(below) if made_from_layers(cfg.model) else []
    node = {name: value for name, value in cfg.data.items() if name not in ("_target_", "source", "name")}
    pl.seed_everything(cfg.seed, verbose=False)
    given = {"seed": cfg.seed, "batch_size": cfg.train.batch_size, "below": []}
    data = build(cfg.data, "data", **given) if "source" not in cfg.data else Data(source, "made", **node, **given)
    model = build_model(cfg.model, data.shape, layers, data.n_classes)
    nodes = {name: build(cfg[name], name) for name in ("optimizer", "schedule", "corruption")}
    nodes["corruption"] = nodes["corruption"].bind(data.shape, data.ends)
    model.training_plan = Training(**nodes, clip=cfg.train.clip, epochs=cfg.train.epochs, seed=cfg.seed)
    model.initialize_from(data)
    quiet()
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=cfg.train.epochs, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        precision=cfg.hardware.precision,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    return model


def made_layers(folder: Path) -> Path:
    """A run folder as ``below`` wants it: two random layers on the digits' 64 pixels, and no training."""
    sizes = [(64, WIDEST), (WIDEST, 3)]
    layers = [Layer(torch.randn(v, h), torch.randn(h), torch.randn(v), "bernoulli", "bernoulli") for v, h in sizes]
    folder.mkdir(parents=True)
    write_text(folder / "config.yaml", "model: {}\n")
    save_layers(folder / "layers.pt", layers)
    return folder


def write_sets(folder: Path) -> None:
    """A folder for AELAB_DATA with a little of each set that is otherwise downloaded."""
    write_mnist(folder / "mnist", n_train=80, n_test=20)
    write_mnist(folder / "fashion_mnist", n_train=80, n_test=20)
    write_olivetti(folder / "olivetti")
    write_own(folder / "own")


@pytest.fixture(scope="session")
def made_data(tmp_path_factory):
    """AELAB_DATA and AELAB_CACHE point to made data, so that no test needs, or writes to, a person's own folders."""
    folder = tmp_path_factory.mktemp("data")
    write_sets(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AELAB_DATA", str(folder))
        patch.setenv("AELAB_CACHE", str(folder / "cache"))
        yield folder


class Outcome(NamedTuple):
    """What the command left: exit status, the lines on stderr (the exit message among them), stdout."""

    status: int
    error: list[str]
    output: str


def aelab(capsys, *overrides: str) -> Outcome:
    """``aelab OVERRIDES`` in this process, as ``main`` of the installed command would run it."""
    full_error = os.environ.pop("HYDRA_FULL_ERROR", None)
    argv, sys.argv = sys.argv, ["aelab", *overrides]
    capsys.readouterr()
    status: int | str | None = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    finally:
        sys.argv = argv
        os.environ.pop("HYDRA_FULL_ERROR", None)
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error
    text = capsys.readouterr()
    message = [status] if isinstance(status, str) else []
    return Outcome(int(bool(status)), [*text.err.splitlines(), *message], text.out)


def command(*overrides: str) -> str:
    return shlex.join(["aelab", *overrides])
