"""Files written whole or not at all, and how it is noticed that one is no more what was written."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aelab.errors import UserError

SUMS = "SHA256SUMS"  # the format of sha256sum -c


def write_whole(path: Path, write: Callable[[Path], Any], durable: bool = True) -> None:
    """``write`` fills a temporary neighbour of ``path``, which then takes its place: a reader sees old or new.

    ``durable``: so does whoever comes back after a power cut, for the bytes are on the disk before the name is.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        if durable:
            sync(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until the bytes of ``path`` are on the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    write_whole(path, lambda part: part.write_text(text, encoding="utf-8", newline=""))


def as_json(values: dict[str, Any]) -> str:
    """A flat mapping as JSON, keys sorted, so that equal results are equal bytes."""
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def write_json(path: Path, values: dict[str, Any]) -> None:
    write_text(path, as_json(values))


def read_json(path: Path, key: str = "hydra.run.dir") -> dict[str, Any]:
    """The mapping in ``path``. Raises ``UserError`` naming ``key`` when it is damaged."""
    try:
        values = json.loads(as_written(path))
        if not isinstance(values, dict):
            raise ValueError(f"a {type(values).__name__} where a mapping should be")
    except (ValueError, RecursionError) as error:
        raise damaged(path, key, error) from error
    return values


def damaged(path: Path, key: str, error: Exception) -> UserError:
    """One line that ``path`` cannot be read."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(f"{key}: {path} is damaged ({reason[:120]}); put it back as it was, or make it again")


def write_sums(folder: Path, texts: Mapping[str, str | bytes]) -> None:
    """SHA-256 of each file's content, name → content, into ``folder``/SHA256SUMS: ``as_written`` looks there."""
    content = {name: text.encode() if isinstance(text, str) else text for name, text in texts.items()}
    lines = [f"{hashlib.sha256(value).hexdigest()}  {name}\n" for name, value in sorted(content.items())]
    write_text(folder / SUMS, "".join(lines))


def as_written(path: Path) -> bytes:
    """The content of ``path``. Raises ``ValueError`` when SHA256SUMS beside it has another one's sum."""
    content = path.read_bytes()
    if (path.parent / SUMS).is_file():
        for line in (path.parent / SUMS).read_bytes().decode(errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            if name == path.name and digest != hashlib.sha256(content).hexdigest():
                raise ValueError(f"it is not what was written, by {SUMS}")
    return content
