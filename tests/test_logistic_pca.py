"""Logistic PCA with linear codes, on data from its own model."""

import pytest
import torch

from aelab.errors import UserError
from aelab.functional.likelihood import squared_error
from aelab.functional.logistic_pca import fit_linear_logistic_pca, reconstruct
from aelab.functional.pca import fit_pca


@pytest.fixture(scope="module")
def made() -> torch.Tensor:
    """Grey levels that are exactly the probabilities of two-dimensional codes: they lie on a curved surface."""
    torch.manual_seed(0)
    V, b = 2 * torch.randn(2, 40), torch.randn(40)
    return torch.sigmoid(torch.randn(2000, 2) @ V + b)


def test_linear_codes_beat_pca(made):
    W, pca = fit_linear_logistic_pca(made, 2, epochs=20)
    assert squared_error(reconstruct(pca, made @ W), made).item() < 0.8 * fit_pca(made, 40).variances[2:].sum().item()


def test_the_same_data_give_the_same_fit_and_no_random_number_is_taken(made):
    x = made[:500]
    state = torch.get_rng_state()
    for first, again in zip(fit_linear_logistic_pca(x, 2, 2)[1], fit_linear_logistic_pca(x, 2, 2)[1]):
        assert torch.equal(first, again)
        assert not first.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_inputs_that_never_change_are_no_obstacle(made):
    x = torch.cat([made[:500], torch.zeros(500, 3), torch.ones(500, 3)], 1)
    W, pca = fit_linear_logistic_pca(x, 2, epochs=20)
    assert all(t.isfinite().all() for t in (W, *pca))
    assert squared_error(reconstruct(pca, x @ W)[:, 40:], x[:, 40:]).item() < 0.05


def test_a_code_that_does_not_fit_is_named():
    with pytest.raises(UserError, match=r"^model\.n_code: "):
        fit_linear_logistic_pca(torch.rand(10, 4), 5, 1)
