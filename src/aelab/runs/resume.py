"""A run that goes on: with which config, and by which command."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from aelab import log, signals
from aelab.config.overrides import place_of, plain, quoted, typed
from aelab.config.schema import role_of_override, roots, that_change, untyped
from aelab.config.targets import packages, refuse_strangers
from aelab.errors import UserError
from aelab.runs import folder as run_folder


def resumed(cfg: DictConfig, overrides: list[str]) -> tuple[DictConfig, Path]:
    """The config of the run in ``cfg.resume``, with the few overrides that a run may be given on its way.

    A key that there was not yet when it was begun is as ``cfg`` has it.
    """
    folder = Path(cfg.resume)
    old = run_folder.read_config(folder)
    run_folder.refuse_links(folder, "resume")
    if isinstance(old.get("callbacks"), DictConfig):
        old.callbacks.pop("pruning", None)  # a study that a folder names is not gone to
    refuse_strangers(plain(old), cfg.trust, "resume")
    if "chain" in old and old.chain.stages:
        raise UserError(f"resume: {folder} is a chain's; give its own command again, see {folder / 'command.txt'}")
    grown = {*roots(resumable=True), *(name for name in cfg if name not in untyped())}  # may have got keys since
    with open_dict(old):
        for name, node in cfg.items():
            if name not in old:
                old[name] = node
            elif isinstance(node, DictConfig) and name in grown and "_target_" not in node:
                old[name] = OmegaConf.merge(OmegaConf.to_container(node), old[name])  # whose keys may be others
    for override in overrides:
        key = override.lstrip("+~").split("=")[0]
        if key in ("resume", "trust"):
            continue
        if not role_of_override(override).resumable:
            if _same(cfg, old, place_of(override)):
                continue  # the command that began the run, say, given again with resume=FOLDER
            can = ", ".join(roots(resumable=True))
            raise UserError(f"{key}: cannot change when a run is resumed, only {can} can; leave it out")
        value = OmegaConf.select(cfg, key)
        with open_dict(old):
            OmegaConf.update(old, key, value, merge=False)
    run_folder.read_checkpoint(folder, "last", "resume")
    old.resume = str(folder)
    return old, folder


def _same(cfg: DictConfig, old: DictConfig, key: str) -> bool:
    """Whether the whole node ``key`` is in both configs, and the same."""
    one, other = (OmegaConf.select(config, key, default=None) for config in (cfg, old))
    return one is not None and plain(one) == plain(other)


def begun_in(folder: Path, cfg: DictConfig, finished: bool) -> bool:
    """Whether ``folder`` holds a run of this very config that was stopped, or, with ``finished``, that ended."""
    if not (folder / "last.ckpt").exists() or ((folder / "metrics.json").exists() and not finished):
        return False
    old = run_folder.read_settings(folder, "hydra.run.dir")
    new: Any = OmegaConf.to_container(cfg)
    run_folder.refuse_links(folder, "hydra.run.dir")
    return all(that_change(what, old) == that_change(what, new) for what in ("weights", "evaluation"))


def way_on(folder: Path, cfg: DictConfig, own_configs: list[str]) -> str:
    """The command by which a run that is stopped now goes on: there is nothing to go on from in its first epoch.

    ``own_configs`` are the words that say where a person's own configs lie.
    """
    if not (folder / "last.ckpt").exists():
        return signals.own_command()
    words = [*own_configs, f"resume={quoted(log.place(folder))}"]
    if own := packages(plain(cfg)):
        words.append(f"trust={quoted(own)}")
    return " ".join(["aelab", *map(typed, words)])
