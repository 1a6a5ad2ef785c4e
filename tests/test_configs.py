"""Every file of conf/ composes, trains, is saved, loaded and drawn: a new one is found here with no edit."""

import math
import typing

import pytest
import torch
import yaml
from helpers import CONF, OPTIONS, command, made_layers, small

import aelab
from aelab import files
from aelab.config.build import made_from_layers
from aelab.config.check import parameters
from aelab.config.targets import locate
from aelab.runs import folder as run_folder
from aelab.runs.train import run

RUNNABLE = [option for option in OPTIONS if not option.startswith("chain=")]


@pytest.mark.parametrize("option", RUNNABLE)
def test_option_trains_is_saved_loaded_and_drawn(option, made_data, tmp_path, monkeypatch):
    draws = option.startswith(
        ("model", "data=", "experiment=", "evaluate=")
    )  # the others' pictures are the default model's
    if not draws:
        monkeypatch.setattr("aelab.results.figures.run_figures", lambda *_: {})
    cfg = small(option)
    if made_from_layers(cfg.model):
        cfg.below = str(made_layers(tmp_path / "below"))
    if cfg.hardware.accelerator == "gpu" and not torch.cuda.is_available():
        pytest.skip("composes; needs a CUDA device to train, and there is none here")
    if option == "logger=tensorboard":
        pytest.importorskip("tensorboard", reason="composes; tensorboard is not installed")
    folder = tmp_path / "run"

    metrics = run(cfg, folder, command(option))

    assert all(math.isfinite(value) for value in metrics.values()), metrics
    assert metrics == files.read_json(folder / "metrics.json")
    assert run_folder.read_history(folder)["epoch"] == [0, 1]
    assert (folder / "command.txt").read_text() == f"aelab {option}\n"
    assert run_folder.read_config(folder) == cfg
    pictures = sorted((folder / "figures").glob("*.png"))
    drawn = {path.stem for path in pictures}
    assert {"loss", "code"} <= drawn or not draws
    if cfg.chain.stages is None and cfg.paper is not None and "picture" in cfg.paper:
        assert cfg.paper.picture in drawn, "what the history's page shows of it"
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
    assert not list(folder.rglob("*.part")), "a temporary file was left"
    for weights in ("last", "best"):
        checkpoint = torch.load(folder / f"{weights}.ckpt", weights_only=True)["state_dict"]
        model = aelab.load(folder, weights).model
        assert model.state_dict().keys() == checkpoint.keys()
        assert all(torch.equal(value, checkpoint[name]) for name, value in model.state_dict().items())
    assert not model.training
    x = torch.rand(5, model.n_input)
    with torch.no_grad():
        code = model.encode(x)
        assert code.shape[0] == 5 and code.isfinite().all()
        if getattr(model, "reconstructs", True):
            assert model.decode(code).shape == x.shape
            torch.testing.assert_close(model.reconstruct(x), model.decode(code))


def targets(node) -> set[str]:
    """Every ``_target_`` of ours in a node, at any depth."""
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    own = {node["_target_"]} if isinstance(node, dict) and "_target_" in node else set()
    return {name for name in own.union(*map(targets, parts)) if name.startswith("aelab.")}


def has_no_range(hint) -> bool:
    """Whether a number of that type may be anything at all, nan and -inf too."""
    if typing.get_origin(hint) in (typing.Annotated, typing.Literal):
        return False
    return hint in (int, float) or any(map(has_no_range, typing.get_args(hint)))


def test_every_number_that_conf_sets_has_a_range():
    """One without: ``data=array data.mix=-inf`` trained to NaN, which public data refused."""
    nodes = [yaml.safe_load(path.read_text()) for path in CONF.rglob("*.yaml")]
    made_by_us = {"progress", "number", "shape", "n_classes", "seed", "batch_size"}  # held by no file of conf/
    open_ends = {
        f"{target}: {name}" for target in set().union(*map(targets, nodes))
        for name, p in parameters(locate({"_target_": target}, "test")).items()
        if name not in made_by_us and has_no_range(p.annotation)
    }  # fmt: skip
    assert not open_ends


def test_every_group_has_the_options_that_were_promised():
    promised = """model=linear model=autoencoder model/network=mlp model/network=conv
    data=digits data=curves data=mnist data=fashion_mnist data=faces
    corruption=none corruption=masking corruption=salt_and_pepper corruption=gaussian
    optimizer=adam optimizer=adamw optimizer=sgd
    schedule=constant schedule=cosine schedule=one_cycle schedule=steps
    hardware=cpu hardware=gpu hardware=multi_gpu logger=wandb logger=csv logger=tensorboard"""
    assert set(promised.split()) <= set(OPTIONS)
