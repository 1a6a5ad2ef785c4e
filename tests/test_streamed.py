"""Data larger than memory: rows that lie on disk are trained on by every kind of run as rows in memory are."""

import numpy as np
import pytest
import torch
from helpers import aelab, composed
from omegaconf import OmegaConf

from aelab.config.build import build
from aelab.data import disk
from aelab.files import read_json
from aelab.rbm.layer import Layer

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """400 rows near a plane in eight dimensions, sorted by their label, some values missing in a second file."""
    folder = tmp_path_factory.mktemp("rows")
    x = (RNG.normal(size=(400, 2)) @ RNG.normal(size=(2, 8)) + 0.1 * RNG.normal(size=(400, 8))).astype(np.float32)
    y = np.sort(RNG.integers(0, 3, 400))
    np.savez(folder / "rows.npz", x=x, y=y)
    np.savez(folder / "holes.npz", x=np.where(RNG.random(x.shape) < 0.1, np.nan, x), y=y)
    return folder


def data(path, *overrides: str, below: list[Layer] = ()):
    cfg = composed("data=array", f"data.path={path}", "data.label=y", *overrides)
    return build(cfg.data, "data", seed=0, batch_size=16, below=list(below))


def in_order(x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.sort(x.numpy(), axis=0))


@pytest.mark.parametrize("n", [1, 63, 64, 1000, disk.WINDOW + 100])
def test_an_order_of_blocks_has_every_row_once_and_one_for_each_draw(n):
    orders = [disk.shuffled_blocks(n, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert orders[0].sort().values.equal(torch.arange(n)) and orders[0].equal(orders[1])
    assert n == 1 or not orders[0].equal(orders[2])


def test_a_window_comes_from_all_over_the_set():
    n = 4 * disk.WINDOW
    first = disk.shuffled_blocks(n, torch.Generator().manual_seed(0))[: disk.WINDOW]
    assert len((first // disk.BLOCK).unique()) == disk.WINDOW // disk.BLOCK
    assert abs(float(first.double().mean()) / n - 0.5) < 0.1


@pytest.mark.parametrize(
    "overrides", [(), ("data.binarize=threshold", "data.scale=minmax", "data.clip=[0,1]"), ("data.missing=mask",)]
)
def test_the_same_rows_lie_on_disk(rows, overrides, tmp_path):
    path = rows / ("holes.npz" if "data.missing=mask" in overrides else "rows.npz")
    held = data(path, *overrides)
    streamed = data(path, *overrides, f"data.stream={tmp_path / 'disk'}")
    assert list((tmp_path / "disk").iterdir()) == []  # the files have no name
    for name in ("train", "val", "test"):
        one, other = getattr(held, name), getattr(streamed, name)
        assert torch.allclose(in_order(one.x), in_order(other.x), atol=1e-5, equal_nan=True) and one.y.bincount().equal(
            other.y.bincount()
        )
        assert (one.observed is None) == (other.observed is None)
    np.testing.assert_allclose(streamed.schema.scaling.shift, held.schema.scaling.shift, atol=1e-12)
    for known in ("mean", "variance", "ends"):
        torch.testing.assert_close(getattr(streamed, known), getattr(held, known), atol=1e-5, rtol=1e-5)


def test_codes_of_layers_below_lie_on_disk(rows, tmp_path):
    layer = Layer(torch.randn(8, 5), torch.randn(5), torch.randn(8), "gaussian", "bernoulli")
    held = data(rows / "rows.npz", below=[layer])
    streamed = data(rows / "rows.npz", f"data.stream={tmp_path}", below=[layer])
    assert torch.allclose(in_order(held.train.x), in_order(streamed.train.x)) and streamed.train.x.shape[1] == 5


def test_a_test_looks_at_some_of_the_rows(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("aelab.data.batches.EVALUATED", 100)
    few = data(rows / "rows.npz", f"data.stream={tmp_path}").train_for_evaluation
    assert 50 <= len(few.x) <= 100 and len(few.y.unique()) == 3


def test_a_disk_without_room_is_one_line(rows, tmp_path, capsys):
    (tmp_path / "file").touch()
    outcome = aelab(
        capsys, "data=array", f"data.path={rows / 'rows.npz'}", "model=linear", "model.n_code=2",
        f"data.stream={tmp_path / 'file' / 'in'}", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert outcome.status == 1 and len(outcome.error) == 1 and "data.stream: cannot keep" in outcome.error[0]
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
    "said",
    [("model=autoencoder", "model.n_code=2", "model.likelihood=gaussian", "train.epochs=30"),
     ("chain=deep_autoencoder", "chain.widths=[12,2]", "chain.rbm.first.model.visible=gaussian",
      "chain.rbm.train.epochs=3", "chain.finetune.train.epochs=30")],
)  # fmt: skip
def test_a_run_and_a_chain_learn_as_much_from_disk(said, rows, tmp_path, capsys):
    errors = []
    for name, stream in (("held", "null"), ("streamed", tmp_path / "disk")):
        outcome = aelab(
            capsys, "data=array", f"data.path={rows / 'rows.npz'}", "data.label=y", f"data.stream={stream}", *said,
            "logger=csv", f"chain.store={tmp_path / name}-stages", f"hydra.run.dir={tmp_path / name}",
        )  # fmt: skip
        assert outcome.status == 0, outcome.error
        errors.append(read_json(tmp_path / name / "metrics.json")["test/squared_error"])
    assert errors[1] == pytest.approx(errors[0], rel=0.25)
    config = OmegaConf.load(tmp_path / "streamed" / "config.yaml")
    assert config.data.stream == str(tmp_path / "disk")
