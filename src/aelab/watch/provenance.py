"""What a run's record says of it: the settings that a person chose or that matter, and the code that ran."""

import functools
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from aelab.config.overrides import leaves
from aelab.config.schema import role_of, roots


def settings(cfg: dict[str, Any]) -> dict[str, Any]:
    """``cfg`` as dotted key → value, without nulls, empty lists and what only says where and how it was run.

    The class of a node is its ``kind``: ``optimizer.kind: Adam``. Dotted keys are what overrides and W&B sweeps give.
    """
    stages = (cfg.get("chain") or {}).get("stages")  # they choose the rest themselves
    said = ["chain", *roots(shared=True)] if stages is not None else [name for name in cfg if name != "chain"]
    flat = leaves({name: cfg[name] for name in said if name in cfg})
    return {
        kind_of(key): str(value).rsplit(".", 1)[-1] if key.endswith("._target_") else value
        for key, value in flat
        if not role_of(key).noise and value not in (None, [], {}) and not key.endswith("._partial_")
    }


def kind_of(key: str) -> str:
    """optimizer._target_ → optimizer.kind."""
    return key.removesuffix("._target_") + ".kind" if key.endswith("._target_") else key


@functools.cache
def code_state() -> dict[str, Any]:
    """The code's version and, where it runs from a checkout, the commit and whether anything tracked was changed."""
    try:
        state: dict[str, Any] = {"code.version": version("aelab")}
    except PackageNotFoundError:
        state = {}
    here = Path(__file__)
    tracked = _git(here.parent, "ls-files", "--error-unmatch", here.name)  # a repository round a venv is not ours
    described = _git(here.parent, "describe", "--always", "--dirty", "--abbrev=40", "--match=") if tracked else None
    if described:
        state |= {"code.commit": described.removesuffix("-dirty"), "code.dirty": described.endswith("-dirty")}
    return state


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
