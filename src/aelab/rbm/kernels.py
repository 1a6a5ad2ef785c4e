"""The few inner operations that an RBM's time goes into, each with a plain fallback that gives the same numbers.

On CPUs where MKL's float32 matrix product is slow, oneDNN's is about twice as fast to the same 2e-7. torch reaches it
through a private operator, so it is called here only: one name to mend, and none of it is needed for correctness.
"""

import torch
from torch import Tensor

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
FUSED = hasattr(torch, "_fused_sgd_")
ACTIVATION = {"none": lambda x: x, "sigmoid": torch.sigmoid_, "relu": torch.relu_}


def linear(x: Tensor, W: Tensor, bias: Tensor | None, activation: str = "none") -> Tensor:
    """activation(x W + bias) for x (batch, in), W (in, out), bias (out,); activation is none, sigmoid or relu."""
    if _onednn_takes(x, W, bias):
        return torch.ops.mkldnn._linear_pointwise(x, W.t(), bias, activation, [], "")
    return ACTIVATION[activation](x @ W if bias is None else torch.addmm(bias, x, W))


def phase_difference(v0: Tensor, h0: Tensor, v1: Tensor, h1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row means under 0 less those under 1: of v hᵀ (visible, hidden), of h (hidden,), of v (visible,).

    Both phases are one product of the rows laid end to end, weighing 1/rows and −1/rows.
    """
    h = torch.cat([h0 / len(h0), h1 / -len(h1)])
    v = torch.cat([v0.t(), v1.t()], dim=1)  # turned while it is copied, which oneDNN would do again
    return linear(v, h, None), h.sum(0), v0.mean(0) - v1.mean(0)


def bernoulli(p: Tensor) -> Tensor:
    """1[u < p], u uniform in steps of 2⁻²⁴: the same draw as ``torch.bernoulli``, some twelve times cheaper on the CPU.

    There the generator is what costs, so an entry gets 16 bits of its own, and the 8 below them are drawn once a call.
    An entry is 1 with probability p to within such a step; two entries of a call are independent to within 2⁻³⁴.
    """
    p = p.detach()
    if p.device.type != "cpu" or p.dtype != torch.float32:
        return torch.lt(torch.rand_like(p), p, out=torch.empty_like(p))
    words = torch.empty(-(-p.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    own = words.view(torch.int16)[: p.numel()].view(p.shape)
    shared = torch.randint(2**8, ()) / 2**8
    threshold = torch.add(-(2**15) - shared, p, alpha=2**16)  # u = (own + 2¹⁵ + shared) / 2¹⁶
    return torch.lt(own.float(), threshold, out=threshold)


def momentum_ascent_(
    params: list[Tensor], gradients: list[Tensor], velocities: list[Tensor], rate: float, momentum: float, decay: float
) -> None:
    """velocity ← momentum·velocity + gradient − decay·param;  param ← param + rate·velocity, in place and in one pass.

    The velocity is in the gradient's units, as in ``torch.optim.SGD``, so that a new rate acts at once.
    """
    if FUSED and momentum > 0 and params[0].device.type in ("cpu", "cuda"):  # it keeps no velocity at momentum 0
        options = dict(momentum=momentum, dampening=0.0, nesterov=False, maximize=False, is_first_step=False)
        # it descends: a negative rate and decay climb, and leave the velocity the sign it has below
        torch._fused_sgd_(params, gradients, velocities, weight_decay=-decay, lr=-rate, **options)
        return
    for param, gradient, velocity in zip(params, gradients, velocities):
        velocity.mul_(momentum).add_(gradient).add_(param, alpha=-decay)
        param.add_(velocity, alpha=rate)


def _onednn_takes(x: Tensor, W: Tensor, bias: Tensor | None) -> bool:
    tensors = [x, W] if bias is None else [x, W, bias]
    if not ONEDNN or any(t.dtype != torch.float32 or t.device.type != "cpu" for t in tensors):
        return False
    if x.ndim != 2 or x.numel() == 0 or torch.is_autocast_enabled("cpu"):
        return False
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return False  # the operator has no derivative
    return all(t.is_contiguous() or t.t().is_contiguous() for t in (x, W))
