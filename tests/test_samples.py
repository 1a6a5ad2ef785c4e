"""Samples over training time: from the same noise, at no cost to the training's own draws, whole after a resume."""

import pytest
import torch
from figure_boxes import assert_readable
from helpers import small

from aelab.results.samples import SamplesOverTime, spread_epochs
from aelab.runs import folder as run_folder
from aelab.runs.train import run

ONLY = ("evaluate=[samples]", "evaluate.samples.epochs=3", "evaluate.samples.n=4", "evaluate.samples.steps=2")


def ended(folder):
    """What was kept, and the weights, of a run's last checkpoint."""
    checkpoint = run_folder.read_checkpoint(folder, "last", "resume")
    kept = [state["kept"] for name, state in checkpoint["callbacks"].items() if "SamplesOverTime" in name]
    return kept[0] if kept else None, checkpoint["state_dict"]


def test_the_first_the_last_and_some_between():
    assert spread_epochs(100, 8) == [1, 2, 4, 7, 14, 27, 52, 100]
    assert spread_epochs(3, 8) == [1, 2, 3] and spread_epochs(1, 8) == [1] and spread_epochs(100, 1) == [100]


@pytest.mark.parametrize("model", ["vae", "hierarchical_vae", "rbm"])
def test_they_are_drawn_and_disturb_nothing(model, tmp_path):
    choice = f"model={model}"
    run(small(choice, *ONLY, epochs=4), tmp_path / "with", "aelab")
    run(small(choice, "evaluate=[]", epochs=4), tmp_path / "without", "aelab")
    kept, weights = ended(tmp_path / "with")
    none, others = ended(tmp_path / "without")
    assert none is None and all(torch.equal(weights[name], others[name]) for name in others)
    assert list(kept) == [1, 2, 4] and {tuple(x.shape) for x in kept.values()} == {(4, 64)}
    assert not torch.equal(kept[1], kept[4])
    assert (tmp_path / "with" / "figures" / "samples_over_time.png").exists()
    assert not (tmp_path / "without" / "figures" / "samples_over_time.png").exists()


def test_a_resumed_run_has_those_of_its_first_part(tmp_path):
    said = ("model=vae", "schedule=constant", *ONLY)
    run(small(*said, epochs=4), tmp_path / "whole", "aelab")
    run(small(*said, epochs=1), tmp_path / "parts", "aelab")
    assert not (tmp_path / "parts" / "figures" / "samples_over_time.png").exists(), "one epoch is no course of time"
    run(small(*said, f"resume={tmp_path / 'parts'}", epochs=4), tmp_path / "parts", "aelab")
    (kept, _), (expected, _) = ended(tmp_path / "parts"), ended(tmp_path / "whole")
    assert kept.keys() == expected.keys() and torch.equal(kept[1], expected[1])
    assert (tmp_path / "parts" / "figures" / "samples_over_time.png").exists()


def test_the_picture_has_a_row_for_each_epoch_and_one_scale():
    class Data:
        pixel_shape, test = (8, 8), type("Test", (), {"x": torch.zeros(1, 64)})
        to_pixels = staticmethod(lambda x: x)

    samples = SamplesOverTime(epochs=8, n=10, steps=1)
    samples.kept = {52: torch.full((10, 64), 3.0), 1: torch.zeros(10, 64)}
    sheet = samples.figures(None, Data())["samples_over_time"]
    texts = [text.get_text() for text in sheet.axes[0].texts]
    assert texts == ["epoch 1", "epoch 52"] and "black 0, white 3" in [text.get_text() for text in sheet.texts]
    assert_readable(sheet, "samples over time")


def test_more_gibbs_steps_are_other_samples(tmp_path):
    run(small("model=rbm", *ONLY, epochs=1), tmp_path / "two", "aelab")
    run(small("model=rbm", *ONLY[:-1], "evaluate.samples.steps=3", epochs=1), tmp_path / "three", "aelab")
    assert not torch.equal(ended(tmp_path / "two")[0][1], ended(tmp_path / "three")[0][1])


def test_a_model_that_draws_nothing_keeps_nothing(tmp_path):
    run(small("model=autoencoder", *ONLY, epochs=2), tmp_path / "run", "aelab")
    assert ended(tmp_path / "run")[0] == {}
