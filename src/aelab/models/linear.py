"""The linear autoencoder, whose best solution is PCA (Baldi & Hornik 1989)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aelab.data.batches import Data
from aelab.errors import UserError
from aelab.functional.pca import principal_angles
from aelab.models.base import Model
from aelab.models.filters import Filters
from aelab.ranges import Count


class Linear(Model):
    """code = (x − m) A, x̂ = code B + m, m the training mean; on squared error the minima span PCA's subspace.

    A (input, code) and B (code, input) are fixed only up to an invertible matrix between them, so subspaces are
    compared, not vectors. ``start="closed_form"`` puts A and B at PCA's own solution, ``"gradient"`` at a random
    orthonormal A and B = Aᵀ. ``tied`` keeps B = Aᵀ throughout.
    """

    softmax = False
    center: Tensor  # m, (input,)

    def __init__(self, shape: tuple[int, ...], n_code: Count, start: Literal["gradient", "closed_form"], tied: bool):
        super().__init__(shape, "gaussian")
        if n_code > self.n_input:
            raise UserError(f"model.n_code: must be at most the {self.n_input} inputs, got {n_code}")
        self.start = start
        self.register_buffer("center", torch.zeros(self.n_input))
        self.down = nn.Parameter(nn.init.orthogonal_(torch.empty(n_code, self.n_input)))
        self.up = None if tied else nn.Parameter(self.down.detach().t().clone(memory_format=torch.contiguous_format))

    @property
    def span(self) -> Tensor:
        """(input, code): its columns span what the decoder can reach."""
        return self.down.t() if self.up is None else self.up

    def encode(self, x: Tensor) -> Tensor:
        return F.linear(x - self.center, self.down)

    def output(self, code: Tensor) -> Tensor:
        return F.linear(code, self.span, self.center)

    def initialize_from(self, data: Data) -> None:
        """m is the training mean; the closed form is taken from the training samples too."""
        self.center.copy_(data.mean)
        if self.start == "closed_form":
            components = data.pca(len(self.down)).components.to(self.down)
            self.down.data.copy_(components)
            if self.up is not None:
                self.up.data.copy_(components.t())

    def encoder_filters(self, x: Tensor) -> Filters:
        return Filters(self.down, self.encode(x))

    def decoder_filters(self, x: Tensor) -> Filters:
        return Filters(self.span.t(), self.encode(x))

    def test_metrics(self, data: Data) -> dict[str, float]:
        """``principal_angle``: the largest between the decoder's span and PCA's on the same training set, radians."""
        pca = data.pca(len(self.down))
        return {"principal_angle": float(principal_angles(self.span.detach().t(), pca.components).max())}
