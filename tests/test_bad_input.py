"""What a person can get wrong, each tried through the command: one line, key and remedy, status 1, nothing lost."""

import gzip
import math
import re
import resource
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_data import idx_bytes, write_mnist, write_olivetti
from helpers import Outcome, aelab, command, composed, made_layers
from omegaconf import OmegaConf

from aelab.config.check import check, check_node
from aelab.config.overrides import plain
from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs.train import run

QUICK = ("logger=csv", "train.epochs=2", "data.train_size=48", "train.batch_size=16")
GIVEN = frozenset({"shape", "n_classes", "seed", "batch_size", "below", "params", "epoch"})  # what no config holds
TINY = (*QUICK, "evaluate.probe=null", "evaluate.knn=null", "model.network.widths=[8]", "model.n_code=2")


@pytest.fixture
def refused(capsys, made_data, tmp_path, monkeypatch):
    """A function: run the command, which must fail in one line that begins with ``key`` and holds all ``words``."""
    monkeypatch.chdir(tmp_path)

    def refused(*overrides: str, key: str, words: tuple[str, ...] = ()) -> Outcome:
        outcome = aelab(capsys, *overrides)
        assert outcome.status == 1
        assert len(outcome.error) == 1, outcome.error
        line = outcome.error[0]
        assert line.startswith(f"aelab: {key}: ") and "\n" not in line, line
        assert all(word in line for word in words), line
        assert "Traceback" not in outcome.output
        assert not (tmp_path / "outputs").exists() or not list((tmp_path / "outputs").rglob("metrics.json"))
        return outcome

    return refused


# overrides, the key the line begins with, words of the remedy
MISTAKES = [
    ("model=autoencodr", "model", ["did you mean autoencoder?", "choose one of"]),
    ("data=mnits", "data", ["did you mean mnist?"]),
    ("model/network=cnov", "model/network", ["choose one of conv, mlp"]),
    ("experiment=none_such", "experiment", ["choose one of"]),
    ("data.source=digits", "data.source", ["expected Source, got 'digits'"]),
    ("chain.stages=5", "chain.stages", ["this run is no chain"]),
    ("chain.stages=[rbm]", "chain.stages", ["this run is no chain"]),
    ("chain.store=5", "chain.store", ["expected text, got 5"]),
    ("modle=linear", "modle", ["no such key; did you mean model?"]),
    ("sed=3", "sed", ["did you mean seed?"]),
    ("model.n_cod=3", "model.n_cod", ["did you mean n_code?"]),
    ("+model.n_cod=3", "model.n_cod", ["did you mean n_code?"]),
    ("++model.network.width=[3]", "model.network.width", ["did you mean widths?"]),
    ("train.epoch=3", "train.epoch", ["did you mean epochs?"]),
    ("++train.epoch=3", "train.epoch", ["did you mean epochs?"]),
    ("data.valdation=0.2", "data.valdation", ["did you mean validation?"]),
    ("data.source.test_fracton=0.2", "data.source.test_fracton", ["did you mean test_fraction?"]),
    ("optimizer.lrr=1", "optimizer.lrr", ["did you mean lr?"]),
    ("hardware.device=1", "hardware.device", ["did you mean devices?"]),
    ("corruption.fraction=0.2", "corruption.fraction", ["choose another one of the group"]),
    ("~train", "train.clip", ["missing"]),
    ("~model.n_code", "model.n_code", ["add model.n_code=VALUE"]),
    ("model=null", "model", ["null is no option", "choose one of autoencoder"]),
    ("model=5", "model", ["5 is no option"]),
    ("~train=0", "train", ["0 is no option"]),
    ("+model=vae", "model", ["model=vae without the +"]),
    ("data=[digits]", "data", ["[digits] is no option"]),
    ("experiment=null", "experiment", ["null is no option"]),
    ("callbacks=[none_such]", "callbacks", ["there is no 'none_such'"]),
    ("evaluate=[prob]", "evaluate", ["did you mean probe?"]),
    ("model.network=null", "model.network", ["expected MLP or Conv, got None"]),
    ("model.n_code=[", "model.n_code=[", ["write key=value"]),
    ("model.n_code", "model.n_code", ["write key=value"]),
    ("task=trian", "task", ["choose one of train"]),
    # wrong types
    ("train.epochs=many", "train.epochs", ["expected a whole number, got 'many'"]),
    ("seed=null", "seed", ["cannot be null"]),
    ("model.n_code=2.5", "model.n_code", ["expected int, got 2.5"]),
    ("model.network.widths=3", "model.network.widths", ["expected list[int], got 3"]),
    ("optimizer.lr=fast", "optimizer.lr", ["expected float"]),
    ("optimizer.betas=[0.9]", "optimizer.betas", ["expected [float, float]"]),
    ("data.binarize=maybe", "data.binarize", ["one of none, threshold, bernoulli"]),
    # values out of range
    ("model.n_code=-3", "model.n_code", ["at least 1"]),
    ("model=linear model.n_code=65", "model.n_code", ["64"]),
    ("model.network.widths=[16,-3]", "model.network.widths", ["at least 1"]),
    ("model.network.activation=reul", "model.network.activation", ["relu"]),
    ("model.network.initialization=xavier", "model.network.initialization", ["glorot"]),
    ("model.code=step", "model.code", ["sigmoid"]),
    ("train.epochs=-1", "train.epochs", ["at least 0"]),
    ("train.batch_size=0", "train.batch_size", ["at least 1"]),
    ("train.batch_size=5000", "train.batch_size", ["5000 is more than the 48 training samples; give 48 or less"]),
    ("train.clip=-1", "train.clip", ["above 0"]),
    ("train.monitor=val/los", "train.monitor", ["val/loss"]),
    ("evaluate.weights=first", "evaluate.weights", ["one of last, best"]),
    ("evaluate.knn.neighbours=0", "evaluate.knn.neighbours", ["at least 1"]),
    ("evaluate.probe.c=0", "evaluate.probe.c", ["above 0"]),
    ("evaluate.probe=false", "evaluate.probe", ["null to leave it out"]),
    ("+evaluate.mine=5", "evaluate.mine", ["null to leave it out"]),
    ("evaluate.nll_samples=-1", "evaluate.nll_samples", ["at least 0"]),
    ("seed=-1", "seed", ["[0, 4294967295]"]),
    # several runs, asked for without -m
    ("seed=range(0,3)", "seed", ["range(0,3) asks for several runs; add -m"]),
    ("seed=1,2", "seed", ["1,2 asks for several runs; add -m, or write seed=[1,2] for one list"]),
    ("hydra/sweeper=grid", "hydra/sweeper", ["one run has no use for it; add -m"]),
    ("hydra.sweeper.max_batch_size=2", "hydra.sweeper.max_batch_size", ["add -m"]),
    ("sample=5", "sample", ["expected settings below it, sample.KEY=VALUE, got 5"]),
    ("delete=5", "delete", ["expected a list"]),
    ("out=[1]", "out", ["expected text, got [1]"]),
    ("study={a:1}", "study", ["a file in conf/experiment can"]),
    ("direction=up", "direction", ["one of minimize, maximize"]),
    ("optimizer.lr=-1", "optimizer.lr", ["-1"]),
    ("optimizer.betas=[0.9,1.5]", "optimizer.betas", ["1.5"]),
    ("optimizer=sgd optimizer.momentum=0", "optimizer.momentum", ["Nesterov"]),
    ("schedule.warmup=2", "schedule.warmup", ["[0, 1)"]),
    ("corruption=masking corruption.fraction=2", "corruption.fraction", ["[0, 1]"]),
    ("data.validation=1.0", "data.validation", ["(0, 1)"]),
    ("data.train_size=0", "data.train_size", ["at least 1"]),
    ("data.train_size=5000", "data.train_size", ["null takes all"]),
    ("data.shift=8", "data.shift", ["at most 7"]),
    ("data=faces data.source.n_train=300 data.source.n_test=100", "model.likelihood", ["take gaussian"]),
    ("hardware.devices=0", "hardware.devices", ["number of devices"]),
    ("hardware.precision=8", "hardware.precision", ["32-true"]),
    ("hardware.strategy=fsdp", "hardware.strategy", ["one of auto, ddp"]),
    ("hardware.threads=0", "hardware.threads", ["[1, 1024]"]),
    # options of data sources and models
    ("data=digits data.source.test_fraction=0", "data.source.test_fraction", ["[0.01, 0.99]"]),
    ("data=digits data.source.seed=-1", "data.source.seed", ["must be in [0,"]),
    ("data=curves data.source.n_train=0", "data.source.n_train", ["must be in [1,"]),
    ("data=curves data.source.n_test=-1", "data.source.n_test", ["must be in [1,"]),
    ("data=swiss_roll data.source.noise=-1", "data.source.noise", ["at least 0"]),
    ("data=faces data.source.n_train=299", "data.source.n_train", ["must be in [300,"]),
    ("data=faces data.source.scale_over=test", "data.source.scale_over", ["one of"]),
    ("model=contractive model.code=gelu", "model.code", ["one of"]),
    # what the chosen model has no use for
    ("model=rbm optimizer.lr=0.5", "optimizer.lr", ["RBM has no use for it", "model.recipe.learning_rate"]),
    ("model=rbm optimizer=sgd", "optimizer", ["RBM has no use for it"]),
    ("model=rbm corruption=masking", "corruption", ["RBM has no use for it"]),
    ("model=rbm train.clip=1", "train.clip", ["RBM has no use for it"]),
    ("model=classification_rbm corruption=masking", "corruption", ["no use for it"]),
    # what cannot be called
    ("model._target_=aelab.models.linear.Liner", "model._target_", ["cannot find"]),
    # folders that are no runs
    ("resume=/nonexistent", "resume", ["give the folder a run printed"]),
    ("below=/nonexistent", "below", ["give the folder a run printed"]),
    ("objective=test/squared_erorr", "objective", ["did you mean test/squared_error?"]),
    ("start_from=/nonexistent", "start_from", ["give the folder a run printed"]),
]


@pytest.mark.parametrize(("overrides", "key", "words"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_mistake_on_the_command_line(overrides, key, words, refused):
    refused(*QUICK, *overrides.split(), key=key, words=words)


@pytest.mark.parametrize(
    ("command", "key", "words"),
    [
        ("task=sample sample.n=0", "sample.n", ["at least 1"]),
        ("task=interpolate interpolate.points=1", "interpolate.points", ["at least 2"]),
        ("task=score score.by=mine", "score.by", ["one of own, joint"]),
        ("task=score score.quantile=1", "score.quantile", ["(0, 1)"]),
        ("task=score score.top=-1", "score.top", ["at least 0"]),
        ("task=compare figures.format=jpg", "figures.format", ["must be one of png, pdf, svg, got 'jpg'"]),
        ("task=compare figures.dpi=0", "figures.dpi", ["must be in [30, 1200], got 0"]),
        ("task=stages chain.store=5", "chain.store", ["expected text, got 5"]),
        # settings that a task never reads
        ("run=outputs/x", "run", ["task=train has no use for it", "likelihood"]),
        ("score.top=2", "score.top", ["only task=score"]),
        ("task=sample score.by=own", "score.by", ["task=sample has no use for it"]),
        ("task=encode model=vae", "model", ["only task=train"]),
        ("task=stages runs=x", "runs", ["only task=compare, report, results"]),
        ("task=compare ~callbacks", "callbacks", ["only task=train"]),
    ],
)
def test_a_task_is_held_to_its_own_settings_and_their_ranges(command, key, words, refused):
    refused(*command.split(), key=key, words=words)


# what is composed; key, value that it cannot have, words of the line
OUT_OF_RANGE = {
    ("optimizer=adam", "corruption=gaussian"): [
        ("optimizer.lr", 0, "above 0"),
        ("optimizer.eps", 0, "above 0"),
        ("optimizer.eps", math.inf, "at most 1000000000000, got inf"),
        ("optimizer.betas", [0.9, math.nan], "got"),
        ("train.clip", math.inf, "got inf"),
        ("train.epochs", 10**23, "at most 1000000000"),
        ("train.batch_size", 10**20, "at most 1000000000"),
        ("hardware.threads", 10**6, "[1, 1024]"),
        ("hardware.devices", 10**6, "[-1, 1024]"),
        ("evaluate.probe.c", math.nan, "got nan"),
        ("evaluate.probe.c", math.inf, "got inf"),
        ("data.validation", math.nan, "got nan"),
        ("model.n_code", 10**20, "at most 1000000000"),
        ("model.network.widths", [10**12], "each must be at least 1 and at most 1000000000"),
        ("corruption.sigma", 1e30, "[0, 1000]"),
    ],
    ("optimizer=adamw", "model=rbm"): [
        ("optimizer.weight_decay", math.inf, "got inf"),
        ("optimizer.weight_decay", 1e30, "got 1e+30"),
        ("model.n_hidden", 10**11, "at most 1000000000"),
        ("model.recipe.momentum", 1, "[0, 1)"),
        ("model.recipe.learning_rate", math.nan, "got nan"),
    ],
    ("optimizer=sgd", "model=vae", "schedule=steps"): [
        ("optimizer.momentum", 1, "[0, 1)"),
        ("optimizer.momentum", math.nan, "got nan"),
        ("model.free_bits", math.inf, "got inf"),
        ("model.sigma", 0, "above 0"),
        ("model.samples", 10**14, "[1, 10000]"),
        ("schedule.milestones", [0.9, 0.1], "in rising order"),
    ],
    ("model=rbm", "evaluate=[likelihood,label_spreading]"): [
        ("evaluate.likelihood.exact", True, "expected int or False, got True"),
        ("evaluate.label_spreading.alpha", 0, "(0, 1)"),
    ],
    ("optimizer=lbfgs",): [
        ("optimizer.history_size", 0, "at least 1"),
        ("optimizer.line_search_fn", "armijo", "strong_wolfe or null"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("choices", OUT_OF_RANGE, ids=" ".join)
def test_values_out_of_range_blame_their_own_key(choices):
    cfg = composed(*choices)
    for key, value, words in OUT_OF_RANGE[choices]:
        wrong = OmegaConf.create(plain(cfg))
        OmegaConf.update(wrong, key, value, merge=False)
        with pytest.raises(UserError, match=f"^{re.escape(key)}: .*{re.escape(words)}"):
            check(wrong)
            for name in ("model", "data", "optimizer", "schedule", "corruption"):
                check_node(plain(wrong[name]), name, given=GIVEN)


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("sed: 3", "sed"),
        ("train: {epoch: 3}", "train.epoch"),
        ("model: {n_cod: 3}", "model.n_cod"),
        ("model: {network: {width: [3]}}", "model.network.width"),
        ("data: {source: {sed: 1}}", "data.source.sed"),
        ("optimizer: {lrr: 0.1}", "optimizer.lrr"),
        ("train: {epochs: many}", "train.epochs"),
    ],
)
def test_mistake_in_an_experiment_file(content, key, refused, tmp_path):
    file = tmp_path / "own" / "experiment" / "mistaken.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\n{content}\n")
    refused("--config-dir", str(file.parents[1]), "experiment=mistaken", "logger=csv", key=key)


@pytest.mark.parametrize("model", ["deep_autoencoder", "linear"])
def test_layers_of_other_data(model, refused, tmp_path):
    below = made_layers(tmp_path / "below")
    refused(*QUICK, f"model={model}", f"below={below}", "data=curves", "data.source.n_train=80",
            "data.source.n_test=20", key="below", words=("takes 64", "has 784"))  # fmt: skip


def test_there_is_no_gpu(refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(*TINY, "hardware=gpu", key="hardware", words=("take hardware=cpu",))
    refused(*TINY, "hardware=multi_gpu", key="hardware", words=("take hardware=cpu",))


def test_tensorboard_is_not_installed(refused, monkeypatch):
    def missing(*_, **__):
        raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr("aelab.watch.loggers.TensorBoardLogger.__init__", missing)
    refused(*TINY, "logger=tensorboard", key="logger", words=("pip install tensorboard", "logger=csv"))


# --- data files --------------------------------------------------------------------------------------------------


def spoiled_images(how: str) -> bytes | None:
    """The training images of MNIST as they should not be."""
    good = gzip.compress(idx_bytes(np.zeros((80, 28, 28), np.uint8)))
    return {
        "missing": None,
        "truncated": good[: len(good) // 2],
        "shorter than its header says": gzip.compress(gzip.decompress(good)[:-5]),
        "no IDX file": b"<html>not found</html>",
        "labels in their place": gzip.compress(idx_bytes(np.zeros(80, np.uint8))),
        "no images": gzip.compress(idx_bytes(np.zeros((0, 28, 28), np.uint8))),
        "fewer images than labels": gzip.compress(idx_bytes(np.zeros((79, 28, 28), np.uint8))),
    }[how]


@pytest.mark.parametrize(
    "how",
    ["missing", "truncated", "shorter than its header says", "no IDX file", "labels in their place", "no images",
     "fewer images than labels"],
)  # fmt: skip
def test_damaged_mnist(how, refused, tmp_path):
    root = tmp_path / "root"
    write_mnist(root / "mnist", n_train=80, n_test=20)
    path = root / "mnist" / "train-images-idx3-ubyte.gz"
    path.unlink()
    content = spoiled_images(how)
    if content is not None:
        path.write_bytes(content)
    refused(
        *TINY, "data=mnist", f"data.root={root}", f"data.cache={tmp_path / 'cache'}", "data.download=false",
        "data.validation=16", key="data.root",
    )  # fmt: skip


def test_no_data_folder(refused):
    refused(*TINY, "data=mnist", "data.root=/nonexistent", key="data.root", words=("no folder /nonexistent",))


def test_nan_in_the_data(refused, tmp_path):
    faces = np.random.default_rng(0).uniform(0, 255, (64 * 64, 400))
    faces[2000, 7] = np.nan
    write_olivetti(tmp_path / "root" / "olivetti", faces)
    refused(*TINY, "data=faces", "data.source.n_train=300", "data.source.n_test=100",
            "model.likelihood=gaussian", f"data.root={tmp_path / 'root'}", key="data.root",
            words=("NaN", "row"))  # fmt: skip


def test_download_that_is_not_what_it_should_be(refused, tmp_path, monkeypatch):
    class Liar(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("aelab.data.download.PAUSE", 0.0)
    monkeypatch.setattr("aelab.data.mnist.MNIST_MIRRORS", [f"http://127.0.0.1:{server.server_port}/"])
    cache = tmp_path / "cache"
    try:
        refused(*TINY, "data=mnist", "data.root=null", f"data.cache={cache}", key="data.root",
                words=("wrong checksum", "by hand"))  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    assert not [path for path in cache.rglob("*") if path.is_file()]


# --- training that fails, folders that are no runs, folders that cannot be written ----------------------------------


def tree(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "log"}


@pytest.fixture(scope="module")
def a_run(made_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run(composed(*TINY), folder, command(*TINY))
    return folder


@pytest.fixture
def finished(a_run, tmp_path):
    """A copy of a small finished run."""
    return Path(shutil.copytree(a_run, tmp_path / "finished"))


def test_loss_that_turns_nan_keeps_the_last_good_checkpoint(refused, tmp_path):
    """The rate is multiplied by 1e12 after two of four epochs of three steps."""
    folder = tmp_path / "run"
    refused(
        *TINY, "train.epochs=4", "model.likelihood=gaussian", "optimizer=sgd", "optimizer.lr=0.001", "schedule=steps",
        "schedule.milestones=[0.5]", "schedule.gamma=1e12", f"hydra.run.dir={folder}",
        key="optimizer.lr", words=("since step 2 of epoch 3 (step 8 in all)", "last good one", "lower optimizer.lr"),
    )  # fmt: skip
    checkpoint = run_folder.read_checkpoint(folder, "last", "test")
    assert checkpoint["epoch"] == 1
    assert all(bool(torch.isfinite(w).all()) for w in checkpoint["state_dict"].values())
    assert run_folder.read_history(folder)["epoch"] == [0, 1]
    assert not (folder / "metrics.json").exists()


def test_folder_that_holds_a_run_already(refused, finished):
    before = tree(finished)
    refused(*TINY, f"hydra.run.dir={finished}", key="hydra.run.dir", words=("choose another", f"resume={finished}"))
    assert tree(finished) == before


def test_resume_what_cannot_be_resumed(refused, finished, tmp_path):
    resume = f"resume={finished}"
    before = tree(finished)
    refused(f"resume={tmp_path}", key="resume", words=("no run folder",))
    refused(resume, "model=linear", key="model", words=("cannot change", "leave it out"))
    refused(resume, "seed=1", key="seed", words=("cannot change",))
    refused(resume, "train.epochs=-2", key="train.epochs", words=("at least 0",))
    refused(resume, "train.batch_size=5000", key="train.batch_size", words=("48 training samples",))
    assert tree(finished) == before


def test_resume_the_weights_of_another_model(refused, finished, capsys, tmp_path):
    other = tmp_path / "other"
    assert aelab(capsys, *TINY, "model.n_code=3", f"hydra.run.dir={other}").status == 0
    shutil.copy(finished / "last.ckpt", other / "last.ckpt")
    refused(f"resume={other}", key="resume", words=("weights of another model", "as a run left it"))


@pytest.mark.parametrize("how", ["missing", "cut", "rubbish", "a pickle that runs code"])
def test_resume_a_damaged_checkpoint(how, refused, finished, tmp_path):
    path = finished / "last.ckpt"
    content = path.read_bytes()
    path.unlink()
    if how == "cut":
        path.write_bytes(content[:1000])
    elif how == "rubbish":
        path.write_bytes(b"no checkpoint")
    elif how == "a pickle that runs code":
        torch.save({"state_dict": Hostile(str(tmp_path / "touched"))}, path)
    refused(f"resume={finished}", key="resume", words=("last.ckpt",))
    assert not (tmp_path / "touched").exists()


class Hostile:
    """Unpickled, it makes a file."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_folder_that_cannot_be_written(refused):
    refused(*TINY, "hydra.run.dir=/proc/run", key="hydra.run.dir", words=("/proc/run", "give another folder"))


@pytest.mark.parametrize("limit", [200, 8_000])
def test_full_disk(limit, refused, tmp_path):
    """No file may grow beyond ``limit`` bytes: the config does not fit, or the first checkpoint does not."""
    folder = tmp_path / "run"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        refused(*TINY, f"hydra.run.dir={folder}", key="hydra.run.dir", words=("free space or give another folder",))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(folder.rglob("*.part")) and not list(folder.glob("*.ckpt"))


@pytest.mark.parametrize(
    ("override", "key", "words"),
    [
        ("objective=${nope}", "objective", "'nope' not found"),
        ("evaluate.probe.c=${nope}", "evaluate.probe.c", "'nope'"),
        ("model.network.widths=[${nope}]", "model.network.widths[0]", "'nope'"),
        ("optimizer.lr=${oc.env:NOPE}", "optimizer.lr", "variable 'NOPE' not found"),
        ("optimizer.lr=${optimizer.lr}", "optimizer.lr", "recursive"), ("data=${nope}", "GROUP=VALUE", "aelab --help"),
    ],
)  # fmt: skip
def test_a_reference_to_nothing_is_named_by_the_key_that_holds_it(override, key, words, refused):
    refused(override, key=key, words=(words,))


def test_a_reference_stays_one_in_the_command_of_the_run(tmp_path, capsys):
    """And it is no reference to another word of the command, which Hydra keeps in a list of their own."""
    command_line = (*TINY, "train.epochs=${model.n_code}", "model.n_code=2", f"hydra.run.dir={tmp_path / 'run'}")
    assert aelab(capsys, *command_line).status == 0
    assert "'train.epochs=${model.n_code}'" in (tmp_path / "run" / "command.txt").read_text()
    assert run_folder.read_config(tmp_path / "run").train.epochs == 2
