"""A second store of stages, a folder or a URL, that is only read: a stage that is whole there is copied.

A URL is whatever fsspec reads: http(s) of any web server, s3 with s3fs installed, gs with gcsfs, and so on.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from aelab import files
from aelab.config.overrides import plain
from aelab.errors import UserError
from aelab.runs import folder as run_folder
from aelab.runs.stages import Wanted, of_weights, state_of

KEY = "chain.also"
# What is fetched of a stage at a URL: web servers list no folder, and pictures stay there.
TEXTS = ("config.yaml", files.SUMS, "command.txt", "history.csv", "timing.json", "made_by.json", "metrics.json")
WEIGHTS = ("last.ckpt", "best.ckpt", "layers.pt", "below.pt")
SILENT = 15.0  # seconds that a web server may be


class SecondStore(NamedTuple):
    """The store at ``place``."""

    place: str

    def where(self, name: str) -> Path | str:
        """Where a stage of that name would be."""
        return f"{self.place.rstrip('/')}/{name}" if is_url(self.place) else Path(self.place) / name

    def has(self, name: str, wanted: Wanted) -> bool:
        """Whether the stage is there; of one at a URL, whether its settings are."""
        there = self.where(name)
        if isinstance(there, Path):
            return is_whole(there, wanted)
        with tempfile.TemporaryDirectory() as folder:
            download(there, Path(folder), ("config.yaml",))
            return same_weights(Path(folder), wanted)

    def bring(self, folder: Path, wanted: Wanted) -> Path | str | None:
        """Copy the stage to ``folder``, whole or not at all, and say where it was; None: it is not whole there."""
        there = self.where(folder.name)
        if not self.has(folder.name, wanted):
            return None
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(there, Path):  # no link in it: that may lead anywhere
            shutil.copytree(there, part, ignore=links)
        else:
            part.mkdir(parents=True)
            download(there, part, (*TEXTS, *WEIGHTS))
        if not is_whole(part, wanted):
            shutil.rmtree(part)
            return None
        part.rename(folder)
        return there


def of(cfg: DictConfig) -> SecondStore | None:
    """The second store of a chain. Raises ``UserError`` for a folder that is not there, or a URL that none can read."""
    place = cfg.chain.get("also")
    if place is None:
        return None
    place = place.removeprefix("file://")
    if is_url(place):
        file_system(place)
        return SecondStore(place)
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise UserError(f"{KEY}: there is no folder {folder}; give another store of stages, or null")
    return SecondStore(str(folder))


def is_url(place: str) -> bool:
    return "://" in place


def is_whole(folder: Path, wanted: Wanted) -> bool:
    """Whether a folder of another store, its files as they were written, holds the weights that are ``wanted``."""
    return state_of(folder, wanted) in ("finished", "unmeasured") and same_weights(folder, wanted)


def same_weights(folder: Path, wanted: Wanted) -> bool:
    """Whether the settings are those of ``wanted``: a stage's name says so too, and anybody may give a name."""
    try:
        return of_weights(run_folder.read_settings(folder, KEY)) == of_weights(plain(wanted.cfg))
    except UserError:  # no run's settings
        return False


def links(place: str, names: list[str]) -> list[str]:
    """The links among ``names`` in a folder."""
    return [name for name in names if (Path(place) / name).is_symlink()]


def download(there: str, here: Path, names: Sequence[str]) -> None:
    """Fetch what there is of ``names`` at a URL."""
    for name in names:
        content = read(there, name)
        if content is not None:
            (here / name).write_bytes(content)


def read(folder: str, name: str) -> bytes | None:
    """The content of a file at a URL, None where there is none."""
    url = f"{folder}/{name}"
    fs, path = file_system(url)
    try:
        content: bytes = fs.cat_file(path)
    except FileNotFoundError:
        return None
    except Exception as failure:  # each kind of file system has its own
        reason = str(failure) or type(failure).__name__
        raise UserError(f"{KEY}: cannot read {url} ({reason}); try again, give another store, or null") from failure
    return content


def file_system(url: str) -> tuple[Any, str]:
    """Who reads ``url``, and what it is called there."""
    import fsspec

    options: dict[str, Any] = {}
    if url.startswith(("http://", "https://")):
        from aiohttp import ClientTimeout

        options["client_kwargs"] = {"timeout": ClientTimeout(sock_connect=SILENT, sock_read=SILENT)}
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as failure:
        raise UserError(f"{KEY}: cannot read {url} ({failure}); give a folder, or null") from failure
    return fs, path
