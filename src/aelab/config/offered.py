"""What a person may choose: options whose name begins with ``_`` are parts of others; a part is chosen by its group."""

import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.object_type import ObjectType

from aelab.config.targets import CONF
from aelab.errors import UserError

SEVERAL = ("callbacks", "evaluate")  # groups of which several options stand side by side
WORD = re.compile(r"[A-Za-z]\w*")
LITERAL = ("null", "true", "false")
NO_OPTION = re.compile(r"null|true|false|[+-]?[\d.]+(e[+-]?\d+)?|\{.*\}", re.IGNORECASE)


def hide_parts() -> None:
    """From here on Hydra's help and its completion leave out options whose name begins with ``_``.

    Where no override can name other folders, the options are listed without the copy of all known configs that Hydra
    makes for each of the hundred folders that help looks into: half a second.
    """
    offered = ConfigLoaderImpl.get_group_options
    if getattr(offered, "hides_parts", False):
        return

    def whole(
        loader: ConfigLoaderImpl,
        group_name: str,
        results_filter: ObjectType | None = ObjectType.CONFIG,
        config_name: str | None = None,
        overrides: list[str] | None = None,
    ) -> list[str]:
        if config_name is None and not overrides:
            names = loader.repository.get_group_options(group_name, results_filter)
        else:
            names = offered(loader, group_name, results_filter, config_name, overrides)
        return [name for name in names if not name.startswith("_")]

    whole.hides_parts = True  # type: ignore[attr-defined]  # so that it is not wrapped twice
    ConfigLoaderImpl.get_group_options = whole  # type: ignore[assignment, method-assign]  # Hydra has no hook for it


def wrap_help() -> None:
    """From here on the groups in Hydra's help are wrapped between words where it is shown in a terminal."""
    listed = Hydra.format_config_groups
    if getattr(listed, "wraps", False):
        return

    def wrapped(hydra: Hydra, predicate: Callable[[str], bool], compact: bool = True) -> str:
        text = listed(hydra, predicate, compact)
        if sys.stdout is None or not sys.stdout.isatty():
            return text
        width = shutil.get_terminal_size().columns
        lines = (textwrap.fill(line, width, subsequent_indent="  ") for line in text.splitlines())
        return "".join(f"{line}\n" for line in lines)

    wrapped.wraps = True  # type: ignore[attr-defined]  # so that it is not wrapped twice
    Hydra.format_config_groups = wrapped  # type: ignore[assignment, method-assign]  # Hydra has no hook for it


def refuse_none(overrides: Sequence[str]) -> None:
    """Raise ``UserError`` for a group of conf/ that is given null, a number, a mapping or a list for an option's name.

    Hydra refuses it too, and does not say which group it means.
    """
    for override in overrides:
        word, _, value = override.partition("=")
        group = word.lstrip("+~").partition("@")[0]
        folder = CONF / group
        if not value or group.split("/")[0] in (".", "hydra") or group.startswith("/") or not folder.is_dir():
            continue
        if NO_OPTION.fullmatch(value) or (value[0] == "[" and group not in SEVERAL):
            known = ", ".join(sorted(path.stem for path in folder.glob("[!_]*.yaml")))
            raise UserError(f"{group}: {value} is no option; choose one of {known}")
        if word == f"+{group}":
            raise UserError(f"{group}: there is an option already; write {group}={value} without the +")


def refuse(choices: Mapping[str, str | None], overrides: Sequence[str]) -> None:
    """Raise ``UserError`` for an option that is only part of others, and for one said to a key, not to its group.

    ``choices`` are group → option, as Hydra has them.
    """
    keys = {group.rpartition("@")[2].replace("/", "."): group for group in choices}  # where the option is put
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if "@" not in key and key in choices and value.startswith("_"):
            raise UserError(f"{key}: {value} is only a part of other options; choose one of those, see aelab --help")
        group = keys.get(key)
        if group not in (None, key) and WORD.fullmatch(value) and value not in LITERAL:
            raise UserError(f"{key}: an option is chosen by its group; write {group}={value}")
