"""What ``_target_`` names: any class or function in a person's own config, few in a config that came with a folder."""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from aelab.errors import UserError

TARGET = "_target_"
_AELAB = Path(__file__).parents[1]
_PACKAGED = _AELAB / "conf"  # in an installed wheel
CONF = _PACKAGED if _PACKAGED.is_dir() else _AELAB.parents[1] / "conf"


def locate(node: Any, key: str) -> Any:
    """The object that ``node`` names; ``key`` is where the node stands, for the message."""
    from hydra.utils import get_object

    name = node.get(TARGET) if isinstance(node, Mapping) else None
    if not isinstance(name, str):
        raise UserError(f"{key}: has no {TARGET}; choose one of the options of this group, see aelab --help")
    try:
        target = get_object(name)
    except Exception as error:  # hydra wraps whatever the import raised
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{key}.{TARGET}: cannot find {name} ({reason})") from error
    if not callable(target):
        raise UserError(f"{key}.{TARGET}: {name} is no class and no function; name one")
    return target


def refuse_strangers(config: dict[str, Any], trust: Sequence[str], key: str) -> None:
    """Raise ``UserError`` unless all that ``config``, of a folder, would call is known, or is trusted by name.

    Known is what a file of conf/, or of the folders that this command's own config comes from, names at that very
    place. ``trust`` names packages, modules or classes: ``mypkg`` trusts all that is in it. ``key`` is said first.
    """
    for name, what in _strange(config):
        if not any(f"{name}.".startswith(f"{package}.") for package in trust):
            raise UserError(
                f"{key}: its config.yaml {what}, which aelab's own conf/ does not, so it is not run; if you trust that "
                f"code, say so by trust=[{name.partition('.')[0]}]"
            )


def packages(config: dict[str, Any]) -> list[str]:
    """What a person's own config would have to be trusted by, were it a stranger's: top-level packages."""
    return sorted({name.partition(".")[0] for name, _ in _strange(config)})


def _strange(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(``_target_``, what is unknown of it) of every node that is called otherwise than a file of conf/ does."""
    known, arguments = _named_by((CONF, *own_folders()))
    for place, node in _nodes(config, ""):
        name = str(node.get(TARGET))
        if TARGET not in node:
            continue
        if (place, name) not in known:
            yield name, f"calls {name} at {place}.{TARGET}"
        elif unknown := set(node) - arguments[place]:
            yield name, f"gives {name} {place}.{min(map(str, unknown))}"


def _nodes(node: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, mapping) of every mapping, however deep it stands in mappings and lists."""
    if isinstance(node, dict):
        yield place, node
        for name, part in node.items():
            yield from _nodes(part, f"{place}.{name}" if place else str(name))
    elif isinstance(node, list):
        for number, part in enumerate(node):
            yield from _nodes(part, f"{place}[{number}]")


@cache
def _named_by(folders: tuple[Path, ...]) -> tuple[set[tuple[str, str]], dict[str, set[str]]]:
    """What the YAML files of ``folders`` say: (place in a run's config, ``_target_``), and place → the keys there."""
    found: set[tuple[str, str]] = set()
    arguments: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        for path in folder.rglob("*.yaml"):
            group = path.parent.relative_to(folder).parts
            if group[:1] != ("hydra",):
                text = path.read_text()
                package = text.partition("# @package ")[2].split("\n")[0].strip().removeprefix("_global_")
                place = package if "# @package " in text else ".".join(group)
                for where, node in _nodes(yaml.safe_load(text), place):
                    arguments[where] |= node.keys()
                    parent, _, name = where.rpartition(".")
                    arguments[parent].add(name)
                    if TARGET in node:
                        found.add((where, node[TARGET]))
    return found, arguments


def own_folders() -> list[Path]:
    """The folders that a person gave this command to look for configs in, by --config-dir or hydra.searchpath."""
    from hydra.core.hydra_config import HydraConfig

    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    return [Path(s.path) for s in sources if s.schema == "file" and s.provider not in ("hydra", "main")]


def import_beside_configs() -> None:
    """Let Python find, here and in every process started from here, packages that lie beside a person's own configs.

    Whoever names a folder in a command says that it is theirs; nothing is imported from there but what a config names.
    """
    for folder in own_folders():
        beside = str(folder.absolute().parent)
        if beside not in sys.path:
            sys.path.append(beside)
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), beside)))
