"""The restricted Boltzmann machine, trained by contrastive divergence: a stage of a deep net, or a density alone."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from aelab.data.batches import Batch, Data
from aelab.errors import UserError
from aelab.models.by_rule import ByRule, check_inputs, require
from aelab.models.training import WATCHED
from aelab.rbm import contrastive_divergence as cd
from aelab.rbm import monitors
from aelab.rbm.kernels import linear
from aelab.rbm.layer import Layer, Unit, mean_h_given_v, mean_v_given_h
from aelab.rbm.partition import enumerable_units, log_likelihood_exact

EXACT = 20  # fewer enumerable units than this: the likelihood is summed, not estimated
FANTASIES = 10  # chains of each kind in the picture


class RBM(ByRule):
    """p(v, h) ∝ exp(−E(v, h)); the code is the hidden units' mean given v, the reconstruction v's mean given the code.

    The update is the rule itself (:mod:`aelab.rbm.contrastive_divergence`), without autograd. Velocities, chains and
    sliding means are buffers: a resumed run goes on with them.
    """

    def __init__(
        self, shape: tuple[int, ...], n_hidden: int, visible: Unit, hidden: Unit, learn_variance: bool, steps: int,
        persistent: bool, n_chains: int, mean_field_visible: bool, learning_rate: float, momentum_start: float,
        momentum_epochs: int, momentum: float, weight_decay: float, sparsity_target: float, sparsity_cost: float,
        centring: bool, averaging: float, weight_std: float, bias_start: Literal["zero", "data"],
    ):  # fmt: skip
        super().__init__(shape, "bernoulli" if visible == "bernoulli" else "gaussian")
        for key, count in (("n_hidden", n_hidden), ("steps", steps), ("n_chains", n_chains)):
            require(count >= 1, key, count, "must be at least 1")
        for key, value in (("momentum_start", momentum_start), ("momentum", momentum), ("averaging", averaging)):
            require(0 <= value < 1, key, value, "must be at least 0 and below 1")
        least_0 = {"weight_decay": weight_decay, "sparsity_cost": sparsity_cost, "weight_std": weight_std}
        for key, value in {**least_0, "momentum_epochs": momentum_epochs}.items():
            require(0 <= value < math.inf, key, value, "must be at least 0")
        require(0 < learning_rate < math.inf, "learning_rate", learning_rate, "must be above 0")
        require(0 < sparsity_target < 1, "sparsity_target", sparsity_target, "must be between 0 and 1")
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

    def encoder_filters(self) -> Tensor:
        return self.W.detach().t()

    def decoder_filters(self) -> None:
        """None: they are the encoder's."""

    # --- training ---------------------------------------------------------------------------------------------------

    def initialize_from(self, data: Data) -> None:
        """Chains start at training samples, sliding means at the training set's, visible biases there if asked to."""
        check_inputs(self.visible, data)
        x = data.train.x
        self.mean_visible.copy_(x.mean(0))
        if self.bias_start == "data":
            mean = self.mean_visible
            self.b_visible.data.copy_(mean.clamp(1e-3, 1 - 1e-3).logit() if self.visible == "bernoulli" else mean)
        self.mean_hidden.copy_(monitors.unit_activity(self.layer(), x[:WATCHED]))
        if self.chains is not None:
            self.chains.copy_(x[torch.randint(len(x), (len(self.chains),))])

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
        parts = iter(self.over_devices([part for part in gradient if part is not None]))
        gradient = cd.Gradient(*(None if part is None else next(parts) for part in gradient))
        cd.update_(rbm, self.velocity(), gradient, self.rate(), self.momentum_now(), self.weight_decay)

    def velocity(self) -> cd.Gradient:
        """The last step in units of the gradient."""
        return cd.Gradient(*(getattr(self, f"velocity_{name}") for name in cd.Gradient._fields))

    def momentum_now(self) -> float:
        return self.momentum_start if self.current_epoch < self.momentum_epochs else self.momentum

    # --- what is watched ----------------------------------------------------------------------------------------------

    def watch(self, train: Tensor, val: Tensor) -> dict[str, Tensor]:
        metrics = monitors.energies(self.layer(), train, val)
        metrics |= monitors.step_sizes(self.W.detach(), self.rate() * self.velocity_W)
        return {**metrics, "val/hidden_activity": monitors.unit_activity(self.layer(), val).mean()}

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
        from aelab.functional.drawing import image_rows

        pictures = {"hidden_activity": monitors.activity_histogram(monitors.unit_activity(self.layer(), data.test.x))}
        if len(data.pixel_shape) == 2:
            torch.manual_seed(0)
            fantasies = monitors.fantasies(self.layer(), data.test.x[:FANTASIES])
            pictures["fantasies"] = image_rows({k: data.to_pixels(v) for k, v in fantasies.items()}, data.pixel_shape)
        return pictures
