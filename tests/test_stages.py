"""The store: an equal key finds the stage, anything half-written is run again, nothing whole is lost."""

import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from fake_data import write_mnist
from helpers import aelab, composed
from omegaconf import OmegaConf

from aelab import locks
from aelab.errors import UserError
from aelab.rbm.layer import Layer, save_layers
from aelab.results import report
from aelab.results.report import ago
from aelab.runs import chain, stages, store
from aelab.runs.sources import Sources
from aelab.runs.stages import Wanted, find_or_run, key_of, state_of

NAMES = {f"{name}": f"{name[:-1]}{int(name[-1]):016x}" for name in ("rbm-1", "rbm-2", "classifier-3", "broken-4")}
CONFIG = {
    "model": {"n_hidden": 2}, "data": {"name": "made"}, "train": {"epochs": 2}, "evaluate": {"knn": 5}, "seed": 0,
    "below": None,
}  # fmt: skip
WANTED = Wanted(OmegaConf.create(CONFIG), "key", hands_on=True)


class Runs:
    """Stands for a run: leaves its files, counts how often it ran, says what was said."""

    def __init__(self, value: float = 1.0):
        self.value, self.calls, self.said = value, [], []

    def __call__(self, folder: Path, resume: bool) -> None:
        self.calls.append(resume)
        write_stage(folder, self.value)

    def find(self, folder: Path, fresh: bool = False, wanted: Wanted | None = None) -> stages.Stage:
        return find_or_run(folder, wanted or WANTED, fresh, self, self.said.append)


def write_stage(folder: Path, value: float = 1.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = {"state_dict": {"W": torch.ones(3, 2)}, "aelab": {"shape": [3]}}
    for which in ("last", "best"):
        torch.save(checkpoint, folder / f"{which}.ckpt")
    save_layers(
        folder / "layers.pt",
        [Layer(torch.ones(3, 2), torch.zeros(2), torch.zeros(3), "bernoulli", "bernoulli")],
    )
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(CONFIG)))
    (folder / "command.txt").write_text("aelab model=made\n")
    (folder / "timing.json").write_text("{}")
    (folder / "metrics.json").write_text(json.dumps({"test/loss": value}))


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "store" / NAMES["rbm-1"]


def test_a_stage_is_run_once_and_then_found(folder):
    runs = Runs()
    assert not runs.find(folder).found
    assert runs.find(folder) == stages.Stage(folder, "key", {"test/loss": 1.0}, {}, found=True)
    assert runs.calls == [False]


def test_an_unfinished_one_goes_on_and_leaves_nothing_half_written(folder):
    write_stage(folder)
    (folder / "metrics.json").unlink()
    (folder / ".last.ckpt.part").write_bytes(b"half a checkpoint")
    runs = Runs()
    assert not runs.find(folder).found
    assert runs.calls == [True]
    assert "goes on from" in runs.said[0]
    assert not list(folder.glob(".*"))


WEIGHTS = ("last.ckpt", "best.ckpt", "config.yaml")  # without one of them a stage is run again; the others are measured


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt", "layers.pt", "metrics.json", "timing.json", "config.yaml"])
@pytest.mark.parametrize("left", [0, 0.5])
def test_a_damaged_one_is_said_to_be_and_run_again(folder, name, left):
    write_stage(folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(left * len(content))])
    if name == "config.yaml":
        (folder / name).write_bytes(content[: int(left * len(content))] + b"\n  {[")
    if name == "timing.json":
        (folder / name).write_bytes(b"{"[: int(2 * left)])
    (folder / "stray").touch()
    runs = Runs(2.0)
    assert runs.find(folder).metrics == {"test/loss": 2.0}
    again = name in WEIGHTS
    assert runs.calls == [not again]
    how = "is damaged or half-written; it is run again" if again else "is measured again, not trained"
    assert runs.said == [f"{folder} {how}"]
    assert (folder / "stray").exists() != again, "a damaged folder was built upon, or a whole one was not"


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt", "layers.pt", "metrics.json", "timing.json"])
def test_a_missing_file_is_damage(folder, name):
    write_stage(folder)
    (folder / name).unlink()
    runs = Runs()
    runs.find(folder)
    assert runs.calls == [name not in WEIGHTS]


def test_layers_may_be_missing_where_nothing_stands_on_them(folder):
    write_stage(folder)
    (folder / "layers.pt").unlink()
    assert state_of(folder) == state_of(folder, WANTED._replace(hands_on=False)) == "finished"
    assert state_of(folder, WANTED) == "unmeasured"


def test_measured_by_something_else_it_is_measured_again_and_keeps_its_weights(folder):
    write_stage(folder)
    other = WANTED._replace(cfg=OmegaConf.merge(WANTED.cfg, {"evaluate": {"knn": 0}, "seed": 0}))
    runs = Runs(2.0)
    stage = runs.find(folder, wanted=other)
    assert (stage.metrics, stage.found, runs.calls) == ({"test/loss": 2.0}, True, [True])
    with pytest.raises(KeyboardInterrupt):  # killed while it is measured, it is still to be measured
        find_or_run(folder, other, False, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt), print)
    assert state_of(folder, WANTED) == "stopped"


def test_fresh_runs_beside_the_old_one_and_replaces_it(folder):
    Runs(1.0).find(folder)
    seen = []

    def run(place: Path, resume: bool) -> None:
        seen.append((stages.figures_of(folder)[0]["test/loss"], resume))
        write_stage(place, 2.0)

    assert find_or_run(folder, WANTED, True, run, print).metrics == {"test/loss": 2.0}
    assert seen == [(1.0, False)]
    assert os.listdir(folder.parent) != [] and [p.name for p in folder.parent.iterdir() if p.is_dir()] == [folder.name]


def test_a_killed_fresh_run_loses_nothing(folder):
    Runs(1.0).find(folder)

    def killed(place: Path, resume: bool) -> None:
        write_stage(place, 2.0)
        (place / "metrics.json").unlink()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_or_run(folder, WANTED, True, killed, print)
    runs = Runs(3.0)
    assert runs.find(folder).metrics == {"test/loss": 1.0}
    assert runs.find(folder, fresh=True).metrics == {"test/loss": 3.0}
    assert runs.calls == [True]


@pytest.mark.parametrize("step", [1, 2])
def test_killed_while_one_replaces_the_other_there_is_always_a_whole_one(folder, monkeypatch, step):
    Runs(1.0).find(folder)
    rename, calls = Path.rename, []

    def until_killed(self, target):
        calls.append(self)
        if len(calls) == step:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", until_killed)
        Runs(2.0).find(folder, fresh=True)
    runs = Runs(3.0)
    assert runs.find(folder).metrics == {"test/loss": 1.0}
    assert runs.find(folder, fresh=True).metrics == {"test/loss": 2.0}, "the fresh one was whole"
    assert runs.calls == []


def in_another_process(folder: Path, log: Path, seconds: float) -> None:
    def run(place: Path, resume: bool) -> None:
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(seconds)
        write_stage(place)

    find_or_run(folder, WANTED, False, run, lambda text: None)


def test_of_two_processes_one_runs_it_and_the_other_waits(folder, tmp_path):
    spawn, log = multiprocessing.get_context("fork"), tmp_path / "log"
    both = [spawn.Process(target=in_another_process, args=(folder, log, 0.5)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(log.read_text().splitlines()) == 1


def test_a_killed_process_leaves_no_lock(folder, tmp_path):
    process = multiprocessing.get_context("fork").Process(
        target=in_another_process, args=(folder, tmp_path / "log", 60)
    )
    process.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert locks.is_held(stages.lock_of(folder))
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert not locks.is_held(stages.lock_of(folder))


def test_the_key_has_all_that_changes_the_weights_and_nothing_else(monkeypatch):
    beside = ["model=rbm", "data.train_size=50"]
    key = key_of(composed(*beside), "data", None)
    for change in (
        "seed=1", "data.train_size=49", "data.validation=0.2", "data.binarize=threshold", "model.n_hidden=9",
        "model/recipe=pcd", "model.recipe.learning_rate=0.2", "train.epochs=9", "train.batch_size=9",
        "schedule=constant", "hardware.precision=64-true", "callbacks=early_stopping", "corruption=masking",
    ):  # fmt: skip
        assert key_of(composed(*beside, change), "data", None) != key, change
    for change in (
        "logger=csv", "logger.project=other", "objective=test/loss", "direction=maximize", "data.root=/there",
        "data.cache=/there", "data.download=false", "chain.store=/there", "below=/there", "resume=/there",
        "chain=deep_autoencoder", "evaluate.weights=best", "evaluate.knn=null", "hardware.threads=3",
        "hardware=multi_gpu", "data.source.seed=1",
    ):  # fmt: skip
        assert key_of(composed(*beside, change), "data", None) == key, change
    assert key_of(composed(*beside), "data", "key of the stage below") != key
    assert key_of(composed(*beside), "other data", None) != key
    monkeypatch.setattr(stages, "MATHEMATICS", stages.MATHEMATICS + 1)
    assert key_of(composed(*beside), "data", None) != key


def test_the_fingerprint_is_of_the_bytes_of_the_data_wherever_they_lie(made_data, tmp_path):
    here, there = made_data, tmp_path / "there"
    shutil.copytree(here / "mnist", there / "mnist")
    nodes = [OmegaConf.to_container(composed("data=mnist", f"data.root={root}").data) for root in (here, there)]
    prints = [Sources().fingerprint(node) for node in nodes]
    assert prints[0] == prints[1]
    write_mnist(there / "mnist", n_train=81, n_test=20)
    assert Sources().fingerprint(nodes[1]) != prints[0]


def test_a_full_disk_and_a_store_that_cannot_be_are_one_line(folder):
    def full(place: Path, resume: bool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"^chain\.store: cannot write .*No space left on device.*; free space"):
        find_or_run(folder, WANTED, False, full, print)
    folder.parent.parent.joinpath("file").touch()
    with pytest.raises(UserError, match=r"^chain\.store: cannot write .*give another folder"):
        Runs().find(folder.parent.parent / "file" / "store" / "rbm-1")

    def other(place: Path, resume: bool) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "/data/mnist")

    with pytest.raises(FileNotFoundError):
        find_or_run(folder, WANTED, False, other, print)


@pytest.fixture
def full_store(tmp_path) -> Path:
    folder = tmp_path / "store"
    for name in ("rbm-1", "rbm-2", "classifier-3"):
        Runs().find(folder / NAMES[name])
    (folder / NAMES["rbm-2"] / "metrics.json").unlink()
    (folder / NAMES["broken-4"]).mkdir()
    (folder / NAMES["broken-4"] / "config.yaml").write_text("{[")
    for name in ("mine", "rbm-of-mine", "data-0123456789abcdef", "figures"):  # a person's own, whatever they are called
        (folder / name).mkdir()
        (folder / name / "file").touch()
    (folder / "link-0123456789abcdef").symlink_to(folder / "mine")
    return folder


OTHERS = {"mine", "rbm-of-mine", "data-0123456789abcdef", "figures", "link-0123456789abcdef"}


def folders(store: Path) -> set[str]:
    return {p.name for p in store.iterdir() if p.is_dir()}


def test_the_store_is_listed_with_states_errors_sizes_and_ages(full_store, capsys):
    listed = {entry.name: entry for entry in store.entries(full_store)}
    states = {"rbm-1": "finished", "rbm-2": "stopped", "classifier-3": "finished", "broken-4": "damaged"}
    assert {name: entry.state for name, entry in listed.items()} == {NAMES[name]: s for name, s in states.items()}
    one = full_store / NAMES["rbm-1"]
    entry = listed[one.name]
    assert entry.n_bytes == sum(p.stat().st_size for p in one.rglob("*") if p.is_file())
    os.link(one / "last.ckpt", one / "same.ckpt")
    assert store.size_of(one) == entry.n_bytes
    assert (entry.what, entry.error) == ("2 units, made, seed 0", "1 loss")
    assert 0 <= entry.age < 600

    outcome = aelab(capsys, "task=stages", f"chain.store={full_store}", f"hydra.run.dir={full_store.parent / 'run'}")

    assert outcome.status == 0, outcome.error
    for word in (*listed, *states.values(), "4 stages", "2 units, made, seed 0", "1 loss", " s "):
        assert word in outcome.output
    assert not OTHERS & set(outcome.output.split())


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (86400 * 3, "3 d")]
)
def test_an_age_is_told_in_one_unit(seconds, words):
    assert ago(seconds) == words


@pytest.mark.parametrize(
    "asked, left",
    [
        (["rbm-1"], {"rbm-2", "classifier-3", "broken-4"}),
        (["unfinished"], {"rbm-1", "classifier-3"}),
        (["rbm-1", "unfinished", "rbm-1"], {"classifier-3"}),
        (["all"], set()),
        (["1d"], {"rbm-1", "rbm-2", "classifier-3", "broken-4"}),
        (["7d"], {"rbm-1", "rbm-2", "classifier-3", "broken-4"}),
        (["0d"], set()),
        (["1GB"], {"rbm-1", "rbm-2", "classifier-3", "broken-4"}),
        (["0MB"], set()),
    ],
)
def test_what_a_person_names_is_deleted_and_nothing_but_stages(full_store, asked, left, capsys, monkeypatch):
    monkeypatch.chdir(full_store)
    names = ",".join(NAMES.get(name, name) for name in asked)
    outcome = aelab(capsys, "task=stages", "chain.store=.", f"delete=[{names}]", "hydra.run.dir=../run")
    assert outcome.status == 0, outcome.error
    assert folders(full_store) == {NAMES[name] for name in left} | OTHERS


@pytest.mark.parametrize("name", ["rbm-9", *sorted(OTHERS), "..", "", "."])
def test_nothing_is_deleted_for_a_name_that_is_no_stage(full_store, name):
    before = folders(full_store)
    with pytest.raises(UserError, match=r"delete: .* holds no stage"):
        store.delete(full_store, [NAMES["rbm-1"], name])
    assert folders(full_store) == before


def test_nothing_is_deleted_under_a_process_at_work(full_store):
    busy, broken = NAMES["rbm-2"], NAMES["broken-4"]
    with locks.alone(stages.lock_of(full_store / busy)):
        assert {e.name: e.state for e in store.entries(full_store)}[busy] == "at work"
        for name in (busy, "all"):
            with pytest.raises(UserError, match=f"delete: a process is at work on {busy}"):
                store.delete(full_store, [name])
        assert len(store.entries(full_store)) == 4
        assert store.delete(full_store, ["unfinished"]) == [broken]
    assert store.delete(full_store, ["unfinished"]) == [busy]


def test_whoever_makes_a_stage_fresh_is_at_work_on_it(full_store):
    one = NAMES["rbm-1"]
    (full_store / f"{one}.fresh").mkdir()
    with locks.alone(stages.lock_of(full_store / one)):
        assert [e.state for e in store.entries(full_store) if e.name.startswith(one)] == ["at work"] * 2


def test_the_store_fits_a_narrow_terminal_with_names_whole(monkeypatch, capsys):
    names = ("single_layer-3c71a15edb51b0cb", "deep_belief_network-c2992ca981aaca71")
    listed = [
        store.Entry(names[0], "finished", f"128 units, digits, seed 0, on {names[1]}", "0.78 squared_error", 900, 9.0),
        store.Entry(names[1], "at work", "digits, seed 0", "", 100, 60.0, (names[0],)),
    ]
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    report.print_stages(Path("store"), listed)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].split()[:3] == [names[0], "0.78", "squared_error"]
    assert lines[2].endswith(f"on {names[1]}")
    assert lines[3].split()[:3] == [names[1], "at", "work"] and lines[4].endswith("under 1 stage")


def test_what_was_not_used_for_long_goes_first(full_store):
    """Found again, a stage is young; the oldest go until the others take no more than was asked."""
    old, middle = full_store / NAMES["rbm-1"], full_store / NAMES["classifier-3"]
    for place, days in ((old, 9), (middle, 5)):
        for path in (place, *place.iterdir()):
            os.utime(path, (time.time() - days * 86_400,) * 2)
    assert store.stands_for("7d", store.entries(full_store)) == [old.name]
    assert set(store.stands_for("3d", store.entries(full_store))) == {old.name, middle.name}
    total = sum(entry.n_bytes for entry in store.entries(full_store))
    assert store.stands_for(f"{(total - 10) / 1e6:.6f}MB", store.entries(full_store)) == [old.name]
    Runs().find(old)
    assert store.stands_for("3d", store.entries(full_store)) == [middle.name]
    assert store.stands_for("7 days", store.entries(full_store)) is None


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("ext4", "rw,relatime", None),
        ("nfs4", "rw,vers=4.2,local_lock=none,addr=10.0.0.1", None),
        ("nfs", "rw,vers=3,nolock,local_lock=all", "nfs, nolock"),
        ("nfs4", "rw,vers=4.2,local_lock=flock", "nfs4, local_lock=flock"),
        ("fuse.sshfs", "rw,user_id=0", "fuse.sshfs"),
    ],
)
def test_a_store_whose_locks_hold_on_one_machine_only_is_said(tmp_path, monkeypatch, capsys, kind, options, reason):
    store = tmp_path / "a store"
    escaped = str(store).replace(" ", "\\040")
    lines = ["/dev/a / ext4 rw,nolock 0 0", f"b {tmp_path} fuse.sshfs rw 0 0", f"c {escaped} {kind} {options} 0 0"]
    (tmp_path / "mounts").write_text("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(locks, "MOUNTS", tmp_path / "mounts")
    assert locks.only_here(store / "not yet there") == reason
    chain.warn_of_other_machines(store)
    said = capsys.readouterr()
    assert ("chain.store" in said.out + said.err) == (reason is not None)


def test_a_stage_that_cannot_be_deleted_is_not_said_to_be(full_store, monkeypatch):
    def refuse(folder, *_):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(store.shutil, "rmtree", refuse)
    with pytest.raises(UserError, match=r"delete: rbm-.* is not deleted, .*Permission denied"):
        store.delete(full_store, [NAMES["rbm-1"]])
