"""The value one stage of a chain hands to the next: a layer of units and the weights between them."""

from typing import Literal, NamedTuple

from torch import Tensor

Unit = Literal["bernoulli", "gaussian", "relu"]


class Layer(NamedTuple):
    """Two layers of units and their symmetric connection.

    ``W`` (visible, hidden), ``b_hidden`` (hidden,), ``b_visible`` (visible,); ``hidden`` and ``visible`` name the unit
    types; ``log_var_visible`` (visible,) is the log variance of Gaussian visible units (zeros: unit variance) and is
    ignored for the others.
    """

    W: Tensor
    b_hidden: Tensor
    b_visible: Tensor
    hidden: Unit
    visible: Unit
    log_var_visible: Tensor | None = None
