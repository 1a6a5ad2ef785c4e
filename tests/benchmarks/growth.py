"""How the cost of an update grows with width, batch, data and processes: aelab beside the naive loop, as a picture.

``python tests/benchmarks/table.py --growth PNG`` comes here. A point is the CPU time of an epoch over its updates, the
least of a few epochs, on one thread per process; aelab's epochs hold validation and a checkpoint besides, as in the
table, which weigh less the more updates an epoch has. With several processes it is the sum over all of them.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from contenders import NAIVE, WORKS, Bare, Work, adam, aelab, bare, epoch_of, images, least_seconds, naive_cd, overrides
from contenders import write_data as write_images
from matplotlib.ticker import LogLocator

from aelab.functional.drawing.sheet import LINES, SMALL, Sheet, label, save

STEPS = 100  # updates of an epoch, where their number is not what varies
WIDTHS = (100, 200, 400, 800, 1600)
BATCHES = (16, 32, 64, 128, 256, 512)
ROWS = (1000, 4000, 16_000, 60_000)
PROCESSES = (1, 2)
Lines = dict[str, list[tuple[float, float]]]  # of a contender: where, and ms per update


def wider(work: Work, width: int) -> Work:
    return work._replace(layers=(work.layers[0], width, *work.layers[2:]), rows=STEPS * work.batch)


def batched(work: Work, batch: int) -> Work:
    return work._replace(batch=batch, rows=STEPS * batch)


def longer(work: Work, rows: int) -> Work:
    return work._replace(rows=rows)


# Each panel: what its axis says, the points, and the work at a point.
PANELS: dict[str, tuple[Sequence[int], Callable[[Work, int], Work]]] = {
    "hidden units of the first layer": (WIDTHS, wider),
    "images per batch": (BATCHES, batched),
    "training images": (ROWS, longer),
}
ACROSS = "processes (DDP)"


def grown(panel: str, points: Sequence[int], epochs: int, folder: Path) -> Lines:
    """CPU ms per update of a VAE and of CD-1, ours and the naive loop in turns, at each of the ``points``."""
    of, lines = PANELS[panel][1], Lines()
    for kind, naive in (("vae", lambda *to: bare(*to, naive=True)), ("rbm", naive_cd)):
        for point in points:
            work = of(WORKS[kind], point)
            with tempfile.TemporaryDirectory(dir=folder) as place:
                write_images(Path(place), work)
                for name, contender in (("aelab", aelab), (NAIVE, naive)):
                    seconds = least_seconds(contender, work, Path(place), epochs)
                    lines.setdefault(f"{WORKS[kind].name}, {name}", []).append((point, 1000 * seconds / work.steps))
    return lines


# --- several processes ------------------------------------------------------------------------------------------------


class CpuSeconds(pl.Callback):
    """Leaves in ``place`` how much CPU time each rank had had when an epoch began."""

    takes_chunks = True  # it need not see single minibatches

    def __init__(self, place: str):
        self.place = Path(place)

    def on_train_epoch_start(self, trainer: pl.Trainer, model: pl.LightningModule) -> None:
        note(self.place, trainer.global_rank)


def note(place: Path, rank: int) -> None:
    with (place / f"rank{rank}.txt").open("a") as file:
        file.write(f"{time.process_time()}\n")


def sum_of_least(place: Path) -> float:
    """CPU seconds of the cheapest epoch of each rank, added."""
    moments = [[float(line) for line in path.read_text().split()] for path in sorted(place.glob("rank*.txt"))]
    return sum(min(then - now for now, then in pairwise(rank)) for rank in moments)


def ours_on(processes: int, work: Work, folder: Path, epochs: int, place: Path) -> None:
    from aelab import run

    several = [f"hardware.devices={processes}", "hardware.strategy=ddp"] if processes > 1 else []
    callback = ["+callbacks.cpu._target_=growth.CpuSeconds", f"+callbacks.cpu.place={place}"]
    run([*overrides(work, folder), *several, *callback, f"train.epochs={epochs + 1}", f"hydra.run.dir={place}/run"])


def naive_on(processes: int, work: Work, folder: Path, epochs: int, place: Path) -> None:
    torch.multiprocessing.spawn(naive_rank, (processes, work, folder, epochs, place), nprocs=processes)


def naive_rank(rank: int, processes: int, work: Work, folder: Path, epochs: int, place: Path) -> None:
    """One rank of the naive loop under DistributedDataParallel, with its share of the rows and of each batch."""
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{place}/meet", rank=rank, world_size=processes)
    net = Bare(work, naive=True)
    loss_of = DistributedDataParallel(net) if processes > 1 else net
    optimizer, x = adam(net, naive=True), images(folder, work)[rank::processes]
    for _ in range(epochs):
        note(place, rank)
        epoch_of(loss_of, optimizer, x, work.batch // processes)
    note(place, rank)
    distributed.destroy_process_group()


def across_processes(points: Sequence[int], epochs: int, folder: Path) -> Lines:
    """CPU ms per update of a VAE, summed over the processes that share each batch."""
    work, lines = batched(WORKS["vae"], WORKS["vae"].batch), Lines()
    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(path).absolute()) for path in sys.path if path)
    write_images(folder / "shared", work)
    for processes in points:
        for name, train in (("aelab", ours_on), (NAIVE, naive_on)):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                train(processes, work, folder / "shared", epochs, Path(place))
                ms = 1000 * sum_of_least(Path(place)) / work.steps
            lines.setdefault(f"{work.name}, {name}", []).append((processes, ms))
    return lines


# --- the picture ------------------------------------------------------------------------------------------------------


def picture(panels: Mapping[str, Lines], about: str) -> Sheet:
    """Both axes logarithmic: a straight line at 45° is a cost in proportion."""
    usual = " and ".join(f"{WORKS[kind].title} in batches of {WORKS[kind].batch}" for kind in ("vae", "rbm"))
    sheet = Sheet(f"What an update costs: {usual}, but for what varies", 9, 7)
    sheet.sign(about)
    for axes, (says, lines) in zip(sheet.plots(2, 2), panels.items()):
        for number, (name, points) in enumerate(lines.items()):
            style = "-" if NAIVE not in name else "--"
            axes.plot(*zip(*points), style, color=LINES[number // 2], marker="o", markersize=3, label=name)
        ticks = sorted({int(at) for points in lines.values() for at, _ in points})
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.legend(fontsize=SMALL)
        label(axes, says, "CPU time per update, ms")
    return sheet


def draw(path: Path, epochs: int, about: str) -> None:
    """Measure all, and leave the picture at ``path``; the figures are printed."""
    torch.set_num_threads(1)
    panels: dict[str, Lines] = {}
    with tempfile.TemporaryDirectory() as folder:
        for panel, (points, _) in PANELS.items():
            panels[panel] = grown(panel, points, epochs, Path(folder))
            told(panel, panels[panel])
        panels[ACROSS] = across_processes(PROCESSES, epochs, Path(folder))
        told(ACROSS, panels[ACROSS])
    save(picture(panels, about), path, "png", 150)
    print(path)


def told(panel: str, lines: Mapping[str, Any]) -> None:
    for name, points in lines.items():
        print(f"{panel}: {name}: " + ", ".join(f"{at:,} {ms:.2f} ms" for at, ms in points), flush=True)
