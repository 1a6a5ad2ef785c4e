"""The restricted Boltzmann machine, trained by contrastive divergence: a stage of a deep net, or a density alone."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from aelab.data.batches import Data
from aelab.data.parts import Batch
from aelab.errors import UserError
from aelab.functional.likelihood import log_odds
from aelab.models.base import Figures
from aelab.models.by_rule import ByRule, check_inputs
from aelab.models.filters import Filters
from aelab.models.training import WATCHED
from aelab.ranges import Count
from aelab.rbm import contrastive_divergence as cd
from aelab.rbm import diagnostics
from aelab.rbm.density import Density, of_rbm
from aelab.rbm.energy import gibbs_sample, sample_h_given_v
from aelab.rbm.kernels import linear
from aelab.rbm.layer import Layer, Unit, mean_h_given_v, mean_v_given_h
from aelab.rbm.path import Path
from aelab.rbm.recipe import Recipe
from aelab.rbm.temperatures import ladder
from aelab.rbm.tempering import at_one, first_rungs, sweep

LEAST_VARIANCE = 1e-3  # of Gaussian visible units, whose own would fall to 0 where the data never vary
PILOT = 100  # chains that choose the temperatures of tempered ones, once per epoch
FANTASIES = 10  # chains of each kind in the picture


class RBM(ByRule):
    """p(v, h) ∝ exp(−E(v, h)); the code is the hidden units' mean given v, the reconstruction v's mean given the code.

    The update is the rule itself (:mod:`aelab.rbm.contrastive_divergence`), without autograd. Velocities, chains and
    sliding means are buffers: a resumed run goes on with them.
    """

    rate_key = "model.recipe.learning_rate"
    # Buffers that each of several devices has of its own: the name by which DistributedDataParallel leaves them so
    _ddp_params_and_buffers_to_ignore = ("chains", "rungs")
    W: nn.Parameter
    velocity_W: Tensor
    mean_visible: Tensor  # sliding means
    mean_hidden: Tensor
    most_log_var: Tensor | None
    chains: Tensor | None
    rungs: Tensor | None  # where each of the tempered chains stands on the ladder
    ladder: Tensor | None  # inverse temperatures
    _turn = 0  # tempered chains exchange from an even rung and from an odd one in turns

    def __init__(
        self, shape: tuple[int, ...], n_hidden: Count, visible: Unit, hidden: Unit, learn_variance: bool, recipe: Recipe
    ):
        super().__init__(shape, "bernoulli" if visible == "bernoulli" else "gaussian")
        if recipe.sparsity_cost and hidden != "bernoulli":
            raise UserError(
                f"model.recipe.sparsity_cost: {hidden} hidden units have no activity to make sparse; set it to 0"
            )
        if learn_variance and visible != "gaussian":
            raise UserError(f"model.learn_variance: {visible} visible units have no variance; set it to false")
        if learn_variance and recipe.persistent and recipe.mean_field_visible:
            raise UserError(
                "model.learn_variance: persistent chains of means are no samples, from which a variance could be "
                "learned; set model.recipe.mean_field_visible=false"
            )
        self.visible, self.hidden, self.recipe = visible, hidden, recipe
        self.learning_rate = recipe.learning_rate
        n_visible = self.n_input
        self.W = nn.Parameter(recipe.weight_std * torch.randn(n_visible, n_hidden))
        self.b_hidden = nn.Parameter(torch.zeros(n_hidden))
        self.b_visible = nn.Parameter(torch.zeros(n_visible))
        self.log_var_visible = nn.Parameter(torch.zeros(n_visible)) if learn_variance else None
        for name, zeros in zip(cd.Gradient._fields, cd.zero_velocity(self.layer())):
            self.register_buffer(f"velocity_{name}", zeros)
        chains = torch.zeros(recipe.n_chains * recipe.temperatures, n_visible) if recipe.persistent else None
        self.register_buffer("chains", chains)
        for name, zeros in zip(cd.Gradient._fields, cd.zero_velocity(self.layer())):
            self.register_buffer(f"fast_{name}", zeros if recipe.fast_rate and zeros is not None else None)
        tempered = recipe.temperatures > 1
        rungs = first_rungs(recipe.n_chains, recipe.temperatures, self.W.device)
        self.register_buffer("rungs", rungs if tempered else None)
        self.register_buffer("ladder", torch.linspace(0, 1, recipe.temperatures) if tempered else None)
        self.register_buffer("most_log_var", torch.zeros(n_visible) if learn_variance else None)
        self.register_buffer("mean_visible", torch.zeros(n_visible))
        self.register_buffer("mean_hidden", torch.full((n_hidden,), 0.5))

    # --- the model -----------------------------------------------------------------------------------------------

    def layer(self) -> Layer:
        """The machine as a value: live tensors, without gradients. Centring leaves nothing to be exported."""
        log_var = None if self.log_var_visible is None else self.log_var_visible.detach()
        parameters = self.W.detach(), self.b_hidden.detach(), self.b_visible.detach()
        return Layer(*parameters, self.hidden, self.visible, log_var)

    def density(self) -> Density:
        return of_rbm(self.layer())

    def encode(self, x: Tensor) -> Tensor:
        return mean_h_given_v(x, self.layer())

    def output(self, code: Tensor) -> Tensor:
        if self.visible == "bernoulli":
            return linear(code, self.W.detach().t(), self.b_visible.detach())  # logits
        return mean_v_given_h(code, self.layer())

    def sample(self, n: int, steps: int, label: int | None) -> Tensor:
        """The visible units' means where ``n`` Gibbs chains are that started at noise ``steps`` before."""
        self.refuse_label(label)
        make = torch.rand if self.visible == "bernoulli" else torch.randn
        v = gibbs_sample(make(n, self.n_input, device=self.device), self.layer(), steps - 1)
        return mean_v_given_h(sample_h_given_v(v, self.layer())[1], self.layer())

    def encoder_filters(self, x: Tensor) -> Filters:
        return Filters(self.W.detach().t(), self.encode(x))

    def decoder_filters(self, x: Tensor) -> None:
        """None: they are the encoder's."""

    # --- training ---------------------------------------------------------------------------------------------------

    def initialize_from(self, data: Data) -> None:
        """Chains start at training samples, sliding means at the training set's, visible biases there if asked to."""
        check_inputs(self.visible, data)
        x = data.train.x
        self.mean_visible.copy_(data.mean)
        if self.most_log_var is not None:  # what hidden units leave of a unit's variance is no more than all of it
            self.most_log_var.copy_(data.variance.clamp(min=1).log())  # nor than what it starts with
        if self.recipe.bias_start == "data":
            mean = self.mean_visible
            self.b_visible.data.copy_(log_odds(mean) if self.visible == "bernoulli" else mean)
        self.mean_hidden.copy_(diagnostics.unit_activity(self.layer(), x[:WATCHED]))
        if self.chains is not None:
            self.chains.copy_(x[torch.randint(len(x), (len(self.chains),))])

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self._turn = 0
        if self.ladder is not None:
            betas = ladder(self.path(), len(self.ladder), PILOT)
            self.ladder.copy_(self.ladder.new_tensor(betas))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """``of_ranks`` are the buffers that each device has of its own, stacked: (device, …)."""
        super().on_save_checkpoint(checkpoint)
        if self.trainer.world_size > 1:
            own = {name: getattr(self, name) for name in self._ddp_params_and_buffers_to_ignore}
            gather: Any = self.all_gather
            checkpoint["of_ranks"] = {name: gather(x).cpu() for name, x in own.items() if x is not None}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        for name, of_ranks in checkpoint.get("of_ranks", {}).items():
            if len(of_ranks) == self.trainer.world_size:  # on another number of devices all go on with the first's
                checkpoint["state_dict"][name] = of_ranks[self.global_rank]

    def path(self) -> Path:
        """From units with the data's rates to the machine: what tempered chains climb."""
        mean = self.mean_visible
        return Path(self.layer(), log_odds(mean) if self.visible == "bernoulli" else mean)

    def phases(self, v: Tensor) -> cd.Phases:
        """Both phases of the minibatch v (batch, visible); persistent chains move on."""
        rbm, recipe = self.layer(), self.recipe
        if self.ladder is None:
            sampled = cd.fast_machine(rbm, self.fast()) if recipe.fast_rate else None
            chains, mean_field = self.chains, recipe.mean_field_visible
            phases = cd.contrastive_divergence(v, rbm, recipe.steps, chains, mean_field, sampled)
            if chains is not None:
                chains.copy_(phases.v_model)
            return phases
        assert self.chains is not None and self.rungs is not None  # tempered chains have all three
        path, chains, rungs = self.path(), self.chains, self.rungs
        field = path.field(chains, True)
        for _ in range(recipe.steps):
            self._turn = 1 - self._turn
            chains, field, rungs, _ = sweep(path, field, rungs, self.ladder, self._turn)
        self.chains.copy_(chains)
        self.rungs.copy_(rungs)
        v_model = at_one(chains, rungs)
        return cd.Phases(v, mean_h_given_v(v, rbm), v_model, mean_h_given_v(v_model, rbm))

    @torch.no_grad()
    def minibatch_step(self, batch: Batch, optimizer: object) -> None:
        """Two phases, their difference, a step with momentum."""
        rbm, recipe = self.layer(), self.recipe
        phases = self.phases(batch.x)
        gradient = cd.gradient(phases, rbm, learn_log_var=self.log_var_visible is not None)
        if recipe.sparsity_cost or recipe.centring:
            self.mean_visible.lerp_(phases.v_data.mean(0), 1 - recipe.averaging)
            self.mean_hidden.lerp_(phases.h_data.mean(0), 1 - recipe.averaging)
        if recipe.sparsity_cost:
            target, cost = recipe.sparsity_target, recipe.sparsity_cost
            gradient = cd.sparse(gradient, phases, self.mean_hidden, target, cost, rbm)
        if recipe.centring:
            gradient = cd.centred(gradient, self.mean_visible, self.mean_hidden, rbm)
        parts = {name: part for name, part in gradient._asdict().items() if part is not None}
        gradient = gradient._replace(**dict(zip(parts, self.over_devices(list(parts.values())))))
        momentum = recipe.momentum_in(self.current_epoch)
        cd.update_(rbm, self.velocity(), gradient, self.rate(), momentum, recipe.weight_decay)
        if self.log_var_visible is not None:
            self.log_var_visible.data.clamp_(min=math.log(LEAST_VARIANCE)).clamp_(max=self.most_log_var)
        if recipe.fast_rate:
            for part, change in zip(self.fast(), gradient):
                if part is not None and change is not None:
                    part.mul_(recipe.fast_decay).add_(change, alpha=recipe.fast_rate)

    def velocity(self) -> cd.Gradient:
        """The last step in units of the gradient."""
        return cd.Gradient(*(getattr(self, f"velocity_{name}") for name in cd.Gradient._fields))

    def fast(self) -> cd.Gradient:
        """The weights that the chains have on top of the machine's, and that fade."""
        return cd.Gradient(*(getattr(self, f"fast_{name}") for name in cd.Gradient._fields))

    # --- what is watched ----------------------------------------------------------------------------------------------

    def epoch_metrics(self, train: Tensor, val: Tensor) -> dict[str, Tensor]:
        metrics = diagnostics.energies(self.layer(), train, val)
        metrics |= diagnostics.step_sizes(self.W.detach(), self.rate() * self.velocity_W)
        return {**metrics, "val/hidden_activity": diagnostics.unit_activity(self.layer(), val).mean()}

    def figures(self, data: Data) -> Figures:
        """The mean activity of each unit, and what Gibbs chains show that start at test samples and at noise."""
        from aelab.functional.drawing import images, units

        activity = diagnostics.unit_activity(self.layer(), data.test.x)
        title = f"Mean activity of {len(activity)} hidden units over {len(data.test.x)} test samples"
        limits = (0.0, 1.0) if self.hidden == "bernoulli" else None
        unit = "probability of being on" if self.hidden == "bernoulli" else "mean, in the unit's own unit"
        pictures = {"hidden_activity": units.ranked(title, activity, "hidden unit, by its activity", unit, limits)}
        if images.is_image(data.pixel_shape):
            torch.manual_seed(0)
            fantasies = diagnostics.fantasies(self.layer(), data.test.x[:FANTASIES])
            rows = {k: data.to_pixels(v) for k, v in fantasies.items()}
            title = "Gibbs chains from test samples and from noise"
            pictures["fantasies"] = images.image_rows(title, rows, data.pixel_shape)
        return pictures
