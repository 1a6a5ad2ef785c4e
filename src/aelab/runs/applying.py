"""task=encode, reconstruct, denoise, sample, interpolate, score, evaluate: a finished run or chain applied to rows."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

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
from aelab.data.schema import ArraySchema, Schema
from aelab.data.table_schema import TableSchema
from aelab.errors import UserError
from aelab.models.applied import Applied
from aelab.results import report
from aelab.results.written import Piece, whole_folder, write
from aelab.runs import folder as run_folder
from aelab.runs.again import evaluate_again
from aelab.runs.job import Job, files_of
from aelab.runs.scoring import score

ROWLESS = ("sample", "export")  # they take no rows


def use(cfg: DictConfig, overrides: list[str]) -> list[str]:
    """Do ``cfg.task``, write ``cfg.out``; lines to be said of it."""
    if cfg.run is None:
        raise UserError(f"run: task={cfg.task} needs the folder of a run or a chain, run=outputs/DATE/RUN")
    if cfg.out is None:
        raise UserError(f"out: task={cfg.task} needs a file to write, such as out={cfg.task}.csv or .npy, .parquet")
    folder, out = run_folder.last_stage(Path(cfg.run), "run"), Path(cfg.out)
    cfg_of_run = run_folder.read_config(folder, "run")
    refuse_strangers({"data": plain(cfg_of_run)["data"]}, cfg.trust, "run")
    applied = load(folder, cfg_of_run.evaluate.weights, cfg.trust, "run")
    rowless = cfg.task in ROWLESS or (cfg.task == "evaluate" and not named(overrides))
    rows = None if rowless else rows_of(cfg, folder, overrides, applied.schema)
    job = Job(applied, rows, folder, cfg)
    return {"encode": encode, "reconstruct": reconstruct, "denoise": denoise, "sample": sample, "score": score,
            "interpolate": interpolate, "evaluate": evaluate_rows, "export": export}[cfg.task](job, out)  # fmt: skip


def named(overrides: list[str]) -> set[str]:
    """The keys of ``data`` that the command gives."""
    typed = {override.lstrip("+").partition("=")[0] for override in overrides}
    return {key for key in typed if key == "data" or key.startswith("data.")}


def load(folder: Path, weights: str = "last", trust: Sequence[str] = (), key: str = "load") -> Applied:
    """The model of the run in ``folder``, with what turns rows into its inputs; where that is lost, for tensors only.

    Of a chain's folder it is the last stage's.
    """
    model = run_folder.load(folder, weights, trust, key)
    folder = run_folder.last_stage(folder, key)
    threshold = run_folder.read_config(folder, key).data.get("binarize") == "threshold"
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
    own_label = "data.label" in keys or node.get("path") == trained.get("path")
    found = incoming(locate(node, "data"), node, schema, own_label)
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
    if isinstance(label, str):
        known = job.applied.schema.labels or [str(i) for i in range(job.applied.schema.n_classes or 0)]
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
    for row, label in enumerate(labels.tolist(), 1):
        if label is None:
            raise UserError(f"{job.rows.at}: row {row} has no label; fill it in, or say data.label=null to do without")
    words = texts(labels).tolist()
    for label in words:
        if label not in known:
            raise UserError(f"{job.rows.at}: label {label!r} is none of the run's, {', '.join(names[:9])}")
    return torch.tensor([known[label] for label in words])


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
