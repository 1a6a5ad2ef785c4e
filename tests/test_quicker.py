"""What is read quickly is what Hydra and OmegaConf would read: each file of conf/, YAML's corners, and its errors."""

import copy
import io
import re
from typing import Any

import omegaconf
import pytest
import yaml
from helpers import CONF, aelab
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, OmegaConfBaseException

from aelab.config import quicker, schema
from aelab.config.composing import composed
from aelab.config.quicker import compose_quicker

pytestmark = pytest.mark.skipif(not quicker.KNOWN, reason="of other versions nothing is replaced")
CORNERS = """
float: [1e-3, 1.0e+3, .inf, -.inf, 1_000.5, 6:30.5]
text: [2026-11-26, 'yes', "tab\\tand é", "${a.b}", "#no comment"]
reference: ${interpolation.of.it}
missing: ???
other: [~, null, yes, off, 0x1f, 0o17, 1_000]
folded: >
  two
  lines
nested: {a: [{b: {c: 1}}], &anchor d: 2}
"""


@pytest.fixture
def loaders():
    """(OmegaConf's own, ours): made of one another, as ``compose_quicker`` does it."""
    compose_quicker()
    source = vars(omegaconf._utils)["get_yaml_loader"]
    ours = source()
    theirs = next(base for base in ours.__mro__ if base.__name__ == "OmegaConfLoader")
    return theirs, ours


def test_every_file_and_every_corner_is_read_alike(loaders):
    texts = [CORNERS, *(path.read_text() for path in CONF.rglob("*.yaml"))]
    for text in texts:
        assert repr(yaml.load(text, loaders[0])) == repr(yaml.load(text, loaders[1]))


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: [1\n", "a: !!python/name:os.system\n", "\tb: 1\n"])
def test_what_one_refuses_the_other_does(text, loaders):
    for loader in loaders:
        with pytest.raises(yaml.YAMLError):
            yaml.load(text, loader)


def test_a_text_is_read_once_and_every_reader_has_its_own():
    reads = []

    def load(file):
        reads.append(1)
        return OmegaConf.create(yaml.safe_load(file))

    once = quicker._once(load)
    first, second = (once(io.StringIO("a: {b: 1}")) for _ in range(2))
    first.a.b = 5
    assert second.a.b == 1 and len(reads) == 1
    assert once(io.StringIO("a: {b: 2}")).a.b == 2 and len(reads) == 2


def shown(node: object) -> object:
    """All that a tree of nodes is: kind, value and metadata of each, and whether each knows its parent."""
    about = {k: v for k, v in vars(node).items() if k not in ("_content", "_parent", "_flags_cache")}
    content = vars(node).get("_content")
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, list) else []
    assert all(part._get_parent() is node for part in parts)
    below = [shown(part) for part in parts] if isinstance(content, dict | list) else content
    return type(node), about, list(content) if isinstance(content, dict) else None, below


def theirs(values: object) -> Any:
    """The nodes of ``values`` as OmegaConf makes them: with a flag, which ours leave to it, taken off again."""
    node = OmegaConf.create(values, flags={"struct": None})
    node._metadata.flags = {}
    return node


def test_nodes_are_made_as_omegaconf_makes_them():
    compose_quicker()
    texts = [CORNERS, *(path.read_text() for path in CONF.rglob("*.yaml"))]
    plain = [yaml.load(text, omegaconf._utils.get_yaml_loader()) or {} for text in texts]
    plain += [[1, [2, {"a": None}], {}], {"a": {1: "a number"}}, {"a": (1, b"x"), "b": OmegaConf.create([])}]
    for values in plain:
        assert shown(OmegaConf.create(values)) == shown(theirs(values))


def test_a_copy_is_the_same_tree_and_all_its_own():
    compose_quicker()
    whole = OmegaConf.create(CORNERS)
    typed = OmegaConf.structured(schema.Config)
    OmegaConf.set_struct(typed, True)
    for node in (whole, whole.nested, whole.nested.a, OmegaConf.create([[1], {"a": 2}]), typed):
        before = shown(node)
        twin = copy.deepcopy(node)
        assert shown(twin) == before and twin._get_parent() is node._get_parent()
        OmegaConf.set_readonly(twin, True)
        twin._content.clear()
        assert shown(node) == before


def test_after_a_merge_every_node_knows_its_parent_and_what_it_forbids():
    compose_quicker()
    whole = OmegaConf.create({"a": {"b": 1, "c": [{"d": 2}]}, "e": "${a.b}"})
    OmegaConf.set_readonly(whole.a, True)
    OmegaConf.set_readonly(whole.a, False)
    whole.merge_with({"a": {"c": [{"d": 3}, [4]]}, "f": {"g": {}}}, OmegaConf.create({"f": {"h": "${a.c.0.d}"}}))
    shown(whole)  # holds each parent
    assert (whole.e, whole.f.h) == (1, 3)
    OmegaConf.set_struct(whole, True)
    with pytest.raises(ConfigAttributeError):
        whole.f.g.new = 1


@pytest.mark.parametrize("values", [{"a": "${b"}, {"a": {"b": "${c.}"}}, {"a": object()}, [set()]])
def test_what_no_node_holds_is_refused_in_omegaconf_s_words(values):
    with pytest.raises(OmegaConfBaseException) as expected:
        theirs(values)
    with pytest.raises(type(expected.value), match=re.escape(str(expected.value))):
        OmegaConf.create(values)


def test_hydra_mode_is_looked_for_wherever_it_can_be_said(tmp_path):
    """Only an experiment of ours says one; then a person's own configs may, and an override."""
    configs = {path: yaml.safe_load(path.read_text()) or {} for path in CONF.rglob("*.yaml")}
    said = [path for path, config in configs.items() if "mode" in (config.get("hydra") or {})]
    assert said and {path.parent.name for path in said} == {"experiment"}
    for word in ("hydra.mode=RUN", "++hydra.mode=RUN", "hydra.searchpath=[x]", "hydra={mode: RUN}", "experiment=x"):
        assert quicker.SAYS_MODE.match(word)
    assert not quicker.SAYS_MODE.match("hydra.run.dir=x")


@pytest.mark.parametrize(
    ("words", "many"),
    [
        ([], "run"),
        (["-m"], "multirun"),
        (["experiment=mine"], "multirun"),
        (["experiment=mine", "hydra.mode=RUN"], "run"),
    ],
)
def test_one_run_or_many_as_hydra_has_it(capsys, monkeypatch, tmp_path, words, many):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nhydra: {mode: MULTIRUN}\n")
    called = []
    for kind in ("run", "multirun"):
        monkeypatch.setattr(Hydra, kind, lambda *args, _kind=kind, **more: called.append(_kind))
    aelab(capsys, "--config-dir", str(tmp_path), *words)
    assert called == [many]
    if "experiment=mine" not in words:  # nor without a folder of a person's own
        aelab(capsys, *words)
        assert called == [many, many]


def test_every_file_is_written_as_omegaconf_writes_it():
    """What comes back is the same, whatever the text: numbers that look like words, words that look like numbers."""
    compose_quicker()
    odd = {"a": "1e-3", "b": "null", "c": "yes", "d": 1e-3, "e": "é: [x]", "f": "two\nlines", "g": "  ", "h": "x" * 300}
    configs = [OmegaConf.create(odd), *(OmegaConf.load(path) for path in CONF.rglob("*.yaml"))]
    theirs = omegaconf._utils.get_omega_conf_dumper()
    assert theirs is not omegaconf.omegaconf.get_omega_conf_dumper()
    for config in configs:
        plain = OmegaConf.to_container(config)
        text = yaml.dump(plain, default_flow_style=False, allow_unicode=True, sort_keys=False, Dumper=theirs)
        assert OmegaConf.to_yaml(config) == text or OmegaConf.create(OmegaConf.to_yaml(config)) == OmegaConf.create(
            text
        )
        assert OmegaConf.create(OmegaConf.to_yaml(config)) == config


def test_a_choice_is_merged_once_and_again_when_a_file_of_it_changes(tmp_path, monkeypatch):
    """What one reader does to a config another never sees; another option, folder or text is another choice."""
    (tmp_path / "train").mkdir()
    own = tmp_path / "train" / "mine.yaml"
    own.write_text("defaults: [default]\nepochs: 7\n")

    def epochs(*words: str) -> int:
        with composed([f"hydra.searchpath=[file://{tmp_path}]", *words]) as cfg:
            before = cfg.train.epochs
            cfg.train.epochs = -1
            return before

    assert [epochs("train=mine"), epochs("train=mine"), epochs("train=mine", "train.epochs=3")] == [7, 7, 3]
    assert epochs() == 100
    own.write_text("defaults: [default]\nepochs: 123\n")
    assert epochs("train=mine") == 123
    with composed(["model=vae"]) as vae, composed(["model=linear"]) as linear:
        assert vae.model._target_ != linear.model._target_
