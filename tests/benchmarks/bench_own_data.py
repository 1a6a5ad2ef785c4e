"""Large data of one's own: encoding a memory map beside a bare PyTorch loop, training from disk and from memory.

``python tests/benchmarks/bench_own_data.py encode --rows 1000000`` runs ``aelab task=encode`` on ROWS × 784 floats in a
.npy file, and a loop that reads the same file, encodes it with the same weights and writes the same codes; each in a
process of its own. It prints CPU seconds, their ratio (limit 1.3) and the greatest memory (limit 1.5 GB). The imports
of either are in its seconds.

``… stream --rows 60000 --epochs 6`` trains the same model with data.stream and without, in turn, and prints the ratio
of their training seconds (limit 1.25), with the file's pages in memory and dropped (as root alone) before each.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTH, BLOCK = 784, 10_000
LIMITS = {"encode": 1.3, "memory": 1.5, "stream": 1.25}
NET = ("model=autoencoder", "model.n_code=32", "model.network.widths=[400]", "model.likelihood=gaussian")
NO_TESTS = ("logger=csv", "evaluate.probe=null", "evaluate.knn=null", "evaluate.pca=null", "hardware.threads=1")

BARE = """
import sys
import numpy as np, torch
import aelab
torch.set_num_threads(1)
folder, path, out = sys.argv[1:]
model = aelab.load(folder).model.eval()
rows = np.load(path, mmap_mode="r")
codes = np.lib.format.open_memmap(out, "w+", np.float32, (len(rows), 32))
with torch.no_grad():
    for start in range(0, len(rows), 1000):
        codes[start : start + 1000] = model.encode(torch.from_numpy(rows[start : start + 1000].copy())).numpy()
codes.flush()
"""


def made(path: Path, rows: int) -> Path:
    """ROWS × 784 numbers near a space of 32 dimensions, written some at a time."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(32, WIDTH)).astype(np.float32) / 6
    array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, WIDTH))
    for start in range(0, rows, BLOCK):
        n = min(BLOCK, rows - start)
        codes = rng.normal(size=(n, 32)).astype(np.float32)
        array[start : start + n] = codes @ directions + 0.1 * rng.normal(size=(n, WIDTH))
    array.flush()
    return path


def measured(command: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall-clock seconds and the greatest memory (GB) of a process."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    anonymous = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            anonymous = max(anonymous, int(lines.get("RssAnon", "0 kB").split()[0]))
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(0.05)
    if process.wait():
        sys.exit(f"failed: {' '.join(command)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - began, anonymous / 1e6


def aelab(*overrides: str) -> list[str]:
    return [sys.executable, "-m", "aelab.app", *overrides]


def encode(root: Path, rows: int, rounds: int) -> list[bool]:
    few, many = made(root / "few.npy", 5000), made(root / "many.npy", rows)
    run = root / "run"
    subprocess.run(
        aelab("data=array", f"data.path={few}", "data.scale=none", *NET, *NO_TESTS, "train.epochs=1",
              f"hydra.run.dir={run}"),
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(measured(aelab("task=encode", f"run={run}", "data=array", f"data.path={many}",
                                   f"out={root / 'codes.npy'}")))  # fmt: skip
        bare.append(measured([sys.executable, "-c", BARE, str(run), str(many), str(root / "bare.npy")]))
        assert np.allclose(np.load(root / "codes.npy"), np.load(root / "bare.npy"), atol=1e-4)
    (cpu, wall, memory), (bare_cpu, bare_wall, _) = min(ours), min(bare)
    print(f"encoding {rows} × {WIDTH}: aelab {cpu:.1f} CPU s ({wall:.1f} s, {memory:.2f} GB), bare loop {bare_cpu:.1f} "
          f"CPU s ({bare_wall:.1f} s); ratio {cpu / bare_cpu:.2f} (limit {LIMITS['encode']})")  # fmt: skip
    return [cpu / bare_cpu <= LIMITS["encode"], memory <= LIMITS["memory"]]


def drop_pages() -> bool:
    """Have the system forget the files it holds in memory; False where it does not let us."""
    try:
        subprocess.run(["sync"], check=True)
        Path("/proc/sys/vm/drop_caches").write_text("1")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def stream(root: Path, rows: int, epochs: int, rounds: int) -> list[bool]:
    path, held = made(root / "rows.npy", rows), []
    for pages in ("kept", "dropped"):
        if pages == "dropped" and not drop_pages():
            print("pages of files can't be dropped here: not measured")
            continue
        best = {}
        for number in range(rounds):
            for name, where in (("memory", "null"), ("disk", root / "disk")):
                if pages == "dropped":
                    drop_pages()
                run = root / f"{pages}-{number}-{name}"
                subprocess.run(
                    aelab("data=array", f"data.path={path}", f"data.stream={where}", *NET, *NO_TESTS,
                          f"train.epochs={epochs}", f"hydra.run.dir={run}"),
                    check=True, stdout=subprocess.DEVNULL,
                )  # fmt: skip
                seconds = json.loads((run / "timing.json").read_text())["train_seconds"]
                best[name] = min(seconds, best.get(name, seconds))
        ratio = best["disk"] / best["memory"]
        print(
            f"training on {rows} × {WIDTH}, {epochs} epochs, pages {pages} at first: from disk {best['disk']:.1f} s, "
            f"from memory {best['memory']:.1f} s; ratio {ratio:.2f} (limit {LIMITS['stream']})"
        )
        held.append(ratio <= LIMITS["stream"])
    return held


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["encode", "stream"])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", help="where the files are written (default: the system's temporary folder)")
    said = parser.parse_args()
    print(f"processor: {processor()}")
    with tempfile.TemporaryDirectory(dir=said.folder) as place:
        root = Path(place)
        if said.what == "encode":
            held = encode(root, said.rows, said.rounds)
        else:
            held = stream(root, said.rows, said.epochs, said.rounds)
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
