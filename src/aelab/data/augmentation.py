"""What changes in a training image at each visit, so that a net cannot learn the images by heart.

Rows of x (batch, input) are images of ``shape`` (height, width) or (channel, height, width), flattened. Draws come from
torch's default generator, on the images' device; zeros come in from outside.
"""

import math
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from aelab.errors import UserError
from aelab.ranges import Interval

Degrees = Annotated[float, Interval(0, 180)]
Zoom = Annotated[float, Interval(0, 0.9)]
Mirror = Literal["none", "horizontal", "vertical", "both"]


class Augmentation(NamedTuple):
    """``shift`` in pixels; ``mirror`` by a fair coin for each axis; ``rotate`` in degrees and ``zoom`` as a fraction,
    the most that an image is turned and scaled by; ``mix``: the most that another image has in a mixture of two.

    An image is either shifted or turned and scaled, by a fair coin, where both are asked for.
    """

    shift: int
    mirror: Mirror
    rotate: float
    zoom: float
    mix: float

    def check(self, shape: tuple[int, ...], name: str) -> "Augmentation":
        """Itself; raises ``UserError`` at the key that cannot be had for images of ``shape`` of the set ``name``."""
        moves = {"shift": self.shift, "mirror": self.mirror != "none", "rotate": self.rotate, "zoom": self.zoom}
        for key, asked in moves.items():
            if asked and len(shape) < 2:
                still = "none" if key == "mirror" else 0
                raise UserError(f"data.{key}: samples of {name} are no images; set data.{key}={still}")
        if self.shift and self.shift >= min(shape[-2:]):
            raise UserError(f"data.shift: must be at most {min(shape[-2:]) - 1} pixels for {name}, got {self.shift}")
        return self

    def __call__(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        if self.mirror != "none":
            x = mirrored(x, shape, self.mirror)
        turns = bool(self.rotate or self.zoom)
        if turns and self.shift:
            x = self._turned_or_shifted(x, shape)
        elif turns:
            x = warped(x, shape, self.rotate, self.zoom)
        elif self.shift:
            x = shifted(x, shape, self.shift)
        return mixed(x, self.mix) if self.mix else x

    def _turned_or_shifted(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        heads = torch.rand(len(x)) < 0.5  # on the CPU, where counting them keeps no other device waiting
        turned, still = heads.nonzero()[:, 0].to(x.device), (~heads).nonzero()[:, 0].to(x.device)
        moved = torch.empty_like(x)
        if len(turned):  # no image at all has no greatest value
            moved[turned] = warped(x[turned], shape, self.rotate, self.zoom)
        moved[still] = shifted(x[still], shape, self.shift)
        return moved


STILL = Augmentation(shift=0, mirror="none", rotate=0.0, zoom=0.0, mix=0.0)


def shifted(x: Tensor, shape: tuple[int, ...], by: int) -> Tensor:
    """Every image moved by up to ``by`` pixels each way, all shifts alike likely."""
    height, width = shape[-2:]
    n, device = len(x), x.device
    padded = F.pad(x.reshape(n, -1, height, width), (by, by, by, by))
    move = torch.randint(0, 2 * by + 1, (2, n, 1), device=device)
    rows = torch.arange(height, device=device) + move[0]
    columns = torch.arange(width, device=device) + move[1]
    flat = (rows[:, :, None] * (width + 2 * by) + columns[:, None, :]).view(n, 1, -1)
    return padded.flatten(2).gather(2, flat.expand(-1, padded.shape[1], -1)).flatten(1)


def mirrored(x: Tensor, shape: tuple[int, ...], axes: Mirror) -> Tensor:
    """Every image turned left to right, or top to bottom, or each of both, with probability ½."""
    images = x.view(len(x), -1, *shape[-2:])
    for axis, names in ((3, ("horizontal", "both")), (2, ("vertical", "both"))):
        if axes in names:
            turned = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            images = torch.where(turned, images.flip(axis), images)
    return images.flatten(1)


def warped(x: Tensor, shape: tuple[int, ...], degrees: float, zoom: float) -> Tensor:
    """Every image turned by U(−degrees, degrees) and scaled by U(1 − zoom, 1 + zoom) about its centre, bicubically.

    Values stay between the least and the greatest of the batch, which bicubic interpolation alone would overshoot.
    """
    height, width = shape[-2:]
    angle, scale = torch.rand(2, len(x), device=x.device) * 2 - 1
    angle, scale = angle * math.radians(degrees), 1 / (1 + scale * zoom)
    cos, sin, zero = scale * angle.cos(), scale * angle.sin(), torch.zeros_like(angle)
    # grid_sample counts in half images, so a rotation of pixels that are not square in its units is squeezed
    rows = torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)
    images = x.view(len(x), -1, height, width)
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    turned = F.grid_sample(images, grid, mode="bicubic", align_corners=False)
    low, high = torch.aminmax(x)
    return turned.clamp(low, high).flatten(1)


def mixed(x: Tensor, most: float) -> Tensor:
    """λ x + (1 − λ) x′, x′ another row and λ ~ U(1 − most, 1): the mixture is what is to be reconstructed.

    After Zhang et al. 2018, without labels: of people's faces it makes new people.
    """
    weight = 1 - most * torch.rand(len(x), 1, device=x.device)
    return torch.lerp(x[torch.randperm(len(x), device=x.device)], x, weight)
