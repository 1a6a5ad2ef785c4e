"""What a trained model is worth on the test set: the figures of metrics.json, named once and for all."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from aelab.data.batches import Data, Split
from aelab.functional.pca import reconstruct as reconstruct_pca
from aelab.models.base import Base


@torch.no_grad()
def evaluate(model: Base, data: Data, cfg: DictConfig) -> dict[str, float]:
    """``test/…`` → number, every one a function of weights and data alone (times are not among them).

    ``squared_error``: summed over inputs, averaged over images; ``pca_squared_error``: the same for PCA of the code's
    size, fitted on the same training samples; ``psnr`` in dB; ``probe_error`` and ``knn_error`` in % of the test set;
    of a run with a corruption also what :func:`restoration` gives.
    """
    model.eval()
    torch.manual_seed(0)  # a model that samples is tested on the same draws each time
    test = data.test
    metrics = {name: float(term) for name, term in model.means_over(test, watched=False).items()}
    code = codes(model, test)
    if model.reconstructs:
        metrics |= fidelity(data, model.reconstruct) | restoration(model, data)
        if code.shape[1] < min(data.train.x.shape):
            pca = data.pca(code.shape[1])
            metrics["pca_squared_error"] = fidelity(data, lambda x: reconstruct_pca(pca, x))["squared_error"]
    if test.y is not None and data.train.y is not None and bool(torch.isin(test.y, data.train.y).any()):
        train_code, known = codes(model, data.train_for_evaluation), data.train.y >= 0
        metrics |= label_errors(train_code[known], data.train.y[known], code, test.y, cfg)
    metrics |= model.test_metrics(data)
    return {f"test/{name}": float(value) for name, value in metrics.items()}


def fidelity(data: Data, reconstruct: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """``squared_error`` and ``psnr`` of the test set against its reconstruction."""
    from torchmetrics import MeanSquaredError
    from torchmetrics.image import PeakSignalNoiseRatio

    x = data.test.x
    low, high = data.ends
    span = float(high.max() - low.min()) or 1.0  # of data that are all the same no ratio makes sense: dB over 1
    alone = {"sync_on_compute": False}  # of several processes the first one tests
    error = MeanSquaredError(**alone).to(x.device)
    psnr = PeakSignalNoiseRatio(data_range=span, **alone).to(x.device)
    for batch in data.test.batches():
        x_hat = reconstruct(batch.x)
        error.update(x_hat, batch.x)
        psnr.update(x_hat, batch.x)
    return {"squared_error": float(error.compute()) * x.shape[1], "psnr": float(psnr.compute())}


def restoration(model: Base, data: Data) -> dict[str, float]:
    """``denoised_squared_error`` of corrupted test samples' reconstruction against the clean ones, and ``psnr_gained``.

    The latter in dB over the PSNR of the corrupted samples themselves. The corruption is that of the end of training,
    its draws always the same; nothing where nothing is corrupted.
    """
    corruption = model.training_plan.corruption
    if not bool(corruption(data.test.x[:1000]).touched.any()):
        return {}
    torch.manual_seed(0)
    restored = fidelity(data, lambda x: model.reconstruct(corruption(x).x))
    torch.manual_seed(0)
    corrupted = fidelity(data, lambda x: corruption(x).x)
    return {
        "denoised_squared_error": restored["squared_error"],
        "psnr_gained": restored["psnr"] - corrupted["psnr"],
    }


@torch.no_grad()
def codes(model: Base, split: Split) -> Tensor:
    """The code of every sample (n, code)."""
    return torch.cat([model.encode(batch.x) for batch in split.batches()])


def label_errors(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, cfg: DictConfig) -> dict[str, float]:
    """Errors in % of two simple classifiers on the code: logistic regression, and the nearest neighbours' vote.

    For the regression the code is scaled on the training set: each unit to unit variance, so that its penalty is fair,
    or all alike to unit variance on average, so that a unit that is seldom active is not blown up.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    x, y, x_test, y_test = (t.cpu().numpy() for t in (x, y, x_test, y_test))
    errors = {}
    if cfg.probe:
        mean, std = x.mean(0), x.std(0)
        if cfg.probe_scale == "all":
            std = np.sqrt(np.square(std).mean())
        scale = np.where(std > 0, std, np.float32(1))
        probe = LogisticRegression(C=cfg.probe_c, max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit((x - mean) / scale, y)
        errors["probe_error"] = 100 * float(np.mean(probe.predict((x_test - mean) / scale) != y_test))
    if cfg.knn:
        neighbours = KNeighborsClassifier(n_neighbors=cfg.knn, algorithm="brute").fit(x, y)
        errors["knn_error"] = 100 * float(np.mean(neighbours.predict(x_test) != y_test))
    return errors
