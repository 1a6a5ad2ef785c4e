"""Every figure of every model: titled, signed, with units, and nothing written over anything else."""

import math

import numpy as np
import pytest
import torch
from figure_boxes import assert_readable, written
from helpers import OPTIONS, aelab, made_layers, small
from matplotlib.figure import Figure

from aelab.config.build import build, build_model, made_from_layers
from aelab.functional.drawing import code, curves, filters, images, units
from aelab.functional.drawing.sheet import Sheet, number, save, shortened, spans_decades
from aelab.rbm.layer import load_layers
from aelab.results import figures, saved_figures

CHOICES = [[o] for o in OPTIONS if o.startswith(("model=", "model/network=", "data=", "corruption="))]
CHOICES += [["model=vae", "model.n_code=2"], ["model.n_code=1"], ["model.n_code=2"], ["model=rbm", "below={below}"]]
OWN = "data.path=${{oc.env:AELAB_DATA}}/own/"
COLOURED = (
    ["model=vae", "model.n_code=2"],
    ["model.n_code=2"],
    ["model=rbm"],
    ["model/network=conv", "corruption=blocks"],
    ["data.shift=1"],
)
CHOICES += [["data=array", OWN + "colours.npz", *more] for more in COLOURED]
CHOICES += [["data=array", OWN + "volumes.npy", *more] for more in ([], ["model/network=conv"])]
CHOICES += [["model=deep_belief_network", "model.labels=true", "model.fantasy_steps=2"]]


@pytest.fixture(scope="module")
def below(tmp_path_factory):
    return made_layers(tmp_path_factory.mktemp("stack") / "below")


def untrained(choice, below):
    """The model and the data of a run before its first step."""
    cfg = small(*(text.format(below=below) for text in choice))
    layers, inside = load_layers(below / "layers.pt"), made_from_layers(cfg.model)
    on = [] if cfg.below is None else layers
    data = build(cfg.data, "data", seed=0, batch_size=16, below=on)
    model = build_model(cfg.model, data.shape, layers if inside else on, data.n_classes)
    model.corruption = build(cfg.corruption, "corruption")
    return model.eval(), data


HISTORY = [
    {"epoch": epoch, "train/loss": 30 / (epoch + 1), "val/loss": 33.3 / (epoch + 1), "val/squared_error": 2.5}
    for epoch in (0, 1)
]


@pytest.mark.parametrize("choice", CHOICES, ids=" ".join)
def test_every_figure_says_what_it_shows_and_whose_it_is(choice, below, made_data):
    model, data = untrained(choice, below)
    metrics = {"test/class_error": 3.25} if not model.reconstructs else {"test/squared_error": 12.5}
    drawn = figures.run_figures(model, data, HISTORY, metrics)
    assert {"loss", "code"} <= drawn.keys()
    if model.reconstructs and len(data.pixel_shape) > 1:
        assert {"reconstructions", "errors", "encoder_filters"} <= drawn.keys()
    for name, figure in drawn.items():
        title, *_, subject = (text.get_text() for text in figure.texts)
        assert len(title) > 15 and data.name in subject and "2 epochs" in subject
        assert "3.25 % errors" in subject or "squared error 12.5" in subject
        assert_readable(figure, name)


def test_colours_are_drawn_in_their_colours_and_layers_side_by_side():
    red_then_blue = torch.tensor([[1.0, 0, 0, 0, 0, 1]])  # (colour, height, width) of a picture of two pixels
    np.testing.assert_array_equal(images.coloured(red_then_blue, (3, 1, 2), (0.0, 1.0))[0], [[1, 0, 0], [0, 0, 1]])
    layers = torch.arange(10.0)[None]
    assert images.sides((5, 1, 2)) == (1, 10) and images.arranged(layers, (5, 1, 2))[0, :, 0].tolist() == list(
        range(10)
    )


def test_the_errors_of_a_table_are_those_of_its_columns(below, made_data):
    model, data = untrained(
        ["data=table", "data.path=${{oc.env:AELAB_DATA}}/own/table.csv", "data.exclude=[household]"], below
    )
    axes = figures.run_figures(model, data, HISTORY, {"test/loss": 1.0})["features"].axes[0]
    shown = {text.get_text() for text in axes.get_yticklabels()}
    assert shown == set(data.schema.features) and [text.get_text() for text in axes.get_legend().get_texts()]
    squares = (model.reconstruct(data.test.x) - data.test.x).square().detach().numpy()
    expected = np.sort(data.schema.by_feature(squares).mean(0))[::-1]
    np.testing.assert_allclose([bar.get_width() for bar in axes.containers[0]], expected, rtol=1e-4)


def test_a_run_of_no_epochs_has_no_losses_to_draw(below, made_data):
    assert "loss" not in figures.run_figures(*untrained([], below), [], {"test/squared_error": 1.0})


def test_what_kinds_of_run_have_of_their_own(below, made_data):
    kinds = {
        "model=contractive": {"singular_values"},
        "model=classifier": {"confusion"},
        "model=sparse": {"lifetime_sparsity"},
        "model=vae": {"kl", "samples", "interpolations", "traversals"},
        "model=rbm": {"hidden_activity", "fantasies"},
        "model/network=conv": {"encoder_filters", "decoder_filters"},
    }
    for choice, expected in kinds.items():
        model, data = untrained([choice], below)
        assert expected <= figures.run_figures(model, data, HISTORY, {"test/loss": 1.0}).keys(), choice


def test_the_map_of_a_code_is_decoded_where_the_codes_lie_first_unit_to_the_right_second_upwards(below, made_data):
    model, data = untrained(["model.n_code=2"], below)
    assert "code_map" in figures.run_figures(model, data, HISTORY, {"test/loss": 1.0})
    code, seen = torch.randn(500, 2) * torch.tensor([1.0, 10.0]), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "decode", lambda rows: (seen.append(rows), torch.rand(len(rows), 64))[1])
        figures.code_map(model, data, code)
    grid = torch.cat(seen).unflatten(0, (figures.MAP_SIDE, figures.MAP_SIDE))
    low, high = (code.quantile(q, dim=0) for q in (figures.TAIL, 1 - figures.TAIL))
    torch.testing.assert_close(grid[0, 0], torch.stack([low[0], high[1]]))
    torch.testing.assert_close(grid[-1, -1], torch.stack([high[0], low[1]]))


def test_a_stack_is_seen_from_the_pixels_up(below, made_data):
    model, data = untrained(["model=rbm", "below={below}"], below)
    rows = {}
    drawn = images.image_rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            figures, "image_rows", lambda title, seen, *_, **__: rows.update(seen) or drawn(title, seen, (8, 8))
        )
        figures.reconstruction_rows(model, data)
    assert list(rows)[:2] == ["input", "its code, decoded"]
    torch.testing.assert_close(rows["input"], data.pixels[:10])
    assert all(images_.shape == (10, 64) for images_ in rows.values())


def test_pca_beside_a_sparse_code_has_as_many_components_as_units_are_active(below, made_data):
    model, data = untrained(["model=top_k", "model.n_code=64", "model.k=5"], below)
    assert "PCA, 5 components" in figures.seen(model, data, 10)


def test_touched_pixels_are_seen_and_the_others_are_grey():
    picture = images.coloured(torch.zeros(1, 4), (2, 2), (0.0, 1.0), torch.tensor([[True, False, False, False]]))
    assert picture[0, 0].max() > 0.3 and (picture[0, 1:] == 0).all()


def test_filters_are_on_one_scale_by_norm_and_the_silent_are_crossed_out():
    weights = torch.tensor([[1.0, 0, 0, 0], [4, 0, 0, 0], [0, -2, 0, 0]])
    sheet = filters.filters("Filters", weights, (2, 2), torch.tensor([False, False, True]))
    (picture,) = sheet.axes[0].images
    corners = picture.get_array()[::3, ::3][:, :, 0].ravel() / 255  # red of the upper left pixel of each tile
    assert corners[0] == pytest.approx(0.40, abs=0.05), "4 is the deepest red, the first by norm"
    assert len(sheet.axes[0].lines) == 1, "one of them is crossed out"
    assert "crossed: 1 silent" in " ".join(text for text, _ in written(sheet))
    activity = torch.stack([torch.linspace(0, 1, 9), torch.full((9,), 3.0), torch.linspace(0, 1e-5, 9)], 1)
    assert filters.silent_units(activity).tolist() == [False, True, True]


@pytest.mark.parametrize("n", [1, 3, 8, 50, 800])
def test_units_are_readable_however_many_there_are(n):
    activity = torch.rand(n)
    drawn = {
        "ranked": units.ranked("Mean activity", activity, "unit", "activity", (0.0, 1.0)),
        "lifetimes": units.lifetimes("Lifetimes", (activity - 0.3).clamp(min=0), "share", "units", 100),
        "spectrum": units.spectrum(
            "Singular values", torch.rand(5, n).sort(1, descending=True).values, "rank", "value"
        ),
        "confusion": units.confusion("Labels", torch.randint(0, 3000, (min(n, 30), min(n, 30)))),
    }
    for name, sheet in drawn.items():
        assert_readable(sheet, f"{name} of {n}")
    assert drawn["ranked"].axes[0].get_ylim() == (0, 1)


def test_the_dead_stand_apart():
    sheet = units.lifetimes("Lifetimes", torch.tensor([0.0, 0.0, 0.5, 1.0]), "share", "units", 100)
    dead = sheet.axes[0].patches[-1]
    assert dead.get_height() == 2 and dead.get_x() + dead.get_width() < 0
    assert any(text == "none" for text, _ in written(sheet))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5, -20.0])
@pytest.mark.parametrize("epochs", [1, 2, 300])
def test_losses_are_readable_and_the_best_epoch_is_marked(scale, epochs):
    rows = [{"epoch": e, "train/loss": scale / (1 + e), "val/loss": abs(e - 200) + scale} for e in range(epochs)]
    sheet = curves.loss_curves("Loss", rows, "loss, nats", "error")
    sheet.sign("a model on some data")
    assert_readable(sheet, f"{scale} {epochs}")
    best = sheet.axes[0].lines[-1]
    assert best.get_xdata()[0] == min(epochs, 201)  # counted from 1, as on the screen


def test_a_loss_that_falls_far_has_a_logarithmic_axis():
    rows = [{"epoch": e, "train/loss": 10.0**-e, "val/loss": 10.0**-e, "val/squared_error": 5.0 - e} for e in range(4)]
    sheet = curves.loss_curves("Loss", rows, "loss", "error")
    assert [axes.get_yscale() for axes in sheet.axes] == ["log", "linear"]


@pytest.mark.parametrize("choice", [f"model={name}" for name in ("linear", "autoencoder", "rating_rbm")])
def test_the_loss_is_drawn_without_its_constant_and_says_so(choice, below, made_data):
    """A perfect reconstruction of Gaussian inputs costs ½ log 2π each; nothing else has such a constant."""
    model, data = untrained([choice], below)
    gaussian = choice == "model=linear"
    assert model.loss_constant(data) == (pytest.approx(32 * math.log(2 * math.pi)) if gaussian else 0)
    sheet = figures.losses(model, data, [{"epoch": e, "train/loss": 70.0 - e, "val/loss": 70.0 - e} for e in range(9)])
    np.testing.assert_allclose(sheet.axes[0].lines[0].get_ydata(), 70 - np.arange(9) - model.loss_constant(data))
    says = [axes.get_ylabel() for axes in sheet.axes]
    if choice == "model=rating_rbm":  # training goes down a divergence, validation measures squared errors
        assert says == list(model.losses_apart) and len(sheet.axes[0].lines) == 1
    else:
        assert says == ["loss less its constant 58.81, nats" if gaussian else "loss, nats per sample"]
    assert_readable(sheet, "loss")


@pytest.mark.parametrize("n", [1, 2, 5, 11])
def test_the_stages_of_a_chain_are_one_picture(n):
    rows = [{"epoch": e, "train/loss": 3.0 / (e + 1), "val/loss": 4.0 / (e + 1)} for e in range(9)]
    sheet = curves.stages_losses("Losses", {f"stage{i}": rows for i in range(n)}, {"stage0": 9.5})
    assert_readable(sheet, f"{n} stages")
    assert [axes.get_title() for axes in sheet.axes if axes.axison] == [f"stage{i}" for i in range(n)]


@pytest.mark.parametrize(("labels", "n_code"), [(None, 1), (None, 3), (10, 1), (10, 2), (20, 5), (300, 2), (0, 2)])
def test_codes_have_equal_axes_and_a_colour_for_each_label(labels, n_code):
    x = torch.randn(400, n_code) * torch.tensor([50.0] + [1.0] * (n_code - 1))
    y = None if labels is None else torch.arange(400) % labels if labels else torch.zeros(400, dtype=torch.long)
    sheet = code.code_scatter("The code", x, y, normal_prior=n_code > 1)
    assert_readable(sheet, "code")
    axes = sheet.axes[0]
    if n_code > 1:
        assert axes.get_aspect() == 1 and len(axes.patches) == 1
    if n_code > 2:
        share = float(x[:, 0].var() / x.var(0).sum())
        assert f"({100 * share:.0f} % of its variance)" in axes.get_xlabel()


@pytest.mark.parametrize("words", [["benign", "malignant"], ["a class with a very long name"] * 12, ["0", "1", "2"]])
@pytest.mark.parametrize("n_code", [1, 3])
def test_classes_are_called_what_their_data_call_them(words, n_code):
    y = torch.arange(300) % len(words)
    shown = {shortened(word, 16) for word in words}
    for sheet in (
        code.code_scatter("The code", torch.randn(300, n_code), y, n_code > 1, words.__getitem__),
        units.confusion("Labels", torch.eye(len(words), dtype=torch.long) * 300, words.__getitem__),
    ):
        assert_readable(sheet, "classes")
        assert shown <= {text for text, _ in written(sheet)}


def test_many_silent_units_are_counted_beside_the_scale():
    sheet = filters.filters("Filters", 1e-4 * torch.randn(2000, 64), (8, 8), torch.ones(2000, dtype=torch.bool))
    assert_readable(sheet, "silent")


def test_the_prior_is_where_the_codes_origin_lies():
    x = torch.randn(500, 6) + torch.tensor([3.0, 0, 0, 0, 0, 0])
    (circle,) = code.code_scatter("The code", x, None, normal_prior=True).axes[0].patches
    assert math.dist(circle.center, (0, 0)) <= 3.2 and circle.radius == 2


def test_numbers_and_names_are_short():
    assert [number(v) for v in (0.0001, 12345.678, -0.25, 3e-7, 0, 1e12)] == [
        "1e-4",
        "1.235e4",
        "-0.25",
        "3e-7",
        "0",
        "1e12",
    ]
    assert shortened("chain.finetune.data.train_size", 12) == "chain…n_size"
    assert (
        spans_decades([1, 5])
        and not spans_decades([1, 4])
        and not spans_decades([0, 100])
        and not spans_decades([-5, -1])
    )


def test_a_figure_of_a_persons_own_is_signed_too(tmp_path):
    own = Figure()
    own.subplots().plot([1, 2])
    figures.sign(own, "Mine on digits")
    assert own.get_suptitle() == "Mine on digits"
    saved_figures.save({"own": own}, tmp_path, saved_figures.Style("pdf", 50))
    assert (tmp_path / "own.png").read_bytes()[:4] == b"\x89PNG" and (tmp_path / "own.pdf").read_bytes()[:4] == b"%PDF"


def test_a_png_has_the_dots_per_inch_that_were_asked_for(tmp_path):
    from PIL import Image

    save(Sheet("A title", 6, 2), tmp_path / "x.png", "png", 100)
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (600, 252) and image.info["dpi"] == pytest.approx((100, 100), abs=0.1)


@pytest.mark.parametrize(("override", "says"), [
    ("figures.format=jpg", "figures.format: must be one of png, pdf, svg, got 'jpg'"),
    ("figures.dpi=5", "figures.dpi: must be in [30, 1200], got 5"),
])  # fmt: skip
def test_a_format_that_is_none_is_refused_before_training(override, says, tmp_path, capsys):
    outcome = aelab(capsys, "logger=csv", override, f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 1 and says in outcome.error[-1] and not (tmp_path / "run" / "last.ckpt").exists()
