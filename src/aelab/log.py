"""What is said of a run: lines on stdout, and in the ``log`` of every folder that is at work."""

import logging
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aelab.errors import Pruned, Stopped, UserError

ERASED = "\r\x1b[2K"  # what stands on the terminal's line
NOTE = 15  # between DEBUG and INFO: for the log, not for the screen
logger = logging.getLogger("aelab")


def say(text: str) -> None:
    """One line that a person wants to see while it runs."""
    logger.info(text)


def note(text: str) -> None:
    """One line that a person may want to read afterwards."""
    logger.log(NOTE, text)


def warn(text: str) -> None:
    """One line about what went wrong and stops nothing."""
    logger.warning(text)


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Inside, all that is said, warnings of any library and the error that ends it go into ``folder``/log as well."""
    lines = Lines(folder / "log")
    everyone = logging.getLogger()
    shown = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None):
        lines.write(f"{category.__name__}: {message} ({filename}:{lineno})")
        shown(message, category, filename, lineno, file, line)

    logger.addHandler(lines)
    everyone.addHandler(lines)
    warnings.showwarning = show
    try:
        yield
    except BaseException as error:
        known = isinstance(error, UserError | Pruned | Stopped)
        lines.write(f"ended: {error}" if known else "ended: " + "".join(traceback.format_exception(error)).rstrip())
        raise
    finally:
        warnings.showwarning = shown
        everyone.removeHandler(lines)
        logger.removeHandler(lines)


def in_detail() -> None:
    """From here on notes come on the screen too; libraries keep their own details, which hydra.verbose lets loose."""
    screen.setLevel(NOTE)
    logging.getLogger().setLevel(logging.INFO)


@contextmanager
def quietly(bars: bool) -> Iterator[None]:
    """Inside, only warnings come on the screen, and ``bars`` that go away: a job of a sweep is one line among many."""
    before = screen.level, screen.bars
    screen.setLevel(logging.WARNING)
    screen.bars = bars
    try:
        yield
    finally:
        screen.setLevel(before[0])
        screen.bars = before[1]


@contextmanager
def phase(what: str) -> Iterator[None]:
    """Says ``what`` is going on once it has gone on for a second; in a sweep's job only while it does."""
    passing, said = not shown() and has_bars(), threading.Event()

    def tell() -> None:
        said.set()
        if passing:
            print(f"{what} …", end="", flush=True)
        else:
            say(f"{what} …")

    timer = threading.Timer(1.0, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if passing and said.is_set():
            print(ERASED, end="", flush=True)


def place(path: Path | str) -> str:
    """``path`` as it is typed from here; a URL, which is no ``Path``, as it is."""
    if isinstance(path, str):
        return path
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def duration(seconds: float) -> str:
    """1.7 s, 48 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60:02} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02} min"


def shown() -> bool:
    """Whether what is said comes on the screen."""
    return screen.level <= logging.INFO


def has_bars() -> bool:
    """Whether a bar can be drawn where stdout goes, and is wanted."""
    return screen.bars and sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


class Screen(logging.Handler):
    """Prints to whatever stdout is at the moment; one that a person has closed is no error."""

    bars = True

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):
            print(record.getMessage(), file=sys.stdout, flush=True)


class Lines(logging.Handler):
    """Adds lines to a file, the time before each; a disk that is full costs the line and no more.

    The file is open only while it is written, so that its folder can be moved.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(NOTE)
        self.path = path

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.split(".")[0] == logger.name or record.levelno >= logging.WARNING:
            self.write(record.getMessage())

    def write(self, text: str) -> None:
        with suppress(OSError), open(self.path, "a", encoding="utf-8", errors="replace") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


screen = Screen(logging.INFO)
logger.addHandler(screen)
logger.setLevel(NOTE)
logger.propagate = False  # hydra's own handler would say it once more
