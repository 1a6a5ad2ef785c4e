"""Where a data file is: in a person's folder, else in the cache, else fetched once from a mirror."""

import time
from pathlib import Path

from aelab.errors import UserError

ROUNDS, PAUSE, TIMEOUT = 2, 1.0, 15  # times through the mirrors, seconds between, seconds a mirror may be silent


def find(relative: str, root: str | None, cache: str, download: bool, mirrors: list[str], checksum: str) -> Path:
    """The path of ``relative`` ("mnist/x.gz"): under root, packed or not, else under cache, else downloaded there.

    A file in ``root`` is used whatever its checksum (people have variants); one in the cache must have ``checksum``
    ("md5:…"), or it is fetched again. Raises ``UserError`` when there is no such file and none can be had.
    """
    if root is not None:
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise UserError(f"data.root: there is no folder {folder}; give the one with {relative} in it, or null")
        for name in (relative, relative.removesuffix(".gz")):
            if (folder / name).is_file():
                return folder / name
    cached = Path(cache).expanduser() / relative
    if _is_good(cached, checksum):
        return cached
    searched = f"{relative} is neither in {root or 'data.root (null)'} nor in {cached.parent.parent}"
    if not download:
        raise UserError(f"data.root: {searched}, and data.download is false; put it there, or set data.download=true")
    return fetch(cached, mirrors, checksum, searched)


def fetch(target: Path, mirrors: list[str], checksum: str, searched: str) -> Path:
    """Download ``target`` from the first mirror whose bytes have ``checksum``; a half download never takes its name."""
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    failures = {}
    for attempt in range(ROUNDS):
        time.sleep(PAUSE * bool(attempt))
        for url in mirrors:
            try:
                return _retrieve(pooch, url, target, checksum)
            except RequestException as failure:
                failures[url] = type(failure).__name__
            except ValueError:
                failures[url] = "wrong checksum"
            except OSError as failure:
                raise UserError(
                    f"data.cache: cannot write {target} ({failure.strerror}); give another folder"
                ) from failure
    reasons = "; ".join(f"{url.split('/')[2]}: {reason}" for url, reason in failures.items())
    raise UserError(f"data.root: {searched}, and no mirror gave it ({reasons}); put it there by hand, or try again")


def _retrieve(pooch, url: str, target: Path, checksum: str) -> Path:
    with _Bar(target.name) as bar:
        downloader = pooch.HTTPDownloader(progressbar=bar, timeout=TIMEOUT)
        return Path(pooch.retrieve(url, checksum, target.name, target.parent, downloader=downloader))


def _is_good(path: Path, checksum: str) -> bool:
    import pooch

    algorithm, _, digest = checksum.partition(":")
    return path.is_file() and pooch.file_hash(str(path), alg=algorithm) == digest


class _Bar:
    """A rich progress bar with the four members pooch asks for: total, update, reset, close."""

    def __init__(self, name: str):
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

        self.progress = Progress("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self.task = self.progress.add_task(f"download {name}", total=None)
        self.total = 0

    def __enter__(self):
        self.progress.start()
        return self

    def __exit__(self, *failure):
        self.close()

    def update(self, size: int) -> None:
        self.progress.update(self.task, advance=size, total=self.total or None)

    def reset(self) -> None:
        self.progress.reset(self.task)

    def close(self) -> None:
        self.progress.stop()
