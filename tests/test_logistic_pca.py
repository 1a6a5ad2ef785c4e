"""Logistic PCA on data from its own model, and its codes against logistic regression."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from aelab.errors import UserError
from aelab.functional.likelihood import bernoulli, squared_error
from aelab.functional.logistic_pca import (
    RIDGE,
    LogisticPCA,
    fit_linear_logistic_pca,
    fit_logistic_pca,
    optimal_codes,
    reconstruct,
)
from aelab.functional.pca import fit_pca, principal_angles


@pytest.fixture(scope="module")
def made() -> tuple[torch.Tensor, torch.Tensor]:
    """Grey levels that are exactly the probabilities of two-dimensional codes, and the V that made them."""
    torch.manual_seed(0)
    V, b = 2 * torch.randn(2, 40), torch.randn(40)
    return torch.sigmoid(torch.randn(2000, 2) @ V + b), V


def test_the_span_and_the_probabilities_that_made_the_data_are_found(made):
    x, V = made
    pca = fit_logistic_pca(x, 2, evaluations=100)
    assert principal_angles(pca.components, V).max().item() < 0.03
    again = reconstruct(pca, optimal_codes(pca, x[:200], evaluations=100))
    assert squared_error(again, x[:200]).item() < 0.002
    # ordinary PCA cannot: the data lie on a curved surface
    assert fit_pca(x, 40).variances[2:].sum().item() > 0.3


def test_optimal_codes_are_those_of_logistic_regression():
    torch.manual_seed(1)
    pca = LogisticPCA(torch.randn(3, 200), torch.zeros(200))
    x = (torch.sigmoid(torch.randn(4, 3) @ pca.components) > torch.rand(4, 200)).float()
    ours = optimal_codes(pca, x, evaluations=100)
    theirs = [
        LogisticRegression(C=1 / RIDGE, fit_intercept=False, tol=1e-8).fit(pca.components.T.numpy(), row).coef_[0]
        for row in x.numpy()
    ]
    np.testing.assert_allclose(ours.numpy(), np.stack(theirs), atol=2e-3)


def test_an_image_without_a_best_code_still_gets_one():
    pca = LogisticPCA(torch.ones(1, 5), torch.zeros(5))
    assert 2 < optimal_codes(pca, torch.ones(1, 5), evaluations=100).item() < 20


def test_linear_codes_beat_pca_and_optimal_codes_beat_both(made):
    x = made[0]
    W, linear = fit_linear_logistic_pca(x, 2, epochs=20)
    pca = fit_logistic_pca(x, 2, evaluations=100)
    by_line = squared_error(reconstruct(linear, x @ W), x).item()
    assert by_line < 0.8 * fit_pca(x, 40).variances[2:].sum().item()
    codes = optimal_codes(pca, x, evaluations=60)
    assert squared_error(reconstruct(pca, codes), x).item() < 0.1 * by_line
    assert bernoulli(codes @ pca.components + pca.bias, x) < bernoulli(x @ W @ linear.components + linear.bias, x)


def test_the_same_data_give_the_same_fit_and_no_random_number_is_taken(made):
    x = made[0][:500]
    state = torch.get_rng_state()
    for first, again in zip(fit_logistic_pca(x, 2, 20), fit_logistic_pca(x, 2, 20)):
        assert torch.equal(first, again)
        assert not first.requires_grad
    for first, again in zip(fit_linear_logistic_pca(x, 2, 2)[1], fit_linear_logistic_pca(x, 2, 2)[1]):
        assert torch.equal(first, again)
        assert not first.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_inputs_that_never_change_are_no_obstacle(made):
    x = torch.cat([made[0][:500], torch.zeros(500, 3), torch.ones(500, 3)], 1)
    pca = fit_logistic_pca(x, 2, evaluations=50)
    assert all(t.isfinite().all() for t in pca)
    again = reconstruct(pca, optimal_codes(pca, x, evaluations=50))
    assert squared_error(again[:, 40:], x[:, 40:]).item() < 0.01


@pytest.mark.parametrize("fit", [fit_logistic_pca, fit_linear_logistic_pca])
def test_a_code_that_does_not_fit_is_named(fit):
    with pytest.raises(UserError, match=r"^model\.n_code: "):
        fit(torch.rand(10, 4), 5, 1)
