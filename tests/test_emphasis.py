"""Denoising as the training step does it: against the clean input, with emphasis, and never at validation or test."""

import math

import pytest
import torch
from helpers import small

from aelab import files
from aelab.data.parts import Batch
from aelab.functional import likelihood as nll
from aelab.functional.corruption import Masking
from aelab.models.autoencoder import Autoencoder
from aelab.models.network import MLP
from aelab.models.training import Training
from aelab.runs.folder import load
from aelab.runs.train import run


class Recorder:
    """An optimiser that only evaluates: it keeps the loss that a training step would have gone down."""

    param_groups = [{"lr": 0.1}]

    def zero_grad(self) -> None: ...

    def step(self, closure) -> None:
        self.loss = closure().detach()


def stepped(alpha: float, beta: float) -> tuple[Autoencoder, torch.Tensor, torch.Tensor]:
    """The model, its batch, and the loss of one training step on it with half of the entries masked."""
    torch.manual_seed(1)
    model = Autoencoder((12,), 3, "linear", MLP([6], "tanh", "glorot", False), "bernoulli")
    model.manual_backward = lambda loss: loss.backward()
    corruption = Masking(0.5, False, None, alpha, beta)
    model.training_plan = Training(None, lambda progress: 1.0, corruption, None, epochs=1, seed=0)
    x, optimizer = torch.rand(20, 12), Recorder()
    torch.manual_seed(2)
    model.minibatch_step(Batch(x, None), optimizer)
    return model, x, optimizer.loss


@pytest.mark.parametrize("alpha, beta", [(1.0, 1.0), (1.0, 0.5), (1.0, 0.0), (0.0, 2.0)])
def test_the_loss_is_against_the_clean_input_and_weighs_corrupted_entries_alpha_and_others_beta(alpha, beta):
    model, x, loss = stepped(alpha, beta)
    torch.manual_seed(2)
    corrupted, touched = Masking(0.5, False, None, alpha, beta)(x)
    entries = torch.nn.functional.binary_cross_entropy(model.reconstruct(corrupted), x, reduction="none")
    expected = (alpha * entries[touched].sum() + beta * entries[~touched].sum()) / 20
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    if alpha == beta == 1:
        torch.testing.assert_close(loss, nll.bernoulli(model(corrupted).output, x))


@pytest.mark.parametrize("corruption", ["masking", "salt_and_pepper", "gaussian", "blocks"])
def test_validation_and_test_see_the_clean_input_and_a_run_tells_what_it_restores(corruption, tmp_path):
    size = ["corruption.size=2"] if corruption == "blocks" else []
    cfg = small(f"corruption={corruption}", *size)
    metrics = run(cfg, tmp_path, "aelab")
    model, x, clean = load(tmp_path), *digits_and_clean_loss(cfg, tmp_path)
    assert metrics["test/reconstruction"] == pytest.approx(clean, rel=1e-4)
    assert metrics["test/squared_error"] == pytest.approx(float(nll.squared_error(model.reconstruct(x), x)), rel=1e-4)
    assert metrics["test/denoised_squared_error"] > 0 and math.isfinite(metrics["test/psnr_gained"])
    assert (tmp_path / "figures" / "reconstructions.png").exists()


@torch.no_grad()
def digits_and_clean_loss(cfg, folder) -> tuple[torch.Tensor, float]:
    from aelab.data.digits import digits

    x, model = digits(0.2, 0).test_x, load(folder)
    return x, float(nll.bernoulli(model(x).output, x))


def test_psnr_gained_is_that_of_the_restored_over_the_corrupted(tmp_path):
    cfg = small("corruption=masking", "corruption.fraction=0.5", epochs=30)
    cfg.data.train_size, cfg.optimizer.lr = 1000, 0.01
    metrics = run(cfg, tmp_path, "aelab")
    model, x = load(tmp_path), digits_and_clean_loss(cfg, tmp_path)[0]
    torch.manual_seed(0)
    corrupted = Masking(0.5, False, None, 1.0, 1.0)(x).x

    def psnr(other):
        return -10 * math.log10(float((other - x).square().mean()))

    restored = model.reconstruct(corrupted).detach()
    assert metrics["test/psnr_gained"] == pytest.approx(psnr(restored) - psnr(corrupted), abs=1e-3)
    assert metrics["test/psnr_gained"] > 1
    assert metrics["test/denoised_squared_error"] == pytest.approx(float(nll.squared_error(restored, x)), rel=1e-4)


def test_a_run_without_corruption_restores_nothing(tmp_path):
    run(small(), tmp_path / "clean", "aelab")
    run(small("corruption=masking", "corruption.fraction=0"), tmp_path / "nothing", "aelab")
    clean, nothing = (files.read_json(tmp_path / name / "metrics.json") for name in ("clean", "nothing"))
    assert "test/denoised_squared_error" not in clean | nothing
