"""Likelihoods against torch.distributions, their weights and their sums."""

import pytest
import torch
from torch.distributions import Bernoulli, Normal

from aelab.errors import UserError
from aelab.functional.likelihood import (
    bernoulli,
    bernoulli_per_sample,
    emphasis,
    gaussian,
    gaussian_per_sample,
    squared_error,
    squared_error_per_sample,
)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(5, 7), torch.rand(5, 7).round()


def test_bernoulli_is_the_negative_log_probability(batch):
    logits, x = batch
    exact = -Bernoulli(logits=logits).log_prob(x).sum(-1)
    torch.testing.assert_close(bernoulli_per_sample(logits, x), exact)
    torch.testing.assert_close(bernoulli(logits, x), exact.mean())


def test_bernoulli_of_grey_levels_is_least_at_their_log_odds():
    x = torch.tensor([[0.2, 0.7]])
    logits = torch.logit(x).requires_grad_()
    loss = bernoulli(logits, x)
    loss.backward()
    entropy = -(x * x.log() + (1 - x) * (1 - x).log()).sum()
    torch.testing.assert_close(loss.detach(), entropy)
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-7, rtol=0)


def test_bernoulli_is_finite_where_sigmoid_saturates():
    assert bernoulli(torch.tensor([[200.0]]), torch.tensor([[0.0]])).item() == 200.0


@pytest.mark.parametrize("size", [1.0, 30.0, 1e3, 1e6])
@pytest.mark.parametrize("weighted", [False, True])
def test_bernoulli_keeps_its_digits_however_far_the_logits(size, weighted):
    """In float32 as in float64: most entries rightly certain, a few wrong or undecided."""
    x = torch.rand(20, 784).round()
    logits = size * (2 * x - 1) * torch.where(torch.rand(20, 784) < 0.01, torch.randn(20, 784), 1.0)
    weight = torch.rand(20, 784) if weighted else None
    exact = bernoulli_per_sample(logits.double(), x.double(), weight if weight is None else weight.double())
    torch.testing.assert_close(bernoulli_per_sample(logits, x, weight).double(), exact, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(bernoulli(logits, x, weight).double(), exact.mean(), rtol=1e-6, atol=1e-6)


def test_gaussian_is_the_whole_negative_log_density(batch):
    mean, x = batch
    exact = -Normal(mean, 0.3).log_prob(x).sum(-1)
    torch.testing.assert_close(gaussian_per_sample(mean, x, 0.3), exact)
    torch.testing.assert_close(gaussian(mean, x, 0.3), exact.mean())


def test_gaussian_refuses_a_standard_deviation_of_zero(batch):
    with pytest.raises(UserError, match=r"model\.sigma"):
        gaussian(*batch, 0.0)


def test_squared_error_sums_over_inputs_and_averages_over_images():
    x = torch.zeros(2, 3)
    x_hat = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    assert squared_error(x_hat, x).item() == 7.0
    assert squared_error_per_sample(x_hat, x).tolist() == [5.0, 9.0]


@pytest.mark.parametrize(
    "loss", [bernoulli_per_sample, squared_error_per_sample, lambda m, x: gaussian_per_sample(m, x, 0.5)]
)
def test_per_sample_takes_many_predictions_of_one_batch(loss, batch):
    _, x = batch
    predictions = torch.randn(3, 5, 7)
    torch.testing.assert_close(loss(predictions, x), torch.stack([loss(p, x) for p in predictions]))


LOSSES = [
    bernoulli,
    bernoulli_per_sample,
    squared_error,
    squared_error_per_sample,
    lambda m, x, w=None: gaussian(m, x, 0.5, w),
    lambda m, x, w=None: gaussian_per_sample(m, x, 0.5, w),
]


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_of_one_leave_the_loss_as_it_is(loss, batch):
    torch.testing.assert_close(loss(*batch, torch.ones(5, 7)), loss(*batch), rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_emphasis_weighs_touched_and_untouched_entries(loss, batch):
    prediction, x = batch
    touched = torch.rand(5, 7) < 0.4
    alone = loss(prediction, x, touched.float()), loss(prediction, x, (~touched).float())
    torch.testing.assert_close(loss(prediction, x, emphasis(touched, 2.0, 0.5)), 2 * alone[0] + 0.5 * alone[1])


def test_emphasis_of_one_and_one_is_the_plain_loss():
    assert emphasis(torch.tensor([True, False]), 1.0, 1.0) is None
    assert emphasis(torch.tensor([True, False]), 1.0, 0.5).tolist() == [1.0, 0.5]
