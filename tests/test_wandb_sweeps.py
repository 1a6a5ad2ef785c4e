"""The files of sweeps/: every corner of their spaces is a command that composes, and one point of each runs."""

import itertools
import os
from pathlib import Path

import pytest
import wandb
import yaml
from helpers import aelab, composed
from omegaconf import DictConfig, OmegaConf
from tiny_chain import no_figures, planned, quick  # noqa: F401 - a fixture
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args
from wandb.sdk.lib.config_util import save_config_file_from_dict
from wandb_files import Part, read

from aelab.config.build import asks_for
from aelab.config.check import check, check_node
from aelab.files import read_json

FOLDER = Path(__file__).parents[1] / "sweeps"
FILES = sorted(FOLDER.glob("*.yaml"))
OFFERED = {  # what a run gives to each group's target itself
    "model": ("shape", "below", "n_classes"), "data": ("seed", "batch_size", "below"), "logger": ("folder", "settings"),
}  # fmt: skip
TINY = (
    "data.train_size=48", "data.validation=16", "evaluate.probe.c=0.01", "evaluate.knn=null", "logger.mode=offline",
)  # fmt: skip
TINY_CHAIN = (
    "chain.rbm.train.epochs=1", "chain.rbm.train.batch_size=16", "chain.finetune.train.epochs=1",
    "chain.finetune.train.batch_size=16", "chain.widths=[5,3]",
)  # fmt: skip


def sweep(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def values(parameter: dict) -> list:
    """The values a parameter can take, or the ends of its range."""
    return parameter["values"] if "values" in parameter else [parameter["min"], parameter["max"]]


def points(definition: dict) -> list[dict]:
    """Every corner of the space, each parameter at its first or last value; and then every value there is, once."""
    every = {name: values(parameter) for name, parameter in definition["parameters"].items()}
    corners = [dict(zip(every, ends)) for ends in itertools.product(*((v[0], v[-1]) for v in every.values()))]
    return corners + [corners[0] | {name: value} for name, inner in every.items() for value in inner[1:-1]]


def arguments(definition: dict, point: dict) -> list[str]:
    """The command line that ``wandb agent`` makes of a point, without the interpreter."""
    variables = create_sweep_command_args({"args": {name: {"value": value} for name, value in point.items()}})
    variables |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [definition["program"]]}
    words = []
    for word in create_sweep_command(list(definition["command"])):
        words += variables[word[2:-1]] if word.startswith("${") and word.endswith("}") else [word]
    assert words[:4] == ["/usr/bin/env", "python", "-m", "aelab.app"]
    return words[4:]


def test_the_promised_sweeps_are_there():
    assert {path.stem for path in FILES} >= {"top_k", "vae", "denoising", "rbm", "chain"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_corner_composes_and_every_value_is_checked(path):
    definition = sweep(path)
    assert definition["method"] in ("grid", "random", "bayes")
    assert definition["metric"]["goal"] in ("minimize", "maximize")
    assert f"wandb sweep sweeps/{path.name}" in path.read_text(), "the header says how"
    all_first, all_last = 0, 2 ** len(definition["parameters"]) - 1
    for number, point in enumerate(points(definition)):
        words = [word for word in arguments(definition, point) if not word.startswith("hydra.")]
        cfg = checked(composed(*words))
        if cfg.chain.stages and number in (all_first, all_last):
            for stage in planned(*words):
                checked(OmegaConf.create(stage.config))


@pytest.mark.parametrize("path", [path for path in FILES if "scheduler" in sweep(path)], ids=lambda path: path.stem)
def test_the_engine_that_a_file_names_proposes_runs_that_compose(path):
    engines = pytest.importorskip("wandb.sdk.sweeps.scheduler.optimizer", reason="W&B has engines from 0.31 on")
    pytest.importorskip("optuna")
    from wandb.sdk.sweeps.run_state import RunState
    from wandb.sdk.sweeps.sweep_info import SweepInfo

    definition = sweep(path)
    engine = engines.make_optimizer(SweepInfo("id", path.stem, "somebody", "aelab", definition, "controller"))
    assert engine.engine == definition["scheduler"]["engine"]
    proposed = engine.ask_n_runs(3)
    for run in proposed:
        checked(composed(*(word for word in arguments(definition, run.config.flat_dict()) if "hydra." not in word)))
    done = engines.RunWithMetrics(
        proposed[0].config, RunState.FINISHED, "run", {definition["metric"]["name"]: -80.0}, history_metrics=[]
    )
    engine.tell_run(proposed[0].run_id, done)
    assert engine.study.best_value == -80 and engine.study.best_params == proposed[0].config.flat_dict()


def checked(cfg: DictConfig) -> DictConfig:
    """The config, after every key and value in it was held against what takes it."""
    check(cfg)
    for group in ("model", "data", "corruption", "optimizer", "schedule", "logger"):
        node = OmegaConf.to_container(cfg[group])
        check_node(node, group, given={name for name in OFFERED.get(group, ()) if asks_for(node, name)})
    return cfg


@pytest.fixture
def agent(monkeypatch, tmp_path):
    """``agent(point)``: the environment in which ``wandb agent`` starts the command of a point; the run's id."""

    def start(point: dict) -> str:
        wandb.teardown()
        parameters = tmp_path / "config-run.yaml"
        save_config_file_from_dict(str(parameters), {name: {"value": value} for name, value in point.items()})
        monkeypatch.setenv("WANDB_SWEEP_ID", "abcdefgh")
        monkeypatch.setenv("WANDB_RUN_ID", "agents01")
        monkeypatch.setenv("WANDB_PROJECT", "agents")
        monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(parameters))
        monkeypatch.chdir(tmp_path)
        return "agents01"

    yield start
    wandb.teardown()


@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "chain"], ids=lambda path: path.stem)
def test_one_point_runs_as_the_agents_run(path, agent, made_data, tmp_path, capsys):
    definition = sweep(path)
    point = points(definition)[0]
    run_id = agent(point)

    outcome = aelab(capsys, *arguments(definition, point), *TINY, "train.epochs=1", "train.batch_size=16")

    assert outcome.status == 0, outcome.error
    folder = tmp_path / "sweeps" / path.stem / run_id
    (part,) = read(folder)
    assert_agents(part, run_id)
    dotted = {key: value for key, value in point.items() if "." in key}
    assert {key: part.config[key] for key in dotted} == dotted
    metric = definition["metric"]["name"]
    assert metric in part.summary and metric in read_json(folder / "metrics.json")
    assert part.pictures() and part.exit_code == 0


@quick
def test_a_chain_is_the_agents_run_and_its_stages_are_not(agent, tmp_path, capsys):
    definition = sweep(FOLDER / "chain.yaml")
    run_id = agent(points(definition)[0])

    outcome = aelab(capsys, *arguments(definition, points(definition)[0]), *TINY, *TINY_CHAIN)

    assert outcome.status == 0, outcome.error
    folder = tmp_path / "sweeps" / "chain" / run_id
    (whole,) = read(folder)
    assert_agents(whole, run_id)
    assert whole.run["job_type"] == "chain" and whole.config["chain.widths"] == [5, 3]
    assert whole.summary["val/loss"] == read_json(folder / "metrics.json")["val/loss"]
    assert whole.exit_code == 0
    stages = [read(path) for path in sorted((tmp_path / "outputs" / "stages").iterdir()) if path.is_dir()]
    runs = [parts[0].run for parts in stages]
    assert [len(parts) for parts in stages] == [1, 1, 1]
    assert {run["run_group"] for run in runs} == {run_id} == {whole.run["run_group"]}
    assert {run["job_type"] for run in runs} == {"rbm1", "rbm2", "finetune"}
    assert not any(run.get("sweep_id") or run["run_id"] == run_id for run in runs)
    assert os.environ["WANDB_RUN_ID"] == run_id, "and the environment is as it was"


def assert_agents(part: Part, run_id: str) -> None:
    assert (part.run["run_id"], part.run["sweep_id"], part.run["project"]) == (run_id, "abcdefgh", "agents")
