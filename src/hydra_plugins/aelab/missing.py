"""Launchers that are not installed: their names exist all the same, and say what to install."""

from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher


class MissingLauncher(Launcher):
    """Stands where an optional launcher would; raises UserError, one line, as soon as it is to be used."""

    def __init__(self, option: str, **options: Any) -> None:
        self.option = option

    def setup(self, **context: Any) -> None:
        from aelab.errors import UserError

        raise UserError(f'hydra/launcher={self.option}: is not installed; pip install "aelab[parallel]"')

    def launch(self, job_overrides: Any, initial_job_idx: int) -> Any:
        raise NotImplementedError("setup has refused before")


def register(plugins: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Give every option of every package that is not there a node of its own: package -> option -> its main keys."""
    for package, options in plugins.items():
        if find_spec(package) is None:
            for option, keys in options.items():
                node = {"_target_": f"{__name__}.MissingLauncher", "option": option, **keys}
                ConfigStore.instance().store(group="hydra/launcher", name=option, node=node, provider="aelab")


register(
    {
        "hydra_plugins.hydra_joblib_launcher": {"joblib": {"n_jobs": -1}},
        "hydra_plugins.hydra_submitit_launcher": {"submitit_local": {}, "submitit_slurm": {}},
    }
)
