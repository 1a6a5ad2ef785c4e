"""aelab: experiments on autoencoders, from the linear one that is PCA to the variational one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aelab import clock as clock  # it starts with the package
from aelab.errors import UserError as UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from aelab.api import Run
    from aelab.models.applied import Applied

# Imported late, all of them, so that the command starts without torch.


def run(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> "Run":
    """Train what the command ``aelab OVERRIDES`` would: :func:`aelab.api.run`."""
    from aelab.api import run

    return run(overrides, config_dir)


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> "DictConfig":
    """The config that the command ``aelab OVERRIDES`` would run: :func:`aelab.api.compose`."""
    from aelab.api import compose

    return compose(overrides, config_dir)


def load(folder: str | Path, weights: str = "last", trust: Sequence[str] = ()) -> "Applied":
    """What a run or a chain learned, ready to ``encode``, ``decode``, ``reconstruct``, ``sample``, ``score_samples``.

    On data frames and arrays in the data's own units, or on tensors of the model's; ``model`` is the LightningModule.
    Of code that is not aelab's only that of the packages in ``trust`` is run. See
    :class:`aelab.models.applied.Applied`.
    """
    from aelab.runs.applying import load

    return load(Path(folder), weights, [trust] if isinstance(trust, str) else trust)
