"""Hydra puts a config together in three quarters of the time, and puts the same together."""

from typing import Any

from hydra._internal import defaults_list
from omegaconf import DictConfig, OmegaConf


def compose_quicker() -> None:
    """From here on Hydra lists the choices made so far only for a file whose defaults refer to them.

    It is for defaults such as ``optimizer: ${model}``. Hydra makes the list, of all files before it, for each file.
    """
    every = defaults_list._create_interpolation_map
    if getattr(every, "where_needed", False):
        return

    def where_needed(overrides: Any, defaults_list: list[Any], self_added: bool) -> DictConfig:
        if any(default.is_interpolation() for default in defaults_list if not default.is_self()):
            return every(overrides, defaults_list, self_added)
        return OmegaConf.create()

    where_needed.where_needed = True  # type: ignore[attr-defined]  # so that it is not wrapped twice
    defaults_list._create_interpolation_map = where_needed  # Hydra has no hook for it
