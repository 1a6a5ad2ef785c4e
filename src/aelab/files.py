"""Files written whole or not at all."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aelab.errors import UserError


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """``write`` fills a temporary neighbour of ``path``, which then takes its place: a reader sees old or new."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda part: part.write_text(text))


def write_json(path: Path, values: dict[str, Any]) -> None:
    """A flat mapping as JSON, keys sorted, so that equal results are equal bytes."""
    write_text(path, json.dumps(values, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@contextmanager
def replaced(path: Path, text: str) -> Iterator[None]:
    """``path`` holds ``text`` from here on; what it held before comes back when a ``UserError`` ends the block."""
    before = path.read_text()
    write_text(path, text)
    try:
        yield
    except UserError:
        write_text(path, before)
        raise
