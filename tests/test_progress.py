"""Where schedules and ramps stand at the first and at the last minibatch, and what validation does not depend on."""

from functools import partialmethod

import pytest
import torch
from helpers import fitted, small
from test_divergence import DATA, layers

from aelab.data.parts import Split
from aelab.models.training import Trained


@pytest.fixture
def watched(monkeypatch):
    """(rate, strength of the corruption) at every minibatch."""
    seen = []
    step = Trained.minibatch_step

    def minibatch_step(self, batch, optimizer):
        strength = self.training_plan.corruption.strength(self.ramp)
        seen.append((optimizer.param_groups[0]["lr"], strength))
        step(self, batch, optimizer)

    monkeypatch.setattr(Trained, "minibatch_step", minibatch_step)
    return seen


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine", "linear", "steps"])
@pytest.mark.parametrize("epochs", [2, 5])
def test_a_schedule_ends_at_its_end(schedule, epochs, watched):
    cfg = small(f"schedule={schedule}", "optimizer.lr=0.01", epochs=epochs)
    fitted(cfg, DATA["digits"])
    rates = [rate for rate, _ in watched]
    end = {"one_cycle": 0.0, "cosine": 0.01, "linear": 0.0, "steps": 0.01}[schedule]
    assert rates[0] == pytest.approx(0.01 * (0.04 if schedule == "one_cycle" else 1.0))
    assert rates[-1] == pytest.approx(0.01 * end, abs=1e-12) and rates[-2] > rates[-1] - 1e-12


@pytest.mark.parametrize("epochs", [1, 2, 5])
@pytest.mark.parametrize("kind, start", [("masking", "fraction"), ("gaussian", "sigma")])
def test_a_corruption_reaches_its_final_strength_with_the_last_epoch(kind, start, epochs, watched):
    fitted(
        small(f"corruption={kind}", f"corruption.{start}=0.1", "corruption.final=0.5", epochs=epochs), DATA["digits"]
    )
    strengths = [strength for _, strength in watched]
    steps = len(strengths) // epochs
    assert strengths[0] == 0.1 and strengths == sorted(strengths)
    if epochs > 1:
        assert strengths[-steps:] == pytest.approx([0.5] * steps)
        assert strengths[-steps - 1] < 0.5


MODELS = [  # those that draw nothing at validation
    ["autoencoder"], ["linear"], ["contractive"], ["sparse"], ["sparse", "model.target=null"], ["classifier"],
    ["top_k", "model.auxiliary=0.1", "model.dead_after=1"], ["top_k", "model.selection=batch_top_k"],
    ["top_k", "model.selection=lifetime"], ["rbm"], ["deep_belief_network"], ["deep_autoencoder"],
    ["classification_rbm"],
]  # fmt: skip


@pytest.mark.parametrize("setting", MODELS, ids=" ".join)
def test_validation_does_not_depend_on_the_batches_it_comes_in(setting, monkeypatch):
    model = fitted(small(f"model={setting[0]}", *setting[1:], epochs=1), DATA["digits"], layers(64)).eval()
    split = model.trainer.datamodule.train
    with torch.no_grad():
        whole = model.means_over(split, watched=True)
        monkeypatch.setattr(Split, "batches", partialmethod(Split.batches, 7))
        pieces = model.means_over(split, watched=True)
    assert whole.keys() == pieces.keys()
    for name in whole:
        torch.testing.assert_close(pieces[name], whole[name], rtol=1e-5, atol=1e-5)
