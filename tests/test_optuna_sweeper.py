"""Studies that are killed, shared, pruned and gone on with."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time

import optuna
import pytest
import pytorch_lightning as pl
from helpers import composed, with_hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from toy_sweep import SEARCH, ToySweep

from aelab.errors import Pruned, UserError
from aelab.sweep.jobs import read_jobs
from aelab.sweep.pruning import PruneCallback
from aelab.sweep.space import grid, refuse_misfits, search_space
from aelab.sweep.storage import import_optuna, load_study, make_sampler, open_storage, without_password
from aelab.sweep.study import SharedStudy
from hydra_plugins.aelab.sweeper import directions


def space(*overrides):
    return search_space(OverridesParser.create().parse_overrides(list(overrides)))


def trials(study_file, name="study"):
    return optuna.load_study(study_name=name, storage=open_storage(str(study_file))).trials


class Falling(pl.LightningModule):
    """A model whose validation loss is start / (1 + epoch), and that learns nothing."""

    automatic_optimization = False

    def __init__(self, start):
        super().__init__()
        self.start = start

    def training_step(self, batch, index):
        return None

    def validation_step(self, batch, index):
        self.log("val/loss", self.start / (1 + self.current_epoch), batch_size=1)

    def configure_optimizers(self):
        return None


def never(number, overrides):
    return None


@pytest.fixture
def toy(tmp_path):
    return ToySweep(tmp_path)


@pytest.fixture
def shared(tmp_path):
    """Makes a study of a few numbers on disk, as each process of a sweep would."""

    def make(*overrides, **options):
        distributions, fixed = space(*(overrides or ("x=interval(0,1)",)))
        sampler = {"name": "random", "seed": 0, "startup": 2} | options.pop("sampler", {})
        pruner = {"name": "none", "startup": 2, "after": 1, "patience": 2, "max_epochs": 9} | options.pop("pruner", {})
        settings = {"storage": "journal", "directions": ["minimize"], "n_trials": 4, "retry": True} | options
        parts = {"space": distributions, "fixed": fixed, "sampler": sampler, "pruner": pruner}
        return SharedStudy(tmp_path, "study", **parts, **settings)

    return make


def test_the_search_space_is_hydras_override_syntax():
    found, fixed = space(
        "n=range(2,64)", "k=range(0,1,0.25)", "lr=tag(log,interval(1e-4,1e-1))", "m=tag(int,interval(2,64))",
        "data=a,b",         "w=choice([500,250],[9])", "e=int(interval(1,5))", "z=3",
    )  # fmt: skip
    assert fixed == ["z=3"]
    assert found == {
        "n": IntDistribution(2, 63),
        "k": FloatDistribution(0.0, 0.75, step=0.25),
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "m": IntDistribution(2, 64),
        "data": CategoricalDistribution(["a", "b"]),
        "w": CategoricalDistribution(["[500,250]", "[9]"]),
        "e": IntDistribution(1, 5),
    }
    assert grid({key: found[key] for key in ("k", "data")}) == {"k": [0.0, 0.25, 0.5, 0.75], "data": ["a", "b"]}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("z=3", "nothing to search"),
        ("lr=tag(low,interval(1,2))", "lr: unknown tag low"),
        ("lr=tag(log,interval(0,1))", "lr: "),
        ("n=range(5,5)", "n: range\\(5,5\\): is empty"),
    ],
)
def test_a_space_that_is_none_is_refused_in_one_line(override, says):
    with pytest.raises(UserError, match=says) as error:
        space(override)
    assert "\n" not in str(error.value)


def test_an_interval_has_no_grid():
    with pytest.raises(UserError, match="x: a continuous interval has no grid"):
        grid(space("x=interval(0,1)")[0])


def test_a_grid_of_the_study_is_each_point_once(shared):
    study = shared("a=range(0,3)", "b=u,v", sampler={"name": "grid"}, n_trials=None)
    points = []
    while batch := study.take(1, never):
        points.append(tuple(batch[0][1]))
        study.tell(batch[0][0], "done", [0.0], "")
    assert sorted(points) == [(f"a={a}", f"b={b}") for a in range(3) for b in "uv"]


def test_a_random_search_does_not_depend_on_who_asks(shared, tmp_path):
    """One process asking four times, and four processes asking once, draw the same four different points."""
    studies = [shared() for _ in range(4)]
    points = [study.take(1, never)[0] for study in studies]
    assert [n for n, _ in points] == [0, 1, 2, 3]
    for study in studies:
        study._mine.clear()  # what the kernel does when a process ends
    (tmp_path / "study.journal").unlink()
    study = shared()
    assert study.take(4, never) == points
    assert len({values[0] for _, values in points}) == 4


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_trial_whose_process_died_is_taken_again_with_its_values(shared, storage):
    first = shared(storage=storage)
    taken = first.take(2, never)
    second = shared(storage=storage)
    assert [n for n, _ in second.take(9, never)] == [2, 3]  # the others are at work
    first._mine.clear()  # what the kernel does when a process ends
    third = shared(storage=storage)
    assert third.take(9, never) == taken
    assert third.take(9, never) == []


def test_a_trial_that_had_ended_before_its_process_died_is_only_told(shared):
    first = shared(n_trials=1)
    ((number, values),) = first.take(1, never)
    first._mine.clear()
    second = shared(n_trials=1)
    assert second.take(1, lambda n, v: ("done", [0.5], "") if (n, v) == (number, values) else None) == []
    assert [(t.state, t.value) for t in second.study.trials] == [(TrialState.COMPLETE, 0.5)]


def test_failed_trials_are_run_again_or_left(shared):
    study = shared(n_trials=2)
    (number, values), _ = study.take(2, never)
    study.tell(number, "failed", [], "no memory")
    study.tell(1, "done", [1.0], "")
    assert study.study.trials[0].user_attrs["reason"] == "no memory"
    assert shared(n_trials=2, retry=False).take(9, never) == []
    again = shared(n_trials=2)
    assert again.take(9, never) == [(2, values)]  # a new number, the same values, in the failed one's stead
    again.tell(2, "done", [0.0], "")
    assert shared(n_trials=2).take(9, never) == []


def test_a_half_written_line_of_the_journal_is_dropped(shared, tmp_path):
    shared().take(1, never)
    with open(tmp_path / "study.journal", "a") as journal:
        journal.write('{"op_code": 4, "worker')
    assert len(shared().study.trials) == 1


@pytest.mark.parametrize(
    ("overrides", "options", "key"),
    [
        (["x=interval(0,2)"], {}, "hydra.sweeper.study_name"),
        (["x=interval(0,1)", "z=4"], {}, "hydra.sweeper.study_name"),
        ([], {"directions": ["maximize"]}, "hydra.sweeper.study_name"),
        ([], {"sampler": {"name": "best"}}, "hydra.sweeper.sampler"),
        ([], {"pruner": {"name": "best"}}, "hydra.sweeper.pruner"),
        ([], {"storage": "paper"}, "hydra.sweeper.storage"),
        ([], {"n_trials": None}, "hydra.sweeper.n_trials"),
        ([], {"directions": ["minimize"] * 2, "pruner": {"name": "median"}}, "hydra.sweeper.direction"),
    ],
)
def test_what_a_study_cannot_be_is_refused(shared, overrides, options, key):
    shared()
    with pytest.raises(UserError, match=f"^{key}: .*; "):
        shared(*overrides, **options)


def test_optuna_that_is_not_installed_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r'optuna is not installed; pip install "aelab\[sweep\]"'):
        import_optuna()


def test_plugins_are_found_without_anything_heavy():
    code = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance(); import aelab.sweep.callback;"
        "print([m for m in ('optuna', 'torch', 'pytorch_lightning', 'matplotlib', 'wandb') if m in sys.modules],"
        "[m for m in sys.modules if m.startswith('hydra_plugins.aelab.')])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("[] ") and "hydra_plugins.aelab.sweeper" in shown


@pytest.mark.parametrize(
    ("direction", "objective", "expected"),
    [
        ("minimize", "a", ["minimize"]),
        ("maximize", "a,b", ["maximize", "maximize"]),
        (["minimize", "maximize"], "a, b", ["minimize", "maximize"]),
        ("minimize,maximize", "a,b", ["minimize", "maximize"]),
        ("smaller", "a", UserError),
        (["minimize", "maximize"], "a", UserError),
    ],
)
def test_every_objective_has_a_direction(direction, objective, expected):
    if expected is UserError:
        with pytest.raises(UserError, match=r"^hydra.sweeper.direction: .*; give "):
            directions(direction, objective)
    else:
        assert directions(direction, objective) == expected


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("mysql://me:hunter22@host/db", "mysql://me:***@host/db"),
        ("postgresql+psycopg://me:hunter22:@x@host:5/db", "postgresql+psycopg://me:***@host:5/db"),
        ("sqlite:////a/b.db?x=1&password=hunter22&y=2", "sqlite:////a/b.db?x=1&password=***&y=2"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("journal", "journal"),
    ],
)
def test_a_password_stands_in_no_file(url, kept):
    assert without_password(url) == kept


@pytest.mark.parametrize(
    "url", ["postgresql://u:SECRET@h/db", "nosuch://u:SECRET@h", "sqlite:////no/such/folder/x.db", "postgresql://"]
)
def test_a_database_that_cannot_be_opened_is_one_line_without_its_password(url):
    with pytest.raises(UserError, match=r"^hydra\.sweeper\.storage: .* cannot be opened \(") as refusal:
        open_storage(url)
    assert "SECRET" not in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_trial_finds_the_storage_that_no_file_names(shared, monkeypatch, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db?password=hunter22"
    study = shared(storage=url)
    study.take(1, never)
    monkeypatch.setenv("AELAB_STORAGE", study.storage)
    assert len(load_study(without_password(url), "study").trials) == 1


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_study_runs_nothing_that_its_file_holds(tmp_path):
    """CMA-ES keeps its optimiser in the study, pickled."""
    optuna = import_optuna()
    study = optuna.create_study()
    for number in range(12):
        study.sampler = make_sampler("cmaes", seed=0, number=number, startup=2, grid={})
        trial = study.ask({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)})
        study.tell(trial, trial.params["x"])
    kept = [t for t in study.trials if any(key.startswith("cma:optimizer") for key in t.system_attrs)]
    assert kept, "what is restored is its own state"
    touched = tmp_path / "touched"
    state = pickle.dumps(Hostile(str(touched))).hex()
    trial = study.ask({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)})
    study._storage.set_trial_system_attr(trial._trial_id, "cma:optimizer:0", state)
    study.tell(trial, 1.0)
    with pytest.raises(UserError, match=r"^hydra.sweeper.study_name: .*it would call io\.open"):
        study.ask({"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)})
    assert not touched.exists()


@pytest.mark.parametrize(
    "range_", ["model.n_code=interval(2.5,8.5)", "model.n_code=range(0,5)", "model.n_code=interval(0,9)"]
)
def test_a_range_that_its_key_cannot_take_is_found_before_the_first_trial(range_):
    searched, _ = space(range_)
    with pytest.raises(UserError, match=r"^model\.n_code: .*(range\(2,65\)|give another range)"):
        refuse_misfits(composed(), searched)
    refuse_misfits(
        composed(), space("model.n_code=range(2,9)", "optimizer.lr=interval(0.1,0.2)", "model.code=relu,tanh")[0]
    )


def test_a_study_has_a_name_and_no_path(toy):
    text = toy.run("hydra/sweeper=optuna", "x=interval(0,1)", "hydra.sweeper.study_name=../../esc", status=1)
    assert "hydra.sweeper.study_name: it names a folder" in text and not list(toy.folder.rglob("*esc*"))


def test_a_device_of_its_own_is_no_other_study(shared):
    shared("x=interval(0,1)", "hardware.devices=1")
    shared("x=interval(0,1)", "hardware.devices=2")


def test_cma_es_and_tpe_come_near_the_minimum(shared):
    for name in ("cmaes", "tpe"):
        optuna = import_optuna()
        study = optuna.create_study()
        for number in range(40):
            study.sampler = make_sampler(name, seed=0, number=number, startup=5, grid={})
            study.optimize(lambda t: (t.suggest_float("a", -4, 4) - 1) ** 2 + t.suggest_float("b", -4, 4) ** 2, 1)
        assert study.best_value < 0.3


def test_a_killed_sweep_goes_on_and_ends_with_the_number_asked(toy):
    command = [*SEARCH, "hydra.sweeper.n_trials=6", "seconds=0.4"]
    process = toy.start(*command)
    deadline = time.time() + 60
    while len(toy.numbers("begun")) < 3 and time.time() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    killed, ended = toy.numbers("begun"), toy.numbers("ended")
    assert killed == list(range(len(killed))) and 3 <= len(killed) < 6, "in the third, or soon after on a slow machine"
    assert ended == killed[: len(ended)] and len(killed) - len(ended) <= 1
    before = {t.number: t.params for t in trials(toy.study / "study.journal")}

    text = toy.run(*command)
    assert sorted(toy.numbers("ended")) == [0, 1, 2, 3, 4, 5]  # none lost, none done twice
    after = trials(toy.study / "study.journal")
    assert [t.state for t in after] == [TrialState.COMPLETE] * 6
    assert {n: after[n].params for n in before} == before
    assert "leaderboard.md" in text and [j.number for j in read_jobs(toy.study)] == [0, 1, 2, 3, 4, 5]
    toy.run(*command)
    # the study is done: nothing more was run but, once more, the trial that was killed
    assert len(toy.numbers("begun")) == 6 + len(killed) - len(ended)


def test_the_search_goes_by_the_mean_over_seeds_and_a_kill_repeats_none_of_them(toy):
    asked = *SEARCH, "hydra.sweeper.n_trials=3", "hydra.sweeper.seeds=3", "seed=4", "seconds=0.2"
    process = toy.start(*asked)
    deadline = time.time() + 60
    while len(toy.numbers("ended")) < 4 and time.time() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = [job.number for job in read_jobs(toy.study) if job.status == "done"]
    assert 3 <= len(done) < 9
    toy.run(*asked)
    assert {*toy.numbers("ended")} == {*range(9)} and all(toy.numbers("ended").count(number) == 1 for number in done)
    jobs = read_jobs(toy.study)
    assert [job.settings["seed"] for job in jobs] == ["4", "5", "6"] * 3
    for trial in trials(toy.study / "study.journal"):
        values = [job.values[0] for job in jobs[3 * trial.number : 3 * trial.number + 3]]
        assert trial.value == pytest.approx(sum(values) / 3) and values[2] - values[0] == pytest.approx(0.02)


@pytest.mark.parametrize(("overrides", "says"), [
    (["hydra.sweeper.seeds=0"], "hydra.sweeper.seeds: must be at least 1, got 0"),
    (["hydra.sweeper.seeds=2", "hydra.sweeper.pruner=median"], "hydra.sweeper.seeds: a training that is pruned is one"),
    (["hydra.sweeper.seeds=2", "seed=1,2"], "hydra.sweeper.seeds: the seed is searched already"),
])  # fmt: skip
def test_seeds_that_cannot_be_are_refused(toy, overrides, says):
    assert says in toy.run(*SEARCH, *overrides, status=1)


@pytest.mark.parametrize(("override", "says"), [
    ("storage=null", "expected str, got None"),
    ("study_name=null", "expected str, got None"),
    ("n_trials=many", "expected int or null, got 'many'"),
    ("n_trials=0", "must be at least 1, got 0"),
    ("n_jobs=0", "must be at least 1, got 0"),
    ("direction=null", "expected str or list[str], got None"),
    ("sampler=best", "expected one of tpe, cmaes, random, grid, got 'best'"),
    ("seed=-1", "must be in [0, 4294967295], got -1"),
    ("prune_after=soon", "expected int, got 'soon'"),
    ("retry=maybe", "expected bool, got 'maybe'"),
    ("params=5", "expected dict[str, Any], got 5"),
])  # fmt: skip
def test_what_a_search_cannot_be_told_is_said_of_its_key(override, says):
    cfg = with_hydra("hydra/sweeper=optuna", f"hydra.sweeper.{override}")
    sweeper = instantiate(cfg.hydra.sweeper)
    with pytest.raises(UserError, match=re.escape(f"hydra.sweeper.{override.split('=')[0]}: {says}")):
        sweeper.setup(hydra_context=None, task_function=None, config=cfg)


@pytest.mark.parametrize(("override", "says"), [
    ("hydra.sweeper.max_batch_size=0", "hydra.sweeper.max_batch_size: must be at least 1, or null"),
    ("+hydra.launcher.n_jobs=0", "hydra.launcher.n_jobs: must be at least 1, or -1"),
    ("objective=y,size", "objective: a multirun compares its jobs by the same"),
])  # fmt: skip
def test_what_a_grid_cannot_be_told_is_said_of_its_key(toy, override, says):
    text = toy.run("x=0,1", override, status=1)
    assert says in text and not toy.numbers("begun")


def test_two_processes_share_a_study(toy):
    command = [*SEARCH, "hydra.sweeper.n_trials=8", "seconds=0.2"]
    both = [toy.start(*command) for _ in range(2)]
    for process in both:
        text = process.communicate(timeout=120)
        assert process.returncode == 0, text
    assert sorted(toy.numbers("begun")) == sorted(toy.numbers("ended")) == list(range(8))
    done = trials(toy.study / "study.journal")
    assert [t.state for t in done] == [TrialState.COMPLETE] * 8
    assert len({t.params["x"] for t in done}) == 8


def test_parallel_jobs_share_the_cores(toy):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    toy.run_anew(*SEARCH, "hydra.sweeper.n_trials=3", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    jobs = read_jobs(toy.study)
    assert [j.number for j in jobs] == [0, 1, 2]
    assert f"hardware.threads={threads}" in jobs[0].overrides and f"hardware.threads={threads}" in jobs[1].overrides


def test_several_objectives(toy):
    toy.run(*SEARCH, "hydra.sweeper.n_trials=3", "objective='y,size'", "hydra.sweeper.direction=[minimize,maximize]")
    assert all(len(t.values) == 2 for t in trials(toy.study / "study.journal"))
    assert (toy.study / "leaderboard.csv").read_text().startswith("place,y,size,x,c,seconds")


def test_a_failing_trial_ends_nothing_but_itself(toy):
    command = [*SEARCH[:2], "x=0,1,2", "hydra.sweeper.sampler=grid", "hydra.sweeper.n_trials=null"]
    text = toy.run(*command, "fails_at=1", status=1)
    assert "RuntimeError: x is where it fails" in text
    states = [t.state for t in trials(toy.study / "study.journal")]
    assert sorted(states) == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]


def test_a_mistyped_key_is_found_before_there_is_a_study(toy):
    text = toy.run(*SEARCH, "sekonds=1", status=1)
    assert "sekonds" in text and not toy.study.exists()


def test_a_hopeless_trial_is_pruned_by_the_study(shared):
    study = shared(pruner={"name": "median"})
    reached = {}
    for number, _ in study.take(4, never):
        model = Falling(100.0 if number == 3 else 1.0)
        callback = PruneCallback(study.storage, "study", number, "val/loss")
        trainer = pl.Trainer(
            max_epochs=9, logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[callback],
            accelerator="cpu", enable_model_summary=False,
        )  # fmt: skip
        if number == 3:
            with pytest.raises(Pruned, match="epoch 2: val/loss 50 is hopeless"):
                trainer.fit(model, [0], [0])
            study.tell(number, "pruned", [], "")
        else:
            trainer.fit(model, [0], [0])
            study.tell(number, "done", [1.0], "")
        reached[number] = model.current_epoch
    assert reached == {0: 9, 1: 9, 2: 9, 3: 1}
    last = study.study.trials[3]
    assert (last.state, last.value) == (TrialState.PRUNED, 50.0)


def test_pruning_on_what_is_not_measured_is_refused(shared):
    study = shared(pruner={"name": "patience"})
    study.take(1, never)
    callback = PruneCallback(study.storage, "study", 0, "val/los")
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    with pytest.raises(UserError, match=r"hydra.sweeper.monitor: training measures no 'val/los'"):
        callback.on_validation_end(_not_checking(trainer), None)


def _not_checking(trainer):
    trainer.sanity_checking = False
    return trainer


@pytest.mark.parametrize("name", ["hyperband", "patience"])
def test_the_other_pruners_prune(shared, name):
    study = shared(n_trials=12, pruner={"name": name})
    pruned = []
    for number, _ in study.take(12, never):
        callback = PruneCallback(study.storage, "study", number, "val/loss")
        for epoch in range(9):
            if callback.hopeless(float(number + epoch * (number > 5)), epoch):
                pruned.append(number)
                break
        study.tell(number, "pruned" if number in pruned else "done", [] if number in pruned else [float(number)], "")
    assert pruned and 0 not in pruned
