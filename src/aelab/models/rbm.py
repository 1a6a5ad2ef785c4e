"""The restricted Boltzmann machine, trained by contrastive divergence: a stage of a deep net, or a density alone."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from aelab import contrastive_divergence as cd
from aelab import monitors
from aelab.data.batches import Batch, Data
from aelab.errors import UserError
from aelab.kernels import linear
from aelab.layer import Layer, Unit, mean_h_given_v, mean_v_given_h
from aelab.models.base import Base
from aelab.partition import enumerable_units, log_likelihood_exact

WATCHED = 1000  # samples of each set that the monitors see once an epoch
EXACT = 20  # fewer enumerable units than this: the likelihood is summed, not estimated
EXPLODED = 10.0  # times the cost of a constant reconstruction
FANTASIES = 10  # chains of each kind in the picture


class RBM(Base):
    """p(v, h) ∝ exp(−E(v, h)); the code is the hidden units' mean given v, the reconstruction v's mean given the code.

    The update is the rule itself (:mod:`aelab.contrastive_divergence`), without autograd. What a run needs to go on
    where it stopped (velocities, chains, sliding means) are buffers, and so part of the checkpoint.
    ``loss`` is the reconstruction's −log p(v | code): what is watched, not what is minimised.
    """

    ignores = ("optimizer", "corruption", "train.clip")
    rate_key = "model.learning_rate"

    def __init__(
        self, shape: tuple[int, ...], n_hidden: int, visible: Unit, hidden: Unit, learn_variance: bool, steps: int,
        persistent: bool, n_chains: int, mean_field_visible: bool, learning_rate: float, momentum_start: float,
        momentum_epochs: int, momentum: float, weight_decay: float, sparsity_target: float, sparsity_cost: float,
        centring: bool, averaging: float, weight_std: float, bias_start: Literal["zero", "data"],
    ):  # fmt: skip
        super().__init__(shape, "bernoulli" if visible == "bernoulli" else "gaussian")
        for key, count in (("n_hidden", n_hidden), ("steps", steps), ("n_chains", n_chains)):
            _require(count >= 1, key, count, "must be at least 1")
        for key, value in (("momentum_start", momentum_start), ("momentum", momentum), ("averaging", averaging)):
            _require(0 <= value < 1, key, value, "must be at least 0 and below 1")
        least_0 = {"weight_decay": weight_decay, "sparsity_cost": sparsity_cost, "weight_std": weight_std}
        for key, value in {**least_0, "momentum_epochs": momentum_epochs}.items():
            _require(0 <= value < math.inf, key, value, "must be at least 0")
        _require(0 < learning_rate < math.inf, "learning_rate", learning_rate, "must be above 0")
        _require(0 < sparsity_target < 1, "sparsity_target", sparsity_target, "must be between 0 and 1")
        if sparsity_cost and hidden != "bernoulli":
            raise UserError(f"model.sparsity_cost: {hidden} hidden units have no activity to make sparse; set it to 0")
        if learn_variance and visible != "gaussian":
            raise UserError(f"model.learn_variance: {visible} visible units have no variance; set it to false")
        self.visible, self.hidden = visible, hidden
        self.steps, self.mean_field_visible = steps, mean_field_visible
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.momentum_start, self.momentum_epochs, self.momentum = momentum_start, momentum_epochs, momentum
        self.sparsity_target, self.sparsity_cost = sparsity_target, sparsity_cost
        self.centring, self.averaging, self.bias_start = centring, averaging, bias_start
        n_visible = self.n_input
        self.W = nn.Parameter(weight_std * torch.randn(n_visible, n_hidden))
        self.b_hidden = nn.Parameter(torch.zeros(n_hidden))
        self.b_visible = nn.Parameter(torch.zeros(n_visible))
        self.log_var_visible = nn.Parameter(torch.zeros(n_visible)) if learn_variance else None
        for name, zeros in zip(cd.Gradient._fields, cd.zero_velocity(self.layer())):
            self.register_buffer(f"velocity_{name}", zeros)
        self.register_buffer("chains", torch.zeros(n_chains, n_visible) if persistent else None)
        self.register_buffer("mean_visible", torch.zeros(n_visible))
        self.register_buffer("mean_hidden", torch.full((n_hidden,), 0.5))

    # --- the model -----------------------------------------------------------------------------------------------

    def layer(self) -> Layer:
        """The machine as a value: live tensors, without gradients. Centring leaves nothing to be exported."""
        log_var = None if self.log_var_visible is None else self.log_var_visible.detach()
        parameters = self.W.detach(), self.b_hidden.detach(), self.b_visible.detach()
        return Layer(*parameters, self.hidden, self.visible, log_var)

    def encode(self, x: Tensor) -> Tensor:
        return mean_h_given_v(x, self.layer())

    def output(self, code: Tensor) -> Tensor:
        if self.visible == "bernoulli":
            return linear(code, self.W.detach().t(), self.b_visible.detach())  # logits
        return mean_v_given_h(code, self.layer())

    def negative_log_likelihood(self, output: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """As every model's, but Gaussian visible units have the variance that they learned."""
        if self.log_var_visible is None:
            return super().negative_log_likelihood(output, x, weight)
        log_var = self.log_var_visible.detach()
        terms = ((x - output) ** 2 * torch.exp(-log_var) + log_var + math.log(2 * math.pi)) / 2
        return (terms if weight is None else terms * weight).sum(-1).mean()

    def encoder_filters(self) -> Tensor:
        return self.W.detach().t()

    def decoder_filters(self) -> None:
        """None: they are the encoder's."""

    # --- training ---------------------------------------------------------------------------------------------------

    def initialize_from(self, data: Data) -> None:
        """Chains start at training samples, sliding means at the training set's, visible biases there if asked to."""
        if self.visible == "bernoulli":
            below = data.below[-1].hidden if data.below else None
            if below not in (None, "bernoulli"):
                raise UserError(
                    f"model.visible: bernoulli needs inputs in [0, 1], which {below} units are not; take {below}"
                )
            if below is None and not data.unit_interval:
                raise UserError(
                    f"model.visible: bernoulli needs inputs in [0, 1], {data.name} has others; take gaussian"
                )
        x = data.train.x
        self.mean_visible.copy_(x.mean(0))
        if self.bias_start == "data":
            mean = self.mean_visible
            self.b_visible.data.copy_(mean.clamp(1e-3, 1 - 1e-3).logit() if self.visible == "bernoulli" else mean)
        self.mean_hidden.copy_(monitors.unit_activity(self.layer(), x[:WATCHED]))
        if self.chains is not None:
            self.chains.copy_(x[torch.randint(len(x), (len(self.chains),))])

    def configure_optimizers(self) -> None:
        """None: the rule updates the weights."""

    @torch.no_grad()
    def minibatch_step(self, batch: Batch, optimizer: object) -> None:
        """Two phases, their difference, a step with momentum."""
        rbm = self.layer()
        phases = cd.contrastive_divergence(batch.x, rbm, self.steps, self.chains, self.mean_field_visible)
        gradient = cd.gradient(phases, rbm, learn_log_var=self.log_var_visible is not None)
        if self.chains is not None:
            self.chains.copy_(phases.v_model)
        if self.sparsity_cost or self.centring:
            self.mean_visible.lerp_(phases.v_data.mean(0), 1 - self.averaging)
            self.mean_hidden.lerp_(phases.h_data.mean(0), 1 - self.averaging)
        if self.sparsity_cost:
            target, cost = self.sparsity_target, self.sparsity_cost
            gradient = cd.sparse(gradient, phases, self.mean_hidden, target, cost, rbm)
        if self.centring:
            gradient = cd.centred(gradient, self.mean_visible, self.mean_hidden, rbm)
        gradient = self._over_devices(gradient)
        cd.update_(rbm, self.velocity(), gradient, self.rate(), self.momentum_now(), self.weight_decay)

    def velocity(self) -> cd.Gradient:
        """The last step in units of the gradient."""
        return cd.Gradient(*(getattr(self, f"velocity_{name}") for name in cd.Gradient._fields))

    def rate(self) -> float:
        """The learning rate at the present minibatch."""
        return self.learning_rate * self.training_plan.schedule(self.progress)

    def momentum_now(self) -> float:
        return self.momentum_start if self.current_epoch < self.momentum_epochs else self.momentum

    def _over_devices(self, gradient: cd.Gradient) -> cd.Gradient:
        """The mean over all devices, each of which has its share of the minibatch: one message for all parameters."""
        if self._trainer is None or self.trainer.world_size == 1:
            return gradient
        parts = [part for part in gradient if part is not None]
        flat = self.trainer.strategy.reduce(torch.cat([part.flatten() for part in parts]), reduce_op="mean")
        parts = [piece.view_as(part) for piece, part in zip(flat.split([part.numel() for part in parts]), parts)]
        return cd.Gradient(*parts)

    # --- what is watched ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def on_train_epoch_end(self) -> None:
        loader, val = self.trainer.train_dataloader, self.trainer.datamodule.val.x[:WATCHED]
        train = loader.augment(loader.split.x[:WATCHED])  # as training sees it
        loss = self.negative_log_likelihood(self(train).output, train)
        self._stop_if_exploded(loss, train)
        metrics = {"train/loss": loss, "train/reconstruction": loss, **monitors.energies(self.layer(), train, val)}
        metrics |= monitors.step_sizes(self.W, self.rate() * self.velocity_W)
        metrics["val/hidden_activity"] = monitors.unit_activity(self.layer(), val).mean()
        metrics["train/learning_rate"] = self.rate()
        self.log_dict(metrics, sync_dist=self.trainer.world_size > 1)

    def _stop_if_exploded(self, loss: Tensor, x: Tensor) -> None:
        mean = x.mean(0, keepdim=True)
        constant = mean.clamp(1e-3, 1 - 1e-3).logit() if self.visible == "bernoulli" else mean
        limit = EXPLODED * self.negative_log_likelihood(constant.expand_as(x), x).abs()
        if not bool(loss < limit):
            left = "last.ckpt is the last good one" if self.current_epoch else "no checkpoint was written yet"
            raise UserError(
                f"{self.rate_key}: the weights exploded in epoch {self.current_epoch}: a reconstruction costs "
                f"{float(loss):.3g} nats; training stopped, {left}; lower {self.rate_key}"
            )

    def test_metrics(self, data: Data) -> dict[str, float]:
        """``log_likelihood``: the mean of log p(v), exact, if either side has fewer than 20 Bernoulli units.

        Grey levels have none under Bernoulli units: take data.binarize for it.
        """
        rbm, x = self.layer(), data.test.x
        few = (enumerable_units(rbm) or EXACT) < EXACT
        if not few or (self.visible == "bernoulli" and bool(((x != 0) & (x != 1)).any())):
            return {}
        return {"log_likelihood": float(log_likelihood_exact(x, rbm).mean())}

    def figures(self, data: Data) -> dict[str, object]:
        """The histogram of mean activities, and what Gibbs chains show that start at test samples and at noise."""
        from aelab.figures import image_rows, pixel_map

        pictures = {"hidden_activity": monitors.activity_histogram(monitors.unit_activity(self.layer(), data.test.x))}
        if len(data.pixel_shape) == 2:
            torch.manual_seed(0)
            fantasies = monitors.fantasies(self.layer(), data.test.x[:FANTASIES])
            pictures["fantasies"] = image_rows({k: pixel_map(data)(v) for k, v in fantasies.items()}, data.pixel_shape)
        return pictures


def _require(holds: bool, key: str, value: float, what: str) -> None:
    if not holds:
        raise UserError(f"model.{key}: {what}, got {value}")
