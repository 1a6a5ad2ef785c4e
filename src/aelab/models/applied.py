"""A trained model on rows in their own units: the schema on the way in, the layers below, the schema on the way out."""

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aelab.data.documents import WordSchema
from aelab.data.schema import Samples, Schema
from aelab.data.table_schema import TableSchema, as_table
from aelab.errors import UserError
from aelab.models.base import Model
from aelab.rbm.layer import decode_through, encode_through

BLOCK = 1 << 22  # input values that are on their way through the model at once


class Applied:
    """What :func:`aelab.load` gives: ``encode``, ``decode``, ``reconstruct``, ``sample``, ``score_samples``.

    Rows are a data frame with the training table's columns, or an array of its samples, in the data's own units, and
    come back in these; a table comes as a pandas data frame where pandas is installed, else as a pyarrow table. A
    torch tensor is taken as the ``model``'s own input, as in training, and gives a tensor. Anything else that is asked
    of it, its weights or its ``test_metrics``, is the ``model``'s, the LightningModule. Rows go through in blocks:
    memory does not grow with their number. ``threshold``: of grey levels, the model learned bits.
    """

    def __init__(self, model: Model, schema: Schema | None, threshold: bool, missing: str = ""):
        self.model, self._schema, self.threshold, self._missing = model, schema, threshold, missing

    def __getattr__(self, name: str) -> Any:
        if name == "model":  # not there yet, as while it is unpickled
            raise AttributeError(name)
        return getattr(self.model, name)

    @property
    def schema(self) -> Schema:
        """How the training data became inputs."""
        if self._schema is None:
            raise UserError(self._missing)
        return self._schema

    # --- for arrays and data frames ---------------------------------------------------------------------------------

    def encode(self, rows: Any) -> Any:
        """Rows → codes (n, code), float32."""
        if isinstance(rows, Tensor):
            return self.model.encode(rows)
        return np.concatenate([self.codes(samples).numpy() for samples in self.blocks(rows)])

    def decode(self, codes: Any) -> Any:
        """Codes (n, code) → the rows that are expected of them."""
        self.refuse_without_decoder()
        if isinstance(codes, Tensor):
            return self.model.decode(codes)
        try:
            codes = torch.from_numpy(np.atleast_1d(np.asarray(codes, dtype=np.float32)))
        except (ValueError, TypeError) as error:
            raise UserError(f"codes: expected numbers (n, code), got {str(codes)[:40]}") from error
        return self._rows([self.expected(part) for part in codes.split(self.at_once)])

    def reconstruct(self, rows: Any) -> Any:
        """Rows → the same as the model reconstructs them."""
        self.refuse_without_decoder()
        if isinstance(rows, Tensor):
            return self.model.reconstruct(rows)
        return self._rows([self.expected(self.codes(samples)) for samples in self.blocks(rows)])

    def sample(self, n: int, steps: int = 1000, label: int | None = None, seed: int = 0) -> Any:
        """``n`` rows drawn from the model; ``steps`` of Gibbs sampling and, where it has any, the ``label`` are given
        to Boltzmann machines."""
        if not isinstance(n, Integral) or n < 1:
            raise UserError(f"n: must be a whole number of rows, at least 1, got {n!r}")
        return self._rows(list(self.drawn(n, steps, label, seed)))

    def score_samples(self, rows: Any) -> np.ndarray:
        """(n,): log p of each row where the model has one (of RBMs up to a constant), else − its squared error."""
        return np.concatenate([-self.score(samples).numpy() for samples in self.blocks(rows)])

    # --- for one block ----------------------------------------------------------------------------------------------

    @property
    def at_once(self) -> int:
        """Rows of a block."""
        return max(1, BLOCK // self.schema.n_input)

    def blocks(self, rows: Any) -> Iterator[Samples]:
        """Rows as inputs, ``at_once`` of them at a time."""
        take: Callable[[int, int], Any]
        if isinstance(self.schema, TableSchema):
            table = as_table(rows, "rows")
            n, take = len(table), lambda start, stop: table.slice(start, stop - start)
        elif isinstance(self.schema, WordSchema) and not hasattr(rows, "ndim"):
            n, take = len(rows), lambda start, stop: rows[start:stop]
        else:
            rows = rows.to_numpy() if hasattr(rows, "to_numpy") else np.asanyarray(rows)
            if rows.ndim < 2:
                raise UserError(f"rows: must have a row for each sample, got shape {rows.shape}")
            n, take = len(rows), lambda start, stop: rows[start:stop]
        if n == 0:
            raise UserError("rows: there are none; give at least one")
        for start in range(0, n, self.at_once):
            yield self.inputs(take(start, min(start + self.at_once, n)), "rows", start)

    def inputs(self, rows: Any, at: str = "rows", first: int = 0) -> Samples:
        """Rows → the model's inputs, or those of the layers below it."""
        samples = self.schema.encode(rows, at, first)
        if samples.observed is not None and self.model.below:
            raise UserError(f"{at} lacks values, which layers below need; train with data.missing=fill")
        return samples._replace(x=(samples.x > 0.5).float()) if self.threshold else samples

    @torch.no_grad()
    def codes(self, samples: Samples) -> Tensor:
        """(n, code)."""
        return self.model.encode(encode_through(self.model.below, samples.x))

    @torch.no_grad()
    def expected(self, codes: Tensor) -> Tensor:
        """Codes (n, code) → inputs (n, input)."""
        width = self.model.encode(torch.zeros(1, self.model.n_input)).shape[1]
        if codes.ndim != 2 or codes.shape[1] != width:
            raise UserError(f"codes: must be (n, {width}), got {tuple(codes.shape)}")
        return decode_through(self.model.below, self.model.decode(codes))

    @torch.no_grad()
    def score(self, samples: Samples) -> Tensor:
        """(n,): the higher, the stranger; estimates are of the same draws for the same block."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if self.model.has_log_p:
                return self.model.minus_log_p(encode_through(self.model.below, samples.x), samples.observed).float()
        self.refuse_without_decoder()
        return self.squared_errors(samples).sum(1)

    def squared_errors(self, samples: Samples) -> Tensor:
        """(x̂ − x)² (n, input), 0 where x was not observed."""
        errors = (self.expected(self.codes(samples)) - samples.x).square()
        return errors if samples.observed is None else errors * samples.observed

    @torch.no_grad()
    def drawn(self, n: int, steps: int, label: int | None, seed: int) -> Iterator[Tensor]:
        """``n`` draws (…, input) in blocks."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for start in range(0, n, self.at_once):
                draws = self.model.sample(min(self.at_once, n - start), steps, label)
                yield decode_through(self.model.below, draws)

    def refuse_without_decoder(self) -> None:
        if not self.model.reconstructs:
            raise UserError(f"run: {type(self.model).__name__} has no decoder; encode is what it can do with rows")

    # ----------------------------------------------------------------------------------------------------------------

    def _rows(self, parts: list[Tensor]) -> Any:
        rows = self.schema.decode(torch.cat(parts).numpy())
        if isinstance(self.schema, TableSchema):
            try:
                return rows.to_pandas()
            except ImportError:
                return rows
        return rows
