"""The deep belief network: a stack of RBMs as one generative net, fine-tuned by up-down (Hinton et al. 2006)."""

import torch
from torch import Tensor, nn

from aelab.data.batches import Data
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.functional.classification import class_error
from aelab.models.base import Figures, Output
from aelab.models.by_rule import ByRule, check_inputs
from aelab.models.filters import Filters
from aelab.ranges import BelowOne, Count, Natural, NonNegative, Positive
from aelab.rbm import diagnostics
from aelab.rbm.density import Density, of_belief_network
from aelab.rbm.kernels import linear, momentum_ascent_
from aelab.rbm.layer import Layer, check_fit, mean_h_given_v, mean_v_given_h, weights_down
from aelab.rbm.wake_sleep import generate, label_log_probabilities, up_down

FANTASIES = 10  # pictures in a row, and rows where there are no labels


class DeepBeliefNetwork(ByRule):
    """p(v, s_1, …, h) = p(v | s_1) ⋯ p_top(s_L, h): the layer below that was learned last is the RBM on top.

    At first the ways up and down are those of the layers below, which RBMs share; up-down unties them. With ``labels``
    the top's visible layer has one more softmax group of units, the label. Their weights start at 0, so that the RBMs
    are the ones that any chain trains, and are learned here (``top_only_epochs``: at first they alone with the top).
    The code is then that of the top given x and the label's probabilities.
    """

    made_from_layers = True

    def __init__(
        self, shape: tuple[int, ...], below: list[Layer], n_classes: int | None, labels: bool, learning_rate: Positive,
        momentum: BelowOne, weight_decay: NonNegative, steps: Count, top_only_epochs: Natural, fantasy_steps: Count,
    ):  # fmt: skip
        if not below:
            raise UserError(
                "below: a deep belief network is made of RBMs already learned; give below=FOLDER, or a chain"
            )
        super().__init__(shape, "bernoulli" if below[0].visible == "bernoulli" else "gaussian")
        check_fit(below, "below", self.n_input)
        if below[-1].W_down is not None:
            raise UserError(
                "below: the layer on top must be an RBM, this one has other weights down than up; tie the autoencoder's"
            )
        if labels and n_classes is None:
            raise UserError("model.labels: this data set has no labels; set it to false")
        if labels and below[-1].visible != "bernoulli":
            raise UserError(
                f"model.labels: label units stand beside bernoulli units, not {below[-1].visible}; set it to false"
            )
        self.n_labels, self.classifies = (n_classes or 0) if labels else 0, labels
        self.learning_rate, self.momentum, self.weight_decay = learning_rate, momentum, weight_decay
        self.steps, self.top_only_epochs, self.fantasy_steps = steps, top_only_epochs, fantasy_steps
        self.units = [(layer.hidden, layer.visible) for layer in below]
        *lower, top = below
        extra = top.W.new_zeros(self.n_labels, top.W.shape[1])
        tops = torch.cat([top.W, extra]), top.b_hidden, torch.cat([top.b_visible, extra.new_zeros(self.n_labels)])
        self.up_W, self.up_b = _copies(layer.W for layer in lower), _copies(layer.b_hidden for layer in lower)
        self.down_W = _copies(weights_down(layer) for layer in lower)
        self.down_b = _copies(layer.b_visible for layer in lower)
        self.top = _copies(tops)
        for number, parameter in enumerate(self.parameters()):
            self.register_buffer(f"velocity_{number}", torch.zeros_like(parameter))
        log_var = below[0].log_var_visible
        self.register_buffer("log_var_visible", None if log_var is None else log_var.clone())

    # --- the model -----------------------------------------------------------------------------------------------

    def recognition(self) -> list[Layer]:
        """The directed layers on the way up, as values: of each W and b_hidden are used."""
        return self._lower(self.up_W)

    def generative(self) -> list[Layer]:
        """The directed layers on the way down, as values: of each W and b_visible are used."""
        return self._lower(self.down_W)

    def top_rbm(self, labels: bool = True) -> Layer:
        """The RBM on top, its label units the last of its visible ones, or left out."""
        W, b_hidden, b_visible = (parameter.detach() for parameter in self.top)
        n = len(W) if labels else len(W) - self.n_labels
        return Layer(W[:n], b_hidden, b_visible[:n], *self.units[-1], None if len(self.up_W) else self.log_var_visible)

    def learned_layers(self) -> list[Layer]:
        """The way up, with the weights and visible biases of the way down, and the top without labels."""
        ways = zip(self.recognition(), self.down_W)
        lower = [up if torch.equal(up.W, down) else up._replace(W_down=down.detach()) for up, down in ways]
        return [*lower, self.top_rbm(labels=False)]

    def density(self) -> Density:
        return of_belief_network(self.recognition(), self.generative(), self.top_rbm(), self.n_labels)

    def features(self, x: Tensor) -> list[Tensor]:
        """x (batch, input) → the means of each layer, from the lowest to the code."""
        means = []
        for layer in self.recognition():
            x = mean_h_given_v(x, layer)
            means.append(x)
        if self.n_labels:
            x = torch.cat([x, label_log_probabilities(x, self.top_rbm(), self.n_labels).exp()], 1)
        return [*means, mean_h_given_v(x, self.top_rbm())]

    def encode(self, x: Tensor) -> Tensor:
        return self.features(x)[-1]

    def output(self, code: Tensor) -> Tensor:
        lowest, *others = [*self.generative(), self.top_rbm(labels=False)]
        for layer in reversed(others):
            code = mean_v_given_h(code, layer)
        if lowest.visible == "bernoulli":
            return linear(code, lowest.W.t(), lowest.b_visible)  # logits
        return mean_v_given_h(code, lowest)

    def generate(self, n: int, steps: int, label: int | None = None) -> Tensor:
        """n pictures (n, input), of ``label``: ``steps`` of Gibbs sampling in the top from noise, one pass down."""
        top = self.top_rbm()
        shape = n, len(top.W) - self.n_labels
        make = torch.randn if top.visible == "gaussian" else torch.rand
        held = None if label is None else torch.eye(self.n_labels, device=top.W.device)[label].expand(n, -1)
        return generate(make(shape, device=top.W.device), top, self.generative(), steps, held, self.n_labels)

    @torch.no_grad()
    def sample(self, n: int, steps: int, label: int | None) -> Tensor:
        if label is not None and not 0 <= label < self.n_labels:
            has = f"labels 0 to {self.n_labels - 1}" if self.n_labels else "no labels"
            raise UserError(f"sample.label: the net has {has}, got {label}")
        return self.generate(n, steps, label)

    def classify(self, x: Tensor) -> Tensor:
        """x (batch, input) → probabilities of the labels (batch, class): p_top(label | the layer below the top)."""
        for layer in self.recognition():
            x = mean_h_given_v(x, layer)
        return label_log_probabilities(x, self.top_rbm(), self.n_labels).exp()

    def encoder_filters(self, x: Tensor) -> Filters:
        W = self.up_W[0] if len(self.up_W) else self.top_rbm(labels=False).W
        return Filters(W.detach().t(), self.features(x)[0])

    def decoder_filters(self, x: Tensor) -> Filters:
        W = self.down_W[0] if len(self.down_W) else self.top_rbm(labels=False).W
        return Filters(W.detach().t(), self.features(x)[0])

    # --- training ---------------------------------------------------------------------------------------------------

    def initialize_from(self, data: Data) -> None:
        check_inputs(self.units[0][1], data)
        if self.n_labels:
            data.check_labels(self.n_labels)
        if self.training_plan.epochs and any("relu" in units for units in self.units):
            raise UserError("train.epochs: up-down is for bernoulli and gaussian units, not relu; set it to 0")

    @torch.no_grad()
    def minibatch_step(self, batch: Batch, optimizer: object) -> None:
        """Up from the data, down from a sample of the top, each way teaching the other; then a step with momentum."""
        label = nn.functional.one_hot(batch.target, self.n_labels).to(batch.x) if self.n_labels else None
        step = up_down(batch.x, label, self.recognition(), self.generative(), self.top_rbm(), self.steps)
        ways = [tensors for way in (step.recognition, step.generative) for tensors in zip(*way)]
        gradients = self.over_devices([tensor for tensors in (*ways, step.top[:3]) for tensor in tensors])
        named = list(enumerate(self.parameters()))
        if self.current_epoch < self.top_only_epochs:
            named = named[-3:]
        for decay, ndim in ((self.weight_decay, 2), (0.0, 1)):
            numbers = [number for number, parameter in named if parameter.ndim == ndim]
            params = [parameter.detach() for _, parameter in named if parameter.ndim == ndim]
            velocities = [getattr(self, f"velocity_{number}") for number in numbers]
            grads = [gradients[number] for number in numbers]
            momentum_ascent_(params, grads, velocities, self.rate(), self.momentum, decay)

    # --- what is watched ----------------------------------------------------------------------------------------------

    def epoch_metrics(self, train: Tensor, val: Tensor) -> dict[str, Tensor]:
        numbers = len(list(self.parameters())) - 3
        return diagnostics.step_sizes(self.top[0].detach(), self.rate() * getattr(self, f"velocity_{numbers}"))

    def validation_metrics(self, batch: Batch, out: Output) -> dict[str, Tensor]:
        metrics = super().validation_metrics(batch, out)
        if self.n_labels:
            metrics["class_error"] = class_error(self.classify(batch.x).argmax(1), batch.target)
        return metrics

    def figures(self, data: Data) -> Figures:
        """Pictures that the net generates, one row for each label where it has labels."""
        from aelab.functional.drawing import images

        if not images.is_image(data.pixel_shape):
            return {}
        torch.manual_seed(0)
        title = f"Generated: {self.fantasy_steps} Gibbs steps in the top RBM, then one pass down"
        if self.n_labels:
            names = {label: data.schema.class_name(label) for label in range(self.n_labels)}
            rows = {f"label {n}": self.generate(FANTASIES, self.fantasy_steps, label) for label, n in names.items()}
            return {"generated": images.image_rows(title, rows, data.pixel_shape)}
        pictures = self.generate(FANTASIES**2, self.fantasy_steps)
        return {"generated": images.image_mosaic(title, pictures, data.pixel_shape, FANTASIES)}

    def _lower(self, weights: nn.ParameterList) -> list[Layer]:
        layers = []
        for number, (W, b_hidden, b_visible) in enumerate(zip(weights, self.up_b, self.down_b)):
            log_var = None if number else self.log_var_visible
            tensors = W.detach(), b_hidden.detach(), b_visible.detach()
            layers.append(Layer(*tensors, *self.units[number], log_var))
        return layers


def _copies(tensors) -> nn.ParameterList:
    return nn.ParameterList([nn.Parameter(tensor.clone()) for tensor in tensors])
