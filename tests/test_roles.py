"""What a root key is stands beside it in the schema, and all that asks reads it there."""

from dataclasses import dataclass, field, fields

import pytest
from helpers import composed
from omegaconf import MISSING, OmegaConf

from aelab.config import schema
from aelab.config.schema import Config, role, role_of, role_of_override, roots, that_change
from aelab.runs.stages import key_of
from aelab.watch import provenance


def test_every_root_key_says_what_it_is():
    assert set(roots()) == {known.name for known in fields(Config)}


def test_a_key_below_a_node_has_the_nodes_role_or_its_own():
    assert role_of("train.epochs").changes == role_of("model.recipe.rate").changes == "weights"
    assert role_of("hardware.precision").changes == "weights" and role_of("hardware.threads").changes == "nothing"
    assert role_of("data.root.x").noise and not role_of("data.shift").noise
    assert role_of("no.such.key").changes == "weights"


@pytest.mark.parametrize(
    ("override", "changes"),
    [
        ("hardware.threads=2", "nothing"), ("hardware=gpu", "nothing"), ("callbacks.pruning.number=3", "nothing"),
        ("hardware.precision=bf16-mixed", "weights"), ("model/network=conv", "weights"), ("~data.root", "nothing"),
        ("optimizer@chain.finetune.optimizer=sgd", "weights"), ("chain.store=/there", "nothing"),
        ("objective=test/loss", "search"), ("evaluate.knn=null", "evaluation"),
    ],
)  # fmt: skip
def test_an_override_has_the_role_of_what_it_sets(override, changes):
    assert role_of_override(override).changes == changes


def test_a_config_is_split_by_what_its_keys_change():
    cfg = {
        "seed": 1,
        "task": "train",
        "hardware": {"threads": 2, "precision": "32-true"},
        "data": {"root": "/", "x": {}},
    }
    assert that_change("weights", cfg) == {"seed": 1, "hardware": {"precision": "32-true"}, "data": {"x": {}}}
    assert that_change("nothing", cfg) == {"task": "train", "hardware": {"threads": 2}, "data": {"root": "/"}}


@dataclass
class WithMore(Config):
    colour: str = field(default=MISSING, metadata=role("nothing", noise=True))
    depth: int = field(default=MISSING, metadata=role("weights"))


def test_a_new_root_key_loses_a_stage_only_if_it_changes_the_weights(monkeypatch):
    before = composed("model=rbm")
    monkeypatch.setattr(schema, "Config", WithMore)
    keys = [key_of(composed("model=rbm", f"colour={colour}", f"depth={depth}"), "data", None)
            for colour, depth in (("red", 1), ("blue", 1), ("red", 2))]  # fmt: skip
    assert keys[0] == keys[1] != keys[2]
    coloured = OmegaConf.merge(before, {"colour": "red"})
    assert key_of(coloured, "data", None) == key_of(before, "data", None)
    assert provenance.settings(OmegaConf.to_container(coloured)) == provenance.settings(OmegaConf.to_container(before))
