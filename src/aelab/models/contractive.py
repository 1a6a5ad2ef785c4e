"""The contractive autoencoder: a code that moves little when the input does (Rifai et al. 2011)."""

from typing import Annotated

import torch
from torch import Tensor

from aelab.data.batches import Data
from aelab.functional.contractive import SLOPES, jacobian, jacobian_penalty
from aelab.functional.initialization import Initialization
from aelab.models.autoencoder import Autoencoder
from aelab.models.base import Figures, Likelihood, Output
from aelab.models.network import Single, weight_of
from aelab.ranges import Count, NonNegative, OneOf

SHOWN = 100  # samples whose Jacobian is decomposed for the picture


class Contractive(Autoencoder):
    """−log p(x | h) + ``penalty`` · ‖∂h/∂x‖²_F, h = f(W x + b) one layer, the Jacobian in closed form.

    ``code`` names f: sigmoid, tanh, relu or linear. ``tied`` weights are the paper's.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n_code: Count,
        code: Annotated[str, OneOf(*SLOPES)],
        initialization: Initialization,
        tied: bool,
        likelihood: Likelihood,
        penalty: NonNegative,
    ):
        super().__init__(shape, n_code, code, Single(initialization, tied), likelihood)
        self.code_name, self.penalty = code, penalty

    def loss_terms(self, x: Tensor, out: Output, weight: Tensor | None = None) -> dict[str, Tensor]:
        """−log p(x | h), nats, and the weighted penalty; with a corruption, at the corrupted input."""
        penalty = jacobian_penalty(out.code, weight_of(self.encoder[0]), self.code_name)
        return {**super().loss_terms(x, out, weight), "contraction": self.penalty * penalty}

    @torch.no_grad()
    def figures(self, data: Data) -> Figures:
        """The singular values of ∂h/∂x: in how many directions of the input the code still moves."""
        from aelab.functional.drawing import units

        x = data.test.x[:SHOWN]
        values = torch.linalg.svdvals(jacobian(self.encode(x), weight_of(self.encoder[0]), self.code_name))
        title = f"Singular values of the code's Jacobian at {len(x)} test samples"
        y = "singular value of ∂h/∂x, code per input"
        return {"singular_values": units.spectrum(title, values, "direction of the input, by its value", y)}
