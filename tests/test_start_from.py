"""``start_from``: a run that starts from the weights of another one, with data and settings of its own."""

import pytest
import torch
from helpers import made_layers, small

from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs import train

STILL = ("optimizer.lr=1e-30", "schedule=constant")  # what is trained stays where it starts


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr("aelab.results.figures.run_figures", lambda *_: {})


def trained(folder, *overrides, **keys):
    cfg = small(*overrides, epochs=1)
    for key, value in keys.items():
        cfg[key] = str(value)
    train.run(cfg, folder, "aelab")
    return run_folder.read_checkpoint(folder, "last", "test")["state_dict"]


def test_weights_are_the_other_runs_and_nothing_else(tmp_path):
    other = trained(tmp_path / "other", "model=autoencoder", "optimizer.lr=0.1", "seed=3")
    assert not (tmp_path / "other" / "below.pt").exists()
    fine = trained(tmp_path / "fine", "corruption=masking", *STILL, start_from=tmp_path / "other")
    assert all(torch.equal(fine[name], other[name]) for name in other)
    assert run_folder.read_history(tmp_path / "fine")["epoch"] == [0]  # not where the other one was left
    assert run_folder.read_config(tmp_path / "fine").start_from == str(tmp_path / "other")


def test_momentum_and_chains_of_draws_stay_behind(tmp_path):
    machine = ("model=rbm", "model.recipe.persistent=true")
    other = trained(tmp_path / "other", *machine, "model.recipe.n_chains=4")
    still = ("model.recipe.learning_rate=1e-30", "model.recipe.n_chains=6", "schedule=constant")
    fine = trained(tmp_path / "fine", *machine, *still, start_from=tmp_path / "other")
    assert torch.equal(fine["W"], other["W"])
    assert len(fine["chains"]) == 6


def test_the_layers_come_with_it(tmp_path):
    """An unrolled net is made from layers: those that the other run was made from, or it could not be built."""
    layers = made_layers(tmp_path / "layers")
    other = trained(tmp_path / "other", "model=deep_autoencoder", below=layers)
    fine = trained(tmp_path / "fine", "model=deep_autoencoder", *STILL, start_from=tmp_path / "other")
    assert all(torch.equal(fine[name], other[name]) for name in other)
    cfg = small("model=deep_autoencoder", epochs=2)
    cfg.start_from, cfg.resume = str(tmp_path / "other"), str(tmp_path / "fine")
    (tmp_path / "other" / "below.pt").unlink()  # a run that goes on has its own
    train.run(cfg, tmp_path / "fine", "aelab")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("model.n_code=3",), "(3, 12) here"),
        (("model=linear",), "only here"),
    ],
)
def test_nets_that_differ_are_refused_in_one_line(overrides, words, tmp_path):
    trained(tmp_path / "other", "model=autoencoder", "model.n_code=2")
    with pytest.raises(UserError, match=r"^start_from: the nets differ") as refused:
        trained(tmp_path / "fine", *overrides, start_from=tmp_path / "other")
    assert words in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "fine" / "config.yaml").exists()
