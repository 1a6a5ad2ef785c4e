"""What Hydra 1.3 and Hydra 1.4 want to be told differently, and what the later one has to be taught."""

import re
from typing import Any

from hydra import __version__, utils
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.types import RunMode

EXPERIMENT = re.compile(r"\+*experiment[=@]")
# The defaults of Hydra 1.3, which later ones have of themselves and do not want to hear of
VERSION_BASE = {"version_base": "1.3"} if __version__.startswith("1.3.") else {}
# These ask what a config may call, which in a person's own command is whatever it names
UNCHECKED = {} if VERSION_BASE else {"execution_whitelist": vars(utils)["UNSAFE_DISABLE_EXECUTION_CHECKS"]}
MAIN: dict[str, Any] = {**VERSION_BASE, **UNCHECKED}


def let_experiments_sweep() -> None:
    """From here on an experiment may say ``hydra.mode``: Hydra 1.4 looks for it in the primary config alone."""
    asked = Hydra.get_mode
    if not hasattr(ConfigLoaderImpl, "get_mode") or getattr(asked, "composes", False):
        return

    def composed(hydra: Hydra, config_name: str | None, overrides: list[str], *parsed: Any, **more: Any) -> Any:
        mode = asked(hydra, config_name, overrides, *parsed, **more)
        if mode is not None or not any(EXPERIMENT.match(word) for word in overrides):
            return mode
        try:
            cfg = hydra.compose_config(
                config_name, overrides, RunMode.MULTIRUN, with_log_configuration=False, validate_sweep_overrides=False
            )
        except Exception:  # as in 1.3: the run itself is the place to say it
            return None
        return cfg.hydra.mode

    composed.composes = True  # type: ignore[attr-defined]  # so that it is not wrapped twice
    Hydra.get_mode = composed  # type: ignore[assignment, method-assign]  # Hydra has no hook for it
