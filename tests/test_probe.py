"""Classifiers on a code: what the linear one's scaling leaves unchanged, and what a kernel tells apart."""

import math
from types import SimpleNamespace

import pytest
import torch
from helpers import composed

from aelab.config.check import check
from aelab.data.parts import Split
from aelab.errors import UserError
from aelab.results.metrics import NearestNeighbours, Probe, SupportVectors


def probe_error(x: torch.Tensor, y: torch.Tensor, scale: str) -> float:
    half = len(x) // 2
    return Probe(c=0.01, scale=scale).error(x[:half], y[:half], x[half:], y[half:])


@pytest.fixture
def code():
    """Two units tell the three classes apart, one of them small; a dead unit and eight of noise beside them."""
    y = torch.arange(600) % 3
    signal = torch.stack([(y == 0).float() * 3, (y == 1).float() * 0.1], 1)
    return torch.cat([signal + 0.02 * torch.randn(600, 2), torch.zeros(600, 1), torch.randn(600, 8)], 1), y


def test_scaling_each_unit_forgets_its_size_and_scaling_all_does_not(code):
    x, y = code
    blown_up = x * torch.tensor([1.0, 30.0, 1.0, *[1.0] * 8])
    assert probe_error(x, y, "each") == pytest.approx(probe_error(blown_up, y, "each"), abs=0.5)
    assert probe_error(x, y, "each") < 2
    assert probe_error(x, y, "all") > 20 > 2 > probe_error(blown_up, y, "all")


@pytest.mark.parametrize("scale", ["each", "all"])
def test_the_code_s_unit_and_mean_do_not_matter(code, scale):
    x, y = code
    assert probe_error(1000 * x + 7, y, scale) == pytest.approx(probe_error(x, y, scale), abs=0.5)


def test_one_class_has_no_linear_classifier_and_few_labels_have_fewer_neighbours():
    mirror = SimpleNamespace(encode=lambda x: -x, training=False, eval=lambda: None)
    x = torch.randn(20, 3)
    data = SimpleNamespace(train_for_evaluation=Split(x, torch.zeros(20).long()), test=Split(x, torch.zeros(20).long()))
    assert Probe(c=1.0, scale="each")(mirror, data) == {}
    few = data.train_for_evaluation._replace(y=torch.where(torch.arange(20) < 3, 0, -1))
    data = SimpleNamespace(train_for_evaluation=few, test=data.test)
    assert NearestNeighbours(neighbours=5)(mirror, data) == {"knn_error": 0.0}


def test_another_scale_is_refused():
    with pytest.raises(UserError, match=r"^evaluate\.probe\.scale: expected one of each, all, got 'none'"):
        check(composed("evaluate.probe.scale=none"))


def rings(n: int) -> Split:
    """Points of the plane, label 1 outside a circle that half of them lie in: no line tells them apart."""
    x = torch.rand(n, 2) * 2 - 1
    return Split(x, (x.square().sum(1) > 2 / math.pi).long())


@pytest.mark.parametrize("of", ["inputs", "code"])
def test_a_kernel_tells_apart_what_no_line_does(of):
    parts = {name: rings(n) for name, n in (("train_for_evaluation", 400), ("val", 100), ("test", 1000))}
    mirror = SimpleNamespace(encode=lambda x: -x, training=False, eval=lambda: None)
    wrong, right = (
        SupportVectors(of, [10], gammas)(mirror, SimpleNamespace(**parts))["svm_error"]
        for gammas in ([1e-9], [1e-9, 1])
    )
    assert right < 5 < 30 < wrong  # and validation has chosen the second
    constant = {name: part._replace(x=torch.ones_like(part.x)) for name, part in parts.items()}
    assert 30 < SupportVectors(of, [10], [1])(mirror, SimpleNamespace(**constant))["svm_error"] < 70
    unlabelled = {name: part._replace(y=None) for name, part in parts.items()}
    assert SupportVectors(of, [10], [1])(mirror, SimpleNamespace(**unlabelled)) == {}
