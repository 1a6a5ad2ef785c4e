"""What models share that learn by a rule of their own instead of backpropagation: the RBM, the deep belief network."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from aelab.data.batches import Data, data_of
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.models.base import Model
from aelab.models.training import WATCHED
from aelab.rbm.layer import Unit


class ByRule(Model):
    """A variant overrides ``minibatch_step`` with its rule and ``epoch_metrics`` with what is looked at once per epoch.

    ``loss`` is the reconstruction's −log p(x | code): what is watched, not what is minimised. What a run needs to go on
    where it stopped, velocities for one, are buffers, and so part of the checkpoint.
    """

    ignores = {
        "optimizer": "it learns by a rule of its own, at the rate {rate_key}",
        "corruption": "its units are stochastic as it is; corruption is for models trained by backpropagation",
        "train.clip": "it learns by a rule of its own; lower {rate_key} instead",
    }
    of_training = ("velocity_", "fast_", "chains", "rungs", "ladder")
    rate_key = "model.learning_rate"
    softmax = False
    learning_rate: float
    log_var_visible: Tensor | None  # log variance of Gaussian visible units, (input,); None: unit variance

    def negative_log_likelihood(self, output: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """As every model's, but Gaussian visible units have the variance that was learned."""
        if self.log_var_visible is None:
            return super().negative_log_likelihood(output, x, weight)
        log_var = self.log_var_visible.detach()
        terms = ((x - output) ** 2 * torch.exp(-log_var) + log_var + math.log(2 * math.pi)) / 2
        return (terms if weight is None else terms * weight).sum(-1).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Holds the rate, where all who look at it find it; the rule itself updates the weights."""
        return torch.optim.SGD(self.parameters(), lr=self.learning_rate)

    def rate(self) -> float:
        """The learning rate at the present minibatch."""
        return self.learning_rate * self.training_plan.schedule(self.progress)

    def epoch_metrics(self, train: Tensor, val: Tensor) -> dict[str, Tensor]:
        """Metrics of the variant's own from a few training and validation samples (rows)."""
        return {}

    @torch.no_grad()
    def names_validated(self, data: Data) -> set[str]:
        few = data.train_for_evaluation.x[:2], data.val.x[:2]
        with torch.random.fork_rng([]):
            own = {name for name in self.epoch_metrics(*few) if name.startswith("val/")}
        return super().names_validated(data) | own

    def over_devices(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The mean over all devices, each with its share of the minibatch: one message for all tensors."""
        if self._trainer is None or self.trainer.world_size == 1:
            return list(parts)
        flat = self.trainer.strategy.reduce(torch.cat([part.flatten() for part in parts]), reduce_op="mean")
        return [piece.view_as(part) for piece, part in zip(flat.split([part.numel() for part in parts]), parts)]

    def training_loss(self, batch: Batch) -> Tensor:
        """−log p(x | code) of the reconstruction: nothing is corrupted."""
        return self.negative_log_likelihood(self(batch.x).output, batch.x)

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        train = self._loader.first(WATCHED).x
        loss = self.training_loss(Batch(train, None))
        self.stop_if_exploded(loss)
        metrics = {"train/loss": loss, "train/reconstruction": loss, "train/learning_rate": self.rate()}
        metrics |= self.epoch_metrics(train, data_of(self.trainer).val.x[:WATCHED])
        self.log_epoch(metrics)


def check_inputs(visible: Unit, data: Data) -> None:
    """Raise ``UserError`` unless units of the type ``visible`` can hold the training samples."""
    if not data.complete:
        raise UserError("data.missing: visible units need every value; set data.missing=fill")
    key = "model.visible"
    below = data.below[-1].hidden if data.below else None
    if visible == "bernoulli" and below not in (None, "bernoulli"):
        raise UserError(f"{key}: bernoulli needs inputs in [0, 1], which {below} units are not; take {below}")
    if visible == "bernoulli" and below is None and not data.unit_interval:
        raise UserError(f"{key}: bernoulli needs inputs in [0, 1], {data.name} has others; take gaussian")
    if visible == "relu" and float(data.train.x.min()) < 0:
        raise UserError(f"{key}: relu needs inputs of at least 0, {data.name} has others; take gaussian")
