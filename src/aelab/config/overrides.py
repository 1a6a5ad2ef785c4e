"""Hydra overrides out of configs: what a person changed, said again as ``key=value``."""

import re
from typing import Any

from omegaconf import OmegaConf

PLAIN = re.compile(r"[A-Za-z0-9_./-]+")  # a string that needs no quotes
TYPED = re.compile(r"null|true|false|[+-]?(nan|inf|[0-9._]+(e[+-]?[0-9_]+)?)", re.IGNORECASE)  # read as another type


def flattened(parts: list) -> list[str]:
    """Overrides, lists of them, and settings as mappings → one list of overrides."""
    texts: list[str] = []
    for part in parts:
        if isinstance(part, list):
            texts += flattened(part)
        elif part is not None:
            texts += flat(part) if isinstance(part, dict) else [part]
    return texts


def differences(bare: Any, cfg: Any, key: str):
    """(key, value) of every leaf of ``cfg`` that ``bare`` has not or has with another value."""
    plain = [OmegaConf.to_container(n) if OmegaConf.is_config(n) else n for n in (bare, cfg)]
    if not isinstance(plain[1], dict):
        return [] if plain[0] == plain[1] else [(key, plain[1])]
    old = dict(leaves(plain[0], key))
    return [(k, v) for k, v in leaves(plain[1], key) if k not in old or old[k] != v]


def leaves(node: Any, key: str):
    """(dotted key, value) of every leaf; a list is a leaf."""
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}")
    else:
        yield key, node


def flat(node: dict[str, Any]):
    """{train: {epochs: 5}} → train.epochs=5, as overrides."""
    for name, value in node.items():
        for key, leaf in leaves(value, name):
            yield f"{key}={quoted(leaf)}"


def quoted(value: Any) -> str:
    """A value in Hydra's override grammar, which reads it back as it was."""
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) and not TYPED.fullmatch(value) else "'" + escaped(value) + "'"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(quoted, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}:{quoted(v)}" for k, v in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def escaped(text: str) -> str:
    """A backslash before each quote, and doubled backslashes where they stand before a quote or the end."""
    return re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + ("\\'" if m[2] else ""), text)


def model_name(overrides: list[str]) -> str:
    """The option of the group model among a stage's overrides."""
    return next((o.split("=", 1)[1] for o in reversed(overrides) if o.startswith("model=")), "run")
