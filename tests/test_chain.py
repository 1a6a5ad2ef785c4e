"""A chain: its stages are ordinary runs, found when they were run before, and its folder holds what they came to."""

import json
import shlex
from pathlib import Path

import torch
from helpers import aelab as run_command
from tiny_chain import TINY, assert_same_run, no_figures, quick, run_tiny, weights  # noqa: F401 - a fixture

import aelab
from aelab import files
from aelab.data import digits
from aelab.rbm.layer import encode_through
from aelab.runs import folder as run_folder
from aelab.runs import sources


def test_the_folder_holds_links_pictures_metrics_and_the_model(capsys, tmp_path):
    chain = run_tiny(capsys, tmp_path)

    assert chain.outcome.status == 0, chain.outcome.error
    assert [p.name for p in sorted((chain.folder / "stages").iterdir())] == ["1-rbm1", "2-rbm2", "3-finetune"]
    metrics = (chain.folder / "metrics.json").read_bytes()
    assert metrics == (chain.stage("finetune") / "metrics.json").read_bytes()
    pictures = {p.name for p in (chain.folder / "figures").iterdir()}
    assert {f"{stage}-loss.png" for stage in ("rbm1", "rbm2", "finetune")} <= pictures
    assert {"rbm1-fantasies.png", "finetune-reconstructions.png", "rbm2-encoder_filters.png"} <= pictures
    model = aelab.load(chain.folder).model
    assert type(model).__name__ == "DeepAutoencoder"
    last = weights(chain.stage("finetune"))
    assert all(torch.equal(value, last[name]) for name, value in model.state_dict().items())
    assert run_folder.read_layers(chain.stage("rbm2"), "below")[1].W.shape == (5, 3)
    for line in ("stage 1/3 rbm1  5 units\n", "stage 2/3 rbm2  3 units on rbm1\n", "deep_autoencoder on rbm2\n", "ran"):
        assert line in chain.outcome.output
    assert "aelab " not in chain.outcome.output

    again = run_tiny(capsys, tmp_path)  # the same folder

    assert again.outcome.status == 0, again.outcome.error
    assert set(again.found().values()) == {True}
    assert "5 units" not in again.outcome.output
    assert (again.folder / "metrics.json").read_bytes() == metrics
    assert {p.name for p in (again.folder / "figures").iterdir()} == pictures


OWN = (  # of each stage what an ordinary run can be given: options, settings, one repetition, what others share
    "model/recipe@chain.rbm.model.recipe=pcd", "optimizer@chain.finetune.optimizer=sgd",
    "chain.finetune.train.clip=1.5", "+chain.rbm2.model.recipe.steps=2", "+schedule@chain.rbm2.schedule=linear",
    "+chain.finetune.data.train_size=40", "~chain.finetune.optimizer.weight_decay",
)  # fmt: skip


@quick
def test_each_printed_command_alone_gives_the_same_run(capsys, tmp_path):
    root = tmp_path / "with space, and = (é)"
    chain = run_tiny(capsys, root, "seed=3", "data.binarize=bernoulli", *OWN, "hydra.verbose=true")
    assert chain.outcome.status == 0, chain.outcome.error
    assert list(chain.commands()) == ["rbm1", "rbm2", "finetune"]

    for name, text in chain.commands().items():
        assert text in chain.outcome.output
        alone = tmp_path / f"alone-{name}"
        outcome = run_command(capsys, *shlex.split(text)[1:], f"hydra.run.dir='{alone}'")
        assert outcome.status == 0, outcome.error
        assert_same_run(chain.stage(name), alone)


@quick
def test_fine_tuning_starts_as_the_stack_that_was_pretrained(capsys, tmp_path):
    chain = run_tiny(capsys, tmp_path, "chain.finetune.train.epochs=1", "chain.finetune.optimizer.lr=1e-30")

    layers = run_folder.read_layers(chain.stage("rbm2"), "below")
    x = torch.rand(7, 64)
    with torch.no_grad():
        torch.testing.assert_close(aelab.load(chain.folder).encode(x), encode_through(layers, x))


@quick
def test_another_fine_tuning_finds_the_pretraining(capsys, tmp_path):
    first = run_tiny(capsys, tmp_path)
    other = run_tiny(capsys, tmp_path, "chain.finetune.train.epochs=1", name="other")

    assert other.found() == {"rbm1": True, "rbm2": True, "finetune": False}
    assert other.stage("rbm2") == first.stage("rbm2")
    assert other.stage("finetune") != first.stage("finetune")


@quick
def test_what_changes_no_result_changes_no_key(capsys, tmp_path):
    first = run_tiny(capsys, tmp_path)
    same = run_tiny(
        capsys, tmp_path, f"data.root={tmp_path}", f"data.cache={tmp_path}", "data.download=false",
        "logger=tensorboard", "hardware.threads=2", "objective=test/squared_error", "direction=maximize", name="other",
    )  # fmt: skip

    assert same.outcome.status == 0, same.outcome.error
    assert same.found() == dict.fromkeys(first.keys(), True)
    assert same.keys() == first.keys()


def test_what_changes_a_stage_changes_its_key_and_those_above(capsys, tmp_path, monkeypatch):
    keys = planned_keys(capsys, tmp_path, monkeypatch)
    kept = {
        "chain.widths=[5,2]": {"rbm1"},
        "+chain.rbm2.model.recipe.learning_rate=0.02": {"rbm1"},
        "optimizer@chain.finetune.optimizer=sgd": {"rbm1", "rbm2"},
        "seed=1": set(),
    }
    for change, same in kept.items():
        others = planned_keys(capsys, tmp_path, monkeypatch, change)
        assert {name for name in keys if keys[name] == others[name]} == same, change


def planned_keys(capsys, tmp_path: Path, monkeypatch, *overrides: str) -> dict[str, str]:
    """Stage → key, without any training."""

    def no_run(cfg, folder: Path, command: str, source: object) -> None:
        folder.mkdir()
        for file, text in {"config.yaml": "model: none\ntrain: {epochs: 0}", "timing.json": "{}"}.items():
            (folder / file).write_text(text)
        (folder / "metrics.json").write_text('{"val/loss": 1.0}')

    monkeypatch.setattr("aelab.runs.train.run", no_run)
    monkeypatch.setattr("aelab.results.report.print_chain", lambda *_: None)
    chain = run_tiny(capsys, tmp_path, "chain.fresh=true", *overrides)
    assert chain.outcome.status == 0, chain.outcome.error
    return chain.keys()


@quick
def test_data_are_read_and_hashed_once_a_chain(capsys, tmp_path, monkeypatch):
    counted = {"read": [], "hashed": []}
    read, hashed = digits._read, sources.fingerprint
    monkeypatch.setattr(digits, "_read", lambda: counted["read"].append(1) or read())
    monkeypatch.setattr(sources, "fingerprint", lambda arrays: counted["hashed"].append(1) or hashed(arrays))
    for baseline in ("false", "true"):
        run_tiny(capsys, tmp_path, f"chain.baseline={baseline}", "+chain.finetune.data.train_size=50")
        assert {what: len(calls) for what, calls in counted.items()} == {"read": 1, "hashed": 1}
        counted["read"].clear(), counted["hashed"].clear()


KNN = "evaluate.knn={_target_:aelab.results.metrics.NearestNeighbours,neighbours:3}"


@quick
def test_the_objective_is_one_of_the_last_stage_alone(capsys, tmp_path):
    """The layers below a classifier know no errors."""
    words = ("chain=stacked_denoising", *(word for word in TINY if not word.startswith("chain")))
    where = (f"chain.store='{tmp_path / 'store'}'", f"hydra.run.dir='{tmp_path / 'chain'}'")
    sizes = ("chain.widths=[5]", "chain.layer.train.epochs=1", "chain.finetune.train.epochs=1")
    outcome = run_command(capsys, *words, *where, *sizes, "objective=val/class_error")
    assert outcome.status == 0, outcome.error
    assert "val/class_error" in files.read_json(tmp_path / "chain" / "metrics.json")


def test_another_evaluation_measures_again_and_trains_nothing(capsys, tmp_path, monkeypatch):
    first = run_tiny(capsys, tmp_path)
    weights_before = {name: (first.stage(name) / "last.ckpt").read_bytes() for name in first.found()}
    layers = (first.stage("rbm2") / "layers.pt").read_bytes()
    monkeypatch.setattr("aelab.models.training.Trained.training_step", lambda *_: 1 / 0)

    again = run_tiny(capsys, tmp_path, KNN, "evaluate.weights=best", name="again")

    assert again.outcome.status == 0, again.outcome.error
    assert again.keys() == first.keys() and set(again.found().values()) == {True}
    assert again.outcome.output.count("is measured again, not trained") == 3
    assert "is not as the run wrote it" not in again.outcome.output + "".join(again.outcome.error)
    assert {name: (again.stage(name) / "last.ckpt").read_bytes() for name in again.found()} == weights_before
    assert (again.stage("rbm2") / "layers.pt").read_bytes() == layers
    for name in again.found():
        assert "test/knn_error" in files.read_json(again.stage(name) / "metrics.json")
        assert run_folder.read_config(again.stage(name)).evaluate.knn.neighbours == 3
    assert "measured again" not in run_tiny(capsys, tmp_path, KNN, "evaluate.weights=best").outcome.output


@quick
def test_a_stage_of_its_own_evaluation(capsys, tmp_path):
    chain = run_tiny(capsys, tmp_path, f"+chain.finetune.{KNN}")
    measured = {name: files.read_json(chain.stage(name) / "metrics.json") for name in chain.found()}
    assert [name for name, metrics in measured.items() if "test/knn_error" in metrics] == ["finetune"]


@quick
def test_settings_of_one_stage_and_of_one_kind_reach_it_alone(capsys, tmp_path):
    chain = run_tiny(
        capsys, tmp_path, "+chain.rbm2.train.epochs=3", "+chain.rbm2.model.recipe.learning_rate=0.002",
        "chain.finetune.train.clip=1.5", "chain.rbm.model.recipe.weight_decay=0.003",
    )  # fmt: skip
    configs = {name: run_folder.read_config(chain.stage(name)) for name in chain.found()}

    assert {name: cfg.train.epochs for name, cfg in configs.items()} == {"rbm1": 2, "rbm2": 3, "finetune": 2}
    assert {name: cfg.train.clip for name, cfg in configs.items()} == {"rbm1": None, "rbm2": None, "finetune": 1.5}
    assert [configs[name].model.recipe.weight_decay for name in ("rbm1", "rbm2")] == [0.003, 0.003]
    assert [configs[name].model.recipe.learning_rate for name in ("rbm1", "rbm2")] == [0.1, 0.002]
    assert run_folder.read_history(chain.stage("rbm2"))["epoch"] == [0, 1, 2]


@quick
def test_baseline_is_the_same_net_without_pretraining(capsys, tmp_path):
    chain = run_tiny(capsys, tmp_path, "chain.baseline=true")
    metrics = json.loads((chain.folder / "metrics.json").read_text())
    scratch = run_folder.read_config(chain.stage("scratch"))
    tuned = run_folder.read_config(chain.stage("finetune"))

    assert chain.about()["last"] == "finetune"
    assert scratch.below == tuned.below
    assert {key for key in tuned.model if tuned.model[key] != scratch.model[key]} == {"start"}
    assert (tuned.train, tuned.optimizer) == (scratch.train, scratch.optimizer)
    figures = files.read_json(chain.stage("scratch") / "metrics.json")
    assert metrics["test/scratch_squared_error"] == figures["test/squared_error"]
    assert metrics["test/squared_error"] != metrics["test/scratch_squared_error"]
    assert 0 < metrics["test/logistic_pca_squared_error"] < 10
    assert "the net not pretrained" in chain.outcome.output


@quick
def test_a_classifiers_encoder_stays_pretrained_while_its_top_learns(capsys, tmp_path):
    stack = run_tiny(capsys, tmp_path).stage("rbm2")
    layers = run_folder.read_layers(stack, "below")
    for top_only, stays in ((2, True), (1, False)):
        place = tmp_path / f"top{top_only}"
        outcome = run_command(
            capsys, *TINY[1:6], "model=classifier", f"below={stack}", "train.epochs=2", "train.batch_size=20",
            f"model.top_only_epochs={top_only}", "optimizer.lr=0.1", "schedule=constant", f"hydra.run.dir={place}",
        )  # fmt: skip
        assert outcome.status == 0, outcome.error
        x = torch.rand(4, 64)
        with torch.no_grad():
            same = torch.allclose(aelab.load(place).encode(x), encode_through(layers, x), atol=1e-6)
        assert same == stays
