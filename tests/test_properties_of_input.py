"""Whatever a key is given, a command says or a file holds: a result, or one line for a person; never anything else.

AELAB_EXAMPLES=5000 tries more than the suite does.
"""

import gzip
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_data import idx_bytes
from helpers import composed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from aelab.config.check import check, check_node
from aelab.config.composing import composed as composed_as_command
from aelab.config.messages import one_line
from aelab.config.overrides import leaves, plain, quoted
from aelab.config.reading import read_plain
from aelab.data.idx import read_idx
from aelab.errors import UserError
from aelab.files import read_json
from aelab.rbm.layer import Layer, load_layers, save_layers
from aelab.runs.folder import read_checkpoint, read_history

EXAMPLES = int(os.environ.get("AELAB_EXAMPLES", "60"))
FEW = max(20, EXAMPLES // 3)  # of those that compose a config
GIVEN = frozenset({"shape", "n_classes", "seed", "batch_size", "below", "params", "epoch"})  # what no config holds
NODES = ("model", "data", "optimizer", "schedule", "corruption")
CHOICES = [
    ("model=autoencoder", "optimizer=adamw", "corruption=gaussian", "schedule=steps"),
    ("model=linear", "optimizer=lbfgs"),
    ("model=vae", "optimizer=lbfgs", "corruption=blocks", "data=curves"),
    ("model=rbm", "optimizer=sgd", "corruption=salt_and_pepper", "data=faces"),
    ("model=top_k", "data=mnist", "corruption=masking", "schedule=cosine"),
    ("model=hierarchical_vae", "data=table", "data.path=a.csv", "model/network=mlp"),
    ("model=autoencoder", "data=images", "data.path=a", "model/network=conv"),
    ("model=contractive", "optimizer=muon", "data=array", "data.path=a.npy"),
    ("model=replicated_softmax", "data=documents", "data.path=a.txt"),
    ("model=rating_rbm", "data=ratings", "data.path=a.csv"),
    ("model=classification_rbm", "data=swiss_roll", "callbacks=early_stopping"),
]
ODD = st.one_of(
    st.sampled_from([0, -1, 1, 10**9, 10**12, 10**25, -(10**25), 1e30, -1e-30, math.nan, math.inf, -0.0, 1e-320]),
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=3), st.none()), max_size=4),
    st.dictionaries(st.text("abc_", min_size=1, max_size=3), st.integers(), max_size=2),
)  # fmt: skip
quick = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


def is_line(text: str | None) -> bool:
    """A key, what is wrong: one line of a length that can be read."""
    return text is not None and ": " in text and len(text) < 2000


@pytest.fixture(scope="module")
def configs() -> list[dict[str, Any]]:
    return [plain(composed(*choices)) for choices in CHOICES]


@settings(max_examples=EXAMPLES, **quick)
@given(st.data())
def test_any_value_of_any_key(configs, data):
    config = data.draw(st.sampled_from(configs))
    key = data.draw(st.sampled_from([key for key, _ in leaves(config) if not key.startswith(("chain", "logger"))]))
    cfg = OmegaConf.create(config)
    OmegaConf.update(cfg, key, data.draw(ODD), merge=False)
    try:
        check(cfg)
        for name in NODES:
            check_node(plain(cfg[name]), name, given=GIVEN - config[name].keys())
    except UserError as error:
        assert is_line(str(error)), error
        root = key.partition(".")[0]
        assert str(error).startswith(root), f"{key} was changed, and the line blames another: {error}"


@settings(max_examples=FEW, **quick)
@given(st.data())
def test_any_override(data):
    key = st.sampled_from(["model", "model.n_code", "train.epochs", "seed", "optimizer@x", "evaluate", "chain",
                           "~train", "+a.b", "hydra.run.dir", "data.validation", "callbacks"])  # fmt: skip
    value = st.one_of(
        ODD.map(quoted), st.text("[]{}()',=:$@~+* ab01\\\"", max_size=8), st.sampled_from(["vae", "none"])
    )
    words = data.draw(st.lists(st.tuples(key, value).map("=".join), min_size=1, max_size=2))
    try:
        with composed_as_command([*words, "hydra.run.dir=x"]):
            pass
    except Exception as error:
        assert is_line(one_line(error)), (words, error)


def damaged(content: bytes, data: st.DataObject) -> bytes:
    """``content`` cut, with bits turned over, with something put in or taken out."""
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        how = data.draw(st.sampled_from(["cut", "flip", "insert", "remove", "double"]))
        if how == "cut":
            content = content[:at]
        elif how == "flip" and content:
            content = content[:at] + bytes([content[at] ^ (1 << data.draw(st.integers(0, 7)))]) + content[at + 1 :]
        elif how == "insert":
            content = content[:at] + data.draw(st.binary(min_size=1, max_size=6)) + content[at:]
        elif how == "remove":
            content = content[:at] + content[at + data.draw(st.integers(1, 40)) :]
        else:
            content = content[:at] + content[at : at + 30] + content[at:]
    return content


@pytest.fixture(scope="module")
def files_of_a_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    torch.save({"state_dict": {"W": torch.ones(3, 2)}, "aelab": {"shape": [3]}, "epoch": 1}, folder / "last.ckpt")
    save_layers(
        folder / "layers.pt", [Layer(torch.ones(3, 2), torch.zeros(2), torch.zeros(3), "bernoulli", "bernoulli")]
    )
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(composed("model=vae")))
    (folder / "metrics.json").write_text('{"test/loss": 1.5, "test/x": 2}')
    (folder / "history.csv").write_text("epoch,val/loss\r\n0,1.5\r\n1,1.25\r\n")
    images = idx_bytes(np.zeros((3, 4, 4), np.uint8))
    (folder / "plain.idx").write_bytes(images)
    (folder / "packed.idx").write_bytes(gzip.compress(images, mtime=0))
    return folder


READERS = {
    "last.ckpt": lambda path: read_checkpoint(path.parent, "last", "resume"),
    "layers.pt": load_layers,
    "config.yaml": lambda path: read_plain(path, "load"),
    "metrics.json": read_json,
    "history.csv": lambda path: read_history(path.parent),
    "plain.idx": lambda path: read_idx(path, 3),
    "packed.idx": lambda path: read_idx(path, 3),
}


@pytest.mark.parametrize("name", READERS)
def test_any_damage_of_a_file(name, files_of_a_run, tmp_path):
    whole = (files_of_a_run / name).read_bytes()

    @settings(max_examples=EXAMPLES, **quick)
    @given(st.data())
    def read(data):
        (tmp_path / name).write_bytes(damaged(whole, data))
        try:
            READERS[name](tmp_path / name)
        except UserError as error:
            assert is_line(str(error)) and name in str(error), error

    read()
