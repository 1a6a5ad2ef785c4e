"""What every variant is: the words encode, decode, reconstruct, its loss, and what is measured and drawn of it."""

import inspect
from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from aelab.data.batches import Data, data_of
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.functional import likelihood as nll
from aelab.functional.corruption import Corruption
from aelab.models import filters
from aelab.models.filters import Filters
from aelab.models.training import Trained
from aelab.rbm.density import Density
from aelab.rbm.layer import Layer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Figures = Mapping[str, "Figure"]  # by file name
Likelihood = Literal["bernoulli", "gaussian"]
DRAWS = 10  # of the code, for each input, where −log p(x) of single inputs is estimated


class Output(NamedTuple):
    """``code`` (batch, code); ``output`` (batch, input): logits of Bernoulli inputs or means of Gaussian ones."""

    code: Tensor
    output: Tensor


class Model(Trained):
    """An autoencoder: x → code → x̂, trained on the sum of ``loss_terms`` against the clean input.

    A variant sets ``encoder`` and ``decoder`` (modules) and overrides only what differs: ``encode``, ``forward``,
    ``loss_terms``, ``after_step``, ``test_metrics``, ``figures``.
    """

    encoder: nn.Module
    decoder: nn.Module
    ignores: Mapping[str, str] = {}  # config nodes and keys that mean nothing to it, and what does what they would
    reconstructs = True  # whether it has a decoder
    of_training: tuple[str, ...] = ()  # beginnings of buffers that only its training needs: momentum, chains of draws
    made_from_layers = False  # whether it is made from the layers below, its argument ``below``, or stands on them
    classifies = False  # whether it gives labels
    classify: Callable[[Tensor], Tensor]  # then x (batch, input) → probabilities (batch, class)
    losses_apart: tuple[str, str] | None = None  # what the loss of training and that of validation are, if two things
    normal_prior = False  # whether codes are N(0, 1) a priori
    n_classes: int | None = None  # what a model with labels was built for
    corruption: Corruption | None = None  # what its input went through in training
    softmax = True  # whether one-hot inputs of a category have a softmax likelihood of their own
    categories: tuple[int, ...] = ()  # sizes of the groups of such inputs, the last of all
    sigma = 1.0  # standard deviation of Gaussian inputs

    def __init__(self, shape: tuple[int, ...], likelihood: Likelihood):
        super().__init__()
        self.shape, self.n_input, self.likelihood = tuple(shape), prod(shape), likelihood
        self.below: list[Layer] = []  # layers already learned that encoded this model's input

    # --- the model -----------------------------------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        """x (batch, input) → code (batch, code)."""
        return self.encoder(x)

    def output(self, code: Tensor) -> Tensor:
        """code (batch, code) → logits of Bernoulli inputs and categories, means of Gaussian ones (batch, input)."""
        return self.decoder(code)

    def mean(self, output: Tensor) -> Tensor:
        """What the decoder puts out → the expected input."""
        expected = output.sigmoid() if self.likelihood == "bernoulli" else output
        if self.categories:
            start = self.n_input - sum(self.categories)
            expected = torch.cat([expected[..., :start], nll.softmax(output[..., start:], self.categories)], -1)
        return expected

    def decode(self, code: Tensor) -> Tensor:
        """code (batch, code) → the expected input (batch, input)."""
        return self.mean(self.output(code))

    def reconstruct(self, x: Tensor) -> Tensor:
        """x → x̂ (batch, input)."""
        return self.decode(self.encode(x))

    def forward(self, x: Tensor) -> Any:
        """What the loss is computed from, a variant's own ``out``; here an ``Output``."""
        code = self.encode(x)
        return Output(code, self.output(code))

    def loss_terms(self, x: Tensor, out: Any, weight: Tensor | None = None) -> dict[str, Tensor]:
        """Named terms, means over the batch; their sum is the loss. ``x`` is the clean input."""
        return {"reconstruction": self.negative_log_likelihood(out.output, x, weight)}

    def batch_terms(self, batch: Batch, out: Any, weight: Tensor | None = None) -> dict[str, Tensor]:
        """``loss_terms`` of a batch, of what was observed; a model that learns from labels overrides this one."""
        return self.loss_terms(batch.x, out, nll.only_observed(weight, batch.observed))

    def validation_metrics(self, batch: Batch, out: Any) -> dict[str, Tensor]:
        """Means over the batch that are watched beside the loss: Σ (x̂ − x)² over inputs."""
        observed = nll.only_observed(None, batch.observed)
        return {"squared_error": nll.squared_error(self.mean(out.output), batch.x, observed)}

    def negative_log_likelihood(self, output: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """−log p(x | code), nats, summed over inputs, mean over the batch; Gaussian inputs have unit variance."""
        if self.categories:
            return self.negative_log_likelihood_per_sample(output, x, weight).mean()
        if self.likelihood == "bernoulli":
            return nll.bernoulli(output, x, weight)
        return nll.gaussian(output, x, self.sigma, weight)

    def negative_log_likelihood_per_sample(self, output: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """−log p(x | code), nats, (…, batch), of ``output`` (…, batch, input); numbers first, then categories."""
        start = self.n_input - sum(self.categories)
        numbers = output[..., :start], x[..., :start], None if weight is None else weight[..., :start]
        if self.likelihood == "bernoulli":
            cost = nll.bernoulli_per_sample(*numbers)
        else:
            cost = nll.gaussian_per_sample(numbers[0], numbers[1], self.sigma, numbers[2])
        if self.categories:
            groups = output[..., start:], x[..., start:], None if weight is None else weight[..., start:]
            cost = cost + nll.categorical_per_sample(*groups, self.categories)
        return cost

    def loss_constant(self, data: Data) -> float:
        """n (log σ + ½ log 2π): what of the loss no weights can change, of n Gaussian inputs; 0 of Bernoulli ones."""
        if not self.reconstructs or self.likelihood != "gaussian":
            return 0.0
        n, observed = self.n_input - sum(self.categories), data.val.observed
        entries = n if observed is None else float(observed[:, :n].sum()) / len(observed)
        return entries * nll.log_normalizer(self.sigma)

    def constant_output(self, mean: Tensor) -> Tensor:
        """What the decoder has to put out, (input,), for the expected input to be ``mean``."""
        output = nll.log_odds(mean) if self.likelihood == "bernoulli" else mean.clone()
        start = self.n_input - sum(self.categories)
        output[..., start:] = mean[..., start:].clamp(min=1e-3).log()
        return output

    # --- what a variant may add -------------------------------------------------------------------------------------

    def initialize_from(self, data: Data) -> None:
        """Set what is better taken from the training data than drawn: called once, before the first step."""
        if self.likelihood == "bernoulli" and not data.unit_interval:
            what = f"the code of the {data.below[-1].hidden} units below" if data.below else data.name
            if "likelihood" in inspect.signature(type(self)).parameters:
                raise UserError(
                    f"model.likelihood: bernoulli needs inputs in [0, 1], which {what} has not; take gaussian"
                )
            raise UserError(
                f"data: {type(self).__name__} needs inputs in [0, 1], which {what} has not; numbers of your own get "
                "there by data.scale=minmax data.clip=[0,1]"
            )

    def layer(self) -> Layer | None:
        """This model as one layer of units, if it is one."""
        return None

    def learned_layers(self) -> list[Layer]:
        """The layers that a later stage of a chain may stand on: those below and its own; none if it is no layer."""
        own = self.layer()
        return [] if own is None else [*self.below, own]

    def density(self) -> Density | None:
        """log p(x) up to an RBM's log Z, if that is what this model says of an input."""
        return None

    @property
    def has_log_p(self) -> bool:
        """Whether it says how probable an input is."""
        return self.density() is not None

    def minus_log_p(self, x: Tensor, observed: Tensor | None) -> Tensor:
        """−log p(x) of each input (batch,), nats, of what was ``observed``; an RBM's lacks its log Z, a constant."""
        density = self.density()
        assert density is not None
        return -density.log_f(x, DRAWS)

    def sample(self, n: int, steps: int, label: int | None) -> Tensor:
        """``n`` inputs (n, input) as the model expects them; ``steps`` of Gibbs sampling, for a ``label``, where it
        has these."""
        raise UserError(f"run: {type(self).__name__} is no distribution to draw from; take a vae or an rbm, say")

    def refuse_label(self, label: int | None) -> None:
        """Raise ``UserError`` for a ``label`` to draw samples of: this model has none."""
        if label is not None:
            raise UserError(f"sample.label: {type(self).__name__} draws samples of no label; leave it out")

    def test_metrics(self, data: Data) -> dict[str, float]:
        """The variant's own figures, without the prefix ``test/``."""
        return {}

    def figures(self, data: Data) -> Figures:
        """The variant's own figures; whose they are is written on them afterwards."""
        return {}

    def tables(self, data: Data) -> dict[str, list[dict[str, object]]]:
        """What of the variant is read rather than looked at: rows of cells by file name, left as NAME.csv."""
        return {}

    def units_used(self, x: Tensor) -> int:
        """Code units that carry a sample, of those of ``x``: what PCA is given to be compared with it."""
        return self.encode(x[:1]).shape[1]

    def code_activity(self, x: Tensor) -> Tensor:
        """(samples, code): what the code units put out, as far as it counts; one that does not change is silent."""
        return self.encode(x)

    def encoder_filters(self, x: Tensor) -> Filters | None:
        """What the first hidden units look for, and put out for the samples ``x``."""
        return filters.of_encoder(self, x)

    def decoder_filters(self, x: Tensor) -> Filters | None:
        """What the last hidden units draw, and put out for the samples ``x``."""
        return filters.of_decoder(self, x)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["aelab"] = {
            "shape": list(self.shape), "n_classes": self.n_classes, "categories": list(self.categories),
            "loss_constant": self.loss_constant(data_of(self.trainer)),
        }  # fmt: skip
