"""Files written whole or not at all, and how it is noticed that one is no more what was written."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aelab.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

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


def read_tensors(path: Path) -> Any:
    """What ``torch.save`` wrote, tensors and plain values on the CPU; nothing in it can run, or ask for more memory
    than the file takes.

    Raises ``ValueError`` for a file that is not what was written, and whatever torch raises for one that is none.
    """
    import torch

    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is packed, and torch packs nothing")
        if rotten := archive.testzip():  # torch does not look at the checksums that it writes
            raise ValueError(f"{rotten} is not what was written")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    for tensor in _tensors(saved, set()):
        if tensor.layout != torch.strided or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise ValueError("a tensor in it has fewer numbers than it says")
    return saved


def _tensors(value: Any, seen: set[int]) -> Iterator["Tensor"]:
    """Every tensor in ``value``; what stands in it several times is looked at once."""
    from torch import Tensor

    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part, seen)
