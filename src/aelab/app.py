"""The command: ``aelab GROUP=OPTION key=value``. Nothing heavy is imported before a task needs it."""

import os
import shlex
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from aelab.config.messages import one_line
from aelab.config.schema import register, role_of_override, roots
from aelab.errors import UserError

PACKAGED = Path(__file__).parent / "conf"  # in an installed wheel
CONF = PACKAGED if PACKAGED.is_dir() else Path(__file__).parents[2] / "conf"


def main() -> None:
    """Run the command; whatever a person can mend ends in one line on stderr and exit status 1."""
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra hands its exceptions to us instead of printing them
    register()
    try:
        _hydra_main()
    except Exception as error:
        line = one_line(error)
        if show_traceback or line is None:
            raise
        sys.exit(f"aelab: {line}")
    except KeyboardInterrupt:
        sys.exit("aelab: stopped; a run goes on with resume=FOLDER, a chain or a search with its own command")


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _hydra_main(cfg: DictConfig) -> float | list[float] | None:
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    overrides = list(job.overrides.task)
    try:
        if cfg.task not in TASKS:
            raise UserError(f"task: there is no {cfg.task!r}; choose one of {', '.join(TASKS)}")
        return TASKS[cfg.task](cfg, folder, overrides)
    except Exception as error:
        line = one_line(error)
        if job.mode == RunMode.RUN and line is not None:
            sys.exit(f"aelab: {line}")  # hydra would print the overrides before it hands the exception on
        raise


def train(cfg: DictConfig, folder: Path, overrides: list[str]) -> float | list[float]:
    """One run, or a chain of them; returns its objective."""
    from aelab.config.build import check, resolved
    from aelab.files import read_json, replaced
    from aelab.results import report
    from aelab.run.train import run
    from aelab.watch.loggers import how_to_look

    if HydraConfig.get().runtime.choices["chain"] != "none":
        return train_chain(cfg, folder, overrides)
    if cfg.resume is not None:
        cfg, folder = resumed(cfg, overrides)
    cfg = resolved(cfg)
    check(cfg)
    command = shlex.join(["aelab", *overrides])
    if cfg.resume is None:
        metrics = run(cfg, folder, command)
    else:
        with replaced(folder / "config.yaml", OmegaConf.to_yaml({**cfg, "resume": None})):
            metrics = run(cfg, folder, command)
    report.print_run(folder, metrics, read_json(folder / "timing.json"), how_to_look(folder))
    return objective(cfg, metrics)


def train_chain(cfg: DictConfig, folder: Path, overrides: list[str]) -> float | list[float]:
    """The stages of ``cfg.chain`` in order; returns the objective, of the last one."""
    from aelab.run.chain import Command, run_chain
    from aelab.watch.wandb_start import away_from_agent, has_agent

    if cfg.resume is not None:
        raise UserError("resume: a chain goes on by its own command; give that again, finished stages are found")
    job = HydraConfig.get()
    own_configs = [f"--config-dir={s.path}" for s in job.runtime.config_sources if s.provider == "command-line"]
    own_configs += [word for word in job.overrides.hydra if word.startswith("hydra.searchpath=")]
    command = Command(overrides, dict(job.runtime.choices), own_configs, bool(job.verbose))
    with away_from_agent():
        metrics = run_chain(cfg, folder, command)
    if has_agent():
        from aelab.watch.wandb_run import tell_agent

        tell_agent(OmegaConf.to_container(cfg, resolve=True), folder, metrics)
    return objective(cfg, metrics)


def list_stages(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """The store of finished stages, after deleting what ``delete`` names."""
    from aelab.results import report
    from aelab.run import store

    folder = Path(cfg.chain.store).expanduser()
    for name in store.delete(folder, list(cfg.delete)):
        report.say(f"deleted {folder / name}")
    report.print_stages(folder, store.entries(folder))


def resumed(cfg: DictConfig, overrides: list[str]) -> tuple[DictConfig, Path]:
    """The config of the run in ``cfg.resume``, with the few overrides that a run may be given on its way."""
    from aelab.run import folder as run_folder

    folder = Path(cfg.resume)
    old = run_folder.read_config(folder)
    if "chain" in old and old.chain.stages:
        raise UserError(f"resume: {folder} is a chain's; give its own command again, see {folder / 'command.txt'}")
    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        if key == "resume":
            continue
        if not role_of_override(override).resumable:
            can = ", ".join(roots(resumable=True))
            raise UserError(f"{key}: cannot change when a run is resumed, only {can} can; leave it out")
        value = OmegaConf.select(cfg, key)
        with open_dict(old):
            OmegaConf.update(old, key, value, merge=False)
    run_folder.read_checkpoint(folder, "last", "resume")
    old.resume = str(folder)
    return old, folder


def objective(cfg: DictConfig, metrics: dict[str, float]) -> float | list[float]:
    """The metric, or metrics (comma-separated), by which a sweep compares this job."""
    names = [name.strip() for name in cfg.objective.split(",")]
    for name in names:
        if name not in metrics:
            raise UserError(f"objective: this run has no {name}; take one of {', '.join(sorted(metrics))}")
    values = [metrics[name] for name in names]
    return values[0] if len(values) == 1 else values


def compare_runs(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """Learning curves and a table of the runs that ``runs`` matches."""
    from aelab.sweep.compare import compare

    if cfg.runs is None:
        raise UserError("runs: task=compare needs the run folders, a glob such as runs='outputs/2026-*/*'")
    compare(cfg.runs, folder)


def write_report(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """One self-contained HTML page of a run, a chain or a sweep."""
    from aelab.results import report
    from aelab.run.pages import write_page

    if cfg.run is None:
        raise UserError("run: task=report needs the folder of a run, a chain or a sweep, run=outputs/DATE/RUN")
    out = Path(cfg.out or "report.html")
    if out.suffix != ".html":
        raise UserError(f"out: a report is an .html file, got {out}")
    write_page(Path(cfg.run), out)
    report.say(f"{out}  ({out.stat().st_size / 1e6:.1f} MB, open it in any browser)")


def show_results(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """The history table: what papers printed beside what was measured here."""
    from aelab.run.history import results

    results(CONF, cfg.runs, None if cfg.out is None else Path(cfg.out))


TASKS = {
    "train": train, "stages": list_stages, "compare": compare_runs, "report": write_report, "results": show_results,
}  # fmt: skip


if __name__ == "__main__":
    main()
