"""What the command does beside training, one function per task: each is given the config, its folder, the overrides."""

import importlib
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from aelab import log
from aelab.config.overrides import plain
from aelab.config.targets import CONF
from aelab.errors import UserError
from aelab.loading import loading


def list_stages(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """The store of finished stages, after deleting what ``delete`` names; or why the stages of a run are new ones."""
    from aelab.results import report
    from aelab.runs import store

    if not isinstance(cfg.chain.store, str):
        raise UserError(f"chain.store: expected text, got {cfg.chain.store}")
    folder = Path(cfg.chain.store).expanduser()
    with loading():  # what a stage left is read whole: a file that has rotted is found
        importlib.import_module("torch")
    if cfg.why is not None:
        from aelab.runs import forecast

        report.print_forecasts(forecast.why(Path(cfg.why), folder))
        return
    with log.phase(f"reading the stages in {log.place(folder)}"):
        deleted, left = store.delete(folder, list(cfg.delete)), store.entries(folder)
    for name in deleted:
        report.say(f"deleted {folder / name}")
    report.print_stages(folder, left)


def compare_runs(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """Learning curves and a table of the runs that ``runs`` matches."""
    with loading():
        from aelab.results.saved_figures import Style
        from aelab.sweep.compare import compare

    compare(patterns(cfg.runs), folder, Style(**cfg.figures))


def write_report(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """One self-contained HTML page: of a run, a chain or a sweep, or of the whole history with ``runs``' pictures."""
    with loading():
        from aelab.results import report
        from aelab.runs import history, pages

    if (cfg.run is None) == (cfg.runs is None):
        raise UserError(
            "run: task=report needs the folder of a run, a chain or a sweep, run=outputs/DATE/RUN; "
            "or runs=[FOLDER,…], whose pictures the history of all experiments takes"
        )
    out = Path(cfg.out or "report.html")
    if out.suffix != ".html":
        raise UserError(f"out: a report is an .html file, got {out}")
    with log.phase("writing the page"):
        if cfg.run is None:
            history.write_page(CONF, patterns(cfg.runs), out)
        else:
            pages.write_page(Path(cfg.run), out, cfg.trust)
    report.say(f"{out}  ({out.stat().st_size / 1e6:.1f} MB, open it in any browser)")


def patterns(runs: Any) -> list[str]:
    """``runs``: a glob, or a list of them."""
    globs = [runs] if isinstance(runs, str) else list(runs) if isinstance(runs, ListConfig) else []
    if not globs or not all(isinstance(text, str) for text in globs):
        raise UserError(f"runs: expected a glob or a list of globs, got {runs}; for instance runs='outputs/2026-*/*'")
    return globs


def show_results(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """The history table: what papers printed beside what was measured here."""
    with loading():
        from aelab.runs.history import results

    results(CONF, None if cfg.runs is None else patterns(cfg.runs), None if cfg.out is None else Path(cfg.out))


def verify_result(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """One figure of the history table measured again."""
    with loading():
        from aelab.results import report
        from aelab.runs.history import verify

    if cfg.result is None:
        raise UserError("result: task=verify needs the name of an experiment, result=linear_mnist, say")
    run = None if cfg.run is None else Path(cfg.run)
    report.say(verify(CONF, cfg.result, run, folder, list(cfg.trust)))


LIKELIHOODS = ("likelihood", "nll", "annealing", "perplexity")  # evaluators that task=likelihood measures again


def measure_likelihood(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """The log-likelihood of a finished run, exact, between bounds or estimated; into its own folder."""
    from aelab.config.build import resolved

    with loading():
        from aelab.results import report
        from aelab.runs.again import measure_again

    if cfg.run is None:
        raise UserError("run: task=likelihood needs the folder of a finished run, run=outputs/DATE/RUN")
    evaluate = plain(resolved(cfg).evaluate)
    nodes = {name: evaluate[name] for name in LIKELIHOODS if evaluate.get(name)}
    if not nodes:
        raise UserError(f"evaluate: task=likelihood needs one of {', '.join(LIKELIHOODS)}; leave it as it is")
    for name, key in (("nll", "samples"), ("annealing", "images")):
        if name in nodes and not nodes[name][key]:
            nodes[name][key] = cfg.likelihood[key]
    report.show(measure_again(Path(cfg.run), nodes, cfg.trust))


def use_model(cfg: DictConfig, folder: Path, overrides: list[str]) -> None:
    """A finished run's model applied to rows; what comes of it in one file."""
    from aelab.config.build import resolved

    with loading():
        from aelab.results import report
        from aelab.runs.applying import use

    for line in use(resolved(cfg), overrides):
        report.say(line)
