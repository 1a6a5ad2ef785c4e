"""A chain: ordinary runs in order, each standing on the layers that the ones before it learned.

That is all that pretraining, unrolling and fine-tuning are. A stage is a name and Hydra overrides (conf/chain); it is
run by its own command, which is printed, and found in the store when it was run before.
"""

import json
import os
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from aelab import config, report, run_folder, stages
from aelab.errors import UserError
from aelab.stages import Stage

GROUPS = ("data", "hardware", "logger")  # chosen once for all stages
SHARED = (*GROUPS, "seed", "evaluate")  # given to every stage as the chain has it
OF_CHAIN = (*SHARED, "chain", "task", "objective", "direction", "trial")
OPEN = {"only", "set"}  # keys of a chain under which any setting of a run may stand
STAGE_KEYS = {"name", "for_each", "overrides", "first", "last", "when", "baseline"}


class Plan(NamedTuple):
    """One stage before it is run: ``below`` is the name of the stage it stands on; a baseline is only compared with."""

    name: str
    overrides: list[str]
    below: str | None
    baseline: bool


def run_chain(cfg: DictConfig, folder: Path, command: str, choices: dict[str, str]) -> dict[str, float]:
    """Run, or find, every stage; leave the chain's folder; the last stage's metrics.

    ``choices`` are the options chosen in each config group.
    """
    refuse_what_goes_nowhere(cfg, choices)
    plans = plan(cfg.chain)
    shared = shared_overrides(cfg, choices)
    folder.mkdir(parents=True, exist_ok=True)
    run_folder.write_text(folder / "command.txt", command + "\n")
    run_folder.write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg))
    done: dict[str, Stage] = {}
    main = [p.name for p in plans if not p.baseline][-1]
    for number, stage in enumerate(plans, 1):
        try:
            say = partial(report.say, f"stage {number}/{len(plans)} {stage.name}:")
            trial = cfg.trial if stage.name == main else None
            done[stage.name] = run_stage(stage, shared, cfg, folder, done.get(stage.below), trial, say)
        except UserError as error:
            raise UserError(f"stage {stage.name}: {error}") from error
    metrics = dict(done[main].metrics)
    if cfg.chain.baseline:
        metrics |= baselines(cfg, done, main)
    record(folder, done, main, metrics)
    report.print_chain(folder, done, main, metrics)
    return metrics


def run_stage(
    stage: Plan, shared: list[str], cfg: DictConfig, folder: Path, below: Stage | None, trial: DictConfig | None,
    say: Callable[[str], None],
) -> Stage:  # fmt: skip
    """One stage, found or run; ``trial`` is given to the stage by whose validation metric a sweep may prune."""
    from aelab.train import run

    standing = [f"below={quoted(str(below.folder))}"] if below else []
    overrides = [*shared, *stage.overrides, *standing]
    composed = config.resolved(compose(overrides))
    config.check(composed)
    key = stages.key_of(composed, below.key if below else None)
    command = shlex.join(["aelab", *overrides])
    if "group" in composed.logger:  # in W&B a stage is a run of its chain's group
        composed.logger.group = composed.logger.group or folder.name
        composed.logger.job_type = stage.name
    if trial is not None:
        composed.trial = trial

    def run_here(place: Path, resume: bool) -> None:
        say(command)
        composed.resume = str(place) if resume else None
        run(composed, place, command)

    place = Path(cfg.chain.store) / f"{model_name(stage.overrides)}-{key}"
    result = stages.find_or_run(place, key, cfg.chain.fresh, run_here, say)
    if result.found:
        say(f"found in {result.folder}")
    return result


def plan(chain: DictConfig) -> list[Plan]:
    """The stages in order, repeated ones spelled out (name1, name2, …), with all their overrides."""
    chain = OmegaConf.to_container(chain, resolve=True)
    only = chain["only"] or {}
    plans: list[Plan] = []
    for spec in chain["stages"]:
        unknown = set(spec) - STAGE_KEYS
        if unknown:
            raise UserError(f"chain.stages: a stage has no {sorted(unknown)[0]!r}, only {', '.join(sorted(STAGE_KEYS))}")
        if not spec.get("when", True):
            continue
        items = spec.get("for_each", [None])
        if not isinstance(items, list) or not items or any(type(i) is int and i < 1 for i in items):
            raise UserError(f"chain.widths: needs at least one layer, each of at least 1 unit, got {items}")
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


def flattened(parts: list) -> list[str]:
    """Overrides, lists of them, and settings as mappings → one list of overrides."""
    texts: list[str] = []
    for part in parts:
        if isinstance(part, list):
            texts += flattened(part)
        elif part is not None:
            texts += flat(part) if isinstance(part, dict) else [part]
    return texts


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


def refuse_what_goes_nowhere(cfg: DictConfig, choices: dict[str, str]) -> None:
    """Raise ``UserError`` for a setting that no stage would see: a chain's stages choose model, training and the like."""
    bare = compose([f"{group}={choices[group]}" for group in (*GROUPS, "chain")])
    for node in bare:
        if node not in OF_CHAIN:
            for key, _ in differences(bare[node], cfg[node], node):
                raise UserError(
                    f"{key}: beside chain={choices['chain']} it would reach no stage, each has its own; set it for a kind "
                    f"of stage (chain.pretrain…, chain.finetune…) or for one stage, chain.only={{STAGE:{{{key}:VALUE}}}}"
                )
    known = set(dict(leaves(OmegaConf.to_container(bare.chain), "chain")))
    for key, _ in leaves(OmegaConf.to_container(cfg.chain), "chain"):
        if key not in known and not OPEN & set(key.split(".")) and not any(k.startswith(f"{key}.") for k in known):
            raise UserError(f"{key}: no such key; aelab chain={choices['chain']} --cfg job -p chain shows what there is")


def differences(bare: Any, cfg: Any, key: str):
    """(key, value) of every leaf of ``cfg`` that ``bare`` has not or has with another value."""
    plain = [OmegaConf.to_container(n) if OmegaConf.is_config(n) else n for n in (bare, cfg)]
    if not isinstance(plain[1], dict):
        return [] if plain[0] == plain[1] else [(key, plain[1])]
    old = dict(leaves(plain[0], key))
    return [(k, v) for k, v in leaves(plain[1], key) if k not in old or old[k] != v]


def leaves(node: Any, key: str):
    """(dotted key, value) of every leaf; a list is a leaf."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}")
    else:
        yield key, node


def flat(node: dict[str, Any]):
    """{train: {epochs: 5}} → train.epochs=5, as overrides."""
    for name, value in node.items():
        for key, leaf in leaves(value, name):
            yield f"{key}={quoted(leaf)}"


def quoted(value: Any) -> str:
    """A value in Hydra's override grammar."""
    if isinstance(value, str):
        plain = value and all(c.isalnum() or c in "-_./:" for c in value) and value.lower() not in ("null", "true", "false")
        return value if plain else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(quoted, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{quoted(v)}" for k, v in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def model_name(overrides: list[str]) -> str:
    """The option of the group model among a stage's overrides."""
    return next((o.split("=", 1)[1] for o in reversed(overrides) if o.startswith("model=")), "run")


def baselines(cfg: DictConfig, done: dict[str, Stage], main: str) -> dict[str, float]:
    """What the chain's last stage is held against: logistic PCA, and the same net without pretraining."""
    metrics: dict[str, float] = {}
    if "scratch" in done and "test/squared_error" in done["scratch"].metrics:
        metrics["test/scratch_squared_error"] = done["scratch"].metrics["test/squared_error"]
    return metrics


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
