"""The few inner operations that an RBM's time goes into, each with a plain way that gives the same numbers.

Which library's float32 product is the faster one differs from processor to processor, so it is measured where the
program runs (:mod:`aelab.rbm.ways`). torch reaches oneDNN's through a private operator, called here only: one name to
mend, and none of it is needed for correctness. Under autocast the products are taken in its lower precision; weights,
biases, means and draws stay in float32.
"""

import torch
from torch import Tensor

from aelab.rbm.ways import Ways, fastest, worth_choosing

ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
FEW = 25_000  # entries up to which a draw costs its calls, and not its numbers
FUSED = hasattr(torch, "_fused_sgd_")
ACTIVATION = {"identity": lambda x: x, "sigmoid": torch.sigmoid_, "relu": torch.relu_}


def linear(x: Tensor, W: Tensor, bias: Tensor | None, activation: str = "identity") -> Tensor:
    """activation(x W + bias) for x (batch, in), W (in, out), bias (out,); activation is identity, sigmoid or relu."""
    if lower := _autocast(x):
        product = (x.to(lower) @ W.to(lower)).float()
        return ACTIVATION[activation](product if bias is None else product + bias)
    if torch.compiler.is_exporting():  # to other programs, which have no oneDNN; and sizes are only symbols then
        return _linear(x, W, bias, activation)
    if worth_choosing(x.numel() * W.shape[1]) and _onednn_takes(x, W, bias):
        way = fastest("linear", LINEAR, (x, W, bias, activation), (*x.shape, W.shape[1]))
        return way(x, W, bias, activation)
    return _linear(x, W, bias, activation)


def as_in_products(W: Tensor) -> Tensor:
    """W in the precision that :func:`linear` takes products in: where several have the same weights, converted once."""
    lower = _autocast(W)
    return W.to(lower) if lower else W


def phase_difference(v0: Tensor, h0: Tensor, v1: Tensor, h1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row means under 0 less those under 1: of v hᵀ (visible, hidden), of h (hidden,), of v (visible,)."""
    size = (v0.numel() + v1.numel()) * h0.shape[1]
    if lower := _autocast(v0):  # one product: what is rounded is the difference, not both of its parts
        v, h = torch.cat([v0, v1]), torch.cat([h0 / len(h0), h1 / -len(h1)])
        W = (v.to(lower).t() @ h.to(lower)).float()
    elif worth_choosing(size) and _onednn_takes(v0, h0, None) and _onednn_takes(v1, h1, None):
        shape = (len(v0) + len(v1), v0.shape[1], h0.shape[1])
        W = fastest("difference", DIFFERENCE, (v0, h0, v1, h1), shape)(v0, h0, v1, h1)
    else:
        W = _difference(v0, h0, v1, h1)
    return W, h0.mean(0) - h1.mean(0), v0.mean(0) - v1.mean(0)


def _linear(x: Tensor, W: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    return ACTIVATION[activation](x @ W if bias is None else torch.addmm(bias, x, W))


def _linear_onednn(x: Tensor, W: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    own_name = "none" if activation == "identity" else activation
    return torch.ops.mkldnn._linear_pointwise(x, W.t(), bias, own_name, [], "")


def _difference(v0: Tensor, h0: Tensor, v1: Tensor, h1: Tensor) -> Tensor:
    """v0ᵀ h0 / rows − v1ᵀ h1 / rows, the second product added to the first in place."""
    first = torch.addmm(v0.new_zeros(()), v0.t(), h0, beta=0, alpha=1 / len(v0))
    return first.addmm_(v1.t(), h1, alpha=-1 / len(v1))


def _difference_onednn(v0: Tensor, h0: Tensor, v1: Tensor, h1: Tensor) -> Tensor:
    """The same as one product of the rows laid end to end, which weigh 1/rows and −1/rows."""
    h = torch.cat([h0 / len(h0), h1 / -len(h1)])
    v = torch.cat([v0.t(), v1.t()], dim=1)  # turned while it is copied, which oneDNN would do again
    return _linear_onednn(v, h, None, "identity")


LINEAR: Ways = {"torch": _linear, "onednn": _linear_onednn}
DIFFERENCE: Ways = {"torch": _difference, "onednn": _difference_onednn}


def bernoulli(p: Tensor) -> Tensor:
    """1[u < p], u uniform in steps of 2⁻²⁴: the same draw as ``torch.bernoulli``, several times cheaper on the CPU.

    There the generator is what costs: where entries are many one gets 16 bits of its own, and the 8 below them are
    drawn once per call. An entry is 1 with probability p to within such a step; two entries of a call are independent
    to within 2⁻³⁴. In whatever precision p comes, it is compared in float32: in bfloat16 a p of 1e-4 would be met
    twenty times too often.
    """
    p = p.detach()
    p = p.float() if p.dtype in (torch.bfloat16, torch.float16) else p
    if p.device.type != "cpu" or p.dtype != torch.float32 or p.numel() < FEW:
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
        # it descends: a negative rate and decay climb, and leave the velocity the sign it has below
        torch._fused_sgd_(
            params, gradients, velocities, weight_decay=-decay, lr=-rate, momentum=momentum, dampening=0.0,
            nesterov=False, maximize=False, is_first_step=False,
        )  # fmt: skip
        return
    for param, gradient, velocity in zip(params, gradients, velocities):
        velocity.mul_(momentum).add_(gradient).add_(param, alpha=-decay)
        param.add_(velocity, alpha=rate)


def _autocast(x: Tensor) -> torch.dtype | None:
    """The lower precision that products of ``x`` are to be taken in; None outside autocast, and for other types."""
    device = x.device.type
    on = x.dtype == torch.float32 and not x.is_meta and torch.is_autocast_enabled(device)
    return torch.get_autocast_dtype(device) if on else None


def _onednn_takes(x: Tensor, W: Tensor, bias: Tensor | None) -> bool:
    tensors = [x, W] if bias is None else [x, W, bias]
    if not ONEDNN or any(t.dtype != torch.float32 or t.device.type != "cpu" for t in tensors):
        return False
    if x.ndim != 2 or x.numel() == 0:
        return False
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return False  # the operator has no derivative
    return all(t.is_contiguous() or t.t().is_contiguous() for t in (x, W))
