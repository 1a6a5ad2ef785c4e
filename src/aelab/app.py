"""The command: ``aelab GROUP=OPTION key=value``. Nothing heavy is imported before a task needs it."""

import io
import os
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf

from aelab import log, signals
from aelab.config.messages import one_line
from aelab.config.schema import register
from aelab.errors import Stopped, UserError

PACKAGED = Path(__file__).parent / "conf"  # in an installed wheel
CONF = PACKAGED if PACKAGED.is_dir() else Path(__file__).parents[2] / "conf"


def main() -> None:
    """Run the command; whatever a person can mend ends in one line on stderr and exit status 1."""
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra hands its exceptions to us instead of printing them
    register()
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a character fails no run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with signals.heard():
            _hydra_main()
    except Stopped as stop:
        sys.exit(signals.last_words(stop))
    except Exception as error:
        line = one_line(error)
        if show_traceback or line is None:
            raise
        sys.exit(f"aelab: {line}")


@hydra.main(config_path=str(CONF), config_name="config", version_base="1.3")
def _hydra_main(cfg: DictConfig) -> float | list[float] | None:
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    overrides = list(job.overrides.task)
    try:
        if cfg.task not in TASKS:
            raise UserError(f"task: there is no {cfg.task!r}; choose one of {', '.join(TASKS)}")
        with job_of_sweep() if is_multirun() else nullcontext():
            return TASKS[cfg.task](cfg, folder, overrides)
    except Exception as error:
        line = one_line(error)
        if not is_multirun() and line is not None:
            sys.exit(f"aelab: {line}")  # hydra would print the overrides before it hands the exception on
        raise
    finally:
        if not is_multirun() and not chosen("hydra.run.dir"):
            leave_no_empty(folder)


def leave_no_empty(folder: Path) -> None:
    """Take away a folder, and its day's, that was made for a command which left nothing in it."""
    with suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()


def train(cfg: DictConfig, folder: Path, overrides: list[str]) -> float | list[float]:
    """One run, or a chain of them; returns its objective."""
    from aelab.config.build import check, resolved
    from aelab.files import read_json
    from aelab.results import report
    from aelab.run.resume import begun_in, resumed, way_on
    from aelab.run.train import run
    from aelab.watch.loggers import how_to_look

    if HydraConfig.get().runtime.choices["chain"] != "none":
        return train_chain(cfg, folder, overrides)
    own_folder = cfg.resume is not None or chosen("hydra.run.dir")
    if cfg.resume is not None:
        if chosen("hydra.run.dir"):
            raise UserError("hydra.run.dir: a run that goes on stays in its own folder; leave it out")
        cfg, folder = resumed(cfg, overrides)
    cfg = resolved(cfg)
    check(cfg)
    if cfg.resume is None and begun_in(folder, cfg, finished=is_multirun()):
        cfg.resume = str(folder)
    log.say(f"{str(cfg.model._target_).rpartition('.')[2]} on {cfg.data.name} → {log.place(folder)}")
    with signals.goes_on_by(lambda: way_on(folder), again=own_folder):
        metrics = run(cfg, folder, shlex.join(["aelab", *overrides]))
    if is_multirun():
        return objective(cfg, metrics)
    report.print_run(folder, metrics, read_json(folder / "timing.json"), how_to_look(folder))
    return objective(cfg, metrics)


def job_of_sweep() -> AbstractContextManager[None]:
    """Inside, a job says what its sweep wants to hear of it: nothing; where it is alone, its bar is shown."""
    from aelab.sweep.jobs import this_sweep

    sweep = this_sweep()
    return log.quietly(bars=sweep is not None and sweep.at_once == 1)


def is_multirun() -> bool:
    """Whether this is one job of several."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def chosen(key: str) -> bool:
    """Whether the command gives ``key``, one of Hydra's own."""
    return any(override.lstrip("+").startswith(f"{key}=") for override in HydraConfig.get().overrides.hydra)


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
    log.say(f"{command.choices['chain']} on {cfg.data.name} → {log.place(folder)}")
    with away_from_agent(), signals.goes_on_by(signals.own_command, again=True):
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
    from aelab.results.figures import Style
    from aelab.sweep.compare import compare

    compare(patterns(cfg.runs), folder, Style(**cfg.figures))


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


def patterns(runs: Any) -> list[str]:
    """``runs``: a glob, or a list of them."""
    globs = [runs] if isinstance(runs, str) else list(runs) if isinstance(runs, ListConfig) else []
    if not globs or not all(isinstance(text, str) for text in globs):
        raise UserError(f"runs: expected a glob or a list of globs, got {runs}; for instance runs='outputs/2026-*/*'")
    return globs


def show_results(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """The history table: what papers printed beside what was measured here."""
    from aelab.run.history import results

    results(CONF, None if cfg.runs is None else patterns(cfg.runs), None if cfg.out is None else Path(cfg.out))


def measure_likelihood(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """The log-likelihood of a finished run, between bounds; into its own folder."""
    from rich.console import Console

    from aelab.config.build import resolved
    from aelab.results import report
    from aelab.run.again import measure_again

    if cfg.run is None:
        raise UserError("run: task=likelihood needs the folder of a finished run, run=outputs/DATE/RUN")
    node = resolved(cfg).evaluate.get("likelihood")
    if node is None:
        raise UserError("evaluate.likelihood: task=likelihood needs it; leave it as it is, or evaluate=[likelihood]")
    Console().print(report.table_of(measure_again(Path(cfg.run), "likelihood", node)))


def use_model(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """A finished run's model applied to rows; what comes of it in one file."""
    from aelab.config.build import resolved
    from aelab.results import report
    from aelab.run.applying import use

    for line in use(resolved(cfg), overrides):
        report.say(line)


TASKS = {
    "train": train, "stages": list_stages, "compare": compare_runs, "report": write_report, "results": show_results,
    "likelihood": measure_likelihood,
    **dict.fromkeys(("encode", "reconstruct", "denoise", "sample", "interpolate", "score"), use_model),
}  # fmt: skip


if __name__ == "__main__":
    main()
