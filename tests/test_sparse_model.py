"""The sparse autoencoder as a model: which penalty, on which code, and what it does."""

from types import SimpleNamespace

import pytest
import torch
from helpers import small

from aelab.data.digits import digits
from aelab.data.parts import Split
from aelab.errors import UserError
from aelab.functional import likelihood as nll
from aelab.functional import sparsity
from aelab.models.network import Single
from aelab.models.sparse import Sparse, lifetime_frequency
from aelab.runs.folder import load
from aelab.runs.train import run, train


def made(**changed) -> Sparse:
    settings = dict(n_code=10, code="sigmoid", likelihood="bernoulli", penalty=3.0, target=0.05)
    return Sparse((16,), network=Single("glorot", tied=True), **{**settings, **changed})


@pytest.mark.parametrize("target, code", [(0.1, "sigmoid"), (None, "sigmoid"), (None, "relu")])
def test_loss_is_the_likelihood_and_the_weighted_penalty_of_the_code_that_is_decoded(target, code):
    model, x = made(target=target, code=code), torch.rand(8, 16)
    out = model(x)
    terms = model.loss_terms(x, out)
    penalty = sparsity.l1(out.code) if target is None else sparsity.kl_to_target(out.code, target)
    torch.testing.assert_close(terms["sparsity"], 3.0 * penalty)
    torch.testing.assert_close(terms["reconstruction"], nll.bernoulli(model.decoder(out.code), x))
    assert terms.keys() == {"reconstruction", "sparsity"}


@pytest.mark.slow
def test_a_heavy_penalty_brings_mean_activity_to_the_target(tmp_path):
    cfg = small("model=sparse", "model.penalty=100", "model.target=0.2", "optimizer.lr=0.05", epochs=40)
    run(cfg, tmp_path, "aelab")

    x = digits(0.2, 0).train_x
    mean = load(tmp_path).encode(x).mean(0)
    assert (mean - 0.2).abs().max() < 0.06


def test_l0_counts_active_units_and_dead_ones_are_active_for_no_image():
    class Made:  # four units: always, half of the time, never, and weakly on
        def encode(self, x):
            n = len(x)
            on = torch.stack([torch.ones(n), torch.arange(n) % 2, torch.zeros(n), torch.full((n,), 0.4)])
            return on.t()

    data = SimpleNamespace(test=Split(torch.rand(10, 3), None))
    assert lifetime_frequency(Made(), data, 0.5).tolist() == [1.0, 0.5, 0.0, 0.0]
    assert lifetime_frequency(Made(), data, 0.0).tolist() == [1.0, 0.5, 0.0, 1.0]


def test_a_run_reports_active_units_dead_units_and_explained_variance(tmp_path):
    metrics = train(small("model=sparse"), tmp_path, "aelab")
    assert metrics["test/explained_variance"] < 1 and 0 <= metrics["test/dead_fraction"] <= 1
    assert 0 <= metrics["test/l0"] <= 12
    assert metrics["test/sparsity"] > 0
    assert (tmp_path / "figures" / "lifetime_sparsity.png").exists()


def test_a_target_is_for_logistic_units():
    with pytest.raises(UserError, match=r"^model\.target: "):
        made(target=0.1, code="relu")
