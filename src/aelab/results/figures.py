"""What a person looks at after a run: its figures, drawn in :mod:`aelab.functional.drawing`."""

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aelab.data.batches import Data
from aelab.data.parts import EVALUATION_BATCH, Batch
from aelab.functional.drawing.code import MAX_POINTS, code_scatter, point_clouds
from aelab.functional.drawing.curves import loss_curves
from aelab.functional.drawing.filters import filters, silent_units
from aelab.functional.drawing.images import image_mosaic, image_rows, is_image
from aelab.functional.drawing.sheet import Sheet, number
from aelab.functional.drawing.units import confusion, errors, feature_errors
from aelab.functional.pca import reconstruct as reconstruct_pca
from aelab.models.base import Model
from aelab.models.filters import Filters
from aelab.rbm.layer import Layer, weights_down, weights_up
from aelab.results.evaluation import Evaluator, alone
from aelab.results.metrics import codes
from aelab.results.study_figures import statistics_figures

COLUMNS = 10  # images in a row
MAP_SIDE = 20  # images along a side of the code's map
TAIL = 0.02  # of the samples' values of a code unit, how many lie beyond either edge of the map
WATCHED = 1000  # samples by which a unit is found silent
MERITS = {  # figure of merit → how it is said, the first that a run has
    "class_error": "{} % errors",
    "rmse": "RMSE of a rating {}",
    "perplexity": "perplexity {} per word",
    "elbo": "ELBO {} nats",
    "squared_error": "squared error {}",
    "loss": "loss {}",
}


@torch.no_grad()
def run_figures(
    model: Model, data: Data, rows: list[dict[str, float]], metrics: dict[str, float],
    evaluators: Mapping[str, Evaluator] = MappingProxyType({}),
) -> dict[str, Figure]:  # fmt: skip
    """File name → figure, signed with whose it is: losses, reconstructions, errors, filters, code, the model's own.

    And those of the ``evaluators`` that have ``figures``.
    """
    drawn: dict[str, Figure] = {"loss": losses(model, data, rows), **statistics_figures(rows)} if rows else {}
    shape = data.pixel_shape
    images = is_image(shape)
    if model.reconstructs and images:
        drawn["reconstructions"] = reconstruction_rows(model, data)
        drawn["errors"] = error_figure(model, data)
    elif model.reconstructs and shape in ((2,), (3,)):
        clouds = {name: data.to_pixels(x) for name, x in seen(model, data, MAX_POINTS).items()}
        title = f"{len(data.test.x)} test samples, as they are and as they are reconstructed"
        drawn["reconstructions"] = point_clouds(title, clouds, data.test.y)
    elif model.reconstructs and not data.below and len(data.schema.features) > 1:
        drawn["features"] = features_figure(model, data)
    if images:
        drawn |= filter_figures(model, data)
    code = codes(model, data.test)
    title = f"The code of {min(len(code), MAX_POINTS)} test samples"
    labels = None if data.n_classes is None else data.test.y  # without classes y may be what is to be predicted
    drawn["code"] = code_scatter(title, code, labels, model.normal_prior, data.schema.class_name)
    if images and model.reconstructs and code.shape[1] == 2 and not model.normal_prior:  # which has a map of its own
        drawn["code_map"] = code_map(model, data, code)
    if model.classifies and labels is not None:
        drawn["confusion"] = confusion_figure(model, data)
    drawn |= model.figures(data)
    for name, evaluator in evaluators.items():
        if hasattr(evaluator, "figures"):
            with alone(f"evaluate.{name}"):
                drawn |= evaluator.figures(model, data)
    whose = subject(model, data, rows, metrics)
    for figure in drawn.values():
        sign(figure, whose)
    return drawn


def losses(model: Model, data: Data, rows: list[dict[str, float]]) -> Sheet:
    """The losses of all epochs, less what no weights can change, beside which nothing else would be seen."""
    title = f"Loss of {len(data.train.x)} training and {len(data.val.x)} validation samples"
    constant = model.loss_constant(data)
    unit = f"loss less its constant {number(constant)}, nats" if constant else "loss, nats per sample"
    return loss_curves(title, rows, unit, "squared error of a validation sample", constant, model.losses_apart)


def reconstruction_rows(model: Model, data: Data) -> Sheet:
    """The first test images, as they are, corrupted and restored, and as the model and PCA give them back."""
    rows = {name: data.to_pixels(x) for name, x in seen(model, data, COLUMNS).items()}
    touched = {}
    if data.below:
        rows = {"input": data.pixels[:COLUMNS], "its code, decoded": rows.pop("input"), **rows}
    elif "corrupted" in rows:
        touched = {"corrupted": corrupted(model, data, data.test.x[:COLUMNS])[1]}
        if bool(touched["corrupted"].all()):
            touched = {}
    title = f"The first {len(rows['input'])} of {len(data.test.x)} test samples"
    return image_rows(title + ", touched pixels tinted" * bool(touched), rows, data.pixel_shape, touched=touched)


def seen(model: Model, data: Data, n: int) -> dict[str, Tensor]:
    """Name → the first ``n`` test inputs: as they are, corrupted and restored, and as model and PCA see them."""
    x = data.test.x[:n]
    rows = {"input": x}
    if model.corruption is not None:
        noisy, touched = corrupted(model, data, x)
        if bool(touched.any()):
            rows |= {"corrupted": noisy, "restored": model.reconstruct(noisy)}
    rows["reconstruction"] = model.reconstruct(x)
    components = model.units_used(data.test.x[:WATCHED])
    if components < min(data.train.x.shape):
        rows[f"PCA, {components} components"] = reconstruct_pca(data.pca(components), x).to(x)
    return rows


def corrupted(model: Model, data: Data, x: Tensor) -> tuple[Tensor, Tensor]:
    """``x`` as training sees it in the end, and what was touched; the draws are always the same."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        assert model.corruption is not None  # who asks has looked
        return model.corruption.bind(data.shape, data.ends)(x)


def error_figure(model: Model, data: Data) -> Sheet:
    """How the errors of the test samples are spread, and the samples with the largest and the smallest."""
    parts = []
    for batch, pixels in beside_pixels(data):
        squares = (data.to_pixels(model.reconstruct(batch.x)) - pixels).square()
        parts.append(batch.of_observed(squares).sum(1))
    error = torch.cat(parts)
    order = error.argsort(descending=True)
    chosen = {"worst": order[:COLUMNS], "best": order.flip(0)[:COLUMNS]}
    shown = []
    for name, samples in chosen.items():
        rows = {"input": data.pixels.to(error.device)[samples]}
        rows["reconstruction"] = data.to_pixels(model.reconstruct(data.test.x[samples]))
        shown.append((name, samples, rows))
    title = f"Squared errors of {len(error)} test samples, and the {len(chosen['worst'])} largest and smallest"
    return errors(title, error, shown, data.pixel_shape, "squared error, summed over pixels")


def beside_pixels(data: Data) -> Iterator[tuple[Batch, Tensor]]:
    """The test set in batches, each with its samples as they are below any layers."""
    done = 0
    for batch in data.test.batches():
        yield batch, data.pixels[done : done + len(batch.x)].to(batch.x)
        done += len(batch.x)


def code_map(model: Model, data: Data, code: Tensor) -> Sheet:
    """What a point of the code's plane decodes to, where the codes (samples, 2) of the test samples lie."""
    low, high = (code.float().quantile(q, dim=0) for q in (TAIL, 1 - TAIL))
    first, second = (torch.linspace(float(a), float(b), MAP_SIDE) for a, b in zip(low, high))
    grid = torch.cartesian_prod(second.flip(0), first).flip(1).to(code)  # line by line, the second unit downwards
    pixels = data.to_pixels(torch.cat([model.decode(part) for part in grid.split(EVALUATION_BATCH)]))
    names = [f"code unit {i + 1}, from {number(float(low[i]))} to {number(float(high[i]))}" for i in range(2)]
    title = f"The code's plane, decoded, where {100 - 200 * TAIL:.0f} % of the test samples lie"
    return image_mosaic(title, pixels, data.pixel_shape, MAP_SIDE, *names)


def features_figure(model: Model, data: Data) -> Sheet:
    """Which features are reconstructed how well, beside PCA with as many components."""
    by = {type(model).__name__: model.reconstruct}
    components = model.units_used(data.test.x[:WATCHED])
    if components < min(data.train.x.shape):
        pca = data.pca(components)
        by[f"PCA, {components} components"] = lambda x: reconstruct_pca(pca, x).to(x)
    found = {}
    for name, reconstruct in by.items():
        squares, counts = torch.zeros(2, data.test.x.shape[1], device=data.test.x.device)
        for batch in data.test.batches():
            squares += batch.of_observed((reconstruct(batch.x) - batch.x).square()).sum(0)
            counts += batch.of_observed(torch.ones_like(batch.x)).sum(0)
        mean = (squares / counts.clamp(min=1)).cpu().numpy()[None]
        found[name] = torch.from_numpy(data.schema.by_feature(mean)[0])
    title = f"Mean squared errors of {len(data.test.x)} test samples, by feature"
    return feature_errors(title, data.schema.features, found, "squared error, scaled feature")


def confusion_figure(model: Model, data: Data) -> Sheet:
    """Which label the test samples of each label are given."""
    assert data.n_classes is not None and data.test.y is not None  # a classifier has both
    n = max(data.n_classes, int(data.test.y.max()) + 1)
    counts = torch.zeros(n, n)
    for batch in data.test.batches():
        pairs = (batch.target * n + model.classify(batch.x).argmax(1)).cpu()
        counts += torch.bincount(pairs, minlength=n**2).view_as(counts)
    wrong = int(counts.sum() - counts.trace())
    return confusion(f"Labels given to {len(data.test.x)} test samples: {wrong} wrong", counts, data.schema.class_name)


def filter_figures(model: Model, data: Data) -> dict[str, Sheet]:
    """``encoder_filters`` and ``decoder_filters``: the weights next to the pixels, seen through the layers below."""
    x = data.test.x[:WATCHED]
    sides = {"encoder_filters": (model.encoder_filters(x), "What the first hidden units look for")}
    if model.reconstructs:
        sides["decoder_filters"] = (model.decoder_filters(x), "What the last hidden units draw")
    ways = {"encoder_filters": weights_up, "decoder_filters": weights_down}
    return {
        name: filter_figure(side, title, data, ways[name]) for name, (side, title) in sides.items() if side is not None
    }


def filter_figure(side: Filters, title: str, data: Data, way: Callable[[Layer], Tensor]) -> Sheet:
    weights, shape = side.weights, data.pixel_shape
    if weights.ndim == 4:
        shape, weights = tuple(weights.shape[2 if weights.shape[1] == 1 else 1 :]), weights.flatten(1)
        title += f", {shape[-2]} × {shape[-1]} pixels"
    elif data.below:
        weights = project_filters(weights, data.below, way)
        title += f", through {len(data.below)} layer{'s' * (len(data.below) > 1)} below"
    return filters(title, weights, shape, silent_units(side.activity))


def project_filters(weights: Tensor, below: list[Layer], way: Callable[[Layer], Tensor]) -> Tensor:
    """Weights (filters, input) of a layer → pixels (filters, pixels): the linear product with the layers below.

    ``way``: the weights of a layer by which its hidden units are found, or by which they draw.
    """
    for layer in reversed(below):
        weights = weights @ way(layer).to(weights).t()
    return weights


def subject(model: Model, data: Data, rows: list[dict[str, float]], metrics: dict[str, float]) -> str:
    """Whose figures they are: model, data, how long it was trained, figure of merit."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(model).__name__)
    parts = [f"{name} on {data.name}", f"{model.encode(data.test.x[:1]).shape[1]} code units"]
    if data.below:
        parts[0] += f", {len(data.below)} layer{'s' * (len(data.below) > 1)} below"
    untrained = "not fine-tuned" if model.made_from_layers else "not trained"
    parts.append(f"{len(rows)} epoch{'s' * (len(rows) != 1)}" if rows else untrained)
    for split, words in (("test", "test"), ("val", "validation")):
        merit = next((key for key in MERITS if f"{split}/{key}" in metrics), None)
        if merit is not None:
            parts.append(f"{words}: " + MERITS[merit].format(number(metrics[f"{split}/{merit}"])))
            break
    return "  ·  ".join(parts)


def sign(figure: Figure, text: str) -> None:
    """Write whose figure it is on it; on one that was not drawn on our sheet, as its title."""
    if isinstance(figure, Sheet):
        figure.sign(text)
    elif not figure.get_suptitle():
        figure.suptitle(text, fontsize=8)
