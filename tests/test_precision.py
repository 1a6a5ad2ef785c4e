"""hardware.precision=bf16-mixed for every model: products in bfloat16; weights, statistics and draws in float32."""

import pytest
import torch
from helpers import OPTIONS, aelab, fitted, small
from omegaconf import OmegaConf
from test_divergence import DATA, layers
from tiny_chain import TINY, no_figures, quick, run_tiny  # noqa: F401 - a fixture

from aelab.functional.corruption import masking, salt_and_pepper
from aelab.models.training import Trained, without_subnormals
from aelab.rbm import ways
from aelab.rbm.kernels import bernoulli
from aelab.rbm.ways import bf16_costs
from aelab.runs.folder import read_config
from aelab.runs.train import train, warn_of_slow_bf16

MODELS = sorted(option.partition("=")[2] for option in OPTIONS if option.startswith("model="))
RBM = "model=rbm"
MORE = [  # what takes other ways through the same models
    [RBM, "model/recipe=pcd"], [RBM, "model.visible=gaussian", "model.learn_variance=true"], [RBM, "model.hidden=relu"],
    [RBM, "model.hidden=gaussian"], [RBM, "model.visible=relu"], ["model=deep_belief_network", "model.labels=true"],
    ["model=vae", "model.objective=iwae"], ["model=vae", "model.path_gradient=true", "model.samples=3"],
    ["model=vae", "model.objective=iwae", "model.path_gradient=true", "model.samples=3"],
    ["model=vae", "model/network=conv", "model.likelihood=gaussian", "model.sigma=0.1"],
    ["model=top_k", "model.auxiliary=0.1", "model.dead_after=1"], ["model=top_k", "model.selection=batch_top_k"],
    ["model=sparse", "model.target=null"], ["model=autoencoder", "corruption=masking", "corruption.alpha=2"],
]  # fmt: skip


@pytest.mark.parametrize("setting", [*([f"model={name}"] for name in MODELS), *MORE], ids=" ".join)
def test_every_model_trains_as_in_float32_and_keeps_float32(setting, made_data):
    losses = []
    for precision in ("32-true", "bf16-mixed"):
        model = fitted(small(*setting, f"hardware.precision={precision}", epochs=3), DATA["digits"], layers(64))
        losses.append({name: float(value) for name, value in model.trainer.callback_metrics.items() if "loss" in name})
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in model.state_dict().values())
    assert losses[1]["train/loss"] == pytest.approx(losses[0]["train/loss"], rel=0.02)
    assert losses[1]["val/loss"] == pytest.approx(losses[0]["val/loss"], rel=0.03)


def rate_of(draws: torch.Tensor) -> float:
    return float(draws.float().sum(dtype=torch.float64) / draws.numel())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [1e-4, 0.003, 0.5, 0.999])
def test_a_draw_has_its_probability_under_autocast(p, dtype):
    """A uniform number of bfloat16 has 256 values below 1: p = 1e-4 would be met at a rate of .002."""
    x = torch.full((1000, 4000), p, dtype=dtype)
    exact = float(x[0, 0])
    with torch.autocast("cpu", torch.bfloat16):
        draws = {"bernoulli": bernoulli(x)}
        if dtype == torch.float32:  # what is drawn of the data, which stay in float32
            draws["masked"] = masking(torch.ones(500, 4000), p, False).touched
            draws["salted"] = salt_and_pepper(torch.ones(500, 4000), p, False, *torch.tensor([0.0, 1.0])).touched
    for name, drawn in draws.items():
        assert abs(rate_of(drawn) - exact) <= 6 * (exact * (1 - exact) / drawn.numel()) ** 0.5, name


def test_a_processor_without_bf16_is_said_to_be_slow(monkeypatch, caplog):
    assert 0.05 < bf16_costs() < 500
    cfg = OmegaConf.create({"hardware": {"precision": "bf16-mixed", "accelerator": "cpu"}})
    for costs, lines in ((0.4, 0), (39.0, 1)):
        caplog.clear()
        monkeypatch.setattr(ways, "bf16_costs", lambda costs=costs: costs)
        warn_of_slow_bf16(cfg)
        assert len(caplog.records) == lines
    assert "takes 39 times as long as in float32; hardware.precision=32-true is faster" in caplog.text


@quick
@pytest.mark.parametrize("costs, chosen", [(0.3, "bf16-mixed"), (0.9, "32-true"), (39.0, "32-true")])
def test_auto_is_what_this_processor_is_faster_with_and_stays_that(tmp_path, capsys, monkeypatch, costs, chosen):
    """A run's config and a stage's key say what was chosen, so whoever goes on, anywhere, has the same."""
    monkeypatch.setattr(ways, "bf16_costs", lambda: costs)
    alone = [*TINY[1:6], "train.batch_size=20", "train.epochs=1"]
    for name, words in (("one", alone), ("chain", [*TINY, f"chain.store={tmp_path / 'store'}"])):
        outcome = aelab(capsys, *words, "hardware.precision=auto", f"hydra.run.dir={tmp_path / name}")
        assert outcome.status == 0, outcome.error
        said = outcome.output.split("hardware.precision: ")[1]
        assert said.startswith(f"{chosen} on this machine (a product in bf16 takes {costs:.2g} times as long")
    assert read_config(tmp_path / "one").hardware.precision == chosen
    stages = [read_config(folder) for folder in (tmp_path / "store").glob("[!.]*-*")]
    assert [cfg.hardware.precision for cfg in stages] == [chosen] * 3
    again = run_tiny(capsys, tmp_path, f"hardware.precision={chosen}", name="again")
    assert set(again.found().values()) == {True}


def subnormal() -> float:
    return float(torch.tensor(1e-39) * 1.0)


def test_subnormal_numbers_are_zero_while_a_model_trains_and_only_then(tmp_path, monkeypatch):
    step, seen = Trained.minibatch_step, []
    monkeypatch.setattr(Trained, "minibatch_step", lambda *of: (seen.append(subnormal()), step(*of)))
    before = subnormal()
    train(small("model=autoencoder", "train.epochs=1"), tmp_path, "aelab")
    assert seen and set(seen) == {0.0}
    assert subnormal() == before > 0
    for asked in (True, False):  # what a program chose for itself stays, however a step ends
        torch.set_flush_denormal(asked)
        with pytest.raises(ZeroDivisionError), without_subnormals():
            1 / 0  # noqa: B018
        assert (subnormal() == 0) == asked
