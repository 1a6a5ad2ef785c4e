"""Configs as plain mappings, as leaves, and as Hydra overrides: what a person changed, said again as ``key=value``."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, cast

from omegaconf import OmegaConf

PLAIN = re.compile(r"[A-Za-z0-9_./-]+")  # a string that needs no quotes
TYPED = re.compile(r"null|true|false|[+-]?(nan|inf|[0-9._]+(e[+-]?[0-9_]+)?)", re.IGNORECASE)  # read as another type


def plain(config: Any) -> dict[str, Any]:
    """A config as mappings and lists, every interpolation resolved; what is plain already stays as it is."""
    return cast(dict[str, Any], OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config)


def said(overrides: Any) -> list[str]:
    """Hydra's list of overrides as they were typed: ``a=${b}`` is no reference from one of its words to another."""
    return cast(list[str], OmegaConf.to_container(overrides))


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf; a list is a leaf, and so is an empty mapping below the root."""
    if isinstance(node, dict) and (node or not key):
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, node


def changes(old: dict[str, Any], new: dict[str, Any], key: str = "") -> Iterator[str]:
    """The overrides that make the plain config ``new`` of ``old``."""
    for name, value in new.items():
        where = f"{key}.{name}" if key else name
        if name not in old:
            yield f"+{where}={quoted(value)}"
        elif isinstance(value, dict) and isinstance(old[name], dict):
            yield from changes(old[name], value, where)
        elif value != old[name]:
            yield f"{where}={quoted(value)}"
    yield from (f"~{key}.{name}" if key else f"~{name}" for name in old if name not in new)


def quoted(value: Any) -> str:
    """A value in Hydra's override grammar, which reads it back as it was; NumPy's numbers and arrays as Python's."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) and not TYPED.fullmatch(value) else "'" + escaped(value) + "'"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(quoted, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{quoted(v)}" for k, v in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def shortest(keys: Sequence[str]) -> dict[str, str]:
    """Key → the shortest of its dotted ends that no other of ``keys`` has: model.n_code → n_code."""
    ends = {key: [key.split(".", n)[-1] for n in range(key.count("."), -1, -1)] for key in keys}
    taken = Counter(end for own in ends.values() for end in own)
    return {key: next((end for end in own if taken[end] == 1), key) for key, own in ends.items()}


def key_typed(override: str) -> str:
    """What stands before the = of ``key=value``, ``+key=value``, ``~key`` or ``group@package=option``."""
    return override.lstrip("+~").partition("=")[0]


def place_of(override: str) -> str:
    """Where in the config ``key=value``, ``group=option`` or ``group@package=option`` sets something."""
    return key_typed(override).rpartition("@")[2].replace("/", ".")


def escaped(text: str) -> str:
    """A backslash before each quote, and doubled backslashes where they stand before a quote or the end."""
    return re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text)


def typed(word: str) -> str:
    """A word as it is typed in a shell; in double quotes, which are easier to read, where it has single ones."""
    plain = "'" in word and not set('"$`\\!') & set(word)
    return f'"{word}"' if plain else shlex.quote(word)
