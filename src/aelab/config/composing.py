"""Hydra inside a program: the config that a command would have, and Hydra as it stands in the command."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from aelab.config.hydra_versions import VERSION_BASE
from aelab.config.offered import refuse_none
from aelab.config.overrides import quoted
from aelab.config.schema import register
from aelab.config.targets import CONF, import_beside_configs
from aelab.errors import UserError


@contextmanager
def composed(overrides: Sequence[str], config_dir: str | Path | None = None) -> Iterator[DictConfig]:
    """Inside, Hydra stands as in the command, and knows this config; what it was before comes back."""
    if isinstance(overrides, str):
        raise UserError(f"overrides: expected a list of them, got the text {overrides!r}; say [{overrides!r}]")
    register()
    refuse_none(overrides)
    hydra, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), job_name="aelab", **VERSION_BASE):
            cfg = compose("config", [*overrides, *own_configs(config_dir)], return_hydra_config=True)
            HydraConfig.instance().set_config(cfg)
            import_beside_configs()
            yield cfg
    finally:
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = hydra, config


def own_configs(config_dir: str | Path | None) -> list[str]:
    """The override that says to Hydra what --config-dir says to the command."""
    if config_dir is None:
        return []
    folder = Path(config_dir).absolute()
    if not folder.is_dir():
        raise UserError(f"config_dir: there is no folder {folder}; give the one of your own configs")
    return [f"hydra.searchpath=[{quoted(f'file://{folder}')}]"]


def job_of(cfg: DictConfig) -> DictConfig:
    """What the command's own function is given: the config without Hydra's part."""
    with open_dict(cfg):
        return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
