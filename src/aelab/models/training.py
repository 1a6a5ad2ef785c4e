"""The training step that every variant shares, and how Lightning sees it: chunks, updates, rates, hooks, averages."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from aelab.data.batches import Data
from aelab.data.hooks import WITHIN, listeners
from aelab.data.loaders import seed_of
from aelab.data.parts import Batch, Split
from aelab.errors import UserError
from aelab.functional import likelihood as nll
from aelab.functional.corruption import Corruption
from aelab.models.divergence import loss_limit, stop_if_exploded, stop_if_not_finite

WATCHED = 1000  # samples that are looked at once per epoch
LAST_MINIBATCHES = 3  # of an epoch, by which it is seen whether the weights exploded
LEAST = 1e-12  # factor on a rate: L-BFGS divides by the step that it tries


def total(tensors: Iterable[Tensor]) -> Tensor:
    """Their sum, in order."""
    return reduce(add, tensors)


@contextmanager
def without_subnormals() -> Iterator[None]:
    """Inside, a float32 nearer to 0 than 1.2·10⁻³⁸ is 0 on the CPU, for this thread and those that torch starts inside.

    Adam's running means of a unit that fell silent decay until they are there, and stay for thousands of steps; they
    move no weight, but a processor takes many times as long over such a number. On an Intel one an autoencoder of
    rectified units trained at half its speed from the fourth epoch of MNIST on.
    """
    were_zero = not float(torch.tensor(1e-39) * 1.0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(were_zero)


class Training(NamedTuple):
    """How a model is trained, apart from what it is: none of it is needed to use the model afterwards."""

    optimizer: Callable[..., torch.optim.Optimizer]
    schedule: Callable[[float], float]
    corruption: Corruption
    clip: float | None
    epochs: int
    seed: int


def make_optimizer(
    make: Callable[..., torch.optim.Optimizer], parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """The optimiser of ``parameters``. Raises ``UserError`` naming the key of a value that torch refuses."""
    try:
        return make(parameters)
    except ValueError as error:  # torch says which option is out of range, but not its key
        options = getattr(make, "keywords", {})
        text = str(error).lower().replace("learning rate", "lr").replace("epsilon", "eps").replace("beta", "betas")
        key = next((f"optimizer.{name}" for name in options if re.search(rf"\b{name}\b", text)), "optimizer")
        raise UserError(f"{key}: {error}; give another value") from error


class Trained(pl.LightningModule):
    """Minimises Σ ``batch_terms`` on minibatches whose input is corrupted.

    Optimisation is manual, so that one call of ``training_step`` runs a chunk of minibatches: the Trainer's own cost is
    then paid once per chunk. Updates are what ``trainer.global_step`` counts. Where a callback, or the model, listens
    to single minibatches (:mod:`aelab.data.hooks`), each is a chunk of its own.
    """

    rate_key = "optimizer.lr"  # where the learning rate stands
    training_plan: Training  # given to a model that is to be trained
    progress = 0.0  # how far training is: 0 at the first minibatch, 1 at the last
    ramp = 0.0  # how far the corruption's strength is: 0 at the first minibatch, 1 throughout the last epoch
    _listeners: Sequence[Any] = ()  # callbacks, and the model itself, that have a hook within the update
    _batch_size: int | None = None  # of the minibatch in work
    _loss_limit: Tensor | None = None  # above it the weights exploded
    n_input: int

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self._backward: Callable[..., None] = Tensor.backward
        self._terms: dict[str, list[Tensor]] = {}
        self._sizes: list[int] = []
        self._validated: dict[str, Tensor] = {}

    # --- what a variant says --------------------------------------------------------------------------------------

    def batch_terms(self, batch: Batch, out: Any, weight: Tensor | None = None) -> dict[str, Tensor]:
        """Named terms, means over the batch; their sum is the loss. ``batch.x`` is clean, ``out`` of the corrupted."""
        raise NotImplementedError

    def loss_of(self, terms: dict[str, Tensor]) -> Tensor:
        """The loss out of its recorded terms."""
        return total(terms.values())

    def whole_terms(self, terms: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
        """``terms``, means over the samples of ``split``; a variant puts right one that is no mean over samples."""
        return terms

    def validation_metrics(self, batch: Batch, out: Any) -> dict[str, Tensor]:
        """Means over the batch that are watched beside the loss."""
        return {}

    def before_step(self) -> None:
        """Called between the backward pass and the update; a variant changes gradients here."""

    def after_step(self, out: Any) -> None:
        """Called after each update; a variant keeps constraints here."""

    # --- the loop -------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return make_optimizer(self.training_plan.optimizer, self.parameters())

    def on_train_start(self) -> None:
        self._listeners = listeners(self.trainer, WITHIN)
        if self._listeners or self.trainer.world_size > 1:
            self._backward = self.manual_backward  # what Lightning does round a backward costs a small net 3 %
        self._sizes, self._batches = [], self._loader.n_batches
        self._set_rate()
        if self._loss_limit is None:  # a resumed run has that of its start
            self._loss_limit = loss_limit(self.loss_at_start(), self.n_input).cpu()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["loss_limit"] = self._loss_limit

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._loss_limit = checkpoint.get("loss_limit")

    @torch.no_grad()
    def loss_at_start(self) -> Tensor:
        """The loss of the first training samples as the first and as the last step take it, the greater of the two.

        A weight of a term, or a corruption, may rise from 0.
        """
        batch, losses = self._loader.first(WATCHED), []
        for self.progress, self.ramp in ((1.0, 1.0), (0.0, 0.0)):
            losses.append(self.training_loss(batch))
        return torch.stack(losses).max()

    def on_train_epoch_start(self) -> None:
        """All randomness of an epoch follows from (seed, epoch, rank), so that no generator needs saving to resume."""
        torch.manual_seed(seed_of(self.training_plan.seed, self.current_epoch, 1 + self.global_rank))
        self._terms, self._sizes = {}, []

    @property
    def _loader(self) -> Any:
        """The training's :class:`aelab.data.batches.Chunks`."""
        return self.trainer.train_dataloader

    @property
    def _only_optimizer(self) -> torch.optim.Optimizer:
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)  # of configure_optimizers, bare
        return optimizer

    def _done(self) -> float:
        """``progress`` at the present minibatch."""
        step = self.current_epoch * self._batches + len(self._sizes)
        return min(1.0, step / max(1, self.training_plan.epochs * self._batches - 1))

    def _ramp(self) -> float:
        """``ramp`` at the present minibatch."""
        epochs = self.current_epoch + len(self._sizes) / self._batches
        return min(1.0, epochs / max(1, self.training_plan.epochs - 1))

    def _set_rate(self) -> None:
        """Set the rate of the next minibatch: whoever looks before it sees the one that it will have."""
        factor = max(self.training_plan.schedule(self._done()), LEAST)
        for group in self._only_optimizer.param_groups:
            group["lr"] = group.setdefault("base_lr", group["lr"]) * factor

    def training_step(self, chunk: Iterator[Batch] | Batch, index: int) -> Tensor | None:
        """Train on the minibatches of ``chunk``; the loss of one that comes alone."""
        with without_subnormals():
            return self._train_on(chunk)

    def _train_on(self, chunk: Iterator[Batch] | Batch) -> Tensor | None:
        alone, optimizer = isinstance(chunk, Batch), self._only_optimizer
        batches: Iterable[Batch] = [chunk] if isinstance(chunk, Batch) else chunk
        loop = self.trainer.fit_loop.epoch_loop
        before = len(self._sizes)
        for batch in batches:
            self.progress, self.ramp, self._batch_size = self._done(), self._ramp(), len(batch.x)
            self._rate = optimizer.param_groups[0]["lr"]
            self.minibatch_step(batch, optimizer)
            self._sizes.append(len(batch.x))
            loop.manual_optimization.optim_step_progress.increment_ready()
            loop.manual_optimization.optim_step_progress.increment_completed()  # trainer.global_step
            self._set_rate()
        self._batch_size = None
        loop._batches_that_stepped += len(self._sizes) - before - 1  # the step of loggers; the Trainer adds the last 1
        return self.loss_of({name: terms[-1] for name, terms in self._terms.items()}) if alone and self._terms else None

    def log(self, *arguments: Any, **options: Any) -> None:
        """As Lightning's; the size of a minibatch is known here, and could not be found in a chunk."""
        super().log(*arguments, **{"batch_size": self._batch_size, **options})

    def training_loss(self, batch: Batch) -> Tensor:
        """What a step on ``batch`` would go down from."""
        x, weight = self.corrupted(batch.x)
        return self.loss_of(self.batch_terms(batch, self(x), weight))

    def corrupted(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The input as a step of now sees it, and the weights of its entries in the loss, None for 1."""
        corruption = self.training_plan.corruption
        seen, touched = corruption(x, self.ramp)
        return seen, nll.emphasis(touched, corruption.alpha, corruption.beta)

    def minibatch_step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """Corrupt, encode, decode, compare with the clean input, update."""
        plan = self.training_plan
        x, weight = self.corrupted(batch.x)
        evaluations: list[tuple[Any, dict[str, Tensor]]] = []

        def closure() -> Any:  # a tensor; torch's type says float. A line search calls it several times
            self._tell("on_before_zero_grad", optimizer)
            optimizer.zero_grad()
            out = self(x)
            terms = self.batch_terms(batch, out, weight)
            loss = total(terms.values())
            self._backward(loss)
            self._tell("on_before_optimizer_step", optimizer)
            self.before_step()
            if plan.clip is not None:
                nn.utils.clip_grad_norm_(self.parameters(), plan.clip)
            evaluations.append((out, terms))
            return loss

        optimizer.step(closure)
        out, terms = evaluations[0]
        self.record(terms)
        self.after_step(out)

    def _tell(self, hook: str, optimizer: torch.optim.Optimizer) -> None:
        """Call a hook that Lightning calls in automatic optimisation only."""
        for listener in self._listeners:
            getattr(listener, hook)(*(() if listener is self else (self.trainer, self)), optimizer)

    def record(self, terms: dict[str, Tensor]) -> None:
        """Keep this minibatch's terms on the device; they are read once per epoch."""
        for name, term in terms.items():
            self._terms.setdefault(name, []).append(term.detach())

    def on_train_epoch_end(self) -> None:
        size = torch.tensor(self._sizes, dtype=torch.float32, device=self.device)
        terms = {name: torch.stack(values).float() for name, values in self._terms.items()}
        loss = self.loss_of(terms)
        stop_if_not_finite(loss, self.current_epoch, self.rate_key)
        averages = {name: (values * size).sum() / size.sum() for name, values in terms.items()}
        averages["loss"] = (loss * size).sum() / size.sum()
        self.stop_if_exploded(loss[-LAST_MINIBATCHES:].median())  # not the mean: one row far out is no explosion
        self.log_epoch({f"train/{k}": v for k, v in averages.items()} | {"train/learning_rate": self._rate})

    def stop_if_exploded(self, loss: Tensor) -> None:
        """Raise ``UserError`` if the ``loss`` at the end of an epoch is far above that of the start."""
        assert self._loss_limit is not None  # on_train_start set it
        stop_if_exploded(loss.cpu(), self._loss_limit, self.current_epoch, self.rate_key)

    def log_epoch(self, metrics: dict[str, Any]) -> None:
        """Log what an epoch came to and its validation together: loggers are told after the epoch was saved, once."""
        metrics = {**metrics, **self._validated}
        if self.trainer.world_size == 1 and not self.trainer.loggers:  # callbacks alone, whom log_dict tells at length
            for name, value in metrics.items():
                value = torch.as_tensor(value)
                value = value if value.is_floating_point() else value.float()
                self.trainer.callback_metrics[name] = self.trainer.logged_metrics[name] = value
        else:
            self.log_dict(metrics, sync_dist=self.trainer.world_size > 1)

    def validation_step(self, split: Split, index: int) -> None:
        """Loss terms and metrics of the whole validation set, clean."""
        self._validated = {f"val/{name}": value for name, value in self.means_over(split, watched=True).items()}
        if self.trainer.world_size == 1:  # there is nothing to be averaged, and log_dict costs twice the validation
            self.trainer.callback_metrics.update(self._validated)
        else:
            self.log_dict(self._validated, logger=False, sync_dist=True, batch_size=len(split.x))

    @torch.no_grad()
    def names_validated(self, data: Data) -> set[str]:
        """The names ``val/…`` that an epoch will log; nothing is changed, no draw of training either."""
        training = self.training
        with torch.random.fork_rng([]):
            names = self.eval().means_over(data.val, watched=True)
        self.train(training)
        return {f"val/{name}" for name in names}

    def means_over(self, split: Split, watched: bool) -> dict[str, Tensor]:
        """``loss`` and its terms over a whole split, clean, and if ``watched`` the ``validation_metrics``.

        Means over the samples, whatever batches they come in.
        """
        terms: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        for batch in split.batches():
            out, share = self(batch.x), len(batch.x) / len(split.x)
            for sums, values in (
                (terms, self.batch_terms(batch, out)),
                (metrics, self.validation_metrics(batch, out) if watched else {}),
            ):
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + value * share
        terms = self.whole_terms(terms, split)
        return {**terms, "loss": self.loss_of(terms), **metrics}
