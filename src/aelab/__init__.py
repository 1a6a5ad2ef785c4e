"""aelab: experiments on autoencoders, from the linear one that is PCA to the variational one."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from aelab.models.base import Base

STARTED = time.time()  # of the process, as nearly as the package can know: the time to the first step counts from here


def load(folder: "str | Path", weights: str = "last") -> "Base":
    """The model of a run folder, in evaluation mode, ready to ``encode``, ``decode`` and ``reconstruct``.

    See :func:`aelab.run_folder.load`; here so that ``aelab.load`` is all a person has to know; imported
    late, so that the command starts without torch.
    """
    from aelab.run_folder import load

    return load(folder, weights)
