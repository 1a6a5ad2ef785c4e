"""What a person looks at after a run: its figures, saved as PNG; each is drawn in :mod:`aelab.functional.drawing`."""

from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aelab.data.batches import Data
from aelab.files import write_whole
from aelab.functional.drawing import MAX_POINTS, code_scatter, image_grid, image_rows, loss_curves, point_clouds
from aelab.functional.pca import reconstruct as reconstruct_pca
from aelab.models.base import Base
from aelab.results.metrics import codes
from aelab.results.study_figures import statistics_figures

COLUMNS = 10  # images in a row
MAX_FILTERS = 100


@torch.no_grad()
def run_figures(model: Base, data: Data, rows: list[dict[str, float]]) -> dict[str, Figure]:
    """File name → figure: reconstructions, filters both ways, the code in 2-D, loss curves, the model's own."""
    figures = {"loss": loss_curves(rows), **statistics_figures(rows)}
    shape = data.pixel_shape
    if model.reconstructs and len(shape) == 2:
        rows = {name: data.to_pixels(x) for name, x in reconstructions(model, data, COLUMNS).items()}
        figures["reconstructions"] = image_rows(rows, shape)
    elif model.reconstructs and shape in ((2,), (3,)):
        clouds = {name: data.to_pixels(x) for name, x in reconstructions(model, data, MAX_POINTS).items()}
        figures["reconstructions"] = point_clouds(clouds, data.test.y)
    if len(shape) == 2:
        sides = {"encoder_filters": model.encoder_filters()}
        sides |= {"decoder_filters": model.decoder_filters()} if model.reconstructs else {}
        for name, weights in sides.items():
            if weights is not None:
                figures[name] = image_grid(project_filters(weights[:MAX_FILTERS], data), shape)
    figures["code"] = code_scatter(codes(model, data.test), data.test.y)
    return figures | model.figures(data)


def reconstructions(model: Base, data: Data, n: int) -> dict[str, Tensor]:
    """Name → the first ``n`` test samples: as they are, corrupted and restored, and as model and PCA see them."""
    x = data.test.x[:n]
    seen = {"input": x}
    corruption = model.training_plan.corruption if model.training_plan else None
    if corruption is not None:
        torch.manual_seed(0)
        corrupted = corruption(x)
        if bool(corrupted.touched.any()):
            seen |= {"corrupted": corrupted.x, "restored": model.reconstruct(corrupted.x)}
    seen["reconstruction"] = model.reconstruct(x)
    n_code = model.encode(x).shape[1]
    if n_code < min(data.train.x.shape):
        seen[f"PCA, {n_code}"] = reconstruct_pca(data.pca(n_code), x).to(x)
    return seen


def project_filters(weights: Tensor, data: Data) -> Tensor:
    """Weights (filters, input) of a layer → pixels (filters, pixels): the linear product with the layers below."""
    for layer in reversed(data.below):
        weights = weights @ layer.W.to(weights).t()
    return weights


def save(figures: dict[str, Figure], folder: Path) -> dict[str, Path]:
    """Write each as ``folder/NAME.png``; name → path."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        write_whole(paths[name], partial(figure.savefig, dpi=110, format="png", bbox_inches="tight"))
    return paths
