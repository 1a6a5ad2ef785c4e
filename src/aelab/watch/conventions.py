"""What W&B's users have set already: its environment variables, and the files that ``wandb offline`` writes."""

import configparser
import os
from functools import cache
from typing import Any

from aelab.errors import UserError

VARIABLES = {
    "project": "WANDB_PROJECT", "entity": "WANDB_ENTITY", "name": "WANDB_NAME", "notes": "WANDB_NOTES",
    "tags": "WANDB_TAGS", "job_type": "WANDB_JOB_TYPE", "group": "WANDB_RUN_GROUP",
}  # fmt: skip
MODES = {"run": "online", "dryrun": "offline", "shared": "online"}  # older words of wandb's
PLACES = ("HOME", "XDG_CONFIG_HOME", "WANDB_CONFIG_DIR", "WANDB_DIR")  # what they hang on, and the working directory
FALSE = ("", "0", "false", "no", "off", "n", "f")


def asked(key: str) -> Any:
    """What the environment, or a settings file, says of ``key`` (``VARIABLES``); None where nothing does."""
    value = os.environ.get(VARIABLES[key]) or settings_file().get(key)
    return [tag.strip() for tag in value.split(",") if tag.strip()] if key == "tags" and value else value or None


def filled(about: dict[str, Any], otherwise: dict[str, Any]) -> dict[str, Any]:
    """``about`` with what a person left null or empty as ``asked``, and what nobody asked as ``otherwise``."""
    return {key: value or asked(key) or otherwise.get(key) for key, value in about.items()}


def mode() -> str | None:
    """online, offline or disabled as W&B was told; None where it was told nothing.

    Raises ``UserError`` for a word in WANDB_MODE that is no mode.
    """
    word = os.environ.get("WANDB_MODE")
    if word:
        if MODES.get(word, word) not in ("online", "offline", "disabled"):
            raise UserError(f"WANDB_MODE: expected online, offline or disabled, got {word!r}; or give logger.mode")
        return MODES.get(word, word)
    if os.environ.get("WANDB_DISABLED", "").lower() not in FALSE:
        return "disabled"
    word = settings_file().get("mode")
    return MODES.get(word, word) if word else None


def settings_file() -> dict[str, str]:
    """What ``wandb offline``, ``wandb disabled`` and ``wandb init`` have written, here or for all runs."""
    known = configparser.ConfigParser(interpolation=None)
    try:
        known.read(settings_files(os.getcwd(), *(os.environ.get(name) for name in PLACES)), encoding="utf-8")
        return dict(known["default"]) if known.has_section("default") else {}
    except (OSError, configparser.Error, UnicodeDecodeError):  # wandb passes over what it cannot read, too
        return {}


@cache
def settings_files(*places: str | None) -> list[str]:
    """Where those files lie, by W&B's own rules; once per process while its ``places`` stay: it takes it 10 ms."""
    import wandb

    settings = wandb.Settings(silent=True)
    return [path for path in (settings.settings_system, settings.settings_workspace) if path]
