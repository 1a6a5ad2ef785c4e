"""What a denoising autoencoder's input goes through: the corrupted input, and which entries were touched.

Vincent et al. 2008, 2010. The mathematics is in the functions; a :class:`Corruption` binds one to its config and to
its strength over training. Draws come from torch's default generator, on the input's device.
"""

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from aelab.errors import UserError
from aelab.ranges import Count, Fraction, Interval, NonNegative

Noise = Annotated[float, Interval(0, 1000)]  # in the input's unit, of which data span a few


class Corrupted(NamedTuple):
    """``x`` (batch, input) after corruption and ``touched`` (batch, input), Boolean: where emphasis falls."""

    x: Tensor
    touched: Tensor


def none(x: Tensor) -> Corrupted:
    """x itself; nothing is touched, at no cost."""
    return Corrupted(x, x.new_zeros((), dtype=torch.bool).expand_as(x))


def masking(x: Tensor, fraction: float, exact: bool) -> Corrupted:
    """The entries that :func:`chosen` takes become 0."""
    touched = chosen(x, fraction, exact)
    return Corrupted(x * ~touched, touched)  # a product: on CPU a third of the time of masked_fill


def salt_and_pepper(x: Tensor, fraction: float, exact: bool, low: Tensor, high: Tensor) -> Corrupted:
    """The entries that :func:`chosen` takes become ``low`` or ``high``, (input,) or (), by a fair coin."""
    touched = chosen(x, fraction, exact)
    return Corrupted(torch.where(touched, torch.where(torch.rand_like(x) < 0.5, high, low), x), touched)


def chosen(x: Tensor, fraction: float, exact: bool) -> Tensor:
    """Boolean, of the shape of x (batch, input): True for each entry on its own with probability ``fraction``.

    With ``exact``, for exactly round(fraction · inputs) random entries of each row: the "fixed number" of Vincent et
    al. 2008, 2010.
    """
    noise = torch.rand_like(x)
    if not exact:
        return noise < fraction
    places = noise.topk(round(fraction * x.shape[1]), dim=1, sorted=False).indices
    return torch.zeros_like(x, dtype=torch.bool).scatter_(1, places, True)


def gaussian(x: Tensor, sigma: float) -> Corrupted:
    """x + N(0, sigma²), ``sigma`` in the input's unit; every entry is touched."""
    return Corrupted(x + sigma * torch.randn_like(x), x.new_ones((), dtype=torch.bool).expand_as(x))


def blocks(x: Tensor, fraction: float, size: int, shape: tuple[int, ...]) -> Corrupted:
    """Squares of ``size`` × ``size`` pixels become 0: exactly round(fraction · squares) of each image, at random.

    The masked autoencoder's corruption (He et al. 2022). ``shape`` is (…, height, width) with height · width · … =
    input; channels lose the same squares, and those on the right and lower edges may be cut off.
    """
    height, width = shape[-2:]
    rows, columns = -(-height // size), -(-width // size)
    # a row's argsort of noise is a random permutation: exactly ``count`` of its entries are below ``count``
    count = round(fraction * rows * columns)
    grid = torch.rand(len(x), rows * columns, device=x.device).argsort(dim=1).view(-1, rows, columns) < count
    pixels = grid.repeat_interleave(size, 1).repeat_interleave(size, 2)[:, None, :height, :width]
    touched = pixels.expand(-1, x.shape[1] // (height * width), -1, -1).reshape(x.shape)
    return Corrupted(x * ~touched, touched)


class Corruption:
    """A corruption and its strength: from ``start`` (a fraction, a sigma) in a line to ``final``, or constant if None.

    ``alpha`` and ``beta`` weigh the loss on touched and on untouched entries (emphasis). ``bind`` is called once with
    what is known of the data before the first use.
    """

    def __init__(self, start: float, final: float | None, alpha: float = 1.0, beta: float = 1.0):
        if alpha == beta == 0:
            raise UserError("corruption.alpha: alpha and beta are both 0, so nothing would be learned; raise one")
        self.start, self.final, self.alpha, self.beta = start, start if final is None else final, alpha, beta

    def bind(self, shape: tuple[int, ...], ends: tuple[Tensor, Tensor]) -> "Corruption":
        """Itself, knowing the shape of an image, and the least and the greatest value of the inputs, (input,) or ()."""
        return self

    def strength(self, progress: float) -> float:
        """start + (final − start) · progress; progress is 0 at the first minibatch and 1 throughout the last epoch."""
        return self.start + (self.final - self.start) * progress

    def __call__(self, x: Tensor, progress: float = 1.0) -> Corrupted:
        """Corrupt ``x`` (batch, input) as strongly as at ``progress`` of training."""
        raise NotImplementedError


class NoCorruption(Corruption):
    """The clean input."""

    def __init__(self):
        super().__init__(start=0.0, final=None)

    def __call__(self, x: Tensor, progress: float = 1.0) -> Corrupted:
        return none(x)


class Masking(Corruption):
    """:func:`masking`."""

    def __init__(self, fraction: Fraction, exact: bool, final: Fraction | None, alpha: NonNegative, beta: NonNegative):
        super().__init__(fraction, final, alpha, beta)
        self.exact = exact

    def __call__(self, x: Tensor, progress: float = 1.0) -> Corrupted:
        return masking(x, self.strength(progress), self.exact)


class SaltAndPepper(Masking):
    """:func:`salt_and_pepper` with the ends of the data."""

    def bind(self, shape: tuple[int, ...], ends: tuple[Tensor, Tensor]) -> "SaltAndPepper":
        self.ends = ends
        return self

    def __call__(self, x: Tensor, progress: float = 1.0) -> Corrupted:
        if self.ends[0].device != x.device:
            low, high = self.ends
            self.ends = low.to(x.device), high.to(x.device)
        return salt_and_pepper(x, self.strength(progress), self.exact, *self.ends)


class Gaussian(Corruption):
    """:func:`gaussian`. Every entry is touched: no emphasis."""

    def __init__(self, sigma: Noise, final: Noise | None):
        super().__init__(sigma, final)

    def __call__(self, x: Tensor, progress: float = 1.0) -> Corrupted:
        return gaussian(x, self.strength(progress))


class Blocks(Corruption):
    """:func:`blocks`; raises UserError for data that are no images or images smaller than a square."""

    def __init__(self, fraction: Fraction, size: Count, final: Fraction | None, alpha: NonNegative, beta: NonNegative):
        super().__init__(fraction, final, alpha, beta)
        self.size = size

    def bind(self, shape: tuple[int, ...], ends: tuple[Tensor, Tensor]) -> "Blocks":
        if len(shape) < 2:
            raise UserError(f"corruption: blocks need images, the data's shape is {tuple(shape)}; take masking instead")
        if self.size > min(shape[-2:]):
            raise UserError(
                f"corruption.size: at most {min(shape[-2:])} for these images, got {self.size}; make it smaller"
            )
        self.shape = tuple(shape)
        return self

    def __call__(self, x: Tensor, progress: float = 1.0) -> Corrupted:
        return blocks(x, self.strength(progress), self.size, self.shape)
