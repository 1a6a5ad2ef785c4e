"""Penalties and selections: how many are kept, which, and what the gradients are."""

import math

import pytest
import torch

from aelab.errors import UserError
from aelab.functional import sparsity


@pytest.fixture
def code() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(20, 30)


def kl(rho: float, mean: float) -> float:
    return rho * math.log(rho / mean) + (1 - rho) * math.log((1 - rho) / (1 - mean))


def test_l1_sums_over_units_and_averages_over_rows():
    assert sparsity.l1(torch.tensor([[1.0, -2.0], [0.0, 5.0]])).item() == 4.0


def test_kl_to_target_is_the_divergence_of_the_batch_mean():
    code = torch.tensor([[0.1, 0.9], [0.3, 0.5]], dtype=torch.float64)
    assert sparsity.kl_to_target(code, 0.05).item() == pytest.approx(kl(0.05, 0.2) + kl(0.05, 0.7), rel=1e-4)


def test_kl_to_target_vanishes_with_its_gradient_at_the_target():
    code = torch.full((4, 3), 0.05, dtype=torch.float64, requires_grad=True)
    loss = sparsity.kl_to_target(code, 0.05)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-9)
    assert code.grad.abs().max().item() < 1e-5


def test_kl_to_target_s_gradient_is_the_one_of_the_notes():
    """∂/∂h = (−ρ / ρ̂ + (1 − ρ) / (1 − ρ̂)) / batch (Ng, CS294A)."""
    torch.manual_seed(0)
    code = torch.rand(8, 5, dtype=torch.float64, requires_grad=True)
    sparsity.kl_to_target(code, 0.1).backward()
    mean = code.detach().mean(0)
    exact = (-0.1 / mean + 0.9 / (1 - mean)) / 8
    torch.testing.assert_close(code.grad, exact.expand_as(code), rtol=1e-4, atol=1e-6)
    assert torch.autograd.gradcheck(lambda c: sparsity.kl_to_target(c, 0.1), code)


@pytest.mark.parametrize("value, sign", [(0.0, -1), (1.0, 1)])
def test_kl_to_target_is_finite_at_the_ends_and_leads_back(value, sign):
    code = torch.full((4, 3), value, requires_grad=True)
    loss = sparsity.kl_to_target(code, 0.05)
    loss.backward()
    assert loss.isfinite()
    assert (code.grad * sign > 0).all()
    assert code.grad.isfinite().all()


@pytest.mark.parametrize("target", [0.0, 1.0, math.nan])
def test_kl_to_target_refuses_a_target_out_of_range(target):
    with pytest.raises(UserError, match=r"^model\.target: "):
        sparsity.kl_to_target(torch.rand(2, 2), target)


@pytest.mark.parametrize("k", [1, 7, 30])
def test_top_k_keeps_exactly_k_the_greatest(code, k):
    kept = sparsity.top_k(code, k)
    assert ((kept != 0).sum(1) == k).all()
    assert torch.equal(kept[kept != 0], code[kept != 0])
    threshold = code.sort(dim=1, descending=True).values[:, k - 1 : k]
    assert torch.equal(kept != 0, code >= threshold)


def test_top_k_keeps_exactly_k_of_ties():
    assert sparsity.top_k(torch.ones(4, 6), 2).sum(1).tolist() == [2.0] * 4
    assert sparsity.top_k(torch.tensor([[1.0, 3.0, 3.0, 3.0, 2.0]]), 2).sum().item() == 6.0


def test_top_k_goes_by_signed_value():
    assert sparsity.top_k(torch.tensor([[-9.0, 1.0, 2.0]]), 2).tolist() == [[0.0, 1.0, 2.0]]


def test_top_k_of_more_than_there_are_keeps_all(code):
    assert torch.equal(sparsity.top_k(code, 31), code)


def test_top_k_passes_the_gradient_of_what_it_keeps(code):
    code.requires_grad_()
    kept = sparsity.top_k(code, 5)
    kept.square().sum().backward()
    torch.testing.assert_close(code.grad, 2 * kept.detach())


def test_batch_top_k_keeps_k_a_row_on_average_and_the_greatest_of_all(code):
    kept = sparsity.batch_top_k(code, 4)
    assert (kept != 0).sum() == 4 * 20
    assert kept[kept != 0].min() > code[kept == 0].max()
    assert (kept != 0).sum(1).unique().numel() > 1


@pytest.mark.parametrize("fraction, rows", [(0.05, 1), (0.25, 5), (0.001, 1), (1.0, 20)])
def test_winner_take_all_keeps_a_fraction_of_each_unit_s_rows(code, fraction, rows):
    kept = sparsity.winner_take_all(code, fraction)
    assert ((kept != 0).sum(0) == rows).all()
    assert torch.equal(kept.max(0).values, code.max(0).values)


def test_unit_norm_scales_columns_in_place_and_leaves_zeros():
    W = torch.randn(6, 4)
    direction = W[:, 1] / W[:, 1].norm()
    W[:, 3] = 0
    assert sparsity.unit_norm_(W, dim=0) is W
    torch.testing.assert_close(W.norm(dim=0), torch.tensor([1.0, 1.0, 1.0, 0.0]))
    torch.testing.assert_close(W[:, 1], direction)


def test_without_its_parallel_part_a_gradient_is_orthogonal_to_its_column():
    W = sparsity.unit_norm_(torch.randn(6, 4), dim=0)
    gradient = torch.randn(6, 4)
    tangent = sparsity.remove_parallel_gradient_(gradient.clone(), W, dim=0)
    torch.testing.assert_close((tangent * W).sum(0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(tangent + (gradient * W).sum(0) * W, gradient)


def auxiliary(dead: list[bool], k_aux: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    residual, W = torch.randn(10, 4, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    pre_code = torch.rand(10, 5, requires_grad=True)
    loss = sparsity.auxiliary_loss(residual, pre_code, torch.tensor(dead), W, k_aux)
    loss.backward()
    return loss.detach(), residual, pre_code, W


def test_auxiliary_loss_teaches_the_dead_units_only():
    loss, residual, pre_code, W = auxiliary([False, True, False, True, False])
    assert residual.grad is None
    assert (pre_code.grad[:, [0, 2, 4]] == 0).all() and (W.grad[:, [0, 2, 4]] == 0).all()
    assert (pre_code.grad[:, [1, 3]] != 0).all() and (W.grad[:, [1, 3]] != 0).any(0).all()
    rebuilt = pre_code[:, [1, 3]] @ W[:, [1, 3]].T
    exact = (residual - rebuilt).square().sum() / (residual - residual.mean(0)).square().sum()
    torch.testing.assert_close(loss, exact.detach())


def test_auxiliary_loss_takes_the_strongest_of_the_dead():
    _, _, pre_code, _ = auxiliary([True, True, True, True, False], k_aux=1)
    assert torch.equal((pre_code.grad != 0).nonzero()[:, 1], pre_code.detach()[:, :4].argmax(1))


def test_auxiliary_loss_is_zero_when_every_unit_is_alive():
    loss, _, pre_code, W = auxiliary([False] * 5)
    assert loss.item() == 0.0
    assert (pre_code.grad == 0).all() and (W.grad == 0).all()


def test_l0_counts_active_units_a_row(code):
    assert sparsity.l0(sparsity.top_k(code, 7)).item() == 7.0
    assert sparsity.l0(torch.tensor([[0.0, -1.0], [0.0, 0.0]])).item() == 0.5
