"""Labels of few training samples that spread over the codes of all: what a code learned without labels is worth."""

import statistics
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from aelab.data.batches import Data
from aelab.functional.classification import class_error
from aelab.models.base import Model
from aelab.ranges import Count, Inside
from aelab.results.metrics import codes

ITERATIONS = 200  # of the spreading, at most


@dataclass(frozen=True)
class LabelSpreading:
    """``spread_error``: errors where few labels spread to near codes, % of the test set; the mean of several ``draws``.

    ``per_class`` training samples of each class keep their label, others with each draw: ``spread_error_sd`` is the
    standard deviation over these. Each training code is tied to its ``neighbours`` nearest and to those whose nearest
    it is, and takes the part ``alpha`` of its label from them (Zhou et al. 2004); a test sample takes its label from
    the nearest training codes. The draws are the same for every run.
    """

    per_class: Count
    neighbours: Count
    alpha: Inside
    draws: Count

    def __call__(self, model: Model, data: Data) -> dict[str, float]:
        train, test = data.train_for_evaluation, data.test
        if train.y is None or test.y is None or len(train.y[train.y >= 0].unique()) < 2:
            return {}
        known = test.y >= 0
        x, x_test = codes(model, train).cpu().numpy(), codes(model, test)[known].cpu().numpy()
        y, y_test = train.y.cpu().numpy(), test.y[known].cpu()
        if not len(y_test):
            return {}
        tie = Ties(x, x_test, self.neighbours)
        drawn = (some_labels(y, self.per_class, np.random.default_rng(draw)) for draw in range(self.draws))
        errors = [float(class_error(torch.from_numpy(self.spread(x, labels, x_test, tie)), y_test)) for labels in drawn]
        sd = {"spread_error_sd": statistics.stdev(errors)} if len(errors) > 1 else {}
        return {"spread_error": statistics.mean(errors)} | sd

    def spread(self, x: np.ndarray, labels: np.ndarray, x_test: np.ndarray, tie: "Ties") -> np.ndarray:
        """The label of each of ``x_test``, from ``labels`` of the training codes ``x``, −1 where it is not known."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.semi_supervised import LabelSpreading as Spreading

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)  # 0 / 0 of a test sample that no label has reached
            fitted = Spreading(kernel=tie, alpha=self.alpha, max_iter=ITERATIONS).fit(x, labels)
            return np.asarray(fitted.predict(x_test))


class Ties:
    """Sparse weights among training codes, and between them and test codes, made once and asked for by sklearn."""

    def __init__(self, x: np.ndarray, x_test: np.ndarray, neighbours: int):
        from sklearn.neighbors import NearestNeighbors

        nearest = NearestNeighbors(n_neighbors=min(neighbours, len(x) - 1), algorithm="brute").fit(x)
        to_nearest = nearest.kneighbors_graph()  # a code is none of its own nearest
        self.among, self.to_test = to_nearest + to_nearest.T, nearest.kneighbors_graph(x_test).T

    def __call__(self, x: np.ndarray, other: np.ndarray) -> Any:
        """(training codes, others)."""
        return self.among if other is x else self.to_test


def some_labels(y: np.ndarray, per_class: int, draw: np.random.Generator) -> np.ndarray:
    """``y`` with all labels but those of ``per_class`` samples of each class replaced by −1."""
    labels, order = np.full_like(y, -1), draw.permutation(len(y))
    for label in np.unique(y[y >= 0]):
        kept = order[y[order] == label][:per_class]
        labels[kept] = label
    return labels
