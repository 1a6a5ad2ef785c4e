"""Chains in Hydra's own words: every option of every group composes in every stage; one's own chain is one YAML."""

import itertools
import re
import shlex

import pytest
from helpers import CONF, OPTIONS, aelab
from omegaconf import OmegaConf
from tiny_chain import no_figures, planned, quick  # noqa: F401 - a fixture

from aelab import files
from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs.plan import Plan
from aelab.runs.rehearsal import rehearse
from aelab.runs.sources import Sources

CHAINS = [option for option in OPTIONS if option.startswith("chain=") and option != "chain=none"]


def stages_of(chain: str) -> dict[str, dict]:
    """Stage → its node, of those that are no variations of another one."""
    file = OmegaConf.to_container(OmegaConf.load(CONF / "chain" / f"{chain.split('=')[1]}.yaml"), resolve=False)
    return {name: file[name] for name in file["stages"] if "like" not in file[name]}


STAGES = [(chain, stage) for chain in CHAINS for stage in stages_of(chain)]
GROUPS = {group: [o.split("=")[1] for o in OPTIONS if o.startswith(f"{group}=")]
          for group in ("model", "train", "corruption", "optimizer", "schedule", "callbacks")}  # fmt: skip
SINGLE_LAYERS = ("single_layer", "sparse", "contractive", "top_k", "rbm")


@pytest.mark.slow
@pytest.mark.parametrize("chain", CHAINS)
def test_every_option_of_every_group_is_taken_in_every_stage(chain):
    """The n-th option of a group in all stages at once, and of all groups but the model at once."""
    stages = stages_of(chain)
    others = {group: options for group, options in GROUPS.items() if group != "model"}
    asked = [{"model": option} for option in GROUPS["model"]]
    asked += [dict(zip(others, chosen)) for chosen in zip(*map(itertools.cycle, others.values()), range(most(others)))]
    for options in asked:
        overrides = [f"{group}@chain.{stage}.{group}={o}" for group, o in options.items() for stage in stages]
        try:
            composed = planned(chain, *overrides, *(f"chain.{stage}.train.epochs=3" for stage in stages))
        except UserError as error:  # the stage's own settings do not fit another kind of model
            assert re.match(r"chain\.\w+\.for_each: this stage has no model", str(error)), error
            assert "model" in options
            continue
        for plan in (plan for stage in stages for plan in of(stage, composed)):
            assert {group: plan.options[group] for group in options} == options
            assert plan.config["train"]["epochs"] == 3


@pytest.mark.parametrize("chain", CHAINS)
def test_every_chain_can_start_as_it_stands(chain, tmp_path):
    rehearse(planned(chain), Sources(), tmp_path)


def most(groups: dict[str, list[str]]) -> int:
    return max(map(len, groups.values()))


def of(stage: str, plans: list[Plan]) -> list[Plan]:
    """The one or more plans that a stage of a chain stands for."""
    found = [p for p in plans if re.fullmatch(rf"{stage}\d*", p.name)]
    assert found
    return found


@pytest.mark.parametrize(("chain", "stage"), STAGES)
def test_every_key_of_every_stage_is_settable_and_a_mistyped_one_fails_at_once(chain, stage, capsys, tmp_path):
    before = of(stage, planned(chain, f"chain.{stage}.when=true"))[0].config
    keys = [
        f"{group}.{key}"
        for group in ("train", "optimizer", "schedule", "model")
        for key, value in before[group].items()
        if type(value) in (int, float) and key not in ("n_code", "n_hidden")
    ]
    given = [f"chain.{stage}.{key}=17" for key in keys]
    after = of(stage, planned(chain, f"chain.{stage}.when=true", *given))[0].config
    assert "train.epochs" in keys and all(OmegaConf.select(OmegaConf.create(after), key) == 17 for key in keys)
    outcome = aelab(capsys, chain, f"chain.{stage}.train.epoch=3", f"hydra.run.dir={tmp_path / 'run'}")
    assert outcome.status == 1
    assert outcome.error == [f"aelab: chain.{stage}.train.epoch: no such key; did you mean epochs?"]
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_no_setting_of_a_group_looks_for_another_group_at_the_root():
    """In a stage the run's other groups stand beside it, not at the root: ${..train.epochs}, not ${train.epochs}."""
    for group in GROUPS:
        for path in (CONF / group).rglob("*.yaml"):
            assert not re.search(r"\$\{(?!\.|oc\.)", path.read_text()), path


@quick
@pytest.mark.parametrize("model", SINGLE_LAYERS)
def test_layers_of_every_kind_are_stacked(capsys, tmp_path, model):
    """A layer's width is n_code of an autoencoder, n_hidden of an RBM; corruptions of every kind go with it."""
    kinds = ["corruption@chain.layer.corruption=salt_and_pepper", "+corruption@chain.layer1.corruption=blocks"]
    if model == "rbm":  # it has no use for one: "none" may be said
        kinds = ["corruption@chain.layer.corruption=none"]
    outcome = aelab(
        capsys, "chain=stacked_denoising", f"model@chain.layer.model={model}", "chain.widths=[48,44]", "logger=csv",
        "data.train_size=60", "data.validation=20", "evaluate.probe=null", "evaluate.knn=null",
        "chain.layer.train.epochs=1", "chain.layer.train.batch_size=20", "chain.finetune.train.epochs=1",
        "chain.finetune.train.batch_size=20", *kinds,
        f"chain.store={tmp_path / 'store'}", f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert outcome.status == 0, outcome.error
    layers = run_folder.read_layers(tmp_path / "run" / "stages" / "2-layer2", "below")
    assert [layer.W.shape[1] for layer in layers] == [48, 44]
    configs = [run_folder.read_config(tmp_path / "run" / "stages" / name) for name in ("1-layer1", "2-layer2")]
    wanted = ["Blocks", "SaltAndPepper"] if model != "rbm" else ["NoCorruption"] * 2
    assert [cfg.corruption._target_.rpartition(".")[2] for cfg in configs] == wanted


OWN_CHAIN = """
# An RBM under a sparse autoencoder, fine-tuned.
defaults:
  - _base
  - _stage@below
  - _stage@above
  - _stage@whole
  - /model@below.model: rbm
  - /model@above.model: mine
  - /model@whole.model: deep_autoencoder
  - override /schedule@below.schedule: constant
  - _self_
stages: [below, above, whole]
units: 7
below: {model: {n_hidden: "${chain.units}"}, train: {epochs: 1, batch_size: 20}}
above: {model: {n_code: 3}, train: {epochs: 1, batch_size: 20}}
whole: {train: {epochs: 1, batch_size: 20}}
"""
OWN_MODEL = """
# A sparse autoencoder with a penalty of one's own.
defaults:
  - sparse
  - _self_
penalty: 0.5
"""


@quick
@pytest.mark.parametrize("found_by", ["--config-dir={}", "hydra.searchpath=[file://{}]"])
def test_a_chain_of_ones_own_is_one_yaml(capsys, tmp_path, found_by):
    conf, run = tmp_path / "my conf", tmp_path / "run"
    for group, text in {"chain": OWN_CHAIN, "model": OWN_MODEL}.items():
        (conf / group).mkdir(parents=True)
        (conf / group / "mine.yaml").write_text(text)
    where = found_by.format(conf) if found_by.startswith("--") else found_by.format(str(conf).replace(" ", "\\ "))
    small = ["data.train_size=60", "data.validation=20", "evaluate.probe=null", "evaluate.knn=null", "logger=csv"]
    small += [f"hydra.run.dir={run}", f"chain.store={tmp_path / 'store'}"]
    outcome = aelab(capsys, where, "chain=mine", "chain.units=6", *small)

    assert outcome.status == 0, outcome.error
    stage = (run / "stages" / "2-above").resolve()
    assert run_folder.read_config(stage).model.penalty == 0.5
    assert stage.name.startswith("mine-")
    command = (stage / "command.txt").read_text()
    again = aelab(capsys, *shlex.split(command)[1:], f"hydra.run.dir={tmp_path / 'alone'}")
    assert again.status == 0, again.error
    assert files.read_json(tmp_path / "alone" / "metrics.json") == files.read_json(stage / "metrics.json")
