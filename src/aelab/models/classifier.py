"""A classifier on a pretrained stack: the layers below and an output layer, fine-tuned with labels."""

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from aelab.data.batches import Data
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.functional.classification import class_error
from aelab.functional.initialization import Initialization
from aelab.models.base import Model, Output
from aelab.ranges import BelowOne, Natural
from aelab.rbm.layer import Layer
from aelab.rbm.unroll import forget, unroll


class Classifier(Model):
    """p(label | x) = softmax(V code + c), code = the layers below; the loss is −log p(label | x), nats.

    During the first ``top_only_epochs`` only V and c move, so that a random output layer does not spoil what was
    learned (Hinton & Salakhutdinov 2006). ``dropout`` is the fraction of units left out in each layer while training.
    ``start="random"`` keeps the architecture alone: the same net without pretraining.
    """

    reconstructs = False
    classifies = True
    made_from_layers = True

    def __init__(
        self, shape: tuple[int, ...], below: list[Layer], n_classes: int | None, top_only_epochs: Natural,
        dropout: BelowOne, start: Literal["layers", "random"], initialization: Initialization,
    ):  # fmt: skip
        super().__init__(shape, "bernoulli")
        if n_classes is None:
            raise UserError("data: a classifier needs labels, and this data set has none; choose one that has")
        self.top_only_epochs = top_only_epochs
        modules = list(unroll(below, "as_layers")[0])
        if dropout:  # after each activation
            modules = [m for pair in zip(modules[::2], modules[1::2]) for m in (*pair, nn.Dropout(dropout))]
        self.encoder = nn.Sequential(*modules)
        if start == "random":
            forget(self.encoder, None, below, "as_layers", initialization)
        self.top = nn.Linear(below[-1].W.shape[1], n_classes)
        nn.init.zeros_(self.top.weight)
        nn.init.zeros_(self.top.bias)

    def initialize_from(self, data: Data) -> None:
        """Nothing is taken from the data, but they must be ones that a classifier can be tested on."""
        data.check_labels(self.top.out_features)

    def forward(self, x: Tensor) -> Output:
        code = self.encode(x)
        return Output(code, self.top(code))

    def classify(self, x: Tensor) -> Tensor:
        """x (batch, input) → probabilities of the labels (batch, class)."""
        return self(x).output.softmax(1)

    def batch_terms(self, batch: Batch, out: Output, weight: Tensor | None = None) -> dict[str, Tensor]:
        return {"cross_entropy": F.cross_entropy(out.output, batch.target)}

    def validation_metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        return {"class_error": class_error(out.output.argmax(1), batch.target)}

    def before_step(self) -> None:
        """At first no gradient for the encoder; they were computed, for several devices wait for every one of them."""
        if self.current_epoch < self.top_only_epochs:
            for weight in self.encoder.parameters():
                weight.grad = None
