"""What a person can get wrong in a chain: one line that names the key, exit status 1, nothing lost."""

import shutil

import pytest
import torch
from helpers import Outcome, made_data, write_sets  # noqa: F401 - fixtures
from helpers import aelab as run_command
from tiny_chain import Chain, no_figures, quick, run_tiny, weights  # noqa: F401 - fixtures

import aelab
from aelab import locks
from aelab.errors import UserError
from aelab.runs import folder as run_folder

pytestmark = quick


@pytest.mark.parametrize(
    "given, line",
    [
        # what is repeated
        ("chain.widths=[]", "chain.widths: expected a list with one value for each rbm"),
        ("chain.widths=16", "chain.widths: expected a list with one value for each rbm"),
        ("chain.widths=null", "chain.widths: expected a list with one value for each rbm"),
        ("chain.widths=[8,0]", "stage rbm2: chain.widths: must be at least 1, got 0"),
        ("chain.widths=[8,-3]", "stage rbm2: chain.widths: must be at least 1, got -3"),
        ("chain.widths=[8,2.5]", "stage rbm2: chain.widths: expected int, got 2.5"),
        ("chain.widths=[8,true]", "stage rbm2: chain.widths: expected int, got True"),
        ("chain.widths=[a]", "stage rbm1: chain.widths: expected int, got 'a'"),
        ("chain.widths=[999999999]", "stage rbm1: chain.widths: training weights of 64 x 999999999 takes"),
        ("chain.widths=[99999999999999999999]", "stage rbm1: chain.widths: must be at least 1 and at most"),
        ("chain.rbm.for_each.model.n_hidden=[]", "chain.rbm.for_each.model.n_hidden: expected a list"),
        ("model@chain.rbm.model=vae", "chain.rbm.for_each: this stage has no model.n_hidden"),
        # what epochs are compared by
        ("chain.finetune.train.monitor=val/los", "stage finetune: chain.finetune.train.monitor: this model logs no"),
        ("chain.rbm.train.monitor=val_loss", "stage rbm1: chain.rbm.train.monitor: this model logs no val_loss; take"),
        ("objective=test/squared_eror", "stage finetune: objective: no run is tested for test/squared_eror; did you"),
        ("objective=val/los", "stage finetune: objective: this model logs no val/los; take one of val/loss"),
        # keys of a chain and of its stages
        ("chain.epochs=3", "chain.epochs: "),
        ("++chain.epochs=3", "chain.epochs: no such key"),
        ("+chain.widhts=[3]", "chain.widhts: no such key; did you mean widths?"),
        ("+chain.only={rbm1:{train:{epochs:3}}}", "chain.only: no such key"),
        ("chain.finetune.epochs=3", "chain.finetune.epochs: "),
        ("+chain.finetune.epochs=3", "chain.finetune.epochs: no such key"),
        ("+chain.finetune.below=there", "chain.finetune.below: no such key"),
        (
            "chain.finetune.optimizer=sgd",
            "by its group; write optimizer@chain.finetune.optimizer=sgd",
        ),
        ("+chain.rbm.last.modle.n_hidden=3", "chain.rbm.last.modle: no such key; did you mean model?"),
        ("+chain.rbm9.train.epochs=1", "chain.rbm9: there is no such stage; there are rbm1, rbm2, finetune"),
        ("chain.rbm3.train.epochs=1", "chain.rbm3: "),
        ("+chain.rbm3=5", "chain.rbm3: expected a mapping, got 5"),
        ("chain.rbm=null", "chain.stages: there is no stage 'rbm'"),
        ("chain.rbm.for_each=5", "chain.rbm.for_each: expected a mapping, got 5"),
        ("chain.finetune.like=scrach", "chain.finetune.like: there is no other stage 'scrach'; did you mean scratch?"),
        ("chain.finetune.like=finetune", "chain.finetune.like: there is no other stage 'finetune'"),
        ("chain.stages=5", "chain.stages: expected a list, got 5"),
        ("chain.stages=[]", "chain.stages: expected names of stages"),
        ("chain.stages=null", "chain.stages: expected a list, got None"),
        ("chain.stages=[rbm,rbm]", "chain.stages: expected names of stages, each once"),
        ("chain.stages=[rmb]", "chain.stages: there is no stage 'rmb'; did you mean rbm?"),
        ("chain.stages=[scratch]", "chain.stages: no stage is left"),
        ("chain.store=5", "chain.store: expected text, got 5"),
        ("chain.fresh=maybe", "chain.fresh: expected true or false, got 'maybe'"),
        ("chain.baseline=1", "chain.baseline: expected true or false, got 1"),
        # values in the last stage
        ("chain.finetune.train.epochs=many", "chain.finetune.train.epochs: expected a whole number, got 'many'"),
        ("chain.finetune.train.epochs=-1", "chain.finetune.train.epochs: must be at least 0, got -1"),
        ("chain.finetune.train.batch_size=61", "chain.finetune.train.batch_size: 61 is more than the 60 training"),
        ("chain.finetune.train.epoch=1", "chain.finetune.train.epoch: no such key; did you mean epochs?"),
        ("+chain.finetune.train.epoch=1", "chain.finetune.train.epoch: no such key; did you mean epochs?"),
        ("chain.finetune.optimizer.lr=abc", "chain.finetune.optimizer.lr: expected float"),
        ("chain.finetune.optimizer.lr=-1", "chain.finetune.optimizer.lr: must be above 0, got -1"),
        ("chain.finetune.optimizer.betas=[2,0.9]", "chain.finetune.optimizer.betas: each must be in [0, 1)"),
        ("optimizer@chain.finetune.optimizer=adm", "there is no 'adm'; did you mean adam?"),
        ("chain.finetune.schedule.warmup=7", "chain.finetune.schedule.warmup: must be in [0, 1)"),
        ("chain.finetune.model.start=rand", "chain.finetune.model.start: expected one of layers, random"),
        ("+chain.finetune.data.train_sise=3", "chain.finetune.data.train_sise: no such key; did you mean train_size?"),
        ("+chain.finetune.data.train_size=999999", "chain.finetune.data.train_size: must be from 1 to"),
        (
            "+chain.finetune.hardware.precision=7",
            "chain.finetune.hardware.precision: must be one of",
        ),
        ("+chain.rbm2.model.recipe.steps=0", "stage rbm2: chain.rbm2.model.recipe.steps: must be at least 1, got 0"),
        ("chain.rbm.last.model.hidden=x", "stage rbm2: chain.rbm.last.model.hidden: expected one of"),
        ("chain.rbm.model.hidden=relu", "stage rbm2: chain.rbm.model.visible: bernoulli needs inputs in [0, 1]"),
        ("model/recipe@chain.rbm.model.recipe=pdc", "there is no 'pdc'; did you mean pcd?"),
        # what would reach no stage
        (
            "model=vae",
            "model: beside chain=deep_autoencoder it reaches no stage, for each has its own; say",
        ),
        ("model=autoencoder", "say model@chain.rbm.model or model@chain.finetune.model"),
        ("model/network=conv", "say model/network@chain.rbm.model.network or "),
        ("train.epochs=100", "train.epochs: beside chain=deep_autoencoder it reaches no stage"),
        (
            "chain.rbm.first.train.epochs=3",
            "chain.rbm.first.train: the chain's file does not say it; put a + before the",
        ),
        ("model.n_code=3", "it reaches no stage, for each has its own; say chain.widths=[…]"),
        ("model.code=linear", "for each has its own; say chain.finetune.model.code"),
        ("train.epochs=7", "say chain.rbm.train.epochs or chain.finetune.train.epochs"),
        ("optimizer=sgd", "say optimizer@chain.rbm.optimizer or optimizer@chain.finetune.optimizer"),
        ("+optimizer.foo=0.1", "say chain.rbm.optimizer.foo or chain.finetune.optimizer.foo"),
        ("corruption=masking", "corruption: beside chain=deep_autoencoder it reaches no stage"),
        ("below=outputs", "below: beside chain=deep_autoencoder it reaches no stage"),
        ("start_from=outputs", "start_from: beside chain=deep_autoencoder it reaches no stage"),
        ("resume=outputs", "resume: a chain goes on by its own command; give that again"),
        ("seed=-1", "seed: "),
        ("direction=up", "direction: must be one of"),
    ],
)
def test_refused_before_anything_runs(capsys, tmp_path, given, line):
    outcome = run_tiny(capsys, tmp_path, given).outcome
    assert_one_line(outcome, line)
    assert not (tmp_path / "store").exists(), "a stage was begun"


@pytest.mark.parametrize(
    "chosen, line",
    [
        (
            ("early_stopping", "chain.finetune.callbacks.early_stopping.monitor=val/los"),
            "chain.finetune.callbacks.early_stopping.monitor: this model logs no val/los; take one of val/loss",
        ),
        (
            ("learning_rate",),
            "chain.finetune.callbacks.learning_rate: LearningRateMonitor writes to a logger, and this",
        ),
        (
            ("statistics", "model@chain.finetune.model=deep_belief_network"),
            "chain.finetune.callbacks.statistics: DeepBeliefNetwork has no linear layers to measure; leave it out",
        ),
    ],
)
def test_a_callback_that_a_stage_has_no_use_for_is_found_at_once(capsys, tmp_path, chosen, line):
    words = (f"callbacks@chain.finetune.callbacks={chosen[0]}", *chosen[1:])
    assert_one_line(run_tiny(capsys, tmp_path, *words).outcome, f"stage finetune: {line}")
    assert not (tmp_path / "store").exists(), "a stage was begun"


def test_codes_that_the_next_layer_cannot_take_are_found_at_once(capsys, tmp_path):
    given = ("chain=stacked_denoising", "chain.layer.model.code=linear", f"chain.store={tmp_path / 'store'}")
    outcome = run_command(capsys, *given, f"hydra.run.dir={tmp_path / 'chain'}")
    assert_one_line(outcome, "stage layer2: chain.layer.model.likelihood: bernoulli needs inputs in [0, 1], which the ")
    assert not (tmp_path / "store").exists(), "a stage was begun"


def test_a_layer_that_nothing_can_stand_on_is_found_at_once(capsys, tmp_path):
    given = ("chain=stacked_denoising", f"chain.store={tmp_path / 'store'}", f"hydra.run.dir={tmp_path / 'chain'}")
    outcome = run_command(capsys, *given, "model@chain.layer.model=autoencoder")
    assert_one_line(outcome, "stage layer1: chain.layer.model: Autoencoder has no layer that layer2 could stand on")
    (tmp_path / "people.csv").write_text("age,size,kind\n" + "30,1.7,a\n40,1.8,b\n50,1.6,a\n" * 20)
    of_table = ("data=table", f"data.path={tmp_path / 'people.csv'}", "chain.layer.model.likelihood=gaussian")
    for option in ("single_layer", "top_k"):
        outcome = run_command(capsys, *given, *of_table, f"model@chain.layer.model={option}")
        words = "stage layer1: data: no layer that layer2 could stand on gives back columns of categories"
        assert_one_line(outcome, words)
    assert not (tmp_path / "store").exists(), "a stage was begun"


def assert_one_line(outcome, words: str) -> None:
    assert outcome.status == 1
    assert len(outcome.error) == 1, outcome.error
    assert outcome.error[0].startswith("aelab: ")
    assert words in outcome.error[0]


@pytest.mark.parametrize(
    "text, line",
    [
        ("chain: {widhts: [3]}", "chain.widhts: no such key; did you mean widths?"),
        ("chain: {rbm: {train: {epoch: 3}}}", "chain.rbm.train.epoch: no such key; did you mean epochs?"),
        ("chain: {rbm: {epochs: 3}}", "chain.rbm.epochs: no such key"),
        ("chain: {rmb: {train: {epochs: 3}}}", "chain.rmb: no such key; did you mean rbm?"),
        ("train: {epochs: 3}", "train.epochs: beside chain=deep_autoencoder it reaches no stage"),
        ("defaults: [{override /model: vae}]", "beside chain=deep_autoencoder it reaches no stage"),
        ("trian: {epochs: 3}", "trian: no such key"),
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
        refused, "stage rbm1: chain.rbm.first.model.visible: bernoulli needs inputs in [0, 1], faces has others; take"
    )
    assert not (tmp_path / "store").exists(), "a stage was begun"
    taken = run_tiny(
        capsys, tmp_path, *faces, "chain.rbm.first.model.visible=gaussian", "chain.rbm.model.recipe.learning_rate=0.001"
    )
    assert taken.outcome.status == 0, taken.outcome.error


@pytest.mark.parametrize(
    "rate, line",
    [
        (
            "chain.rbm.model.recipe.learning_rate=1e6",
            "stage rbm1: chain.rbm.model.recipe.learning_rate: the weights exploded in epoch 1",
        ),
        (  # every loss is finite, the last reconstruction is not even bad: the net puts out a constant
            "chain.finetune.optimizer.lr=1e4",
            "stage finetune: chain.finetune.optimizer.lr: the weights exploded in epoch 1",
        ),
    ],
)
def test_exploding_weights_stop_the_chain(capsys, tmp_path, rate, line):
    outcome = run_tiny(capsys, tmp_path, rate).outcome
    assert_one_line(outcome, line)
    assert "training stopped" in outcome.error[0] and "lower" in outcome.error[0]


def test_after_an_explosion_the_last_good_checkpoint_is_there(capsys, tmp_path):
    recipe = "+chain.rbm1.model.recipe={learning_rate:0.1,momentum_start:0.0,momentum_epochs:1,momentum:0.99}"
    rule = recipe, "chain.rbm.train.epochs=60"
    outcome = run_tiny(capsys, tmp_path, "chain.widths=[3]", *rule).outcome
    assert_one_line(outcome, "stage rbm1: chain.rbm1.model.recipe.learning_rate: the weights exploded in epoch")
    assert "last.ckpt is the last good one" in outcome.error[0]
    stopped = [p for p in (tmp_path / "store").iterdir() if p.is_dir() and not (p / "metrics.json").exists()]
    assert len(stopped) == 1
    assert run_folder.read_checkpoint(stopped[0], "last", "test")["epoch"] >= 0
    assert all(torch.isfinite(value).all() for value in weights(stopped[0]).values())
    again = run_tiny(capsys, tmp_path, "chain.widths=[3]", *rule).outcome
    assert "goes on from" in again.output
    assert again.error == outcome.error


def test_a_store_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "store").write_text("a file")
    assert_one_line(run_tiny(capsys, tmp_path).outcome, "chain.store: cannot write")


@pytest.fixture(scope="module")
def spare(tmp_path_factory):
    """Where a chain that ran, and its store, are kept to be copied from."""
    return tmp_path_factory.mktemp("spare")


@pytest.fixture
def place(capsys, spare, no_figures):  # noqa: F811
    """Where a chain may be damaged: each test finds it whole."""
    place = spare.with_name("mended")
    if not place.exists():
        assert run_tiny(capsys, place).outcome.status == 0
        shutil.copytree(place, spare, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(place)
    shutil.copytree(spare, place, symlinks=True)
    return place


def cut(path):
    path.write_bytes(path.read_bytes()[:-60])


@pytest.mark.parametrize(
    "stage, file, damage, trains",
    [
        ("rbm1", "last.ckpt", cut, True),
        ("rbm2", "best.ckpt", cut, True),
        ("rbm2", "below.pt", cut, True),
        ("rbm2", "config.yaml", lambda path: path.write_text(""), True),
        ("rbm1", "config.yaml", lambda path: path.write_text("- a list"), True),
        ("finetune", "below.pt", lambda path: path.unlink(), True),
        ("rbm1", "layers.pt", cut, False),
        ("rbm2", "layers.pt", lambda path: path.unlink(), False),
        ("finetune", "metrics.json", cut, False),
        ("finetune", "metrics.json", lambda path: path.write_text("[1, 2]"), False),
        ("rbm1", "timing.json", lambda path: path.write_text("{"), False),
        ("rbm1", "history.csv", cut, False),
        ("rbm2", "history.csv", lambda path: path.unlink(), False),
    ],
)
def test_a_damaged_stage_is_mended(capsys, place, stage, file, damage, trains):
    whole = Chain(place / "chain", Outcome(0, [], ""))
    before = {path.name: path.read_bytes() for path in whole.stage(stage).iterdir() if path.is_file()}
    damage(whole.stage(stage) / file)

    mended = run_tiny(capsys, place)

    assert mended.outcome.status == 0, mended.outcome.error
    assert ("is damaged or half-written; it is run again" in mended.outcome.output) == trains
    assert mended.found() == {name: not (trains and name == stage) for name in whole.found()}
    after = {path.name: path.read_bytes() for path in mended.stage(stage).iterdir() if path.is_file()}
    assert after.keys() == before.keys()
    results = ("metrics.json", "history.csv", "layers.pt", "below.pt")
    assert [name for name in results if after.get(name) != before.get(name)] == []
    assert set(run_tiny(capsys, place).found().values()) == {True}


@pytest.mark.parametrize("text", ["{", "[]", "{}", ""])
def test_a_damaged_chain_folder_is_one_line_and_written_again(capsys, place, text):
    folder = place / "chain"
    (folder / "chain.json").write_text(text)
    with pytest.raises(UserError, match=r"load: .*chain\.json is damaged"):
        aelab.load(folder)
    assert set(run_tiny(capsys, place).found().values()) == {True}
    assert aelab.load(folder)


@pytest.mark.parametrize("text", ["model: {}\nchain: {stages: []}\n", "model: {}\n"])
def test_an_ordinary_runs_folder_is_left_alone(capsys, tmp_path, text):
    (tmp_path / "chain").mkdir()
    (tmp_path / "chain" / "config.yaml").write_text(text)
    assert_one_line(run_tiny(capsys, tmp_path).outcome, "holds a run already; choose another")


def test_a_chains_folder_is_its_own(capsys, tmp_path):
    chain = run_tiny(capsys, tmp_path)
    assert "stage 3/3 finetune" in (chain.folder / "log").read_text()
    lock = locks.take(chain.folder / ".lock")
    assert lock is not None
    assert_one_line(run_tiny(capsys, tmp_path).outcome, "hydra.run.dir: another process is at work in")
    lock.release()
    (chain.folder / "chain.json").write_text('{"link": "stages/3-finetune", "stages": 5}')
    report = run_command(capsys, "task=report", f"run={chain.folder}", f"out={tmp_path / 'page.html'}")
    assert_one_line(report, "run: ")
    shutil.rmtree(chain.folder / "figures")
    (tmp_path / "outside").mkdir()
    (chain.folder / "figures").symlink_to(tmp_path / "outside")
    assert_one_line(run_tiny(capsys, tmp_path).outcome, "is a link, and a chain writes into its own folder only")
    assert not list((tmp_path / "outside").iterdir())
