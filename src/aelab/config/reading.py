"""Reading a config that somebody else may have written: as plain values, in bounded time, with nothing resolved."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf, _utils

from aelab import files
from aelab.errors import UserError

LARGEST = 200_000  # bytes; a run's own config has about 4,000
DEEPEST = 50  # mappings and lists in each other


def read_plain(path: Path, key: str) -> dict[str, Any]:
    """The mapping in a YAML file. Raises ``UserError`` at ``key`` for anything that a run does not write itself.

    That is: a file too large or nested too deeply, an alias (a few of them stand for more than any memory), a tag, an
    interpolation (``${oc.env:…}`` would read what is nobody else's), and what is no mapping at all.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ValueError(f"{size} bytes are too many for a config")
        text = path.read_text()
        _refuse_bombs(text)
        content: Any = _as_a_config(text)
        _refuse_objects(content)
    except UnicodeDecodeError as error:
        raise UserError(f"{key}: {path} cannot be read (it is no text)") from error
    except Exception as error:  # whatever the YAML reader found
        raise files.damaged(path, key, error) from error
    if not isinstance(content, dict):
        raise UserError(f"{key}: {path} cannot be read (it is no mapping)")
    if found := next(_interpolations(content), None):
        raise UserError(f"{key}: {path} has the interpolation {found[:80]!r}; a run writes its values out, do the same")
    return content


def _as_a_config(text: str) -> Any:
    """The values that OmegaConf reads; where its reader can be had alone, no config is made of them."""
    if hasattr(_utils, "get_yaml_loader"):
        return yaml.load(text, Loader=_utils.get_yaml_loader())
    return OmegaConf.to_container(OmegaConf.create(text), resolve=False)


def _refuse_bombs(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"it has the alias *{event.anchor}; a run writes its values out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")


def _refuse_objects(node: Any) -> None:
    """Raise ``ValueError`` for what YAML can say and a config cannot: sets, bytes, dates, a null for a name."""
    if isinstance(node, dict):
        for name, part in node.items():
            if not isinstance(name, str | int | float):
                raise ValueError(f"a {type(name).__name__} is no name: {name!r}")
            _refuse_objects(part)
    elif isinstance(node, list):
        for part in node:
            _refuse_objects(part)
    elif not isinstance(node, str | int | float | None):
        raise ValueError(f"a {type(node).__name__} is no value: {node!r}")


def _interpolations(node: Any) -> Any:
    if isinstance(node, dict):
        for name, part in node.items():
            yield from _interpolations(name)
            yield from _interpolations(part)
    elif isinstance(node, list):
        for part in node:
            yield from _interpolations(part)
    elif isinstance(node, str) and "${" in node:
        yield node
