"""A chain: ordinary runs in order, each standing on the layers that the ones before it learned.

That is all that pretraining, unrolling and fine-tuning are. A stage is a name and Hydra overrides (conf/chain); it is
run by its own command, which is printed, and found in the store when it was run before.
"""

import json
import os
import shlex
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from aelab import files
from aelab.config.build import build, check, resolved
from aelab.config.overrides import differences, model_name, quoted
from aelab.config.schema import roots
from aelab.errors import UserError
from aelab.results import report
from aelab.run import folder as run_folder
from aelab.run import stages
from aelab.run.chain_messages import refuse_what_goes_nowhere, speaking_of
from aelab.run.plan import plan
from aelab.run.stages import Stage
from aelab.watch.loggers import how_to_look

LOGISTIC_PCA_EPOCHS = 10  # passes in which the baseline settles: 7.99 on MNIST with 30 units, 7.90 after 30


def run_chain(cfg: DictConfig, folder: Path, given: list[str], choices: dict[str, str]) -> dict[str, float]:
    """Run, or find, every stage; leave the chain's folder; the last stage's metrics.

    ``given`` are the command's overrides, ``choices`` the options chosen in each config group. Every stage is composed
    before the first one runs, so that a mistake in the last one shows at once.
    """
    bare = compose([*chosen(choices), f"chain={choices['chain']}"])
    refuse_what_goes_nowhere(cfg, bare, given, choices["chain"])
    check(resolved(cfg))
    plans = plan(cfg.chain)
    shared = shared_overrides(cfg, choices)
    configs = {}
    for stage in plans:
        with speaking_of(stage, cfg.chain):
            configs[stage.name] = resolved(compose([*shared, *stage.overrides]))
            check(configs[stage.name])
    begin(folder, cfg, given)
    done: dict[str, Stage] = {}
    main = [p.name for p in plans if not p.baseline][-1]
    for number, stage in enumerate(plans, 1):
        say = partial(report.say, f"stage {number}/{len(plans)} {stage.name}:")
        composed = configs[stage.name]
        if "group" in composed.logger:  # in W&B a stage is a run of its chain's group
            composed.logger.group = composed.logger.group or folder.name
            composed.logger.job_type = stage.name
        if stage.name == main:  # the stage by whose validation metric a sweep may prune
            pruning = {name: node for name, node in cfg.callbacks.items() if name == "pruning"}
            composed.callbacks = {**composed.callbacks, **pruning}
        hands_on = stage.name in {p.below for p in plans}
        with speaking_of(stage, cfg.chain):
            command = [*shared, *stage.overrides]
            done[stage.name] = run_stage(composed, command, cfg.chain, done.get(stage.below), hands_on, say)
    metrics = dict(done[main].metrics)
    if cfg.chain.baseline:
        metrics |= baselines(cfg, done, main)
    record(folder, done, main, metrics)
    report.print_chain(folder, done, main, metrics, how_to_look(done[main].folder))
    return metrics


def run_stage(
    cfg: DictConfig, overrides: list[str], chain: DictConfig, below: Stage | None, hands_on: bool,
    say: Callable[[str], None],
) -> Stage:  # fmt: skip
    """One stage, found or run; ``cfg`` is what ``overrides`` compose to."""
    from aelab.run.train import run

    if below:
        cfg.below = str(below.folder)
        overrides = [*overrides, f"below={quoted(cfg.below)}"]
    key = stages.key_of(cfg, below.key if below else None)
    command = shlex.join(["aelab", *overrides])

    def run_here(place: Path, resume: bool) -> None:
        say(command)
        cfg.resume = str(place) if resume else None
        run(cfg, place, command)

    place = Path(chain.store).expanduser() / f"{model_name(overrides)}-{key}"
    result = stages.find_or_run(place, key, chain.fresh, hands_on, run_here, say)
    if result.found:
        say(f"found in {result.folder}")
    return result


def begin(folder: Path, cfg: DictConfig, given: list[str]) -> None:
    """The chain's folder, new or the one of a chain that was started there before; never an ordinary run's."""
    if (folder / "config.yaml").exists() and not run_folder.read_config(folder, "hydra.run.dir").chain.stages:
        raise UserError(f"hydra.run.dir: {folder} holds a run already; choose another")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "command.txt", shlex.join(["aelab", *given]) + "\n")
    files.write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg))


def compose(overrides: list[str]) -> DictConfig:
    """The config of an ordinary run, by Hydra's own rules."""
    import hydra

    return hydra.compose("config", overrides)


def shared_overrides(cfg: DictConfig, choices: dict[str, str]) -> list[str]:
    """Overrides that give an ordinary run what all stages share, however the chain got it."""
    bare = compose(chosen(choices))
    shared = roots(shared=True)
    changed = [f"{key}={quoted(value)}" for node in shared for key, value in differences(bare[node], cfg[node], node)]
    return chosen(choices) + changed


def chosen(choices: dict[str, str]) -> list[str]:
    """The options of the config groups that all stages share."""
    return [f"{group}={choices[group]}" for group in roots(shared=True) if group in choices]


def baselines(cfg: DictConfig, done: dict[str, Stage], main: str) -> dict[str, float]:
    """What the chain's last stage is held against: the same net without pretraining, and logistic PCA."""
    scratch = done["scratch"].metrics if "scratch" in done else {}  # not every chain calls it so
    figures = [figure for figure in ("squared_error", "class_error") if f"test/{figure}" in scratch]
    metrics = {f"test/scratch_{figure}": scratch[f"test/{figure}"] for figure in figures}
    if "test/squared_error" in done[main].metrics:
        error = logistic_pca_error(cfg, done[main].folder)
        if error is not None:
            metrics["test/logistic_pca_squared_error"] = error
    return metrics


def logistic_pca_error(cfg: DictConfig, folder: Path) -> float | None:
    """Squared error of a test image for logistic PCA with linear codes as large as that run's; None for real data."""
    from aelab.functional.likelihood import squared_error
    from aelab.functional.logistic_pca import fit_linear_logistic_pca, reconstruct

    data = build(cfg.data, "data", seed=cfg.seed, batch_size=1, below=[])
    if not data.unit_interval:
        return None
    n_code = run_folder.load(folder).encode(data.test.x[:1]).shape[1]
    W, pca = fit_linear_logistic_pca(data.train_for_evaluation.x, n_code, LOGISTIC_PCA_EPOCHS)
    return float(squared_error(reconstruct(pca, data.test.x @ W), data.test.x))


def draw_starts(folder: Path, done: dict[str, Stage]) -> None:
    """``figures/gradients.png``, where several stages ran with callbacks=statistics: one net from several starts."""
    histories = {name: run_folder.read_history(stage.folder) for name, stage in done.items()}
    watched = {name: h for name, h in histories.items() if any(column.startswith("statistics/") for column in h)}
    if len(watched) > 1:
        from aelab.results import figures, study_figures

        figures.save({"gradients": study_figures.starts_compared(watched)}, folder / "figures")


def record(folder: Path, done: dict[str, Stage], main: str, metrics: dict[str, float]) -> None:
    """The chain's folder: links to its stages, their pictures and figures, and the last stage's metrics."""
    for part in ("stages", "figures"):
        shutil.rmtree(folder / part, ignore_errors=True)  # of a chain that was run here before
        (folder / part).mkdir()
    links = {name: f"stages/{number}-{name}" for number, name in enumerate(done, 1)}
    for name, stage in done.items():
        (folder / links[name]).symlink_to(os.path.relpath(stage.folder.resolve(), (folder / "stages").resolve()))
        for picture in sorted((stage.folder / "figures").glob("*.png")):
            content = picture.read_bytes()
            files.write_whole(folder / "figures" / f"{name}-{picture.name}", lambda p, c=content: p.write_bytes(c))
    summary = {
        name: {"folder": str(s.folder), "key": s.key, "found": s.found, "metrics": s.metrics, "timing": s.timing}
        for name, s in done.items()
    }
    draw_starts(folder, done)
    about = {"last": main, "link": links[main], "stages": summary}
    files.write_text(folder / "chain.json", json.dumps(about, indent=1) + "\n")
    files.write_json(folder / "metrics.json", metrics)
