"""Autoencoders as scikit-learn knows estimators: fit, transform, inverse_transform, score_samples, predict outliers.

>>> from aelab.sklearn import Autoencoder
>>> codes = Autoencoder(model="vae", n_code=2, epochs=50).fit_transform(X)  # doctest: +SKIP
"""

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from types import NoneType
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from aelab.config.messages import one_line
from aelab.config.overrides import place_of, quoted
from aelab.data.scaling import Scale
from aelab.data.schema import Missing
from aelab.errors import UserError
from aelab.functional.joint_density import JointDensity, fit_joint, minus_log_joint

NOT_ON_ROWS_ALONE = {  # models that need more than X
    "deep_autoencoder": "is the last stage of a chain; take chain='deep_autoencoder', widths=[64, 8]",
    "deep_belief_network": "is the last stage of a chain; take chain='deep_belief_network', widths=[64, 8]",
    "classifier": "learns labels, and y is ignored here; take chain='deep_autoencoder' for codes",
    "classification_rbm": "learns labels, and y is ignored here; take model='rbm'",
    "rating_rbm": "takes ratings; train it with the command, data=ratings",
    "replicated_softmax": "takes counts of words; train it with the command, data=documents",
}
SETTINGS = ("model", "train", "optimizer", "schedule", "corruption", "hardware", "seed")  # that reach a model on rows
OF_A_CHAIN = ("chain", "hardware", "seed")
OF_THE_ROWS = ("data.binarize", "data.mix")
WITH_LIKELIHOOD = ("autoencoder", "sparse", "top_k", "contractive", "vae", "hierarchical_vae", "flow_prior_vae")


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierMixin, BaseEstimator):
    """A model of aelab, or a chain of them, on arrays.

    Parameters
    ----------
    model : an option of the command's group ``model``: autoencoder, vae, linear, rbm, …; of a chain it is its own.
    n_code : code units; of a chain the last of ``widths``. A fraction: as many as PCA needs for it of the variance.
    chain : an option of the group ``chain``, such as deep_autoencoder, or None.
    widths : of a chain, units of each layer from the first hidden one to the code.
    epochs, batch_size : of training; the stages of a chain have their own, as {"chain.finetune.train.epochs": 50}.
    scale : how columns are scaled, by the training rows: standard, robust, minmax, quantile or none; None: standard,
        of a chain minmax, for its RBMs take probabilities.
    missing : what NaN means: refuse, fill (the column's median) or mask (filled, and out of loss and score; not for a
        chain).
    outliers_by : what makes a row strange. error: the squared error of its reconstruction. joint: − log p(x, code),
        the error and how far the code lies from those of the training rows: a row that is reconstructed well may still
        be strange. None: the model's own − log p where it has one, else joint.
    contamination : fraction of the training rows that ``predict`` calls outliers.
    overrides : other settings of the command, of what changes the weights: {"optimizer.lr": 1e-3}.
    random_state : a whole number, of weights, order and draws.
    """

    def __init__(
        self,
        model: str = "autoencoder",
        n_code: int | float = 2,
        *,
        chain: str | None = None,
        widths: list[int] | None = None,
        epochs: int = 100,
        batch_size: int = 32,
        scale: Scale | None = None,
        missing: Missing = "refuse",
        outliers_by: str | None = None,
        contamination: float = 0.1,
        overrides: Mapping[str, Any] | None = None,
        random_state: int | None = 0,
    ):
        self.model, self.n_code, self.chain, self.widths = model, n_code, chain, widths
        self.epochs, self.batch_size, self.scale, self.missing = epochs, batch_size, scale, missing
        self.outliers_by, self.contamination = outliers_by, contamination
        self.overrides, self.random_state = overrides, random_state

    def fit(self, X: Any, y: Any = None) -> "Autoencoder":
        """Train on all rows; ``y`` is ignored."""
        from aelab.runs.fitting import fit, fit_chain, units_for_variance

        if not (isinstance(self.contamination, (int, float, np.number)) and 0 < self.contamination <= 0.5):
            raise ValueError(f"contamination must be above 0 and at most 0.5, got {self.contamination!r}")
        if self.scale not in (None, "standard", "robust", "minmax", "quantile", "none"):
            raise ValueError(f"scale must be standard, robust, minmax, quantile, none or None, got {self.scale!r}")
        if self.outliers_by not in (None, "error", "joint"):
            raise ValueError(f"outliers_by must be error, joint or None, got {self.outliers_by!r}")
        if self.missing not in ("refuse", "fill", "mask"):
            raise ValueError(f"missing must be refuse, fill or mask, got {self.missing!r}")
        if not isinstance(self.widths, (Sequence, np.ndarray, NoneType)):
            raise ValueError(f"widths must be a list such as [64, 8], got {self.widths!r}")
        needs = NOT_ON_ROWS_ALONE.get(str(self.model)) if self.chain is None else None
        if needs is not None:
            raise ValueError(f"model: {self.model} {needs}")
        self._check_overrides()
        fewest = 2 if self.chain is None else 3  # a chain keeps a row for validation and one for its test
        X = validate_data(
            self, X, dtype=np.float64, ensure_min_samples=fewest, ensure_min_features=2, ensure_all_finite=self._finite
        )
        empty = np.flatnonzero(np.isnan(X).all(0))
        if len(empty):
            raise ValueError(f"missing: column {empty[0]} of X has no value in any row; leave it out")
        run = fit if self.chain is None else fit_chain
        usual: Scale = "standard" if self.chain is None else "minmax"
        scale, n_code = self.scale or usual, self.n_code
        if isinstance(n_code, Real) and 0 < n_code < 1:
            n_code = units_for_variance(X, scale, float(n_code))
        try:
            self.applied_ = run(self._words(n_code), X, scale, self.missing)
        except Exception as error:
            line = one_line(error)
            if line is None:
                raise
            raise ValueError(line) from error
        self._n_features_out = self.transform(X[:1]).shape[1]
        own = self.outliers_by is None and self.applied_.has_log_p
        self.density_ = None if own or self.outliers_by == "error" else self._fitted_density(X)
        self.offset_ = float(np.quantile(self.score_samples(X), self.contamination))
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Codes (n, n_code)."""
        X = self._checked(X)
        return self.applied_.encode(X).astype(np.float64)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """The rows (n, n_features_in_) that are expected of codes X."""
        check_is_fitted(self)
        try:
            return self.applied_.decode(X)
        except UserError as error:
            raise ValueError(str(error)) from error

    def score_samples(self, X: Any) -> np.ndarray:
        """(n,): the lower, the stranger. Log p where the model has one (an RBM's up to a constant), else log p(x, code)
        up to a constant, or − the squared error in scaled columns; see ``outliers_by``."""
        X = self._checked(X)
        if self.density_ is not None:
            parts = [-minus_log_joint(self.density_, *part) for part in self._codes_and_errors(X)]
            return torch.cat(parts).numpy()
        if self.outliers_by == "error":
            return np.concatenate([-errors.sum(1).double().numpy() for _, errors in self._codes_and_errors(X)])
        return self.applied_.score_samples(X).astype(np.float64)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of log p where the model has one, else of − the squared error: what a grid search takes as the
        greater the better, whatever ``outliers_by`` says."""
        return float(self.applied_.score_samples(self._checked(X)).mean())

    def decision_function(self, X: Any) -> np.ndarray:
        """(n,): below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """(n,): −1 for outliers, 1 for the others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _checked(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False, ensure_all_finite=self._finite)

    @property
    def _finite(self) -> bool | str:
        """scikit-learn's ``ensure_all_finite``."""
        return True if self.missing == "refuse" else "allow-nan"

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing != "refuse"
        return tags

    def _codes_and_errors(self, X: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Codes (n, code) and squared errors (n, input) of some rows at a time."""
        self.applied_.refuse_without_decoder()
        for samples in self.applied_.blocks(X):
            codes = self.applied_.codes(samples)
            yield codes, self.applied_.squared_errors(samples)

    def _fitted_density(self, X: np.ndarray) -> JointDensity:
        parts = list(self.applied_.blocks(X))
        seen = [torch.ones_like(s.x, dtype=torch.bool) if s.observed is None else s.observed for s in parts]
        return fit_joint(torch.from_numpy(self.applied_.encode(X)), torch.cat([s.x for s in parts]), torch.cat(seen))

    def _check_overrides(self) -> None:
        overrides, roots = self.overrides or {}, SETTINGS if self.chain is None else OF_A_CHAIN
        if not isinstance(overrides, Mapping):
            raise ValueError(f"overrides must be a mapping such as {{'optimizer.lr': 0.001}}, got {overrides!r}")
        for place in map(place_of, map(str, overrides)):
            if place.partition(".")[0] not in roots and place not in OF_THE_ROWS:
                known = ", ".join([*roots, *OF_THE_ROWS])
                raise ValueError(f"overrides: {place} cannot be set here; take settings of {known}")

    def _words(self, n_code: int | float) -> list[str]:
        """The command's words for these parameters."""
        seed = 0 if self.random_state is None else self.random_state
        if not isinstance(seed, Integral):
            raise ValueError(f"random_state must be a whole number or None, got {seed!r}")
        words = [f"seed={seed}", "logger=csv", "evaluate=[]", "hardware.threads=null"]
        if self.chain is None:
            units = "n_hidden" if self.model == "rbm" else "n_code"
            words += [f"model={self.model}", f"model.{units}={n_code}"]
            words += ["model.likelihood=gaussian"] if self.model in WITH_LIKELIHOOD else []
            words += ["model.visible=gaussian"] if self.model == "rbm" else []
            words += [f"train.epochs={self.epochs}", f"train.batch_size={self.batch_size}"]
        else:
            widths = [n_code] if self.widths is None else list(self.widths)
            words += [f"chain={self.chain}", f"chain.widths={quoted(widths)}"]
        return words + [f"{key}={quoted(value)}" for key, value in (self.overrides or {}).items()]
