"""PCA against scikit-learn, and angles between subspaces that are known."""

import math

import numpy as np
import pytest
import scipy.linalg
import sklearn.decomposition
import torch

from aelab.errors import UserError
from aelab.functional.pca import fit_pca, principal_angles, project, reconstruct, squared_error


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(9000, 12) @ torch.randn(12, 12) + torch.rand(12)


def test_components_and_variances_are_scikit_learn_s(x):
    ours, theirs = fit_pca(x, 5), sklearn.decomposition.PCA(5).fit(x.double().numpy())
    signs = np.sign((ours.components.numpy() * theirs.components_).sum(1, keepdims=True))
    np.testing.assert_allclose(ours.components.numpy() * signs, theirs.components_, atol=1e-7)
    np.testing.assert_allclose(ours.variances.numpy() * 9000 / 8999, theirs.explained_variance_, rtol=1e-9)
    codes = project(ours, x.double()).numpy() * signs.T
    np.testing.assert_allclose(codes, theirs.transform(x.double().numpy()), atol=1e-6)
    np.testing.assert_allclose(
        reconstruct(ours, x.double()).numpy(), theirs.inverse_transform(theirs.transform(x.double().numpy())), atol=1e-6
    )


def test_squared_error_on_the_training_data_is_the_variance_left_out(x):
    everything = fit_pca(x, 12).variances
    assert squared_error(fit_pca(x, 5), x) == pytest.approx(everything[5:].sum().item(), rel=1e-10)
    assert squared_error(fit_pca(x, 12), x) == pytest.approx(0.0, abs=1e-20)


def test_components_are_orthonormal_and_their_largest_entry_is_positive(x):
    components = fit_pca(x, 12).components
    torch.testing.assert_close(components @ components.T, torch.eye(12, dtype=torch.float64))
    assert (components.gather(1, components.abs().argmax(1, keepdim=True)) > 0).all()


def test_the_order_of_the_data_does_not_turn_a_component_round(x):
    torch.testing.assert_close(fit_pca(x.flip(0), 12).components, fit_pca(x, 12).components)


def test_more_inputs_than_one_strip_of_the_covariance():
    torch.manual_seed(2)
    x = torch.randn(1500, 450).double()
    theirs = sklearn.decomposition.PCA(4, svd_solver="full").fit(x.numpy())
    np.testing.assert_allclose(fit_pca(x, 4).variances.numpy() * 1500 / 1499, theirs.explained_variance_, rtol=1e-10)


def test_constant_inputs_are_no_obstacle(x):
    x = torch.cat([x[:, :3], torch.ones(len(x), 2)], 1)
    assert squared_error(fit_pca(x, 3), x) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("n_code", [0, 13])
def test_a_code_that_does_not_fit_is_named(x, n_code):
    with pytest.raises(UserError, match=r"^model\.n_code: "):
        fit_pca(x, n_code)


@pytest.mark.parametrize("angle", [1e-12, 1e-7, 0.3, 1.2, math.pi / 2])
def test_a_plane_turned_by_a_known_angle(angle):
    A = torch.eye(5, dtype=torch.float64)[:2]
    B = A.clone()
    B[1] = torch.tensor([0, math.cos(angle), math.sin(angle), 0, 0])
    # the same subspaces in other, oblique coordinates
    A, B = torch.tensor([[2.0, 1], [1, 3]]).double() @ A, torch.tensor([[1.0, -1], [2, 5]]).double() @ B
    assert principal_angles(A, B).tolist() == pytest.approx([0.0, angle], rel=1e-3, abs=1e-15)


def test_angles_are_scipy_s_and_do_not_depend_on_the_order():
    torch.manual_seed(1)
    A, B = torch.randn(4, 9), torch.randn(3, 9)
    theirs = np.sort(scipy.linalg.subspace_angles(A.double().numpy().T, B.double().numpy().T))
    np.testing.assert_allclose(principal_angles(A, B).numpy(), theirs, atol=1e-12)
    torch.testing.assert_close(principal_angles(B, A), principal_angles(A, B))
