"""Evaluators of a trained model: ``evaluator(model, data)`` → name → number, names without the prefix ``test/``."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aelab.data.batches import Data
from aelab.data.parts import Split
from aelab.functional.classification import class_error
from aelab.functional.pca import reconstruct as reconstruct_pca
from aelab.models import vae_evaluation
from aelab.models.base import Model
from aelab.models.vae import VAE
from aelab.progress import bar
from aelab.ranges import Count, Natural, Positive, Positives

Figures = dict[str, float]
CLASSIFIED_AT_ONCE = 1000  # rows that a support vector machine is asked for
ANNEALED_AT_ONCE = 50  # images, each of them as many rows as it has chains


def fidelity(data: Data, reconstruct: Callable[[Tensor], Tensor]) -> Figures:
    """``squared_error``: Σ (x̂ − x)² over inputs, averaged over test samples; ``psnr`` = 10 log₁₀ span² / mean, dB.

    The span is that of the data; data that are all the same have none, and 1 is taken. Missing values count nowhere.
    """
    low, high = data.ends
    span = float(high.max() - low.min()) or 1.0
    squares, n_values = summed_squares(data.test, reconstruct)
    psnr = 10 * math.log10(span**2 * n_values / squares) if squares else math.inf
    return {"squared_error": squares / len(data.test.x), "psnr": psnr}


def summed_squares(split: Split, reconstruct: Callable[[Tensor], Tensor]) -> tuple[float, int]:
    """Σ (x̂ − x)² over all observed values of ``split``, and how many those are."""
    squares, n_values = 0.0, 0
    for batch in split.batches():
        error = (reconstruct(batch.x) - batch.x).double().square()
        squares += float(batch.of_observed(error).sum())
        n_values += error.numel() if batch.observed is None else int(batch.observed.sum())
    return squares, n_values


class OfTheModel:
    """What a model itself is measured by: ``loss`` and its terms, what is watched in validation, its own figures.

    Of one with a decoder also :func:`fidelity`.
    """

    def __call__(self, model: Model, data: Data) -> Figures:
        found = {name: float(value) for name, value in model.means_over(data.test, watched=True).items()}
        found |= fidelity(data, model.reconstruct) if model.reconstructs else {}
        return found | model.test_metrics(data)


class PrincipalComponents:
    """``pca_squared_error``: :func:`fidelity` of PCA with as many components as the code has units."""

    def __call__(self, model: Model, data: Data) -> Figures:
        pca = baseline(model, data)
        return {"pca_squared_error": fidelity(data, pca)["squared_error"]} if pca else {}


class ExplainedVariance:
    """``explained_variance`` = 1 − Σ (x̂ − x)² / Σ (x − x̄)², x̄ the mean of the set; ``pca_explained_variance``: PCA's.

    Of the test set, and as ``val/…`` of the validation set, by which the width of a code is chosen. A set whose samples
    are all the same has no variance to explain, and no figure.
    """

    of_validation = ("val/explained_variance", "val/pca_explained_variance")

    def __call__(self, model: Model, data: Data) -> Figures:
        if not model.reconstructs:
            return {}
        pca, found = baseline(model, data), {}
        by = {"explained_variance": model.reconstruct} | ({"pca_explained_variance": pca} if pca else {})
        for prefix, split in (("", data.test), ("val/", data.val)):
            mean = mean_of(split)
            spread, _ = summed_squares(split, mean.expand_as)
            for name, reconstruct in by.items():
                if spread:
                    found[prefix + name] = 1 - summed_squares(split, reconstruct)[0] / spread
        return found


def baseline(model: Model, data: Data) -> Callable[[Tensor], Tensor] | None:
    """Reconstruction by PCA with as many components as the code has units; None where that would be all there are."""
    n_code = model.encode(data.test.x[:1]).shape[1]
    if not model.reconstructs or n_code >= min(data.train.x.shape):
        return None
    return partial(reconstruct_pca, data.pca(n_code))


def mean_of(split: Split) -> Tensor:
    """The mean of the observed values of each input, (input,)."""
    if split.observed is None:
        return split.x.mean(0)
    return (split.x * split.observed).sum(0) / split.observed.sum(0).clamp(min=1)


class Restoration:
    """``denoised_squared_error`` of corrupted test samples' reconstruction against the clean ones, and ``psnr_gained``.

    The latter in dB over the PSNR of the corrupted samples themselves. The corruption is that of the end of training,
    its draws always the same; nothing where nothing is corrupted.
    """

    def __call__(self, model: Model, data: Data) -> Figures:
        if model.corruption is None or not model.reconstructs:
            return {}
        corruption = model.corruption.bind(data.shape, data.ends)
        if not bool(corruption(data.test.x[:1000]).touched.any()):
            return {}
        torch.manual_seed(0)
        restored = fidelity(data, lambda x: model.reconstruct(corruption(x).x))
        torch.manual_seed(0)
        corrupted = fidelity(data, lambda x: corruption(x).x)
        gained = restored["psnr"] - corrupted["psnr"]
        return {"denoised_squared_error": restored["squared_error"], "psnr_gained": gained}


@dataclass(frozen=True)
class Probe:
    """``probe_error``: errors of logistic regression on the code, % of the test set; sklearn's ``c``.

    The code is scaled on the training set: ``each`` unit to unit variance, so that the penalty is fair, or ``all``
    alike to unit variance on average, so that a unit that is seldom active is not blown up.
    """

    c: Positive
    scale: Literal["each", "all"]

    def __call__(self, model: Model, data: Data) -> Figures:
        labelled = labelled_codes(model, data)
        if labelled is None or len(labelled[1].unique()) < 2:
            return {}
        return {"probe_error": self.error(*labelled)}

    def error(self, x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor) -> float:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        code, code_test = x.cpu().numpy(), x_test.cpu().numpy()
        mean, std = code.mean(0), code.std(0)
        if self.scale == "all":
            std = np.sqrt(np.square(std).mean())
        std = np.where(std > 0, std, np.float32(1))
        classifier = LogisticRegression(C=self.c, max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit((code - mean) / std, y.cpu().numpy())
        return float(class_error(torch.from_numpy(classifier.predict((code_test - mean) / std)), y_test.cpu()))


@dataclass(frozen=True)
class NearestNeighbours:
    """``knn_error``: errors of the vote of the ``neighbours`` nearest training codes, % of the test set.

    Of all of them where there are fewer with a label.
    """

    neighbours: Count

    def __call__(self, model: Model, data: Data) -> Figures:
        from sklearn.neighbors import KNeighborsClassifier

        labelled = labelled_codes(model, data)
        if labelled is None:
            return {}
        x, y, x_test, y_test = (part.cpu() for part in labelled)
        voters = min(self.neighbours, len(x))
        nearest = KNeighborsClassifier(n_neighbors=voters, algorithm="brute").fit(x.numpy(), y.numpy())
        return {"knn_error": float(class_error(torch.from_numpy(nearest.predict(x_test.numpy())), y_test))}


@dataclass(frozen=True)
class SupportVectors:
    """``svm_error``: errors of a support vector machine with kernel exp(−γ‖x − x'‖²), % of the test set.

    ``of`` the inputs, to stand beside a net, or the code. Of all pairs of ``costs`` (sklearn's C) and ``gammas``, these
    in units of 1 / (columns · variance), the one that errs least on the validation set is taken.
    """

    of: Literal["inputs", "code"]
    costs: Positives
    gammas: Positives

    def __call__(self, model: Model, data: Data) -> Figures:
        from sklearn.svm import SVC

        (x, y), val, test = (self._labelled(model, split) for split in (data.train_for_evaluation, data.val, data.test))
        if not len(test[1]) or len(np.unique(y)) < 2:
            return {}
        unit = 1 / (x.shape[1] * (x.var() or 1))  # of inputs that are all the same any will do
        pairs = product(self.costs, self.gammas)
        fits = [SVC(C=cost, gamma=gamma * unit, cache_size=1000).fit(x, y) for cost, gamma in pairs]
        errors = [self._error(fit, *val) for fit in fits] if len(fits) > 1 and len(val[1]) else [0.0]
        best = fits[int(np.argmin(errors))]
        return {"svm_error": self._error(best, *test)}

    def _error(self, fit: Any, x: np.ndarray, y: np.ndarray) -> float:
        """In parts: a call of libsvm's hears no Ctrl-C, and 50,000 rows take it minutes."""
        predicted = [fit.predict(part) for part in np.array_split(x, len(x) // CLASSIFIED_AT_ONCE + 1)]
        return float(class_error(torch.from_numpy(np.concatenate(predicted)), torch.from_numpy(y)))

    def _labelled(self, model: Model, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """What is seen (samples, columns) of the samples with a label, and these."""
        if split.y is None:
            return np.empty((0, 1)), np.empty(0)
        known = split.y >= 0
        seen = split.x if self.of == "inputs" else codes(model, split)
        return seen[known].cpu().numpy(), split.y[known].cpu().numpy()


@dataclass(frozen=True)
class ImportanceSampling:
    """``nll`` of a variational autoencoder, nats: −log p(x) by ``samples`` draws of q for each test sample; 0: none."""

    samples: Natural

    def __call__(self, model: Model, data: Data) -> Figures:
        if not self.samples or not isinstance(model, VAE):
            return {}
        return {"nll": float(vae_evaluation.nll(model, data.test, self.samples))}


@dataclass(frozen=True)
class LatentAnnealing:
    """``annealed_nll`` of a variational autoencoder, nats: −log p(x) of the first ``images`` of the test set; 0: none.

    By ``chains`` annealed importance samples each, through ``temperatures`` with moves of ``leapfrog`` steps, and
    ``annealed_difference``: importance sampling's estimate of the same images less this one. Both are too large in the
    mean, so where it is clearly above 0 the encoder's samples miss what the model knows.
    """

    images: Natural
    chains: Count
    temperatures: Count
    leapfrog: Count

    def __call__(self, model: Model, data: Data) -> Figures:
        if not self.images or not isinstance(model, VAE):
            return {}
        first = data.test.each(lambda part: part[: self.images])
        annealed, sampled = [], []
        for x, _, observed in bar(list(first.batches(ANNEALED_AT_ONCE)), f"log p(x), {self.temperatures} temperatures"):
            how = self.chains, self.temperatures, self.leapfrog
            annealed.append(vae_evaluation.annealed_nll_per_image(model, x, *how, observed))
            sampled.append(vae_evaluation.nll_per_image(model, x, self.chains * self.temperatures, observed))
        found = torch.cat(annealed).mean()
        return {"annealed_nll": float(found), "annealed_difference": float(torch.cat(sampled).mean() - found)}


def codes(model: Model, split: Split) -> Tensor:
    """The code of every sample (n, code)."""
    with torch.no_grad():
        return torch.cat([model.encode(batch.x) for batch in split.batches()])


def labelled_codes(model: Model, data: Data) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Codes and labels of the training samples that have one, and of the test set; None where they share no label."""
    train, test = data.train_for_evaluation, data.test
    if test.y is None or train.y is None or not bool(torch.isin(test.y, train.y).any()):
        return None
    known = train.y >= 0
    return codes(model, train)[known], train.y[known], codes(model, test), test.y
