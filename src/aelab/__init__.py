"""aelab: experiments on autoencoders, from the linear one that is PCA to the variational one."""

from pathlib import Path
from typing import TYPE_CHECKING

from aelab import clock as clock  # it starts with the package

if TYPE_CHECKING:
    from aelab.models.applied import Applied


def load(folder: str | Path, weights: str = "last") -> "Applied":
    """What a run or a chain learned, ready to ``encode``, ``decode``, ``reconstruct``, ``sample``, ``score_samples``.

    On data frames and arrays in the data's own units, or on tensors of the model's; ``model`` is the LightningModule.
    See :class:`aelab.models.applied.Applied`; imported late, so that the command starts without torch.
    """
    from aelab.run.applying import load

    return load(Path(folder), weights)
