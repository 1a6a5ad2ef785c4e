"""Pretraining against none as labels grow: pretraining shared, what each stage sees, the figure over the seeds."""

import json

import numpy as np
import pytest
from helpers import aelab as run_command
from helpers import composed
from tiny_chain import no_figures, quick  # noqa: F401 - a fixture

from aelab.config.build import build
from aelab.data.arrays import Arrays
from aelab.functional.drawing.spread import difference, over_seeds
from aelab.runs import folder as run_folder
from aelab.sweep.board import Board
from aelab.sweep.jobs import Job, read_jobs
from aelab.sweep.seeds import series_of

BOTH = ["test/class_error", "test/scratch_class_error"]


def board(tmp_path, jobs, objectives):
    """A board of jobs given as (overrides, values)."""
    made = [Job(i, tmp_path / str(i), given.split(), "done", values, 1.0, "") for i, (given, values) in enumerate(jobs)]
    return Board(made, objectives, "minimize")


@quick
def test_the_experiment_shares_pretraining_and_draws_both_lines(capsys, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "aelab.functional.drawing.spread.over_seeds", lambda *given: drawn.append(over_seeds(*given)) or drawn[-1]
    )
    sweep = tmp_path / "sweep"
    outcome = run_command(
        capsys, "experiment=data_grows", "logger=csv", "data.train_size=60", "data.validation=20", "chain.widths=[6]",
        "chain.layer.train.epochs=1", "chain.layer.train.batch_size=30", "chain.finetune.train.epochs=1",
        "chain.finetune.data.train_size=10,40", "seed=0,1", f"chain.store='{tmp_path / 'store'}'",
        f"hydra.sweep.dir='{sweep}'",
    )  # fmt: skip
    assert outcome.status == 0, outcome.error

    jobs = read_jobs(sweep)
    assert [job.status for job in jobs] == ["done"] * 4
    stages = [json.loads((job.folder / "chain.json").read_text())["stages"] for job in jobs]
    assert [len({about[name]["key"] for about in stages}) for name in ("layer1", "finetune", "scratch")] == [2, 4, 4]
    for job, about in zip(jobs, stages):
        assert job.values == [about[name]["metrics"]["test/class_error"] for name in ("finetune", "scratch")]
        sizes = [
            run_folder.read_config(about[name]["folder"]).data.train_size for name in ("layer1", "finetune", "scratch")
        ]
        assert sizes == [60, *[int(job.overrides[0].split("=")[1])] * 2]
        assert sizes[1] in (10, 40)
    assert (sweep / "seeds.png").read_bytes().startswith(b"\x89PNG")
    (figure,) = drawn
    assert figure.axes[0].get_legend_handles_labels()[1] == BOTH
    lines = [container.lines[0] for container in figure.axes[0].containers]
    for line, place in zip(lines, (0, 1)):
        means = [np.mean([j.values[place] for j in jobs if f"train_size={n}" in j.overrides[0]]) for n in (10, 40)]
        assert list(line.get_xdata()) == [10, 40]
        np.testing.assert_allclose(line.get_ydata(orig=False), means)


def test_mean_spread_and_difference_are_over_the_seeds(tmp_path):
    jobs = [(f"n={n} seed={s}", [10 / n + s, 20 / n - s]) for n in (1, 10) for s in (0, 1, 2)]
    x, (one, other) = series_of(board(tmp_path, jobs, ["a", "b"]))
    assert (x, one.name, other.name) == ("n", "a", "b")
    assert one.points == {1: {0: 10, 1: 11, 2: 12}, 10: {0: 1, 1: 2, 2: 3}}
    assert difference(one, other).points == {1: {0: 10, 1: 8, 2: 6}, 10: {0: 1, 1: -1, 2: -3}}

    figure = over_seeds("a and b", x, [one, other])
    bars = figure.axes[0].containers[0]
    np.testing.assert_allclose(bars.lines[0].get_ydata(orig=False), [11, 2])
    np.testing.assert_allclose([ends[:, 1] for ends in bars.lines[2][0].get_segments()], [[10, 12], [1, 3]])
    np.testing.assert_allclose(figure.axes[1].containers[0].lines[0].get_ydata(orig=False), [8, -1])
    assert figure.axes[0].get_xscale() == "log"


def test_other_settings_are_lines_of_their_own_and_missing_jobs_are_left_out(tmp_path):
    jobs = [(f"act={act} n={n} seed={s}", [n + s]) for act in ("tanh", "relu") for n in (1, 2) for s in (0, 1)][:-1]
    _, series = series_of(board(tmp_path, jobs, ["loss"]))
    assert [line.name for line in series] == ["loss, act=relu", "loss, act=tanh"]
    assert difference(*series).points == {1: {0: 0, 1: 0}, 2: {0: 0}}


@pytest.mark.parametrize("jobs", [["n=1 c=2", "n=2 c=2"], ["seed=0", "seed=1"]])
def test_nothing_is_drawn_without_seeds_or_a_setting(tmp_path, jobs):
    assert series_of(board(tmp_path, [(job, [1.0]) for job in jobs], ["loss"])) is None


def test_a_class_without_a_sample_is_still_a_class():
    import torch

    y = torch.tensor([2, 1, 0, 1, 0, 1])
    arrays = Arrays(torch.rand(6, 4), y, torch.rand(3, 4), torch.tensor([0, 1, 2]), (2, 2), True)
    node = {
        key: value for key, value in composed("data.validation=1", "data.train_size=1").data.items() if key != "source"
    }
    sizes = [build(node, "data", source=arrays, seed=s, batch_size=1, below=[]).n_classes for s in range(5)]
    assert sizes == [3] * 5
