"""A chain: ordinary runs in order, each standing on the layers that the ones before it learned.

That is all that pretraining, unrolling and fine-tuning are. A stage is found in the store when it was trained before.
"""

import json
import os
import shlex
import shutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from aelab import files, locks, log
from aelab.config.build import resolved, values_of
from aelab.config.check import check
from aelab.config.overrides import changes, plain, quoted
from aelab.config.targets import packages
from aelab.errors import UserError
from aelab.results import report
from aelab.runs import folder as run_folder
from aelab.runs import second_store, stages
from aelab.runs.chain_keys import of_run, own_groups, refuse_what_reaches_no_stage
from aelab.runs.plan import Plan, main_of, plan
from aelab.runs.precision import settle
from aelab.runs.stages import Stage, Wanted
from aelab.runs.unused import refuse_unused, without_unused
from aelab.watch import conventions
from aelab.watch.loggers import how_to_look

if TYPE_CHECKING:
    from aelab.runs.forecast import Forecast
    from aelab.runs.sources import Sources

Bare = Callable[..., dict[str, Any]]  # words of a command → the config of the ordinary run that it alone would be
LOGISTIC_PCA_EPOCHS = 10  # passes in which the baseline settles: 7.99 on MNIST with 30 units, 7.90 after 30


class Command(NamedTuple):
    """What was asked: the overrides, the option that Hydra chose in each group, the words that say where a person's
    own configs lie, whether each stage's command is printed, and whether this is one job of a sweep, and which."""

    given: list[str]
    choices: dict[str, Any]
    own_configs: list[str]
    verbose: bool
    of_sweep: bool = False
    job: str = ""


def run_chain(cfg: DictConfig, folder: Path, command: Command) -> dict[str, float]:
    """Run, or find, every stage; leave the chain's folder; the last stage's metrics.

    All that can be wrong in any stage is found before the first one starts.
    """
    from aelab.runs.rehearsal import rehearse, speaking_of
    from aelab.runs.sources import Sources

    check(resolved(cfg))
    chosen = f"chain={command.choices['chain']}"
    plans = plan(cfg, command.choices, lambda: compose([*command.own_configs, chosen])["chain"])
    sources = Sources()
    nodes = plain(cfg.chain)
    kinds = {kind: nodes[kind] for kind in nodes["stages"] if nodes[kind].get("like") is None}
    refuse_what_reaches_no_stage([*command.given, *of_experiment(cfg, command)], command.choices["chain"], kinds)
    for number, stage in enumerate(plans):
        with speaking_of(stage):
            for where in stage.own_places():
                refuse_unused(stage.config["model"], command.given, {}, f"{where}.")
            stage = without_unused(stage)
            plans[number] = stage._replace(config=values_of(stage.config))
            settle(plans[number].config["hardware"])
    rehearse(plans, sources, folder)
    second_store.of(cfg)
    if cfg.dry:
        report.print_forecasts(forecasts(plans, sources, cfg, folder), command.job)
        return {}
    warn_of_other_machines(Path(cfg.chain.store))
    with run_folder.claimed(folder, "hydra.run.dir"):
        begin(folder, cfg, command.given)
        with log.kept_in(folder):
            return run_stages(plans, sources, cfg, folder, command)


def run_stages(
    plans: list[Plan], sources: "Sources", cfg: DictConfig, folder: Path, command: Command
) -> dict[str, float]:
    """The stages one after the other, each found or run; what they came to, in the chain's ``folder``."""
    from aelab.runs.rehearsal import speaking_of

    done: dict[str, Stage] = {}
    bare = cache(lambda *words: compose([*words]))  # stages of one kind share it
    also = second_store.of(cfg)
    bring = also.bring if also is not None else lambda *_: None
    main = main_of(plans)
    for number, stage in enumerate(plans, 1):
        with speaking_of(stage):
            wanted, place = wanted_of(stage, plans, done, sources, cfg, folder)
            data, of_all = sources.of(plain(wanted.cfg.data)), f"stage {number}/{len(plans)}"
            run_here = partial(run_stage, wanted.cfg, stage, command, bare, data, of_all)
            say = partial(report.say, f"{of_all} {stage.name}:")
            done[stage.name] = stages.find_or_run(place, wanted, cfg.chain.fresh, run_here, say, bring)
        if done[stage.name].found:
            say(f"found in {place}")
            if not command.of_sweep:  # whose jobs find the same stages over and over
                from aelab.watch.wandb_run import tell_found

                tell_found(plain(wanted.cfg), place, folder, done[stage.name].metrics)
    metrics = done[main].metrics | beside({p.name: done[p.name] for p in plans if p.baseline})
    if cfg.chain.baseline and "test/squared_error" in metrics:
        of_main = OmegaConf.create(next(p.config for p in plans if p.name == main))
        error = logistic_pca_error(of_main, sources, done[main].folder)
        metrics |= {} if error is None else {"test/logistic_pca_squared_error": error}
    record(folder, done, main, metrics, cfg, f"chain {command.choices['chain']} on {cfg.data.name}")
    report.print_chain(folder, done, main, metrics, how_to_look(done[main].folder))
    return metrics


def warn_of_other_machines(store: Path) -> None:
    """One line where two machines that share the store could be at one stage at once."""
    reason = locks.only_here(store)
    if reason is not None:
        log.warn(
            f"chain.store: {store} is on a file system ({reason}) whose locks hold on this machine only: where other "
            "machines use it at the same time give each a store of its own, and chain.also=THIS_ONE to read it"
        )


def wanted_of(
    stage: Plan, plans: list[Plan], done: dict[str, Stage], sources: "Sources", cfg: DictConfig, folder: Path
) -> tuple[Wanted, Path]:
    """What ``stage`` has to be, above those that are ``done``, and where it is in the store or will be."""
    pruning = cfg.callbacks.get("pruning") if stage.name == main_of(plans) else None
    below = done[stage.below] if stage.below else None
    config = as_run(stage, folder, below, pruning)
    key = stages.key_of(config, sources.fingerprint(plain(config.data)), below.key if below else None)
    wanted = Wanted(config, key, hands_on=stage.name in {p.below for p in plans})
    return wanted, Path(cfg.chain.store).expanduser() / f"{stage.options.get('model', stage.name)}-{key}"


def forecasts(plans: list[Plan], sources: "Sources", cfg: DictConfig, folder: Path) -> list["Forecast"]:
    """Of each stage what running the chain would do, and why; nothing is trained or written."""
    from aelab.runs.forecast import forecast

    done: dict[str, Stage] = {}
    found = []
    for stage in plans:
        wanted, place = wanted_of(stage, plans, done, sources, cfg, folder)
        done[stage.name] = Stage(place, wanted.key, {}, {}, found=False)
        found.append(forecast(stage.name, place, wanted, cfg.chain.fresh, second_store.of(cfg)))
    return found


def as_run(stage: Plan, folder: Path, below: Stage | None, pruning: DictConfig | None) -> DictConfig:
    """The stage's config as its run has it: where it stands, what it is in W&B, and where a trial reports."""
    config = OmegaConf.create(stage.config)
    config.below = str(below.folder) if below else None
    if "group" in config.logger:  # in W&B a stage is a run of its chain's group
        config.logger.group = config.logger.group or folder.name
        config.logger.name = f"{config.logger.name or conventions.asked('name') or config.logger.group}/{stage.name}"
        config.logger.job_type = stage.name
    if pruning is not None:
        config.callbacks.pruning = pruning
    return config


def run_stage(
    cfg: DictConfig, stage: Plan, command: Command, bare: Bare, source: Any, number: str, place: Path, resume: bool
) -> None:
    """Run a stage in ``place``, or go on with it there: an ordinary run, left with its ordinary command."""
    from aelab.runs.train import run

    report.say(f"{number} {stage.name}  {stage.words}")
    words = ordinary_command(stage, cfg.below, command, bare)
    if command.verbose:
        report.say(words)
    if resume:
        run_folder.begin(place, OmegaConf.to_yaml(cfg))
    cfg = cfg.copy()
    cfg.resume = str(place) if resume else None
    run(cfg, place, words, source)


def ordinary_command(stage: Plan, below: str | None, command: Command, bare: Bare) -> str:
    """The command of an ordinary run that gives the same weights as ``stage``."""
    usual = {group: option for group, option in command.choices.items() if group in own_groups() and group != "model"}
    asked = {group: option for group, option in stage.options.items() if usual.get(group) != option}
    chosen = [f"{group}={quoted(option)}" for group, option in asked.items()]
    without, wanted = (
        {key: node for key, node in config.items() if key in of_run()}
        for config in (bare(*command.own_configs, *chosen), stage.config)
    )
    where = [f"below={quoted(below)}"] if below else []
    return shlex.join(["aelab", *command.own_configs, *chosen, *changes(without, wanted), *where])


def of_experiment(cfg: DictConfig, command: Command) -> list[str]:
    """What an experiment's file changes at the root of a run's own groups, as overrides."""
    if command.choices.get("experiment") is None:
        return []
    bare, changed = (
        {key: node for key, node in config.items() if key in (*own_groups(), "below")}
        for config in (compose(command.own_configs), values_of(cfg))
    )
    return list(changes(bare, changed))


def compose(overrides: list[str]) -> dict[str, Any]:
    """The config of an ordinary run, by Hydra's own rules, plain; ??? where only a command can say what stands."""
    import hydra

    words = [word for word in overrides if not word.startswith("--")]  # a folder of --config-dir is known already
    return plain(hydra.compose("config", words))


def begin(folder: Path, cfg: DictConfig, given: list[str]) -> None:
    """The chain's folder, new or the one of a chain that was started there before; never an ordinary run's."""
    there = run_folder.read_settings(folder, "hydra.run.dir") if (folder / "config.yaml").exists() else None
    if there is not None and not (there.get("chain") or {}).get("stages"):
        raise UserError(f"hydra.run.dir: {folder} holds a run already; choose another")
    if link := next((folder / part for part in ("stages", "figures") if (folder / part).is_symlink()), None):
        raise UserError(f"hydra.run.dir: {link} is a link, and a chain writes into its own folder only; take it away")
    folder.mkdir(parents=True, exist_ok=True)
    files.write_text(folder / "command.txt", shlex.join(["aelab", *given]) + "\n")
    files.write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))


def beside(compared: dict[str, Stage]) -> dict[str, float]:
    """The errors of the stages that the main one is ``compared`` with, by their names: test/scratch_class_error."""
    figures = ("squared_error", "class_error")
    return {
        f"test/{name}_{figure}": stage.metrics[f"test/{figure}"]
        for name, stage in compared.items() for figure in figures if f"test/{figure}" in stage.metrics
    }  # fmt: skip


def logistic_pca_error(cfg: DictConfig, sources: "Sources", folder: Path) -> float | None:
    """Squared error of a test image for logistic PCA with linear codes as large as that run's; None for real data."""
    from aelab.functional.likelihood import squared_error
    from aelab.functional.logistic_pca import fit_linear_logistic_pca, reconstruct
    from aelab.runs.assembly import build_data

    data = build_data(cfg, [], sources.of(plain(cfg.data)))
    if not data.unit_interval:
        return None
    own = packages(plain(cfg))
    n_code = run_folder.load(folder, trust=own).encode(data.test.x[:1]).shape[1]
    W, pca = fit_linear_logistic_pca(data.train_for_evaluation.x, n_code, LOGISTIC_PCA_EPOCHS)
    return float(squared_error(reconstruct(pca, data.test.x @ W), data.test.x))


def draw_stages(folder: Path, done: dict[str, Stage], whose: str, style: DictConfig) -> None:
    """The chain's own figures: the losses of all stages, and one net from several starts where there are some."""
    from aelab.results import saved_figures, study_figures

    histories = {name: run_folder.read_history(stage.folder) for name, stage in done.items()}
    drawn = study_figures.chain_figures(histories, {name: loss_constant(stage.folder) for name, stage in done.items()})
    for figure in drawn.values():
        figure.sign(whose)
    saved_figures.save(drawn, folder / "figures", saved_figures.Style(**plain(style)))


def loss_constant(folder: Path) -> float:
    """What of a stage's loss no weights can change; 0 where it is not known."""
    if not (folder / "last.ckpt").exists():
        return 0.0
    return float(run_folder.read_checkpoint(folder, "last", "chain.store")["aelab"].get("loss_constant", 0.0))


def record(
    folder: Path, done: dict[str, Stage], main: str, metrics: dict[str, float], cfg: DictConfig, whose: str
) -> None:
    """The chain's folder: links to its stages, their pictures and figures, and the last stage's metrics."""
    for part in ("stages", "figures"):
        shutil.rmtree(folder / part, ignore_errors=True)  # of a chain that was run here before
        (folder / part).mkdir()
    links = {name: f"stages/{number}-{name}" for number, name in enumerate(done, 1)}
    for name, stage in done.items():
        (folder / links[name]).symlink_to(os.path.relpath(stage.folder.resolve(), (folder / "stages").resolve()))
        for picture in sorted(path for path in (stage.folder / "figures").glob("*.*") if path.is_file()):
            files.write_whole(folder / "figures" / f"{name}-{picture.name}", partial(shutil.copyfile, picture))
    summary = {
        name: {"folder": str(s.folder), "key": s.key, "found": s.found, "metrics": s.metrics, "timing": s.timing}
        for name, s in done.items()
    }
    draw_stages(folder, done, whose, cfg.figures)
    about = {"last": main, "link": links[main], "stages": summary}
    files.write_text(folder / "chain.json", json.dumps(about, indent=1) + "\n")
    files.write_json(folder / "metrics.json", metrics)
