"""The swiss roll: what the data are, that no projection unrolls it, and that samples which are no images are drawn."""

import numpy as np
import pytest
import torch
from helpers import composed, small

from aelab.data.swiss_roll import swiss_roll
from aelab.runs.train import train

ROLL = ("data=swiss_roll", "data.source.n_train=80", "data.source.n_test=20", "model.likelihood=gaussian")


def test_points_lie_on_the_roll_and_labels_are_the_tenth_of_its_length():
    """Of points that lie on (t cos t, h, t sin t) the radius is t, so the label follows from the radius alone."""
    arrays = swiss_roll(4000, 1000, noise=0.0, seed=3)
    x = arrays.train_x.double()
    torch.testing.assert_close(x.mean(0), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(3).double(), atol=1e-5, rtol=0)
    # undo the standardising: the raw points of the same seed
    from sklearn.datasets import make_swiss_roll

    raw, _ = make_swiss_roll(5000, random_state=3)
    undone = x.numpy() * raw[:4000].std(0) + raw[:4000].mean(0)
    t = np.hypot(undone[:, 0], undone[:, 2])
    part = (t - 1.5 * np.pi) / (3 * np.pi) * 10
    inside = np.abs(part - part.round()) > 1e-3  # float32 may put a point on the other side of a border
    assert (arrays.train_y.numpy()[inside] == part[inside].astype(int)).all()
    assert sorted(set(arrays.train_y.tolist())) == list(range(10))
    assert arrays.shape == (3,) and not arrays.unit_interval and len(arrays.test_x) == 1000


def test_the_same_seed_gives_the_same_points_and_noise_moves_them():
    first, again, other = (swiss_roll(50, 20, 0.0, seed).train_x for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.allclose(swiss_roll(50, 20, 0.5, 0).train_x, first, atol=1e-3)


def test_pca_must_fail_and_a_non_linear_autoencoder_need_not(tmp_path):
    """The coordinates are nearly uncorrelated: two dimensions leave PCA about a third of the variance, which is 3."""
    cfg = composed(
        "experiment=swiss_roll", "data.source.n_train=3000", "data.source.n_test=500", "train.epochs=20", "logger=csv",
        "evaluate.probe=null", "evaluate.knn=null",
    )  # fmt: skip
    metrics = train(cfg, tmp_path, "aelab")
    assert metrics["test/pca_squared_error"] > 0.8
    assert metrics["test/squared_error"] < 0.5 * metrics["test/pca_squared_error"]


@pytest.mark.parametrize("model", ["autoencoder", "vae", "sparse", "top_k", "contractive"])
def test_samples_that_are_no_images_are_drawn_as_points(model, tmp_path):
    sizes = ["model.n_code=12"] if model in ("sparse", "top_k", "contractive") else []
    train(small(f"model={model}", *sizes, *ROLL, "corruption=gaussian"), tmp_path, "aelab")
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert {"code", "loss", "reconstructions"} <= drawn
    assert not drawn & {"samples", "manifold", "interpolations", "encoder_filters", "decoder_filters"}
