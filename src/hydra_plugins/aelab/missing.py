"""Launchers that are not installed: their names exist all the same, and say what to install."""

from importlib.util import find_spec
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.launcher import Launcher


class MissingLauncher(Launcher):
    """Stands where an optional launcher would; raises UserError, one line, as soon as it is to be used."""

    def __init__(self, option: str, extra: str, **options: Any) -> None:
        self.option, self.extra = option, extra

    def setup(self, **context: Any) -> None:
        from aelab.errors import UserError

        raise UserError(f'hydra/launcher={self.option}: is not installed; pip install "aelab[{self.extra}]"')

    def launch(self, job_overrides: Any, initial_job_idx: int) -> Any:
        raise NotImplementedError("setup has refused before")


def register(extra: str, package: str, options: dict[str, dict[str, Any]]) -> None:
    """Give every option of a package that is not there a node of its own: option -> its main keys.

    ``extra`` is the one of ours that would install it.
    """
    if find_spec(package) is None:
        for option, keys in options.items():
            node = {"_target_": f"{__name__}.MissingLauncher", "option": option, "extra": extra, **keys}
            ConfigStore.instance().store(group="hydra/launcher", name=option, node=node, provider="aelab")


register("parallel", "hydra_plugins.hydra_joblib_launcher", {"joblib": {"n_jobs": -1}})
register("parallel", "hydra_plugins.hydra_submitit_launcher", {"submitit_local": {}, "submitit_slurm": {}})
register("ray", "hydra_plugins.hydra_ray_launcher", {"ray": {"ray": {"init": {"address": None}, "remote": {}}}})
