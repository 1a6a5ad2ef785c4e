"""What a person can get wrong in a chain: one line that names the key, exit status 1, nothing lost."""

import pytest
import torch
from helpers import made_data, write_sets  # noqa: F401 - fixtures
from tiny_chain import no_figures, quick, run_tiny, weights  # noqa: F401 - fixtures

from aelab.run import folder as run_folder

pytestmark = quick


@pytest.mark.parametrize(
    "given, line",
    [
        ("chain.widths=[]", "chain.widths: expected at least one layer"),
        ("chain.widths=[8,0]", "chain.widths: expected at least one layer, each of at least 1 unit"),
        ("chain.widths=[8,-3]", "chain.widths: expected at least one layer, each of at least 1 unit"),
        ("chain.widths=[8,2.5]", "chain.widths: expected at least one layer, each of at least 1 unit"),
        ("chain.widths=[8,true]", "chain.widths: expected at least one layer, each of at least 1 unit"),
        ("chain.widths=[a]", "chain.widths: expected at least one layer, each of at least 1 unit"),
        ("chain.widths=16", "chain.widths: expected at least one layer"),
        ("chain.widths=null", "chain.widths: expected at least one layer"),
        ("chain.only={rbm9:{train:{epochs:1}}}", "chain.only: no stage 'rbm9'; there are rbm1, rbm2, finetune"),
        ("chain.only=rbm1", "chain.only: expected {STAGE: {node: {key: value}}}, got rbm1"),
        ("chain.only={finetune:{train:{epoch:1}}}", "stage finetune: train.epoch: no such key; did you mean epochs?"),
        ("chain.finetune.set={train:{epochs:many}}", "stage finetune: chain.finetune.epochs: expected a whole number"),
        (
            "chain.finetune.optimizer=adm",
            "stage finetune: chain.finetune.optimizer: there is no 'adm'; did you mean adam?",
        ),
        ("chain.finetune.epochs=-1", "stage finetune: chain.finetune.epochs: must be at least 0, got -1"),
        ("chain.pretrain.recipe=cd", "stage rbm1: chain.pretrain.recipe: there is no 'cd'; did you mean pcd?"),
        ("chain.code=binary", "chain.pretrain.binary"),
        ("chain.epochs=3", "chain.epochs: "),
        ("++chain.epochs=3", "chain.epochs: no such key; aelab chain=deep_autoencoder --cfg job"),
        ("++chain.finetune.momentum=3", "chain.finetune.momentum: no such key"),
        ("model=vae", "model: beside chain=deep_autoencoder it would reach no stage, for each has its own"),
        ("model=autoencoder", "model: beside chain=deep_autoencoder it would reach no stage"),
        ("train.epochs=100", "train.epochs: beside chain=deep_autoencoder it would reach no stage"),
        ("train.epochs=7", "chain.only={STAGE:{train:{epochs:VALUE}}}"),
        ("optimizer=sgd", "optimizer: beside chain=deep_autoencoder it would reach no stage"),
        ("optimizer.lr=0.1", "optimizer.lr: beside chain=deep_autoencoder it would reach no stage"),
        ("corruption=masking", "corruption: beside chain=deep_autoencoder it would reach no stage"),
        ("below=outputs", "below: beside chain=deep_autoencoder it would reach no stage"),
        ("resume=outputs", "resume: a chain goes on by its own command; give that again"),
        ("seed=-1", "seed: "),
        ("direction=up", "direction: expected"),
    ],
)
def test_refused_before_anything_runs(capsys, tmp_path, given, line):
    outcome = run_tiny(capsys, tmp_path, given).outcome
    assert_one_line(outcome, line)
    assert not (tmp_path / "store").exists(), "a stage was begun"


def assert_one_line(outcome, words: str) -> None:
    assert outcome.status == 1
    assert len(outcome.error) == 1, outcome.error
    assert outcome.error[0].startswith("aelab: ")
    assert words in outcome.error[0]


@pytest.mark.parametrize(
    "text, line",
    [
        ("chain: {widhts: [3]}", "chain.widhts: no such key"),
        ("chain: {pretrain: {epoch: 3}}", "chain.pretrain.epoch: no such key"),
        ("train: {epochs: 3}", "train.epochs: beside chain=deep_autoencoder it would reach no stage"),
        ("trian: {epochs: 3}", "trian: no such key"),
        ("chain: {stages: [{name: a, overides: []}]}", "chain.stages: a stage has no 'overides'"),
        ("chain: {stages: [{name: a, for_each: 3, overrides: []}]}", "chain.stages: for_each of a needs a list"),
        ("chain: {stages: [{overrides: [model=rbm]}]}", "chain.stages: a stage needs a name and overrides"),
    ],
)
def test_an_experiment_file_is_held_to_the_same(capsys, tmp_path, text, line):
    place = tmp_path / "conf" / "experiment"
    place.mkdir(parents=True)
    (place / "mine.yaml").write_text(f"# @package _global_\n{text}\n")
    chain = run_tiny(capsys, tmp_path, f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "experiment=mine")
    assert_one_line(chain.outcome, line)
    assert not (tmp_path / "store").exists(), "a stage was begun"


def test_gaussian_data_do_not_fit_bernoulli_units(capsys, tmp_path, made_data):  # noqa: F811
    faces = ("data=faces", "data.source.n_train=300", "data.source.n_test=100")
    refused = run_tiny(capsys, tmp_path, *faces).outcome
    assert_one_line(
        refused, "stage rbm1: chain.input: bernoulli needs inputs in [0, 1], faces has others; take gaussian"
    )
    taken = run_tiny(
        capsys, tmp_path, *faces, "chain.input=gaussian", "chain.pretrain.set={model:{recipe:{learning_rate:0.001}}}"
    )
    assert taken.outcome.status == 0, taken.outcome.error


def test_a_setting_that_only_a_run_can_refuse_is_named_as_the_chain_has_it(capsys, tmp_path):
    refused = run_tiny(capsys, tmp_path, "chain.finetune.batch_size=61").outcome
    assert_one_line(refused, "stage finetune: chain.finetune.batch_size: 61 is more than the 60 training samples")


@pytest.mark.parametrize(
    "rate, line",
    [
        (
            "chain.pretrain.set={model:{recipe:{learning_rate:1e6}}}",
            "stage rbm1: model.recipe.learning_rate: the weights exploded in epoch 0",
        ),
        ("chain.finetune.learning_rate=1e38", "stage finetune: chain.finetune.learning_rate: the loss is not finite"),
        (  # every loss is finite, the last reconstruction is not even bad: the net puts out a constant
            "chain.finetune.learning_rate=1e4",
            "stage finetune: chain.finetune.learning_rate: the weights exploded in epoch 0",
        ),
    ],
)
def test_exploding_weights_stop_the_chain(capsys, tmp_path, rate, line):
    outcome = run_tiny(capsys, tmp_path, rate).outcome
    assert_one_line(outcome, line)
    assert "training stopped" in outcome.error[0] and "lower" in outcome.error[0]


def test_after_an_explosion_the_last_good_checkpoint_is_there(capsys, tmp_path):
    rule = "{model:{recipe:{learning_rate:0.1,momentum_start:0.0,momentum_epochs:1,momentum:0.99}},train:{epochs:60}}"
    outcome = run_tiny(capsys, tmp_path, "chain.widths=[3]", f"chain.only={{rbm1:{rule}}}").outcome
    assert_one_line(outcome, "stage rbm1: model.recipe.learning_rate: the weights exploded in epoch")
    assert "last.ckpt is the last good one" in outcome.error[0]
    assert "chain.only={rbm1:{model:{recipe:{learning_rate:VALUE}}}}" in outcome.error[0]
    stopped = [p for p in (tmp_path / "store").iterdir() if p.is_dir() and not (p / "metrics.json").exists()]
    assert len(stopped) == 1
    assert run_folder.read_checkpoint(stopped[0], "last", "test")["epoch"] >= 0
    assert all(torch.isfinite(value).all() for value in weights(stopped[0]).values())
    again = run_tiny(capsys, tmp_path, "chain.widths=[3]", f"chain.only={{rbm1:{rule}}}").outcome
    assert "goes on from" in again.output
    assert again.error == outcome.error


def test_a_store_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "store").write_text("a file")
    assert_one_line(run_tiny(capsys, tmp_path).outcome, "chain.store: cannot write")


def test_damaged_stages_are_said_to_be_and_run_again(capsys, tmp_path):
    whole = run_tiny(capsys, tmp_path)
    before = (whole.folder / "metrics.json").read_bytes()
    for name, file in {"rbm1": "layers.pt", "rbm2": "last.ckpt", "finetune": "metrics.json"}.items():
        path = whole.stage(name) / file
        path.write_bytes(path.read_bytes()[:-60])

    mended = run_tiny(capsys, tmp_path)

    assert mended.outcome.status == 0, mended.outcome.error
    assert mended.outcome.output.count("is damaged or half-written; it is run again") == 3
    assert set(mended.found().values()) == {False}
    assert (mended.folder / "metrics.json").read_bytes() == before


def test_an_ordinary_runs_folder_is_left_alone(capsys, tmp_path):
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "config.yaml").write_text("model: {}\nchain: {stages: []}\n")
    assert_one_line(run_tiny(capsys, tmp_path).outcome, "holds a run already; choose another")
