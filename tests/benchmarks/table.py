"""What training costs: aelab beside bare PyTorch, scikit-learn, rbms, learnergy, pythae and the matrix products alone.

    taskset -c 1 python tests/benchmarks/table.py [--works rbm vae ae] [--rounds 3] [--only aelab PyTorch] [--bf16]
    taskset -c 1 python tests/benchmarks/table.py --growth growth.png      # how the cost grows, as a picture
    taskset -c 1 python tests/benchmarks/table.py --readme README.md       # all works; into that file, by who made the
                                                                           # processor: AMD's and Intel's stand in it

Each contender (contenders.py says what its epoch is) is a process of its own on one thread. They train in turns, an
epoch each per round, so that a slow spell of the machine hits all alike; of each the least CPU seconds count, and its
peak of memory. The **floor** is the products of an update and nothing else, by the faster library of the two, torch's
own or oneDNN; rows in bf16 have one in bf16. After the table come the bars, each held or missed, and the exit status is
1 if one was missed. A library that is not installed is left out with a line that says how to get it, and so is bf16
where the processor has no instructions for it, unless ``--bf16`` asks for it. ``--kept FILE`` keeps each work's costs
as soon as they are measured, and does not measure again what it finds there: the works may wait for quiet hours of
their own. Linux only.
"""

import argparse
import contextlib
import datetime
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import torch
from contenders import CONTENDERS, FLOORS, NAIVE, WORKS, Work, write_data

from aelab.clock import processor
from aelab.rbm.ways import bf16_costs
from aelab.results.history import with_table
from aelab.results.tables import markdown

MAKERS = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}
TO_INSTALL = {
    "rbms": "pip install --ignore-requires-python rbms==0.6.0",
    "learnergy": "pip install --ignore-requires-python learnergy==2.0.2",
    "pythae": "pip install pythae==0.1.2",
}
INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX BF16"}
FLOOR, FLOOR_BF16 = "the floor", "the floor in bf16"
Cost = tuple[float, float]  # CPU seconds per epoch, MiB


class Bar(NamedTuple):
    """CPU seconds of ``contender`` over those of ``against`` are to be at most ``most``, on AMD ``on_amd``."""

    contender: str
    against: str
    most: float
    on_amd: float | None = None


BARS = {
    "rbm": [
        Bar("aelab", FLOOR, 1.30),
        Bar("aelab", "rbms", 0.33, 0.22),
        Bar("aelab", "learnergy", 0.33, 0.22),
        Bar("aelab, bf16", NAIVE, 0.45),
        Bar("aelab, bf16", FLOOR_BF16, 2.2),
    ],
    "vae": [Bar("aelab", NAIVE, 0.60), Bar("aelab", "pythae", 0.60), Bar("aelab, bf16", NAIVE, 0.45)],
    "ae": [Bar("aelab", NAIVE, 0.72), Bar("aelab, bf16", NAIVE, 0.36)],
}


class Contender:
    """The process of one contender."""

    def __init__(self, work: Work, name: str, folder: Path):
        self.errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - end() closes it
        script = str(Path(__file__).with_name("contenders.py"))
        paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
        self.process = subprocess.Popen(
            [sys.executable, script, work.kind, name, str(work.rows), str(folder)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.errors, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip

    def epoch(self) -> Cost:
        """What the next one costs. Raises RuntimeError with the last thing it said, if it broke down."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise RuntimeError((self.errors.read().strip().splitlines() or ["no word"])[-1])
        answer = json.loads(line)
        return answer["seconds"], answer["mib"]

    def end(self) -> None:
        self.process.communicate()
        self.errors.close()


def measured(work: Work, names: Sequence[str], rounds: int, folder: Path) -> dict[str, Cost]:
    """The least of CPU seconds and the peak of memory of each contender, over rounds in which they take turns."""
    write_data(folder, work)
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    contenders = {name: Contender(work, name, folder) for name in names}
    try:
        for _ in range(rounds):
            for name, contender in list(contenders.items()):
                try:
                    costs[name].append(contender.epoch())
                except RuntimeError as error:
                    print(f"{name} broke down, and is left out: {error}", flush=True)
                    contenders.pop(name).end()
    finally:
        for contender in contenders.values():
            contender.end()
    return {name: (min(s for s, _ in costs[name]), max(m for _, m in costs[name])) for name in contenders}


def with_floors(costs: dict[str, Cost]) -> dict[str, float]:
    """CPU seconds by name, the floors among them, as far as they were measured."""
    seconds = {name: cost[0] for name, cost in costs.items()}
    for floor, is_bf16 in ((FLOOR, False), (FLOOR_BF16, True)):
        found = [seconds[name] for name in FLOORS if name in seconds and in_bf16(name) == is_bf16]
        seconds |= {floor: min(found)} if found else {}
    return seconds


def rows_of(work: Work, costs: dict[str, Cost]) -> list[dict[str, object]]:
    """The table's rows: what each contender took, beside the floor in its precision and beside the naive loop."""
    seconds = with_floors(costs)

    def over(name: str, other: str) -> str:
        return f"{seconds[name] / seconds[other]:.2f}" if other in seconds else ""

    return [
        {
            "work": work.title,
            "images": f"{work.rows:,}",
            "contender": name,
            "CPU s per epoch": f"{seconds[name]:.2f}",
            "ms per update": f"{1000 * seconds[name] / work.steps:.2f}",
            "× the floor": over(name, FLOOR_BF16 if in_bf16(name) else FLOOR),
            "× naive": over(name, NAIVE),
            "peak MiB": f"{mib:.0f}",
        }
        for name, (_, mib) in costs.items()
    ]


def verdicts(work: Work, bars: Sequence[Bar], costs: dict[str, Cost], amd: bool) -> list[dict[str, str]]:
    """Each bar: held, missed, or not measured here."""
    seconds, found = with_floors(costs), []
    for contender, against, most, on_amd in bars:
        limit = on_amd if amd and on_amd is not None else most
        row = {"work": work.title, "bar": f"{contender} ≤ {limit:.2f} × {against}"}
        if contender in seconds and against in seconds:
            ratio = seconds[contender] / seconds[against]
            verdict = "held" if ratio <= limit else f"missed by {ratio - limit:.3f}"
            found.append({**row, "measured": f"{ratio:.3f}", "": verdict})
        else:
            found.append({**row, "measured": "", "": "not measured here"})
    return found


def in_bf16(name: str) -> bool:
    return name.endswith("bf16")


def about() -> str:
    """The processor and what it has, torch, the day, and how busy the machine was beside."""
    flags = _cpuinfo("flags").split()
    has = [name for flag, name in INSTRUCTIONS.items() if flag in flags] or ["none of AVX2, AVX-512, AMX"]
    beside = os.getloadavg()[0]
    return (
        f"{processor()} ({', '.join(has)}), torch {torch.__version__}, {datetime.date.today():%d %B %Y}, "
        f"load {beside:.0f} on {os.cpu_count()} cores when it began"
    )


def maker() -> str:
    """Who made the processor."""
    vendor = _cpuinfo("vendor_id")
    return MAKERS.get(vendor, vendor)


def place_in_readme() -> tuple[str, str]:
    """The lines between which this processor's table stands in the README."""
    command = "python tests/benchmarks/table.py --readme README.md"
    return f"<!-- costs on {maker()}, made by: {command} -->", f"<!-- end of costs on {maker()} -->"


def _cpuinfo(name: str) -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == name), "")


def taking_part(kind: str, only: Sequence[str], bf16: bool) -> Iterator[str]:
    """The contenders of a work that can be timed here and are asked for."""
    for name in CONTENDERS[kind]:
        library = name.split(",")[0]
        there = library not in TO_INSTALL or importlib.util.find_spec(library) is not None
        asked = not only or any(name.startswith(start) for start in only)
        if there and asked and (bf16 or not in_bf16(name)):
            yield name


class Measured(NamedTuple):
    """The costs of a work, and the circumstances."""

    about: str
    rows: int
    rounds: int
    costs: dict[str, Cost]


def read_kept(path: Path | None) -> dict[str, Measured]:
    if path is None or not path.exists():
        return {}
    return {kind: Measured(*fields) for kind, fields in json.loads(path.read_text()).items()}


def text_of(all_measured: dict[str, Measured]) -> tuple[str, bool]:
    """Both tables in markdown, and whether a bar was missed."""
    table, bars, said = [], [], {}
    for kind, (circumstances, rows, rounds, costs) in all_measured.items():
        work = WORKS[kind]._replace(rows=rows)
        table += rows_of(work, costs)
        bars += verdicts(work, BARS[kind], costs, maker() == "AMD")
        said.setdefault(f"the least of {rounds} rounds in turns, {circumstances}", []).append(work.title)
    heading = "; ".join(f"{', '.join(titles)}: {how}" for how, titles in said.items())
    text = f"CPU seconds of an epoch, one thread ({heading}):\n\n{markdown(table)}\n{markdown(bars)}"
    return text, any(bar[""].startswith("missed") for bar in bars)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--rounds", type=int, default=3, help="epochs of each contender")
    parser.add_argument("--rows", type=int, help="images of an epoch, other than contenders.py has")
    parser.add_argument("--only", nargs="+", default=[], help="beginnings of the contenders' names")
    parser.add_argument(
        "--bf16", action="store_true", help="bf16 in any case, tens of times as slow on some processors"
    )
    parser.add_argument("--kept", type=Path, metavar="JSON", help="file of costs that were measured already")
    parser.add_argument("--growth", type=Path, metavar="PNG", help="draw how the cost grows, instead of the table")
    parser.add_argument("--readme", type=Path, help="put the table into this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.growth:
        from growth import draw

        return draw(args.growth, args.rounds, about())
    missing = [library for library in TO_INSTALL if importlib.util.find_spec(library) is None]
    for library in missing:
        print(f"{library} is missing and left out; to have it: {TO_INSTALL[library]}")
    if args.readme and (missing or args.only or args.rows or args.works != list(WORKS)):
        sys.exit("--readme: the table there has all works, all contenders and as many images as contenders.py says")
    bf16 = args.bf16 or (times := bf16_costs()) <= 1
    if not bf16:
        print(f"bf16 is left out (a product takes {times:.0f} times as long here); to have it: --bf16", flush=True)

    found = read_kept(args.kept)
    for kind in args.works:
        if kind in found:
            continue
        work = WORKS[kind]._replace(rows=args.rows or WORKS[kind].rows)
        circumstances = about()
        with tempfile.TemporaryDirectory() as place:
            costs = measured(work, list(taking_part(kind, args.only, bf16)), args.rounds, Path(place) / "data")
        found[kind] = Measured(circumstances, work.rows, args.rounds, costs)
        if args.kept:
            args.kept.write_text(json.dumps(read_kept(args.kept) | {kind: found[kind]}, indent=1))
        print(f"\n{circumstances}\n\n{markdown(rows_of(work, costs))}", flush=True)
    text, missed = text_of({kind: found[kind] for kind in args.works})
    print(f"\n{text}")
    if args.readme:
        args.readme.write_text(with_table(args.readme.read_text(), text, *place_in_readme()))
    sys.exit(missed)


if __name__ == "__main__":
    main()
