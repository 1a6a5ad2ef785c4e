"""task=score: how strange each row is beside the training rows, and because of which of its features."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aelab import log
from aelab.config.build import build
from aelab.config.overrides import plain
from aelab.data.kept import Arrays, kept
from aelab.data.parts import Split
from aelab.data.schema import Samples
from aelab.errors import UserError
from aelab.functional.joint_density import JointDensity, fit_joint, minus_log_joint
from aelab.models.applied import Applied
from aelab.progress import bar
from aelab.results.written import Piece, write
from aelab.runs import folder as run_folder
from aelab.runs.job import Job, files_of


def score(job: Job, out: Path) -> list[str]:
    """How strange each row is, beside the training rows, and which of its features are least as expected."""
    wanted, applied = job.cfg.score, job.applied
    features = applied.schema.features
    top = min(wanted.top, len(features)) if applied.model.reconstructs else 0
    score_of, known = scorer(job)
    threshold = float(np.quantile(known, wanted.quantile)) if wanted.threshold is None else wanted.threshold
    scores: list[np.ndarray] = []

    def pieces() -> Iterator[Piece]:
        for start, rows, samples in job.blocks("scoring"):
            values = score_of(samples)
            scores.append(values)
            columns = {"row": np.arange(start, start + len(values))} | files_of(job.rows, start, len(values))
            columns["score"] = values
            columns["percentile"] = 100 * np.searchsorted(known, values, side="right") / len(known)
            columns["outlier"] = values > threshold
            columns |= strangest(applied, rows, samples, top)
            yield Piece(partial(dict, columns), values)

    write(out, job.rows.n, pieces())
    whole = np.concatenate(scores)
    kind = "−log p(x), nats" if applied.model.has_log_p else "squared error, in the model's units"
    kind = "−log p(x, code), nats up to a constant" if wanted.by == "joint" else kind
    lines = [
        f"{out}  ({len(whole)} rows, {int((whole > threshold).sum())} outliers: score above {threshold:.6g}, {kind})"
    ]
    return lines + against_labels(whole, job.rows.labels(), wanted.outlier)


def strangest(applied: Applied, rows: Any, samples: Samples, top: int) -> dict[str, np.ndarray]:
    """The ``top`` features of each row: name, value, expected value, share of the row's squared error."""
    if not top:
        return {}
    schema, expected = applied.schema, applied.expected(applied.codes(samples))
    errors = (expected - samples.x).square()
    errors = errors if samples.observed is None else errors * samples.observed
    parts = schema.by_feature(errors.numpy())
    first = np.argsort(-parts, axis=1, kind="stable")[:, :top]
    names, whole = np.array(schema.features), np.maximum(parts.sum(1), np.finfo(np.float32).tiny)
    decoded = schema.decode(expected.numpy())
    columns: dict[str, np.ndarray] = {}
    for i in range(top):
        place = first[:, i]
        columns[f"feature{i + 1}"] = names[place]
        columns[f"value{i + 1}"] = schema.cells(rows, place)
        columns[f"expected{i + 1}"] = schema.cells(decoded, place)
        columns[f"share{i + 1}"] = np.take_along_axis(parts, place[:, None], 1)[:, 0] / whole
    return columns


def scorer(job: Job) -> tuple[Callable[[Samples], np.ndarray], np.ndarray]:
    """What scores rows, and the scores of the training rows, sorted.

    Both are kept in the run folder, so that the training rows need not be there again.
    """
    applied, by = job.applied, job.cfg.score.by
    if by == "own":
        known = kept(job.folder / run_folder.SCORES, lambda: own_scores(job), "run", {"scores": (None,)})
        return lambda samples: applied.score(samples).numpy(), known["scores"]
    applied.refuse_without_decoder()
    n_input = applied.model.below[0].W.shape[0] if applied.model.below else applied.model.n_input
    n_code = applied.codes(Samples(torch.zeros(1, n_input), None)).shape[1]
    shapes = {"mean": (n_code,), "whitening": (n_code, n_code), "variances": (n_input,), "scores": (None,)}
    made = kept(job.folder / run_folder.JOINT, lambda: fitted(job), "run", shapes)
    density = JointDensity(*(torch.from_numpy(made[name]) for name in JointDensity._fields))
    return lambda samples: joint_score(applied, density, samples), made["scores"]


def own_scores(job: Job) -> Arrays:
    """The scores of the training rows, sorted."""
    parts = training_samples(job, "scoring the training rows")
    return {"scores": np.sort(np.concatenate([job.applied.score(samples).numpy() for samples in parts]))}


def fitted(job: Job) -> Arrays:
    """The density of the training rows and their codes, and their scores under it."""
    parts = list(training_samples(job, "encoding the training rows"))
    seen = [samples.observed for samples in parts if samples.observed is not None]
    observed = torch.cat(seen) if seen else None
    codes = torch.cat([job.applied.codes(samples) for samples in parts])
    density = fit_joint(codes, torch.cat([samples.x for samples in parts]), observed)
    scores = np.sort(np.concatenate([joint_score(job.applied, density, samples) for samples in parts]))
    return {name: tensor.numpy() for name, tensor in density._asdict().items()} | {"scores": scores}


def joint_score(applied: Applied, density: JointDensity, samples: Samples) -> np.ndarray:
    return minus_log_joint(density, applied.codes(samples), applied.squared_errors(samples)).numpy()


def training_samples(job: Job, words: str) -> Iterator[Samples]:
    """The training rows of the run, some at a time, as its model takes them."""
    cfg = run_folder.read_config(job.folder, "run")
    node = dict(plain(cfg.data)) | {"binarize": "none"}
    with log.phase(f"reading {cfg.data.name}"):
        train: Split = build(node, "data", seed=cfg.seed, batch_size=1, below=[]).train
    for start in bar(range(0, len(train.x), job.applied.at_once), words):
        part = train.at(slice(start, start + job.applied.at_once))
        yield Samples((part.x > 0.5).float() if job.applied.threshold else part.x, part.observed)


def against_labels(scores: np.ndarray, labels: np.ndarray | None, outlier: str | None) -> list[str]:
    """ROC-AUC and average precision, where there are two labels, or one that is said to be the outliers'."""
    if labels is None:
        return []
    from sklearn.metrics import average_precision_score, roc_auc_score

    names, counts = np.unique(labels.astype(str), return_counts=True)
    if outlier is None and len(names) != 2:
        return []
    outlier = str(names[counts.argmin()]) if outlier is None else str(outlier)
    strange = labels.astype(str) == outlier
    if not 0 < strange.sum() < len(strange):
        there = ", ".join(names[:9])
        raise UserError(f"score.outlier: {outlier!r} must be the label of some rows and not of all; there are {there}")
    auc, precision = roc_auc_score(strange, scores), average_precision_score(strange, scores)
    return [f"label {outlier!r}, {int(strange.sum())} rows: ROC-AUC {auc:.4f}, average precision {precision:.4f}"]
