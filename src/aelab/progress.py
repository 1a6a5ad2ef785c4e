"""A progress bar for what takes minutes: on stderr, where there is a terminal."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def bar(items: Sequence[Item], words: str) -> Iterable[Item]:
    """``items`` in turn."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return track(items, words, console=console, transient=True, disable=not console.is_terminal)
