"""Training is stopped when the weights explode, and only then: for every model, in the unit of its own loss."""

import math

import pytest
import torch
from helpers import OPTIONS, OWN_KIND, composed, fitted, shrink, small
from omegaconf import DictConfig

from aelab.data.arrays import Arrays
from aelab.data.digits import digits
from aelab.errors import UserError
from aelab.models.divergence import loss_limit
from aelab.rbm.layer import Layer

MODELS = sorted(option.partition("=")[2] for option in OPTIONS if option.startswith("model="))
BY_RULE = {"rbm": "model.recipe.learning_rate", "deep_belief_network": "model.learning_rate"}


def grey(x: torch.Tensor) -> Arrays:
    """Images of 8 x 8 in [0, 1], the first 20 for the test."""
    y = torch.arange(len(x)) % 3
    return Arrays(x[20:], y[20:], x[:20], y[:20], (8, 8), True)


def strange_data() -> dict[str, Arrays]:
    draw = torch.Generator().manual_seed(0)
    rand = torch.rand(100, 64, generator=draw)
    return {
        "digits": grey(digits(0.2, 0).train_x[:100]),
        "all black": grey(torch.zeros(100, 64)),
        "all white": grey(torch.ones(100, 64)),
        "one image": grey(rand[:1].repeat(100, 1)),
        "half a percent ones": grey((rand < 0.005).float()),
        "noise": grey(rand),
    }


DATA = strange_data()


def setting(model: str, *overrides: str, epochs: int = 3) -> DictConfig:
    rate = ["schedule=constant"] if model in BY_RULE else []
    if model in OWN_KIND:
        return small(f"model={model}", *overrides, epochs=epochs)
    cfg = composed(f"model={model}", f"train.epochs={epochs}", "train.batch_size=16", *rate, *overrides)
    shrink(cfg.model, "model", {text.partition("=")[0] for text in overrides})
    return cfg


def layers(n_input: int) -> list[Layer]:
    """What models take that are built from a stack."""
    draw = torch.Generator().manual_seed(0)
    normal = lambda *shape: 0.1 * torch.randn(*shape, generator=draw)  # noqa: E731
    return [
        Layer(normal(n_input, 6), normal(6), normal(n_input), "bernoulli", "bernoulli"),
        Layer(normal(6, 4), normal(4), normal(6), "bernoulli", "bernoulli"),
    ]


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("model", [name for name in MODELS if name not in OWN_KIND])
def test_every_model_trains_on_strange_data_at_its_defaults(model, data):
    trained = fitted(setting(model), DATA[data], layers(64))
    assert all(bool(weight.isfinite().all()) for weight in trained.state_dict().values())


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_stopped_at_an_absurd_rate_and_its_own_rate_is_named(model, made_data):
    key = BY_RULE.get(model, "optimizer.lr")
    with pytest.raises(UserError, match=rf"^{key}: .*training stopped, .*; lower {key}"):
        fitted(setting(model, f"{key}=1e8"), DATA["digits"], layers(64))


OWN_UNITS = {  # settings under which the loss has another size than a unit-variance reconstruction
    "a narrow Gaussian": ("vae", "model.likelihood=gaussian", "model.sigma=0.01"),
    "a very narrow Gaussian": ("vae", "model.likelihood=gaussian", "model.sigma=1e-4", "optimizer.lr=1e-4"),
    "a wide Gaussian": ("vae", "model.likelihood=gaussian", "model.sigma=100"),
    "a narrow Gaussian above two layers": ("hierarchical_vae", "model.likelihood=gaussian", "model.sigma=0.03"),
    "a density of 1, whose logarithm is 0": ("vae", "model.likelihood=gaussian", "model.sigma=0.3989"),
    "a heavy KL": ("vae", "model.beta=1000"),
    "a KL that warms up": ("vae", "model.beta=1000", "model.warmup=1"),
    "a heavy penalty": ("sparse", "model.penalty=1000"),
    "a heavy Jacobian": ("contractive", "model.penalty=1000"),
    "emphasis": ("autoencoder", "corruption=masking", "corruption.alpha=1000"),
    "emphasis that comes with the corruption": (
        "autoencoder", "corruption=masking", "corruption.fraction=0", "corruption.final=0.5", "corruption.alpha=1000",
    ),
    "almost no emphasis": ("autoencoder", "corruption=masking", "corruption.alpha=0", "corruption.beta=1e-6"),
    "fewer and fewer units": ("top_k", "model.k=1", "model.k_start=12", "model.anneal=1"),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN_UNITS)
def test_the_guard_is_in_the_unit_of_the_loss(name):
    trained = fitted(setting(*OWN_UNITS[name], epochs=5), DATA["digits"])
    assert trained.current_epoch == 5
    with pytest.raises(UserError, match=r"^optimizer\.lr: "):
        fitted(setting(*OWN_UNITS[name], "optimizer.lr=1e8", epochs=5), DATA["digits"])


@pytest.mark.parametrize("rate", [1e-4, 1e-3, 1e-2, 3e-2])
@pytest.mark.parametrize("recipe", ["h06", "pcd", "guide2010"])
def test_a_machine_on_images_nearly_all_black_learns_at_every_ordinary_rate(rate, recipe):
    x = (torch.rand(1000, 400, generator=torch.Generator().manual_seed(1)) < 0.005).float()
    data = Arrays(x[100:], None, x[:100], None, (20, 20), True)
    fitted(setting("rbm", f"model/recipe={recipe}", f"model.recipe.learning_rate={rate}", epochs=1), data)


@pytest.mark.parametrize("model", ["autoencoder", "vae", "hierarchical_vae", "top_k", "linear", "contractive"])
def test_one_row_far_out_is_no_explosion_wherever_it_comes(model):
    """10,000 standard deviations: the loss of the minibatch that holds it is 1e8, and the weights are as before."""
    normal = torch.randn(1300, 9, generator=torch.Generator().manual_seed(0))
    for place in (20, 400, 1290):  # the start is measured on the first 1000
        x = normal.clone()
        x[place] *= 1e4
        likelihood = ["model.likelihood=gaussian"] if model != "linear" else []
        data = Arrays(x[20:], None, x[:20], None, (9,), False)
        trained = fitted(setting(model, "model.n_code=3", *likelihood, "train.clip=1", epochs=3), data)
        assert trained.current_epoch == 3


def test_a_start_that_no_rate_mends_is_not_blamed_on_the_rate():
    with pytest.raises(UserError, match=r"^model: its loss is (inf|nan) before the first step"):
        fitted(setting("vae", "model.likelihood=gaussian", "model.sigma=1e-25"), DATA["digits"])


@pytest.mark.parametrize("start", [-5000.0, -1.0, 0.0, 1e-6, 30.0, 1e7])
def test_the_limit_is_above_every_start_and_moves_with_its_unit(start):
    limit = loss_limit(torch.tensor(start), 64)
    assert start + 64 < limit < start + 4 * (abs(start) + 64)
    assert loss_limit(torch.tensor(10 * start), 640) == pytest.approx(10 * float(limit))
    for bad in (math.inf, math.nan):
        with pytest.raises(UserError, match=r"^model: "):
            loss_limit(torch.tensor(bad), 64)
