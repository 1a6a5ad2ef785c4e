"""The contractive autoencoder as a model: its penalty is its Jacobian's, and training shrinks it."""

import pytest
import torch
from helpers import small

from aelab.data.digits import digits
from aelab.models.contractive import Contractive
from aelab.runs.folder import load
from aelab.runs.train import run


def made(**changed) -> Contractive:
    settings = dict(n_code=6, code="sigmoid", initialization="glorot", tied=True, likelihood="bernoulli", penalty=0.5)
    return Contractive((9,), **{**settings, **changed}).double()


def jacobian_norm(model, x: torch.Tensor) -> torch.Tensor:
    """‖∂code/∂x‖²_F averaged over the batch, by automatic differentiation."""
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: model.encode(row[None])[0]))(x)
    return jacobians.square().sum((1, 2)).mean()


@pytest.mark.parametrize("code", ["sigmoid", "tanh", "relu", "linear"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_penalty_is_the_model_s_own_jacobian(code, tied):
    model, x = made(code=code, tied=tied), torch.rand(5, 9).double()
    model.encoder[0].bias.data.normal_()
    torch.testing.assert_close(model.loss_terms(x, model(x))["contraction"], 0.5 * jacobian_norm(model, x))


@pytest.mark.slow
def test_training_with_the_penalty_contracts_the_code(tmp_path):
    x = digits(0.2, 0).test_x[:50]
    norms = []
    for penalty in (0.0, 20.0):
        cfg = small("model=contractive", f"model.penalty={penalty}", "data.train_size=600", epochs=5)
        run(cfg, tmp_path / str(penalty), "aelab")
        norms.append(float(jacobian_norm(load(tmp_path / str(penalty)), x)))
    assert norms[1] < 0.5 * norms[0]
