"""A model for other programs: what onnxruntime computes from raw rows is what aelab computes from them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import aelab as command
from helpers import made_layers
from test_applying import NET, QUICK, TABLE, do, run, runs  # noqa: F401

import aelab
from aelab.results import exported

for package in ("onnx", "onnxruntime", "onnxscript", "safetensors", "pyarrow"):
    pytest.importorskip(package, reason="pip install 'aelab[export,data]'")

pytestmark = pytest.mark.slow


def computed(path: Path, rows: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: np.asarray(rows, np.float32)})[0]


def test_images_go_in_as_they_stand_in_the_file(run, tmp_path, capsys):  # noqa: F811
    said = do(capsys, "export", run("array"), tmp_path / "out")
    assert "encoder.onnx" in said and "autoencoder.onnx" in said
    model = aelab.load(run("array"))
    with np.load("array.npz") as file:
        x = file["x"]
    codes = computed(tmp_path / "out" / "encoder.onnx", x)
    np.testing.assert_allclose(codes, model.encode(x), atol=1e-5)
    np.testing.assert_allclose(computed(tmp_path / "out" / "decoder.onnx", codes), model.decode(codes), atol=2e-3)
    whole = computed(tmp_path / "out" / "autoencoder.onnx", x[:1])
    np.testing.assert_allclose(whole, model.reconstruct(x[:1]), atol=2e-3)


def test_weights_and_schema_come_too(run, tmp_path, capsys):  # noqa: F811
    from safetensors.torch import load_file

    do(capsys, "export", run("table"), tmp_path / "out")
    saved = load_file(tmp_path / "out" / "weights.safetensors")
    model = aelab.load(run("table"))
    assert all(torch.equal(value, saved[name]) for name, value in model.model.state_dict().items())
    schema = json.loads((tmp_path / "out" / "schema.json").read_text())
    assert schema == json.loads(json.dumps(model.schema.plain())) and (tmp_path / "out" / "config.yaml").exists()
    rows = np.array([[40.0, 0.5, 9000.0, 1.0, 1, 0, 0, 0]])
    job = schema["columns"][0]["values"][0]
    frame = {"age": [40.0], "score": [0.5], "income": [9000.0], "job": [job], "kind": [1]}
    np.testing.assert_allclose(computed(tmp_path / "out" / "encoder.onnx", rows), model.encode(frame), atol=1e-5)


def test_layers_below_are_inside(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    below = made_layers(tmp_path / "layers")
    assert command(capsys, *QUICK, "model=rbm", "model.n_hidden=2", f"below={below}", "hydra.run.dir=top").status == 0
    do(capsys, "export", "top", "out")
    x = np.random.default_rng(0).random((5, 8, 8))
    np.testing.assert_allclose(computed(Path("out/encoder.onnx"), x), aelab.load("top").encode(x), atol=1e-5)


def test_what_is_not_what_the_model_computes_is_not_left(run, tmp_path, capsys, monkeypatch):  # noqa: F811
    words = ("task=export", f"run={run('array')}")
    monkeypatch.setattr(exported, "largest_difference", lambda *_: 1e-3)
    refused = command(capsys, *words, f"out={tmp_path}/out")
    assert refused.status == 1 and "out: encoder.onnx differs by 0.001" in refused.error[-1]
    assert not list(tmp_path.iterdir())
    refused = command(capsys, *words, f"out={tmp_path}/model.onnx")
    assert refused.status == 1 and refused.error[-1].startswith("aelab: out: task=export writes several files")


def test_scaling_that_onnx_lacks_is_said(run, tmp_path, capsys):  # noqa: F811
    run("table")
    words = ("data.scale=quantile", "hydra.run.dir=run-quantile", "model=autoencoder", *NET, *TABLE)
    assert command(capsys, *QUICK, *words).status == 0
    refused = command(capsys, "task=export", "run=run-quantile", f"out={tmp_path}/out")
    assert refused.status == 1 and "quantile scaling" in refused.error[-1] and not list(tmp_path.iterdir())
