"""Rows that a program holds in memory, for a fit that selects on nothing: all of them are for training."""

from typing import NamedTuple

import numpy as np
import torch

from aelab.data.parts import EVALUATION_BATCH, Parts, Split
from aelab.data.scaling import Scale, fit
from aelab.data.schema import ArraySchema, Missing, is_unit_interval, present, scaled


class Held(NamedTuple):
    """``x`` (n, input); ``scale``, of each column, and ``missing`` as in conf/data/array.yaml."""

    x: np.ndarray
    scale: Scale
    missing: Missing

    def parts(self, name: str, validation: int | float, train_size: int | None, draw: torch.Generator) -> Parts:
        """Some of the training rows stand for validation and test rows, of which there are none."""
        scaling = fit([self.x], len(self.x), self.scale, self.missing != "refuse", 1.0)
        numbers, observed = present(self.x, scaling, self.missing, name, 0, "column {}".format)
        x = scaled(numbers, scaling, None)
        unit = is_unit_interval(x, self.scale, None)
        schema = ArraySchema(shape=(self.x.shape[1],), unit_interval=unit, scaling=scaling, missing=self.missing)
        whole = Split(torch.from_numpy(x), None, observed)
        some = whole.at(slice(0, EVALUATION_BATCH))
        return Parts(whole, some, some, schema)
