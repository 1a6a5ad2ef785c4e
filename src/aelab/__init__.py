"""aelab: experiments on autoencoders, from the linear one that is PCA to the variational one."""

from typing import TYPE_CHECKING

from aelab import clock as clock  # it starts with the package

if TYPE_CHECKING:
    from pathlib import Path

    from aelab.models.base import Base


def load(folder: "str | Path", weights: str = "last") -> "Base":
    """The model of a run folder, in evaluation mode, ready to ``encode``, ``decode`` and ``reconstruct``.

    See :func:`aelab.run.folder.load`; here so that ``aelab.load`` is all a person has to know; imported
    late, so that the command starts without torch.
    """
    from aelab.run.folder import load

    return load(folder, weights)
