"""Muon (Jordan et al. 2024): gradient descent whose steps change every direction of a matrix alike."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import torch
from torch import nn

from aelab.errors import UserError
from aelab.ranges import BelowOne, Count, Interval, NonNegative, Positive


class Muon(torch.optim.Optimizer):
    """W ← (1 − lr·λ) W − 0.2 lr √max(m, n) U Vᵀ for each matrix W (m, n), where U S Vᵀ is its gradient's running mean.

    AdamW takes what is no matrix, biases and the kernels of convolutions, at the same ``lr``: the factor 0.2 √max(m, n)
    makes a step as large as one of AdamW (Liu et al. 2025). U Vᵀ is found by ``ns_steps`` Newton–Schulz iterations in
    bf16, three products of the matrix with itself each: cheap beside a large minibatch, on a processor that multiplies
    in bf16. Raises ``UserError`` where torch has no Muon, before 2.9.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: NonNegative,
        momentum: BelowOne,
        weight_decay: NonNegative,
        ns_steps: Annotated[Count, Interval(1, 20)],
        betas: tuple[BelowOne, BelowOne],
        eps: Positive,
    ):
        if not hasattr(torch.optim, "Muon"):
            raise UserError(f"optimizer: muon needs torch 2.9 or later, this is {torch.__version__}; take adamw")
        every = list(params)
        matrices, others = [p for p in every if p.ndim == 2], [p for p in every if p.ndim != 2]
        self._parts: list[torch.optim.Optimizer] = []
        if matrices:
            as_large = "match_rms_adamw"
            self._parts.append(
                torch.optim.Muon(matrices, lr, weight_decay, momentum, ns_steps=ns_steps, adjust_lr_fn=as_large)
            )
        if others:
            self._parts.append(torch.optim.AdamW(others, lr, betas, eps, weight_decay, fused=True))
        super().__init__([group for part in self._parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]  # as torch's own
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part, group in zip(self._parts, self.param_groups, strict=True):
            part.param_groups, part.state = [group], self.state  # a checkpoint that was read gives new ones
            part.step()
        return loss
