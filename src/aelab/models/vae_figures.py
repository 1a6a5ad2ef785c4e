"""What a variational autoencoder dreams up: samples, ways between images, what each latent unit does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aelab.data.batches import Data
from aelab.functional.drawing import images, units
from aelab.functional.drawing.sheet import Sheet
from aelab.models.vae_evaluation import bound_terms

SIDE = 16  # images along a side of the samples and of the manifold
PAIRS = 8  # interpolations
STEPS = 8  # codes on the way of each, both ends included
UNITS = 10  # latent units that are traversed, those with the largest KL
REACH = 3.0  # standard deviations of the prior to which they are, to both sides


@torch.no_grad()
def figures(model: Any, data: Data) -> dict[str, Sheet]:
    """``kl`` of each latent unit; for images samples, interpolations, traversals and, of a 2-D code, its manifold."""
    torch.manual_seed(0)
    kl = bound_terms(model, data.test)[1]
    title = f"KL(q ‖ p) of {len(kl)} latent units, mean over {len(data.test.x)} test samples"
    drawn = {"kl": units.ranked(title, kl, "latent unit, by its KL", "KL(q ‖ p), nats")}
    shape = data.pixel_shape
    if not images.is_image(shape):
        return drawn
    pixels = data.to_pixels(model.sample(SIDE * SIDE))
    drawn["samples"] = images.image_mosaic(f"{SIDE * SIDE} samples of the prior, decoded", pixels, shape, SIDE)
    drawn["interpolations"] = interpolations(model, data)
    if model.n_code == 2:
        pixels = data.to_pixels(model.decode(model.code_of_noise(quantile_grid(SIDE).to(model.device))))
        what = "code unit" if model.normal_prior else "number drawn for the prior"
        sides = [f"{what} {unit}, at the quantiles of N(0, 1)" for unit in (2, 1)]
        drawn["manifold"] = images.image_mosaic("The code's plane, decoded", pixels, shape, SIDE, *sides)
    else:
        drawn["traversals"] = traversals(model, data, kl[-model.n_code :])
    return drawn


def interpolations(model: Any, data: Data) -> Sheet:
    """Straight lines in the code between pairs of test samples, a row for each, the samples themselves at its ends."""
    n = min(PAIRS, len(data.test.x) // 2)
    code = model.encode(data.test.x[: 2 * n])
    codes = ways_between(code[::2], code[1::2], STEPS)
    ways = data.to_pixels(model.decode(codes.flatten(0, 1))).unflatten(0, (n, STEPS))
    ends = data.pixels[: 2 * n].to(ways)
    rows = torch.cat([ends[::2, None], ways, ends[1::2, None]], 1)
    above = ["input", *(f"{i}/{STEPS - 1}" for i in range(STEPS)), "input"]
    title = "Codes on straight lines between those of two test samples, decoded"
    named = {f"pair {i + 1}": row for i, row in enumerate(rows)}
    return images.image_rows(title, named, data.pixel_shape, above, given=(0, STEPS + 1))


def ways_between(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """(pairs, steps, code): points on the straight lines from a to b (pairs, code), both ends included."""
    weight = torch.linspace(0, 1, steps, device=a.device)[None, :, None]
    return torch.lerp(a[:, None], b[:, None], weight)


def traversals(model: Any, data: Data, kl: Tensor) -> Sheet:
    """One code unit after the other from −3 to 3 standard deviations of the prior, the others at 0, decoded."""
    places = kl.argsort(descending=True)[:UNITS]
    steps = torch.linspace(-REACH, REACH, 9, device=kl.device)
    codes = torch.zeros(len(places), len(steps), model.n_code, device=kl.device)
    for row, unit in enumerate(places.tolist()):
        codes[row, :, unit] = steps
    pixels = data.to_pixels(model.decode(codes.flatten(0, 1))).unflatten(0, (len(places), len(steps)))
    rows = {f"unit {unit + 1}, KL {float(kl[unit]):.2f}": row for unit, row in zip(places.tolist(), pixels)}
    title = f"One code unit varied, the others at 0; the {len(places)} units of largest KL (nats)"
    return images.image_rows(title, rows, data.pixel_shape, [f"{step:+g}" if step else "0" for step in steps.tolist()])


def quantile_grid(side: int) -> Tensor:
    """(side², 2): coordinates at the quantiles (i + ½) / side of N(0, 1): the prior gives each cell the same mass.

    Kingma & Welling 2013, figure 4.
    """
    quantiles = torch.special.ndtri((torch.arange(side) + 0.5) / side)
    return torch.cartesian_prod(quantiles, quantiles)
