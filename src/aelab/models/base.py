"""What every variant shares: the training step, what is logged, and the words encode, decode, reconstruct."""

import re
from collections.abc import Callable, Iterator
from math import prod
from typing import Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from aelab.data.batches import Batch, Data, Split, seed_of
from aelab.errors import UserError
from aelab.functional import likelihood as nll
from aelab.functional.corruption import Corruption
from aelab.models.divergence import stop_if_exploded, stop_if_not_finite
from aelab.rbm.layer import Layer

WATCHED = 1000  # samples that are looked at once an epoch
EXPLODED = 100.0  # times the cost of a constant reconstruction, as the mean of an epoch
Likelihood = Literal["bernoulli", "gaussian"]


class Output(NamedTuple):
    """``code`` (batch, code); ``output`` (batch, input): logits of Bernoulli inputs or means of Gaussian ones."""

    code: Tensor
    output: Tensor


class Training(NamedTuple):
    """How a model is trained, apart from what it is: none of it is needed to use the model afterwards."""

    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: Callable[[float], float]
    corruption: Corruption
    clip: float | None
    epochs: int
    seed: int


class Base(pl.LightningModule):
    """An autoencoder: x → code → x̂, trained on the sum of ``loss_terms`` against the clean input.

    A variant sets ``encoder`` and ``decoder`` (modules) and overrides only what differs: ``encode``, ``forward``,
    ``loss_terms``, ``after_step``, ``test_metrics``, ``figures``. Optimisation is manual, so that one call of
    ``training_step`` runs a chunk of minibatches: the Trainer's own cost is then paid once a chunk.
    """

    encoder: nn.Module
    decoder: nn.Module
    _backward = staticmethod(Tensor.backward)
    ignores: tuple[str, ...] = ()  # config nodes and keys that mean nothing to it: an override of one is refused
    rate_key = "optimizer.lr"  # where its learning rate stands
    reconstructs = True  # whether it has a decoder
    n_classes: int | None = None  # what a model with labels was built for

    def __init__(self, shape: tuple[int, ...], likelihood: Likelihood):
        super().__init__()
        self.automatic_optimization = False
        self.shape, self.n_input, self.likelihood = tuple(shape), prod(shape), likelihood
        self.training_plan: Training | None = None
        self.below: list[Layer] = []  # layers already learned that encoded this model's input
        self.progress = 0.0  # fraction of the whole training done, at the current minibatch
        self._terms: dict[str, list[Tensor]] = {}
        self._sizes: list[int] = []

    # --- the model -----------------------------------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        """x (batch, input) → code (batch, code)."""
        return self.encoder(x)

    def output(self, code: Tensor) -> Tensor:
        """code (batch, code) → logits of Bernoulli inputs or means of Gaussian ones (batch, input)."""
        return self.decoder(code)

    def mean(self, output: Tensor) -> Tensor:
        """What the decoder puts out → the expected input."""
        return output.sigmoid() if self.likelihood == "bernoulli" else output

    def decode(self, code: Tensor) -> Tensor:
        """code (batch, code) → the expected input (batch, input)."""
        return self.mean(self.output(code))

    def reconstruct(self, x: Tensor) -> Tensor:
        """x → x̂ (batch, input)."""
        return self.decode(self.encode(x))

    def forward(self, x: Tensor) -> Output:
        code = self.encode(x)
        return Output(code, self.output(code))

    def loss_terms(self, x: Tensor, out: Output, weight: Tensor | None = None) -> dict[str, Tensor]:
        """Named terms, means over the batch; their sum is the loss. ``x`` is the clean input."""
        return {"reconstruction": self.negative_log_likelihood(out.output, x, weight)}

    def batch_terms(self, batch: Batch, out: Output, weight: Tensor | None = None) -> dict[str, Tensor]:
        """``loss_terms`` of a batch; a model that learns from labels overrides this one."""
        return self.loss_terms(batch.x, out, weight)

    def validation_metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        """Means over the batch that are watched beside the loss: Σ (x̂ − x)² over inputs."""
        return {"squared_error": nll.squared_error(self.mean(out.output), batch.x)}

    def negative_log_likelihood(self, output: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """−log p(x | code), nats, summed over inputs, mean over the batch; Gaussian inputs have unit variance."""
        if self.likelihood == "bernoulli":
            return nll.bernoulli(output, x, weight)
        return nll.gaussian(output, x, 1.0, weight)

    def cost_of_a_constant(self, x: Tensor) -> Tensor:
        """|−log p(x | code)| when every reconstruction is the mean of the samples x, (batch, input)."""
        mean = x.mean(0, keepdim=True)
        output = mean.clamp(1e-3, 1 - 1e-3).logit() if self.likelihood == "bernoulli" else mean
        return self.negative_log_likelihood(output.expand_as(x), x).abs()

    # --- what a variant may add -------------------------------------------------------------------------------------

    def initialize_from(self, data: Data) -> None:
        """Set what is better taken from the training data than drawn: called once, before the first step."""
        if self.likelihood == "bernoulli" and not data.unit_interval and not data.below:
            raise UserError(
                f"model.likelihood: bernoulli needs inputs in [0, 1], which {data.name} has not; take gaussian"
            )

    def before_step(self) -> None:
        """Called between the backward pass and the update; a variant changes gradients here."""

    def after_step(self, out: Output) -> None:
        """Called after each update; a variant keeps constraints here."""

    def layer(self) -> Layer | None:
        """This model as one layer of units, if it is one."""
        return None

    def hand_on(self) -> list[Layer]:
        """The layers that a later stage of a chain may stand on: those below and its own; none if it is no layer."""
        own = self.layer()
        return [] if own is None else [*self.below, own]

    def test_metrics(self, data: Data) -> dict[str, float]:
        """The variant's own figures, without the prefix ``test/``."""
        return {}

    def figures(self, data: Data) -> dict[str, object]:
        """The variant's own matplotlib figures by file name."""
        return {}

    def encoder_filters(self) -> Tensor | None:
        """(units, input): what the first hidden units look for, when they see the whole input."""
        linears = [m for m in self.encoder.modules() if isinstance(m, nn.Linear)]
        return linears[0].weight if linears and linears[0].in_features == self.n_input else None

    def decoder_filters(self) -> Tensor | None:
        """(units, input): what the last hidden units draw."""
        weights = [m.weight for m in self.decoder.modules() if getattr(m, "weight", None) is not None]
        sides = [w.t() if w.shape[0] == self.n_input else w for w in weights if w.ndim == 2]
        return sides[-1] if sides and sides[-1].shape[1] == self.n_input else None

    # --- training ---------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> torch.optim.Optimizer:
        try:
            return self.training_plan.optimizer(self.parameters())
        except ValueError as error:  # torch says which option is out of range, but not its key
            options = getattr(self.training_plan.optimizer, "keywords", {})
            text = str(error).lower().replace("learning rate", "lr").replace("epsilon", "eps").replace("beta", "betas")
            key = next((f"optimizer.{name}" for name in options if re.search(rf"\b{name}\b", text)), "optimizer")
            raise UserError(f"{key}: {error}; give another value") from error

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["aelab"] = {"shape": list(self.shape), "n_classes": self.n_classes}

    def on_train_epoch_start(self) -> None:
        """All randomness of an epoch follows from (seed, epoch, rank), so that no generator needs saving to resume."""
        torch.manual_seed(seed_of(self.training_plan.seed, self.current_epoch, 1 + self.global_rank))
        self._terms, self._sizes = {}, []
        self._batches = self.trainer.train_dataloader.n_batches
        if self.trainer.world_size > 1:  # Lightning's hooks round a backward cost a small net 3 %: only where needed
            self._backward = self.manual_backward

    def training_step(self, chunk: Iterator[Batch], index: int) -> None:
        optimizer = self.optimizers(use_pl_optimizer=False)
        for batch in chunk:
            self.progress = (self.current_epoch + len(self._sizes) / self._batches) / self.training_plan.epochs
            self.minibatch_step(batch, optimizer)
            self._sizes.append(len(batch.x))

    def minibatch_step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """Corrupt, encode, decode, compare with the clean input, update."""
        plan = self.training_plan
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("base_lr", group["lr"]) * plan.schedule(self.progress)
        corrupted = plan.corruption(batch.x, self.progress)
        weight = nll.emphasis(corrupted.touched, plan.corruption.alpha, plan.corruption.beta)
        evaluations: list[tuple[Output, dict[str, Tensor]]] = []

        def closure() -> Tensor:  # an optimiser with a line search calls it several times
            optimizer.zero_grad()
            out = self(corrupted.x)
            terms = self.batch_terms(batch, out, weight)
            loss = sum(terms.values())
            self._backward(loss)
            self.before_step()
            if plan.clip is not None:
                nn.utils.clip_grad_norm_(self.parameters(), plan.clip)
            evaluations.append((out, terms))
            return loss

        optimizer.step(closure)
        out, terms = evaluations[0]
        self.record(terms)
        self.after_step(out)

    def record(self, terms: dict[str, Tensor]) -> None:
        """Keep this minibatch's terms on the device; they are read once an epoch."""
        for name, term in terms.items():
            self._terms.setdefault(name, []).append(term.detach())

    def on_train_epoch_end(self) -> None:
        size = torch.tensor(self._sizes, dtype=torch.float32, device=self.device)
        terms = {name: torch.stack(values).float() for name, values in self._terms.items()}
        loss = self.loss_of(terms)
        stop_if_not_finite(loss, self.current_epoch, self.rate_key)
        averages = {name: (values * size).sum() / size.sum() for name, values in terms.items()}
        averages["loss"] = (loss * size).sum() / size.sum()
        if "reconstruction" in averages:
            limit = EXPLODED * self.cost_of_a_constant(self.trainer.train_dataloader.split.x[:WATCHED])
            stop_if_exploded(averages["reconstruction"], limit, self.current_epoch, self.rate_key)
        self.log_dict({f"train/{k}": v for k, v in averages.items()}, sync_dist=self.trainer.world_size > 1)
        self.log("train/learning_rate", self.optimizers(use_pl_optimizer=False).param_groups[0]["lr"])

    def loss_of(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss out of its recorded terms."""
        return sum(terms.values())

    def validation_step(self, split: Split, index: int) -> None:
        """Loss terms and metrics of the whole validation set, clean."""
        sums: dict[str, Tensor] = {}
        for batch in split.batches():
            out = self(batch.x)
            terms = self.batch_terms(batch, out)
            terms = {**terms, "loss": self.loss_of(terms), **self.validation_metrics(batch, out)}
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term * len(batch.x)
        n = len(split.x)
        self.log_dict({f"val/{k}": v / n for k, v in sums.items()}, sync_dist=self.trainer.world_size > 1, batch_size=n)
