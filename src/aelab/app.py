"""The command: ``aelab GROUP=OPTION key=value``. Nothing heavy is imported before a task needs it."""

import importlib
import io
import os
import shlex
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from aelab import log, signals
from aelab.config.check import check, check_root, refuse_of_other_tasks
from aelab.config.hydra_versions import MAIN, let_experiments_sweep
from aelab.config.messages import one_line
from aelab.config.offered import hide_parts, refuse, refuse_none, wrap_help
from aelab.config.overrides import key_typed, place_of, plain, said
from aelab.config.schema import register
from aelab.config.targets import CONF, import_beside_configs
from aelab.errors import Stopped, UserError
from aelab.loading import loading
from aelab.runs import ranks
from aelab.tasks import (
    compare_runs,
    list_stages,
    measure_likelihood,
    show_results,
    use_model,
    verify_result,
    write_report,
)


def main() -> None:
    """Run the command; whatever a person can mend ends in one line on stderr and exit status 1."""
    show_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hydra hands its exceptions to us instead of printing them
    register()
    hide_parts()
    let_experiments_sweep()
    wrap_help()
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a character fails no run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        with signals.heard():
            refuse_none(sys.argv[1:])
            _hydra_main()
    except Stopped as stop:
        sys.exit(signals.last_words(stop))
    except BrokenPipeError:  # whoever reads what is printed, head say, has seen enough
        with suppress(OSError):  # or Python would complain once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        line = one_line(error)
        if show_traceback or line is None:
            raise
        sys.exit(f"aelab: {line}")


@hydra.main(config_path=str(CONF), config_name="config", **MAIN)
def _hydra_main(cfg: DictConfig) -> float | list[float] | None:
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    overrides = said(job.overrides.task)
    try:
        if cfg.task not in TASKS:
            raise UserError(f"task: there is no {cfg.task!r}; choose one of {', '.join(TASKS)}")
        refuse_unread(cfg.task)
        import_beside_configs()
        refuse(job.runtime.choices, overrides)
        if job.verbose is True:
            log.in_detail()
        if is_multirun():
            name_in_sweep(cfg)
        if cfg.task != "train":  # which looks at all of the config
            check_root(cfg)
        with job_of_sweep() if is_multirun() else nullcontext():
            return TASKS[cfg.task](cfg, folder, overrides)
    except BrokenPipeError:
        raise
    except Exception as error:
        line = one_line(error)
        if not is_multirun() and line is not None:
            sys.exit(f"aelab: {line}")  # hydra would print the overrides before it hands the exception on
        raise
    finally:
        if not (is_multirun() or chosen("hydra.run.dir")):
            leave_no_empty(folder)
        elif cfg.get("dry"):  # which a person chose, and Hydra made
            with suppress(OSError):
                folder.rmdir()


def refuse_unread(task: str) -> None:
    """Raise ``UserError`` for a setting that ``task`` never reads, or that only several runs would."""
    given = HydraConfig.get().overrides
    refuse_of_other_tasks(task, said(given.task))
    for override in said(given.hydra):
        if not is_multirun() and place_of(override).startswith(("hydra.sweeper", "hydra.launcher")):
            raise UserError(f"{key_typed(override)}: one run has no use for it; add -m for several")


def leave_no_empty(folder: Path) -> None:
    """Take away a folder, and its day's, that was made for a command which left nothing in it."""
    with suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()


def train(cfg: DictConfig, folder: Path, overrides: list[str]) -> float | list[float] | None:
    """One run, or a chain of them; returns its objective."""
    ranks.refuse_another_plan(cfg.hardware, is_multirun(), HydraConfig.get().runtime.choices["chain"])
    with nullcontext() if ranks.is_first() else log.quietly(bars=False):
        folder, metrics = trained(cfg, folder, overrides)
    if cfg.dry or not ranks.is_first():
        return None
    if not is_multirun() and HydraConfig.get().runtime.choices["chain"] == "none":
        from aelab.files import read_json
        from aelab.results import report
        from aelab.watch.loggers import how_to_look

        report.print_run(folder, metrics, read_json(folder / "timing.json"), how_to_look(folder))
    return asked_objective(cfg, metrics)


def trained(cfg: DictConfig, folder: Path, overrides: list[str]) -> tuple[Path, dict[str, float]]:
    """Train what ``cfg`` says, a run or a chain; its folder, which is another one where it goes on, and its metrics."""
    from aelab.config.build import resolved
    from aelab.runs.chain_keys import check_no_chain
    from aelab.runs.precision import settle
    from aelab.runs.resume import begun_in, resumed, way_on
    from aelab.runs.train import run
    from aelab.runs.unused import refuse_unused

    choices = HydraConfig.get().runtime.choices
    if choices["chain"] != "none":
        return folder, trained_chain(cfg, folder, overrides)
    own_folder = cfg.resume is not None or chosen("hydra.run.dir")
    if cfg.resume is not None:
        if chosen("hydra.run.dir"):
            raise UserError("hydra.run.dir: a run that goes on stays in its own folder; leave it out")
        cfg, folder = resumed(cfg, overrides)
    cfg = resolved(cfg)
    log.say(f"{str(cfg.model._target_).rpartition('.')[2]} on {cfg.data.name} → {log.place(folder)}")
    with loading():
        check(cfg)  # before the seconds that the rest takes
        importlib.import_module("pytorch_lightning")
    settle(cfg.hardware)
    if cfg.resume is None:
        check_no_chain(plain(cfg.chain))
        refuse_unused(cfg.model, overrides, choices)
        if begun_in(folder, cfg, finished=is_multirun()):
            cfg.resume = str(folder)
    if cfg.dry:
        from aelab.results.report import print_forecasts
        from aelab.runs.forecast import of_run

        print_forecasts([of_run(cfg, folder)], job_words())
        return folder, {}
    own = own_configs()
    with signals.goes_on_by(lambda: way_on(folder, cfg, own), again=own_folder):
        return folder, run(cfg, folder, shlex.join(["aelab", *own, *overrides]))


def own_configs() -> list[str]:
    """The words of this command that say where a person's own configs lie."""
    job = HydraConfig.get()
    named = [f"--config-dir={s.path}" for s in job.runtime.config_sources if s.provider == "command-line"]
    return named + [word for word in said(job.overrides.hydra) if word.startswith("hydra.searchpath=")]


def job_of_sweep() -> AbstractContextManager[None]:
    """Inside, a job says what its sweep wants to hear of it: nothing; where it is alone, its bar is shown."""
    from aelab.sweep.jobs import this_sweep

    sweep = this_sweep()
    return log.quietly(bars=sweep is not None and sweep.at_once == 1)


def name_in_sweep(cfg: DictConfig) -> None:
    """In W&B a job is called by its sweep and by what makes it another one than the others: g/n_code=8, seed=1."""
    from aelab.sweep.jobs import settings, this_sweep
    from aelab.sweep.summary_run import sweep_name

    sweep, job = this_sweep(), HydraConfig.get()
    if sweep is None or "group" not in (cfg.logger or ()) or cfg.logger.name or os.environ.get("WANDB_NAME"):
        return
    words = sweep.words(settings(said(job.overrides.task)))
    cfg.logger.name = f"{cfg.logger.group or sweep_name(Path(job.sweep.dir))}/{', '.join(words) or job.job.num}"


def is_multirun() -> bool:
    """Whether this is one job of several."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def chosen(key: str) -> bool:
    """Whether the command gives ``key``, one of Hydra's own."""
    return any(override.lstrip("+").startswith(f"{key}=") for override in said(HydraConfig.get().overrides.hydra))


def trained_chain(cfg: DictConfig, folder: Path, overrides: list[str]) -> dict[str, float]:
    """The stages of ``cfg.chain`` in order; the metrics of the last one."""
    if cfg.resume is not None:
        raise UserError("resume: a chain goes on by its own command; give that again, finished stages are found")
    job = HydraConfig.get()
    log.say(f"{job.runtime.choices['chain']} on {cfg.data.name} → {log.place(folder)}")
    with loading():
        from aelab.runs.chain import Command, run_chain
        from aelab.watch.wandb_start import away_from_agent, has_agent

    command = Command(
        overrides, dict(job.runtime.choices), own_configs(), bool(job.verbose), is_multirun(), job_words()
    )
    with away_from_agent(), signals.goes_on_by(signals.own_command, again=True):
        metrics = run_chain(cfg, folder, command)
    if has_agent() and not cfg.dry:
        from aelab.watch.wandb_run import tell_agent

        tell_agent(plain(cfg), folder, metrics)
    return metrics


def job_words() -> str:
    """What a job of a sweep is asked, to stand above what it would do; of a run alone nothing."""
    if not is_multirun():
        return ""
    from aelab.sweep.jobs import settings, this_sweep

    sweep, job = this_sweep(), HydraConfig.get()
    asked = settings(said(job.overrides.task))
    return f"job {job.job.num}: {', '.join(sweep.words(asked) if sweep is not None else asked)}"


def asked_objective(cfg: DictConfig, metrics: dict[str, float]) -> float | list[float] | None:
    """The objective of a sweep's job, or of a run whose command names one; None of any other, which may have none."""
    asked = is_multirun() or any(text.startswith("objective=") for text in said(HydraConfig.get().overrides.task))
    return objective(cfg, metrics) if asked else None


def objective(cfg: DictConfig, metrics: dict[str, float]) -> float | list[float]:
    """The metric, or metrics (comma-separated), by which a sweep compares this job."""
    names = [name.strip() for name in cfg.objective.split(",")]
    for name in names:
        if name not in metrics:
            raise UserError(f"objective: this run has no {name}; take one of {', '.join(sorted(metrics))}")
    values = [metrics[name] for name in names]
    return values[0] if len(values) == 1 else values


TASKS = {
    "train": train, "stages": list_stages, "compare": compare_runs, "report": write_report, "results": show_results,
    "likelihood": measure_likelihood, "verify": verify_result,
    **dict.fromkeys(("encode", "reconstruct", "denoise", "sample", "interpolate", "score"), use_model),
    **dict.fromkeys(("evaluate", "export"), use_model),
}  # fmt: skip


if __name__ == "__main__":
    main()
