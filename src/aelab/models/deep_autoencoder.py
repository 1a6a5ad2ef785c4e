"""The deep autoencoder: a pretrained stack unrolled and fine-tuned by backpropagation (Hinton & Salakhutdinov 2006)."""

from typing import Literal

from aelab.functional.initialization import Initialization
from aelab.models.base import Model
from aelab.rbm.layer import Layer
from aelab.rbm.unroll import Code, forget, unroll


class DeepAutoencoder(Model):
    """Encoder: the layers below, upwards; decoder: the same downwards, free of the encoder from then on.

    Before the first step the code is ``encode_through(below, x)``. ``code`` is ``as_layers`` (Gaussian hidden units:
    linear, Bernoulli ones: logistic), ``linear`` or ``logistic``. ``start="random"`` keeps the architecture and forgets
    what was learned: the same net without pretraining. The inputs' likelihood is that of the lowest visible units.
    """

    made_from_layers = True
    softmax = False

    def __init__(
        self, shape: tuple[int, ...], below: list[Layer], code: Code, start: Literal["layers", "random"],
        initialization: Initialization,
    ):  # fmt: skip
        encoder, decoder = unroll(below, code)
        super().__init__(shape, "bernoulli" if below[0].visible == "bernoulli" else "gaussian")
        self.encoder, self.decoder = encoder, decoder
        if start == "random":
            forget(encoder, decoder, below, code, initialization)
