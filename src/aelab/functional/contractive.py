"""The contractive autoencoder's penalty: how much the code moves when the input does (Rifai et al. 2011)."""

from torch import Tensor

# an activation's slope as a function of its own value
SLOPES = {
    "sigmoid": lambda h: h * (1 - h),
    "tanh": lambda h: 1 - h.square(),
    "relu": lambda h: (h > 0).to(h.dtype),
    "identity": lambda h: h.new_ones(()).expand_as(h),
}
SLOPES["linear"] = SLOPES["identity"]


def jacobian_penalty(code: Tensor, W: Tensor, activation: str) -> Tensor:
    """‖∂h/∂x‖²_F = Σ_j f′(z_j)² Σ_i W_ji², averaged over the batch, for one layer h = f(W x + b).

    ``code`` (batch, code) is h, ``W`` (code, input), ``activation`` the name of f: sigmoid, tanh, relu or identity.
    Costs a product of (batch, code) with (code,), no Jacobian.
    """
    return (SLOPES[activation](code).square() @ W.square().sum(1)).mean()


def jacobian(code: Tensor, W: Tensor, activation: str) -> Tensor:
    """∂h/∂x = diag f′(z) W of each sample, (batch, code, input), for one layer h = f(W x + b) as above."""
    return SLOPES[activation](code)[:, :, None] * W
