"""Where runs and sweeps lie when nobody says so: resolvers of hydra.run.dir and hydra.sweep.dir in conf/config.yaml."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def claim(path: str) -> str:
    """``path`` as a new folder, or ``path-2``, ``path-3``, …: of processes that ask at once each has its own."""
    with suppress(OSError):  # a place that cannot be written is refused where it is written to
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        for name in (path, *(f"{path}-{number}" for number in range(2, 10_000))):
            with suppress(FileExistsError):
                os.mkdir(name)
                return name
    return path


def run_folder(path: str, resume: str | None) -> str:
    """A new folder, or that of the run which goes on; a ``resume`` that is no run's folder is refused later."""
    return str(resume) if resume is not None and (Path(str(resume)) / "config.yaml").is_file() else claim(path)


def sweep_folder(path: str, study: str | None) -> str:
    """A new folder, or the one of a study, in which the same command goes on."""
    return claim(path) if study is None else f"sweeps/{study}"


def what(task: str, chain: str, model: str, data: str) -> str:
    """What a folder is named after: what is trained on which data, or that runs are compared in it."""
    return task if task == "compare" else f"{model if chain == 'none' else chain}-{data}"


def register() -> None:
    """Make the functions known to OmegaConf: asked twice for one config, each gives the same folder."""
    import omegaconf
    from omegaconf import OmegaConf

    new_in_2_4 = not omegaconf.__version__.startswith("2.3.")  # before, another function had that name
    make_known: Any = OmegaConf.register_resolver if new_in_2_4 else OmegaConf.register_new_resolver
    for function in (what, run_folder, sweep_folder):
        make_known(function.__name__, function, replace=True, use_cache=True)
