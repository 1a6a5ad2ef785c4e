"""task=encode, reconstruct, denoise, sample, interpolate, score, evaluate: a finished run or chain applied to rows."""

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor

from aelab import files, log
from aelab.config.build import build
from aelab.config.overrides import plain
from aelab.config.targets import locate, refuse_strangers
from aelab.data import schemas
from aelab.data.incoming import Incoming, incoming, of_split
from aelab.data.own import texts
from aelab.data.parts import Split
from aelab.data.schema import ArraySchema, Samples, Schema
from aelab.data.table_schema import TableSchema
from aelab.errors import UserError
from aelab.functional.joint_density import JointDensity, fit_joint, minus_log_joint
from aelab.functional.progress import bar
from aelab.models.applied import Applied
from aelab.results import report
from aelab.results.written import Piece, whole_folder, write
from aelab.runs import folder as run_folder
from aelab.runs.again import evaluate_again

ROWLESS = ("sample", "export")  # they take no rows
SCORES = "training_scores.npy"  # of a run folder: the score of each training row, sorted
JOINT = "training_joint.npz"  # the same of score.by=joint, and the density


class Job(NamedTuple):
    """A model, the rows it is applied to, and what the command says of how."""

    applied: Applied
    rows: Any  # an Incoming; None where the task takes no rows
    folder: Path
    cfg: DictConfig

    def blocks(self, words: str) -> Iterator[tuple[int, Any, Samples]]:
        """Number of the first row, rows as they stand in the file, inputs; some at a time."""
        n, step = self.rows.n, self.applied.at_once
        for start in bar(range(0, n, step), words):
            rows = self.rows.take(start, min(start + step, n))
            yield start, rows, self.applied.inputs(rows, self.rows.at, start)


def use(cfg: DictConfig, overrides: list[str]) -> list[str]:
    """Do ``cfg.task``, write ``cfg.out``; lines to be said of it."""
    if cfg.run is None:
        raise UserError(f"run: task={cfg.task} needs the folder of a run or a chain, run=outputs/DATE/RUN")
    if cfg.out is None:
        raise UserError(f"out: task={cfg.task} needs a file to write, such as out={cfg.task}.csv or .npy, .parquet")
    folder, out = run_folder.last_stage(Path(cfg.run), "run"), Path(cfg.out)
    cfg_of_run = run_folder.read_config(folder, "run")
    refuse_strangers({"data": plain(cfg_of_run)["data"]}, cfg.trust, "run")
    applied = load(folder, cfg_of_run.evaluate.weights, cfg.trust)
    rowless = cfg.task in ROWLESS or (cfg.task == "evaluate" and not named(overrides))
    rows = None if rowless else rows_of(cfg, folder, overrides, applied.schema)
    job = Job(applied, rows, folder, cfg)
    return {"encode": encode, "reconstruct": reconstruct, "denoise": denoise, "sample": sample, "score": score,
            "interpolate": interpolate, "evaluate": evaluate_rows, "export": export}[cfg.task](job, out)  # fmt: skip


def named(overrides: list[str]) -> set[str]:
    """The keys of ``data`` that the command gives."""
    typed = {override.lstrip("+").partition("=")[0] for override in overrides}
    return {key for key in typed if key == "data" or key.startswith("data.")}


def load(folder: Path, weights: str = "last", trust: Sequence[str] = ()) -> Applied:
    """The model of the run in ``folder``, with what turns rows into its inputs; where that is lost, for tensors only.

    Of a chain's folder it is the last stage's.
    """
    model = run_folder.load(folder, weights, trust)
    folder = run_folder.last_stage(folder, "load")
    threshold = run_folder.read_config(folder, "load").data.get("binarize") == "threshold"
    try:
        return Applied(model, schemas.read(folder, "run"), threshold)
    except UserError as error:
        return Applied(model, None, threshold, str(error))


def rows_of(cfg: DictConfig, folder: Path, overrides: list[str], schema: Schema) -> Incoming:
    """What the command's ``data`` names; as the run's own data is read, where it does not say otherwise.

    Without any it is the run's own: all rows of its file, or the test set of a public one.
    """
    trained = run_folder.read_config(folder, "run").data
    keys = named(overrides)
    node = dict(plain(cfg.data if "data" in keys else trained))
    if "data" in keys and cfg.data._target_ == trained._target_:
        node = dict(plain(trained))
    for key in keys - {"data"}:
        node[key.removeprefix("data.").split(".")[0]] = plain(cfg.data)[key.removeprefix("data.").split(".")[0]]
    found = incoming(locate(node, "data"), node, schema)
    if found is not None:
        return found
    data = build(node | {"binarize": "none"}, "data", seed=cfg.seed, batch_size=1, below=[])
    return of_split(data.test, schema, f"data: {data.name}")


# --- the verbs ----------------------------------------------------------------------------------------------------


def encode(job: Job, out: Path) -> list[str]:
    """A code for each row."""

    def pieces() -> Iterator[Piece]:
        for start, _, samples in job.blocks("encoding"):
            codes = job.applied.codes(samples).numpy()
            names = files_of(job.rows, start, len(codes))
            columns = names | {f"code{i}": codes[:, i] for i in range(codes.shape[1])}
            yield Piece(partial(dict, columns), codes)

    write(out, job.rows.n, pieces())
    return [f"{out}  ({job.rows.n} codes)"]


def reconstruct(job: Job, out: Path) -> list[str]:
    """Each row as the model expects it."""

    def pieces() -> Iterator[Piece]:
        for start, _, samples in job.blocks("reconstructing"):
            names = files_of(job.rows, start, len(samples.x))
            yield piece_of(job.applied.schema, job.applied.expected(job.applied.codes(samples)), names)

    job.applied.refuse_without_decoder()
    write(out, job.rows.n, pieces())
    return [f"{out}  ({job.rows.n} rows)"]


def denoise(job: Job, out: Path) -> list[str]:
    """Noisy rows restored: their reconstruction."""
    if "NoCorruption" in run_folder.read_config(job.folder, "run").corruption._target_:
        log.warn("corruption: the run was trained without any, so what is written is its plain reconstruction")
    return reconstruct(job, out)


def sample(job: Job, out: Path) -> list[str]:
    """Rows that the model draws."""
    wanted, label = job.cfg.sample, job.cfg.sample.label
    if wanted.n < 1 or wanted.steps < 1:
        raise UserError(f"sample: n and steps must be at least 1, got {wanted.n} and {wanted.steps}")
    if isinstance(label, str):
        known = job.applied.schema.labels or []
        if label not in known:
            raise UserError(f"sample.label: must be one of {', '.join(known) or 'none'}, got {label}")
        label = known.index(label)
    draws = job.applied.drawn(wanted.n, wanted.steps, label, job.cfg.seed)
    write(out, wanted.n, (piece_of(job.applied.schema, x) for x in draws))
    return [f"{out}  ({wanted.n} draws)"]


def interpolate(job: Job, out: Path) -> list[str]:
    """From row to row on straight lines between their codes, both ends included."""
    chosen, points = list(job.cfg.interpolate.rows), job.cfg.interpolate.points
    if len(chosen) < 2 or not all(0 <= row < job.rows.n for row in chosen):
        raise UserError(f"interpolate.rows: must be two or more of the rows 0 to {job.rows.n - 1}, got {chosen}")
    if points < 2:
        raise UserError(f"interpolate.points: must be at least 2, both ends, got {points}")
    job.applied.refuse_without_decoder()
    inputs = [job.applied.inputs(job.rows.take(row, row + 1), job.rows.at, row) for row in chosen]
    codes = torch.cat([job.applied.codes(samples) for samples in inputs])
    weight = torch.linspace(0, 1, points)[:, None]
    lines = torch.cat([torch.lerp(a, b, weight) for a, b in pairwise(codes)])
    write(out, len(lines), iter([piece_of(job.applied.schema, job.applied.expected(lines))]))
    return [f"{out}  ({len(lines)} rows)"]


def export(job: Job, out: Path) -> list[str]:
    """The model for other programs, in a folder."""
    from aelab.results import exported

    if out.suffix:
        raise UserError(f"out: task=export writes several files, got {out}; give a folder, such as out=exported")
    with whole_folder(out) as folder:
        found = exported.export(job.applied, folder)
        (folder / "config.yaml").write_text((job.folder / "config.yaml").read_text())
    differences = ", ".join(f"{name} {value:.1g}" for name, value in found.items())
    return [f"{out}  (onnxruntime differs from the model by at most: {differences})"]


def evaluate_rows(job: Job, out: Path) -> list[str]:
    """The figures of a test on the rows, those that a run ends with; on its own test set, where no rows are named."""
    if out.suffix != ".json":
        raise UserError(f"out: task=evaluate writes figures by name, got {out}; give a .json file")
    test = None
    if job.rows is not None:
        samples = [samples for _, _, samples in job.blocks("reading")]
        observed = None
        if any(part.observed is not None for part in samples):
            parts = [torch.ones_like(s.x, dtype=torch.bool) if s.observed is None else s.observed for s in samples]
            observed = torch.cat(parts)
        test = Split(torch.cat([part.x for part in samples]), numbers_of(job), observed)
    metrics = evaluate_again(job.folder, plain(job.cfg)["evaluate"], test, job.cfg.trust)
    files.write_json(out, metrics)
    report.show(metrics)
    return [f"{out}  ({len(metrics)} figures)"]


def numbers_of(job: Job) -> Tensor | None:
    """The labels of the rows (n,) as the run numbers them; None where they, or the run, have none."""
    labels, names = job.rows.labels(), job.applied.schema.labels
    if labels is None or job.applied.schema.n_classes is None:
        return None
    if names is None:
        return torch.as_tensor(labels, dtype=torch.int64)
    known = {name: number for number, name in enumerate(names)}
    words = texts(labels).tolist()
    for label in words:
        if label not in known:
            raise UserError(f"{job.rows.at}: label {label!r} is none of the run's, {', '.join(names[:9])}")
    return torch.tensor([known[label] for label in words])


def score(job: Job, out: Path) -> list[str]:
    """How strange each row is, beside the training rows, and which of its features are least as expected."""
    wanted, applied = job.cfg.score, job.applied
    if not 0 < wanted.quantile < 1:
        raise UserError(f"score.quantile: must be between 0 and 1, got {wanted.quantile}")
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
        known = kept(job.folder / SCORES, lambda: np.sort(own_scores(job)), as_npy)
        return lambda samples: applied.score(samples).numpy(), known
    if by != "joint":
        raise UserError(f"score.by: must be own or joint, got {by}")
    applied.refuse_without_decoder()
    made = kept(job.folder / JOINT, lambda: fitted(job), as_npz)
    density = JointDensity(*(torch.from_numpy(made[name]) for name in JointDensity._fields))
    return lambda samples: joint_score(applied, density, samples), made["scores"]


def kept(path: Path, make: Callable[[], Any], as_bytes: Callable[[Any], bytes]) -> Any:
    """What the file ``path`` holds, made where it is missing or damaged."""
    if path.exists():
        try:
            found = np.load(path, allow_pickle=False)
            return dict(found) if isinstance(found, np.lib.npyio.NpzFile) else found
        except (OSError, ValueError, zipfile.BadZipFile):
            log.warn(f"{path} is damaged; it is made again")
    made = make()
    files.write_whole(path, lambda part: part.write_bytes(as_bytes(made)))
    return made


def own_scores(job: Job) -> np.ndarray:
    parts = training_samples(job, "scoring the training rows")
    return np.concatenate([job.applied.score(samples).numpy() for samples in parts])


def fitted(job: Job) -> dict[str, np.ndarray]:
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


def as_npz(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def as_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


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
        raise UserError(f"score.outlier: {outlier!r} must be the label of some rows, of {', '.join(names[:9])}")
    auc, precision = roc_auc_score(strange, scores), average_precision_score(strange, scores)
    return [f"label {outlier!r}, {int(strange.sum())} rows: ROC-AUC {auc:.4f}, average precision {precision:.4f}"]


# --- rows in their own units --------------------------------------------------------------------------------------


def piece_of(schema: Schema, x: Tensor, names: dict[str, np.ndarray] | None = None) -> Piece:
    """Inputs of the model (n, input) as they are written."""
    names = names or {}
    decoded = schema.decode(x.numpy())
    if isinstance(schema, TableSchema):
        return Piece(lambda: {name: decoded[name].to_numpy() for name in decoded.column_names})

    def columns() -> dict[str, np.ndarray]:
        flat = schema.flat(decoded, "rows") if isinstance(schema, ArraySchema) else decoded
        return names | {name: flat[:, i] for i, name in enumerate(schema.names)}

    def pixels() -> np.ndarray | None:
        if not schema.unit_interval or len(schema.shape) not in (2, 3):
            return None
        images = x.reshape(-1, *schema.shape).numpy()
        return images if images.ndim == 3 else np.moveaxis(images, 1, -1)

    return Piece(columns, decoded, pixels, names["file"].tolist() if names else None)


def files_of(rows: Incoming, start: int, n: int) -> dict[str, np.ndarray]:
    return {} if rows.files is None else {"file": np.array(rows.files[start : start + n])}
