"""A chain: ordinary runs in order, each standing on the layers that the ones before it learned.

That is all that pretraining, unrolling and fine-tuning are. A stage is a name and Hydra overrides (conf/chain); it is
run by its own command, which is printed, and found in the store when it was run before.
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from aelab import config, report, run_folder, stages
from aelab.errors import UserError
from aelab.messages import one_line
from aelab.overrides import differences, flattened, leaves, model_name, quoted
from aelab.stages import Stage

GROUPS = ("data", "hardware", "logger")  # chosen once for all stages
SHARED = (*GROUPS, "seed", "evaluate")  # given to every stage as the chain has it
OF_CHAIN = (*SHARED, "chain", "task", "objective", "direction", "trial")
OPEN = {"only", "set"}  # keys of a chain under which any setting of a run may stand
LOGISTIC_PCA_EPOCHS = 10  # passes in which the baseline settles: 7.99 on MNIST with 30 units, 7.90 after 30
STAGE_KEYS = {"name", "for_each", "overrides", "first", "last", "when", "baseline"}


class Plan(NamedTuple):
    """One stage before it is run: ``below`` is the name of the stage it stands on; a baseline is only compared with."""

    name: str
    overrides: list[str]
    below: str | None
    baseline: bool


def run_chain(cfg: DictConfig, folder: Path, given: list[str], choices: dict[str, str]) -> dict[str, float]:
    """Run, or find, every stage; leave the chain's folder; the last stage's metrics.

    ``given`` are the command's overrides, ``choices`` the options chosen in each config group. Every stage is composed
    before the first one runs, so that a mistake in the last one shows at once.
    """
    refuse_what_goes_nowhere(cfg, given, choices)
    config.check(config.resolved(cfg))
    plans = plan(cfg.chain)
    shared = shared_overrides(cfg, choices)
    configs = {}
    for stage in plans:
        with speaking_of(stage, cfg.chain):
            configs[stage.name] = config.resolved(compose([*shared, *stage.overrides]))
            config.check(configs[stage.name])
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
            composed.trial = cfg.trial
        hands_on = stage.name in {p.below for p in plans}
        with speaking_of(stage, cfg.chain):
            command = [*shared, *stage.overrides]
            done[stage.name] = run_stage(composed, command, cfg.chain, done.get(stage.below), hands_on, say)
    metrics = dict(done[main].metrics)
    if cfg.chain.baseline:
        metrics |= baselines(cfg, done, main)
    record(folder, done, main, metrics)
    report.print_chain(folder, done, main, metrics)
    return metrics


def run_stage(
    cfg: DictConfig, overrides: list[str], chain: DictConfig, below: Stage | None, hands_on: bool, say: Callable[[str], None]
) -> Stage:  # fmt: skip
    """One stage, found or run; ``cfg`` is what ``overrides`` compose to."""
    from aelab.train import run

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
    run_folder.write_text(folder / "command.txt", shlex.join(["aelab", *given]) + "\n")
    run_folder.write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg))


@contextmanager
def speaking_of(stage: Plan, chain: DictConfig) -> Iterator[None]:
    """What a person can mend in ``stage`` is said of it, by the chain's own keys."""
    try:
        yield
    except Exception as error:
        line = one_line(error)
        if line is None:
            raise
        raise UserError(f"stage {stage.name}: {in_chain_words(line, stage, chain)}") from error


def in_chain_words(line: str, stage: Plan, chain: DictConfig) -> str:
    """``line`` with a run's keys replaced by the chain's, where a stage says ``key=${chain.…}``; else how to reach them."""
    specs = OmegaConf.to_container(chain, resolve=False)["stages"]
    spec = next(s for s in specs if re.fullmatch(re.escape(s["name"]) + r"\d*", stage.name))
    words = dict(re.findall(r"([\w./]+)=\$\{(chain\.[\w.]+)\}", str(spec)))
    items = re.fullmatch(r"\$\{(chain\.[\w.]+)\}", str(spec.get("for_each")))
    if items:
        words |= {key: items[1] for key in re.findall(r"([\w./]+)=\{item\}", str(spec))}
    for key, word in words.items():
        line = re.sub(rf"(?<![\w.]){re.escape(key)}(?![\w.]*\w)", word, line)
    key = re.match(r"(model|train|corruption|optimizer|schedule)\.(\w+): (?!no such key)", line)
    return f"{line} (chain.only={{{stage.name}:{{{key[1]}:{{{key[2]}:VALUE}}}}}})" if key else line


def plan(chain: DictConfig) -> list[Plan]:
    """The stages in order, repeated ones spelled out (name1, name2, …), with all their overrides."""
    chain = OmegaConf.to_container(chain, resolve=True)
    check_widths(chain.get("widths", [1]))
    only = chain["only"] or {}
    if not isinstance(only, dict) or not all(isinstance(settings, dict) for settings in only.values()):
        raise UserError(f"chain.only: expected {{STAGE: {{node: {{key: value}}}}}}, got {only}")
    plans: list[Plan] = []
    for spec in chain["stages"]:
        unknown = set(spec) - STAGE_KEYS
        if unknown:
            raise UserError(
                f"chain.stages: a stage has no {sorted(unknown)[0]!r}, only {', '.join(sorted(STAGE_KEYS))}"
            )
        if not spec.get("when", True):
            continue
        items = spec.get("for_each", [None])
        if not isinstance(items, list) or not items:
            raise UserError(
                f"chain.stages: for_each of {spec['name']} needs a list of at least one item, got {items!r}"
            )
        for i, item in enumerate(items):
            name = spec["name"] if item is None else f"{spec['name']}{i + 1}"
            parts = [spec["overrides"], spec.get("first") if i == 0 else None]
            parts += [spec.get("last") if i == len(items) - 1 else None, only.get(name)]
            overrides = [text.replace("{item}", str(item)) for text in flattened(parts)]
            learned = [p.name for p in plans if not p.baseline]
            baseline = bool(spec.get("baseline", False))
            below = plans[-1].below if baseline else (learned[-1] if learned else None)
            plans.append(Plan(name, overrides, below, baseline))
    unknown = set(only) - {p.name for p in plans}
    if unknown:
        raise UserError(f"chain.only: no stage {sorted(unknown)[0]!r}; there are {', '.join(p.name for p in plans)}")
    return plans


def check_widths(widths: Any) -> None:
    if not isinstance(widths, list) or not widths or any(type(width) is not int or width < 1 for width in widths):
        raise UserError(
            f"chain.widths: expected at least one layer, each of at least 1 unit, as [256,64,8]; got {widths}"
        )


def compose(overrides: list[str]) -> DictConfig:
    """The config of an ordinary run, by Hydra's own rules."""
    import hydra

    return hydra.compose("config", overrides)


def shared_overrides(cfg: DictConfig, choices: dict[str, str]) -> list[str]:
    """Overrides that give an ordinary run the chain's data, hardware, logger, seed and evaluation, however it got them."""
    chosen = [f"{group}={choices[group]}" for group in GROUPS]
    bare = compose(chosen)
    changed = [f"{key}={quoted(value)}" for node in SHARED for key, value in differences(bare[node], cfg[node], node)]
    return chosen + changed


def refuse_what_goes_nowhere(cfg: DictConfig, given: list[str], choices: dict[str, str]) -> None:
    """Raise ``UserError`` for a setting that no stage would see: a chain's stages choose model, training and the like."""
    bare = compose([f"{group}={choices[group]}" for group in (*GROUPS, "chain")])
    others = [node for node in bare if node not in OF_CHAIN]
    asked = [override.lstrip("+~").split("=")[0] for override in given]  # also what is as it would be anyway
    changed = [key for node in others for key, _ in differences(bare[node], cfg[node], node)]
    for key in [*(key for key in asked if re.split("[./@]", key)[0] in others), *changed]:
        node, _, rest = key.partition(".")
        settings = f"{node}:{{{rest}:VALUE}}" if rest else f"{node}:{{KEY:VALUE}}"
        raise UserError(
            f"{key}: beside chain={choices['chain']} it would reach no stage, for each has its own; set it where the "
            f"chain has a key for it (chain.pretrain…, chain.finetune…) or for one stage, chain.only={{STAGE:{{{settings}}}}}"
        )
    known = set(dict(leaves(OmegaConf.to_container(bare.chain), "chain")))
    for key, _ in leaves(OmegaConf.to_container(cfg.chain), "chain"):
        if key not in known and not OPEN & set(key.split(".")) and not any(k.startswith(f"{key}.") for k in known):
            raise UserError(
                f"{key}: no such key; aelab chain={choices['chain']} --cfg job -p chain shows what there is"
            )


def baselines(cfg: DictConfig, done: dict[str, Stage], main: str) -> dict[str, float]:
    """What the chain's last stage is held against: the same net without pretraining, and logistic PCA."""
    metrics = {
        f"test/scratch_{figure}": done["scratch"].metrics[f"test/{figure}"]
        for figure in ("squared_error", "class_error")
        if f"test/{figure}" in done["scratch"].metrics
    }
    if "test/squared_error" in done[main].metrics:
        error = logistic_pca_error(cfg, done[main].folder)
        if error is not None:
            metrics["test/logistic_pca_squared_error"] = error
    return metrics


def logistic_pca_error(cfg: DictConfig, folder: Path) -> float | None:
    """Squared error of a test image for logistic PCA with linear codes of the size of that run's; None for real data."""
    from aelab.likelihood import squared_error
    from aelab.logistic_pca import fit_linear_logistic_pca, reconstruct

    data = config.build(cfg.data, "data", seed=cfg.seed, batch_size=1, below=[])
    if not data.unit_interval:
        return None
    n_code = run_folder.load(folder).encode(data.test.x[:1]).shape[1]
    W, pca = fit_linear_logistic_pca(data.train.x, n_code, LOGISTIC_PCA_EPOCHS)
    return float(squared_error(reconstruct(pca, data.test.x @ W), data.test.x))


def record(folder: Path, done: dict[str, Stage], main: str, metrics: dict[str, float]) -> None:
    """The chain's folder: links to its stages, their pictures and figures, and the last stage's metrics."""
    for part in ("stages", "figures"):
        (folder / part).mkdir(exist_ok=True)
    for number, (name, stage) in enumerate(done.items(), 1):
        link = folder / "stages" / f"{number}-{name}"
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(stage.folder.resolve(), link.parent.resolve()))
        for picture in sorted((stage.folder / "figures").glob("*.png")):
            content = picture.read_bytes()
            run_folder.write_whole(folder / "figures" / f"{name}-{picture.name}", lambda p, c=content: p.write_bytes(c))
    summary = {
        name: {"folder": str(s.folder), "key": s.key, "found": s.found, "metrics": s.metrics, "timing": s.timing}
        for name, s in done.items()
    }
    run_folder.write_text(folder / "chain.json", json.dumps({"last": main, "stages": summary}, indent=1) + "\n")
    run_folder.write_json(folder / "metrics.json", metrics)
