"""Which of several ways to one product is the fastest on this processor: tried once for each shape, then kept.

The answer stands in a file of the cache folder, by processor, torch and number of threads, so that every process of a
machine goes the same way and a resumed run ends with the same bits. Where the file cannot be written, and for products
too small to be worth it, the way is the first one. The environment variable AELAB_KERNELS (torch | onednn) decides
without trying; all ways agree to about 1e-6.
"""

import functools
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from aelab.clock import processor
from aelab.files import write_text
from aelab.locks import alone

SMALL = 5_000_000  # multiplications of a product that takes less than about a tenth of a millisecond
TRIES = 7
GAIN = 0.9  # another way must take less than this part of the first one's time: a tie is no reason to change

Ways = dict[str, Callable[..., Any]]
_chosen: dict[str, str] = {}


def worth_choosing(multiplications: int) -> bool:
    """Whether the way of a product of that size is chosen; a small one goes the first way, unless a person decides."""
    return multiplications >= SMALL or "AELAB_KERNELS" in os.environ


def fastest(what: str, ways: Ways, arguments: tuple[Any, ...], shape: tuple[int, ...]) -> Callable[..., Any]:
    """The way to go for ``what`` at this ``shape``, (rows, in, out); the first of ``ways`` is the plain one."""
    first = next(iter(ways))
    asked = os.environ.get("AELAB_KERNELS")
    if asked or not worth_choosing(shape[0] * shape[1] * shape[2]):
        return ways.get(asked or first, ways[first])
    name = f"{what} {'x'.join(map(str, shape))}"
    if name not in _chosen:
        _chosen[name] = _agreed(name, ways, arguments)
    return ways.get(_chosen[name], ways[first])


def _agreed(name: str, ways: Ways, arguments: tuple[Any, ...]) -> str:
    """What this machine's file says of ``name``; who comes first measures, and everybody else goes the same way."""
    path = Path(os.environ.get("AELAB_CACHE", "~/.cache/aelab")).expanduser() / "kernels.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.with_name(".kernels.lock")):
            known = _read(path)
            here = known.setdefault(_machine(), {})
            if here.get(name) not in ways:
                here[name] = measured(ways, arguments)
                write_text(path, json.dumps(known, indent=1, sort_keys=True) + "\n")
            return here[name]
    except OSError:  # no place to agree on: the plain way, which is everybody's
        return next(iter(ways))


def measured(ways: Ways, arguments: tuple[Any, ...]) -> str:
    """The name of the fastest way, by the least time of a few calls in turn: other work on the machine only adds."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(TRIES + 1):
        for way, function in ways.items():
            start = time.perf_counter()
            function(*arguments)
            if number:  # the first call of each prepares what later ones find
                seconds[way].append(time.perf_counter() - start)
    least = {way: min(times) for way, times in seconds.items()}
    first, best = next(iter(ways)), min(least, key=least.__getitem__)
    return best if least[best] < GAIN * least[first] else first


@functools.cache
def bf16_costs() -> float:
    """Time of a matrix product in bfloat16 over that of the same in float32, on this processor."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, W = torch.ones(128, 784, dtype=dtype), torch.ones(784, 512, dtype=dtype)
        times = []
        for _ in range(4):
            start = time.perf_counter()
            x @ W
            times.append(time.perf_counter() - start)
        seconds[dtype] = min(times)
    return seconds[torch.bfloat16] / seconds[torch.float32]


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):  # none yet, or damaged: measured again
        return {}
    good = isinstance(known, dict) and all(isinstance(here, dict) for here in known.values())
    return known if good else {}


@functools.cache
def _machine() -> str:
    return f"{processor()}, {platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
