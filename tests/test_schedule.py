"""Schedules at the points where their value is known, and the optimizers' files."""

import inspect
from pathlib import Path

import pytest
import torch
import yaml

from aelab.functional import schedule

CONF = Path(__file__).parents[1] / "conf"


def test_constant_is_one():
    assert [schedule.constant(t) for t in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]


def test_linear_is_a_straight_line():
    assert [schedule.linear(t, final=0.5) for t in (0.0, 0.5, 1.0)] == [1.0, 0.75, 0.5]


def test_cosine_at_its_ends_and_its_middle():
    assert [schedule.cosine(t, final=0.2) for t in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.6, 0.2])


def test_one_cycle_rises_to_one_and_falls():
    at = [schedule.one_cycle(t, warmup=0.4, start=0.1, final=0.02) for t in (0.0, 0.2, 0.4, 0.7, 1.0)]
    assert at == pytest.approx([0.1, 0.55, 1.0, 0.51, 0.02])


def test_one_cycle_agrees_with_torch():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=101, pct_start=0.31, div_factor=25.0, final_div_factor=4.0
    )
    for step in range(101):
        # torch ends the rise at step pct_start * total_steps - 1
        warmup = (0.31 * 101 - 1) / 100
        assert schedule.one_cycle(step / 100, warmup, 0.04, 0.01) == pytest.approx(theirs.get_last_lr()[0])
        if step < 100:
            optimizer.step()
            theirs.step()


def test_one_cycle_without_warmup_is_cosine():
    for t in (0.0, 0.3, 1.0):
        assert schedule.one_cycle(t, warmup=0.0, start=0.5, final=0.1) == schedule.cosine(t, final=0.1)


def test_steps_multiplies_at_each_milestone():
    at = [schedule.steps(t, milestones=[0.75, 0.5], gamma=0.1) for t in (0.0, 0.49, 0.5, 0.75, 1.0)]
    assert at == pytest.approx([1.0, 1.0, 0.1, 0.01, 0.01])


def test_steps_holds_the_schedule_of_burda_et_al():
    """3^i epochs at 10^(−i/7), i = 0 … 7: 3280 epochs."""
    milestones = [(3**i - 1) / 2 / 3280 for i in range(1, 8)]
    expected = [10 ** (-i / 7) for i in range(8) for _ in range(3**i)]
    gamma = 10 ** (-1 / 7)
    assert [schedule.steps(epoch / 3280, milestones, gamma) for epoch in range(3280)] == pytest.approx(expected)


def options(path: Path) -> dict:
    return {key: value for key, value in yaml.safe_load(path.read_text()).items() if not key.startswith("_")}


@pytest.mark.parametrize("path", sorted((CONF / "schedule").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_schedule_file_gives_exactly_its_function_s_options(path):
    function = getattr(schedule, path.stem)
    assert list(options(path)) == list(inspect.signature(function).parameters)[1:]
    assert 0.0 <= function(1.0, **options(path)) <= 1.0


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimizer_file_makes_a_step(name):
    path = CONF / "optimizer" / f"{name}.yaml"
    target = getattr(torch.optim, yaml.safe_load(path.read_text())["_target_"].rsplit(".", 1)[1])
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = target([weight], **options(path))
    weight.square().sum().backward()
    optimizer.step()
    assert (weight < 1).all()
