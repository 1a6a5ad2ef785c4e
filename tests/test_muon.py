"""Muon's steps on matrices, AdamW's on the rest, and what a checkpoint holds of both."""

import copy

import pytest
import torch
from torch import nn

from aelab.functional.muon import Muon

pytestmark = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
SETTINGS = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0, "ns_steps": 5, "betas": (0.9, 0.999), "eps": 1e-8}


def with_gradients(*shapes: tuple[int, ...], seed: int = 0) -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes]
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=draw)
    return parameters


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (20, 20)])
def test_a_step_is_alike_in_every_direction_of_the_gradient(shape):
    (w,) = with_gradients(shape)
    before = w.detach().clone()
    Muon([w], **SETTINGS).step()
    step = (before - w.detach()) / (0.2 * 0.01 * max(shape) ** 0.5)
    u, s, v = torch.linalg.svd(w.grad, full_matrices=False)
    along = (u.T @ step @ v.T).diagonal()
    assert float(s.max() / s.min()) > 2, "the gradient's directions differ in size"
    assert float(along.min()) > 0.6 and float(along.max()) < 1.3, "those of the step do not"


def test_what_is_no_matrix_goes_by_adamw():
    ours, theirs = with_gradients((7,), (3, 2, 5, 5)), with_gradients((7,), (3, 2, 5, 5))
    Muon(ours, **SETTINGS | {"weight_decay": 0.1}).step()
    torch.optim.AdamW(theirs, 0.01, weight_decay=0.1).step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_weights_decay_by_the_rate_times_the_decay():
    (w,), (bare,) = with_gradients((6, 4)), with_gradients((6, 4))
    before = w.detach().clone()
    Muon([w], **SETTINGS | {"weight_decay": 0.5}).step()
    Muon([bare], **SETTINGS).step()
    torch.testing.assert_close(bare.detach() - w.detach(), 0.005 * before, rtol=1e-3, atol=1e-6)


def test_it_goes_on_from_its_state_as_if_never_stopped():
    ours = with_gradients((6, 4), (4,))
    one = Muon(ours, **SETTINGS)
    one.step()
    theirs = copy.deepcopy(ours)
    for mine, other in zip(ours, theirs, strict=True):
        other.grad = mine.grad.clone()
    other = Muon(theirs, **SETTINGS | {"lr": 0.5})
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for optimizer in (one, other, one, other):
        optimizer.step()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine, other)


def test_a_closure_is_called_with_gradients_on():
    w = nn.Parameter(torch.ones(3, 2))
    optimizer = Muon([w], **SETTINGS)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = w.square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert float(optimizer.step(closure)) == 6.0
    assert float(w.detach().max()) < 1.0
