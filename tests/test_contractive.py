"""The closed-form penalty against the Jacobian that autograd gives."""

import pytest
import torch

from aelab.functional.activation import activation
from aelab.functional.contractive import SLOPES, jacobian_penalty


@pytest.mark.parametrize("name", SLOPES)
def test_the_closed_form_is_autograd_s_jacobian(name):
    torch.manual_seed(0)
    x, W, b = torch.rand(6, 9).double(), torch.randn(4, 9).double(), torch.randn(4).double()

    def encode(row: torch.Tensor) -> torch.Tensor:
        return activation(name)(W @ row + b)

    exact = torch.stack([torch.autograd.functional.jacobian(encode, row).square().sum() for row in x]).mean()
    torch.testing.assert_close(jacobian_penalty(activation(name)(x @ W.T + b), W, name), exact)


def test_its_gradient_reaches_the_weights_through_the_code_as_well():
    torch.manual_seed(0)
    x, W = torch.rand(6, 9).double(), torch.randn(4, 9).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda W: jacobian_penalty(torch.sigmoid(x @ W.T), W, "sigmoid"), W)
