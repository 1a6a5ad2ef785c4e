"""The RBM of ratings against enumeration: what is missing is nowhere, predictions are exact; beside its baselines."""

import itertools
import json
import re
from pathlib import Path

import pytest
import torch
from helpers import aelab
from test_energy import states

from aelab.data.parts import Batch
from aelab.functional.factorization import Known, fit_biases, fit_factors
from aelab.models.rating_rbm import RatingRBM
from aelab.rbm import ratings as rr

ITEMS, LEVELS, HIDDEN = 4, 3, 2


def machine(conditional=True, ordinal=False):
    torch.manual_seed(0)
    model = RatingRBM((ITEMS,), HIDDEN, conditional, ordinal, steps=1, weight_std=0.8, levels=LEVELS)
    for part in (model.a, model.b, *([model.D] if conditional else [])):
        torch.nn.init.normal_(part)
    model.levels.copy_(torch.arange(1.0, LEVELS + 1))
    return model


def energy_sum(x, model):
    """log Σ_h exp(−E) by the definition, rated items alone."""
    h, total = states(HIDDEN).float(), torch.zeros(2**HIDDEN)
    sizes = torch.tensor([-1.0, 0.0, 1.0]) / 2**0.5  # of three levels
    for i, level in enumerate(x.tolist()):
        if level:
            k = int(level) - 1
            weights = model.w[i, 0] * sizes[k] if model.ordinal else model.w[i, k]
            total = total + model.a[i, k] + h @ weights + (h @ model.D[i] if model.D is not None else 0)
    return (total + h @ model.b).logsumexp(0)


def every(rated):
    """Every rating of the items ``rated``, the others empty."""
    x = torch.zeros(LEVELS ** len(rated), ITEMS)
    x[:, rated] = torch.tensor(list(itertools.product(range(1, LEVELS + 1), repeat=len(rated)))).float()
    return x


@pytest.mark.parametrize(("conditional", "ordinal"), itertools.product([True, False], repeat=2))
def test_free_energy_and_predictions_are_those_of_the_joint(conditional, ordinal):
    model = machine(conditional, ordinal)
    x = torch.tensor([[1.0, 0, 3, 0], [0, 0, 0, 0], [2, 2, 1, 3]])
    torch.testing.assert_close(-rr.free_energy(x, model.machine()), torch.stack([energy_sum(row, model) for row in x]))
    p = rr.level_probabilities(x, torch.tensor([0, 0, 1]), torch.tensor([1, 3, 2]), model.machine())
    for row, item, found in ((0, 1, p[0]), (0, 3, p[1]), (1, 2, p[2])):
        completed = x[row].repeat(LEVELS, 1)
        completed[:, item] = torch.arange(1.0, LEVELS + 1)
        torch.testing.assert_close(found, torch.stack([energy_sum(one, model) for one in completed]).softmax(0))


def test_an_item_without_a_rating_is_in_neither_the_sums_nor_the_update():
    model = machine(conditional=False)
    x = every([0, 2])
    terms = model.batch_terms(Batch(x, None), model(x))
    gradients = torch.autograd.grad(sum(terms.values()), [model.w, model.a])
    for gradient in gradients:
        assert bool((gradient[[1, 3]] == 0).all()) and bool((gradient[[0, 2]] != 0).any())
    for _ in range(3):
        dreamt = rr.gibbs_step(x, model.machine())
        assert torch.equal(dreamt > 0, x > 0)


@pytest.mark.parametrize("ordinal", [True, False])
def test_the_gradient_of_many_steps_is_the_likelihoods(ordinal):
    model, rated = machine(ordinal=ordinal), [0, 1, 3]
    model.steps = 60
    x = every(rated)
    weights = torch.rand(len(x))
    data = x[torch.multinomial(weights, 30_000, replacement=True)]
    loss = sum(model.batch_terms(Batch(data, None), model(data)).values())
    parameters = list(model.parameters())
    ours = torch.autograd.grad(loss, parameters)
    p_data = torch.stack([(data == row).all(1).float().mean() for row in x])
    log_f = -rr.free_energy(x, model.machine())
    exact = torch.autograd.grad((log_f.logsumexp(0) - p_data @ log_f) / len(rated), parameters)
    for one, other in zip(ours, exact):
        torch.testing.assert_close(one, other, rtol=0, atol=0.02)


def test_biases_and_factors_find_what_made_the_ratings():
    torch.manual_seed(0)
    rows, columns, P, Q = torch.randn(40), torch.randn(30), torch.randn(40, 2), torch.randn(30, 2)
    pairs = torch.cartesian_prod(torch.arange(40), torch.arange(30))
    seen = torch.rand(len(pairs)) < 0.7
    row, column = pairs.t()
    value = 3 + rows[row] + columns[column]
    known = Known(row[seen], column[seen], value[seen].double(), (40, 30))
    error = fit_biases(known, 1e-6).predict(row, column) - value
    assert error.abs().max() < 1e-3
    value = value + (P[row] * Q[column]).sum(1)
    known = known._replace(value=value[seen].double())
    alone = fit_biases(known, 1.0).predict(row[~seen], column[~seen]) - value[~seen]
    error = fit_factors(known, 2, 1e-3, 1.0, torch.Generator().manual_seed(0)).predict(row[~seen], column[~seen])
    assert (error - value[~seen]).square().mean() < 0.05 * alone.square().mean()


def test_the_command_learns_beside_its_baselines_and_applies_what_it_learned(capsys, tmp_path, monkeypatch, made_data):
    """Two kinds of users and of items: a user's kind shows in the ratings that are known, and predicts the others."""
    monkeypatch.chdir(tmp_path)
    ratings = made_data / "own" / "ratings.csv"
    outcome = aelab(
        capsys, "model=rating_rbm", "data=ratings", f"data.path={ratings}", "data.validation=0.1", "model.n_hidden=4",
        "model.conditional=false", "schedule=constant", "evaluate.weights=best",
        "train.epochs=40", "train.batch_size=5", "optimizer.lr=0.1", "logger=csv", "hydra.run.dir=run",
    )  # fmt: skip
    assert outcome.status == 0, outcome.error
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert metrics["test/rmse"] < 0.95 * min(metrics["test/biases_rmse"], metrics["test/mean_rmse"])
    assert metrics["test/mae"] < metrics["test/rmse"]
    assert {"test/factors_rmse", "test/factors_mae", "test/biases_mae", "test/mean_mae"} <= metrics.keys()
    Path("new.csv").write_text("user,item,rating\nme,film 0,5\nme,film 1,1\n")
    outcome = aelab(capsys, "task=encode", "run=run", "data=ratings", "data.path=new.csv", "out=codes.csv")
    assert outcome.status == 0, outcome.error
    assert len(Path("codes.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(("overrides", "message"), [
    (["model.likelihood=gaussian", "data=ratings"], r"^aelab: model: it needs whole rows"),
    (["model=rating_rbm"], r"^aelab: model: a rating RBM needs ratings, and digits holds others"),
    (["model=rating_rbm", "data=ratings", "model.levels=4"], r"^aelab: model\.levels: ratings has 5 different ratings"),
    (["model=rating_rbm", "data=ratings", "data.binarize=threshold"], r"data.binarize"),
])  # fmt: skip
def test_what_does_not_go_together_is_said_in_a_line(overrides, message, capsys, tmp_path, monkeypatch, made_data):
    monkeypatch.chdir(tmp_path)
    path = [f"data.path={made_data / 'own' / 'ratings.csv'}"] if "data=ratings" in overrides else []
    outcome = aelab(capsys, *overrides, *path, "logger=csv", "train.batch_size=5")
    assert outcome.status == 1
    assert any(re.search(message, line) for line in outcome.error), outcome.error
