"""Commands killed at random moments, and failing file-system calls: each then goes on to the same weights, bit for bit.

    python tests/benchmarks/bench_kills.py                       # 25 runs, 25 chains, 10 grids, 10 searches, 40 calls
    python tests/benchmarks/bench_kills.py --runs 3 --chains 0   # some of each

A command runs in a fork of this process, is killed by SIGKILL at a moment drawn from how long an undisturbed one takes,
and is given again, unchanged, until it ends by itself. One line is printed per kind: how many were tried, in how many
of them the kill came in time, and in how many weights and figures of merit were the same. The exit status is 1 unless
all were.
"""

import argparse
import builtins
import errno
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

os.environ.update({"WANDB_MODE": "offline", "MPLBACKEND": "Agg"})

import torch

import aelab.results.figures
import aelab.runs.applying
import aelab.runs.chain
import aelab.runs.train
import aelab.sweep.pictures
from aelab.app import main as command

QUICK = (
    "logger=csv", "data.train_size=120", "data.validation=40", "evaluate.probe=null", "evaluate.knn=null",
    "hardware.threads=1", "data.binarize=bernoulli",
)  # fmt: skip
SMALL = (*QUICK, "train.epochs=12", "train.batch_size=20", "model.network.widths=[16]", "model.n_code=4")
KINDS = {
    "runs": (*SMALL, "corruption=masking", "train.epochs=40", "hydra.run.dir=kept"),
    "chains": (
        *QUICK, "chain=deep_autoencoder", "chain.widths=[8,3]", "chain.rbm.train.epochs=8", "chain.store=store",
        "chain.rbm.train.batch_size=20", "chain.finetune.train.epochs=8", "chain.finetune.train.batch_size=20",
        "hydra.run.dir=kept",
    ),
    "grids": ("-m", *SMALL, "seed=0,1,2", "hydra.sweep.dir=kept"),
    "searches": (
        "-m", *SMALL, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.study_name=kept",
        "optimizer.lr=tag(log,interval(1e-4,1e-2))",
    ),
    "calls": (*SMALL, "train.epochs=4", "hydra.run.dir=kept"),
}  # fmt: skip
MOST_STARTS = 20


def start(words: tuple[str, ...], folder: Path, prepare: Callable[[], None] | None = None) -> int:
    """The process id of a fork that runs the command in ``folder`` after ``prepare()``."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        log = os.open("said", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        aelab.results.figures.run_figures = lambda *_: {}  # they take longer than all the rest
        sys.argv = ["aelab", *words]
        if prepare is not None:
            prepare()
        command()
        status = 0
    except SystemExit as end:
        print(end.code, flush=True)
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def ended(child: int) -> int:
    """The status of a fork that ends by itself; negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def results(folder: Path) -> dict[str, object]:
    """Of every run below ``folder``: weights and figures of merit, by where they lie."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("last.ckpt")):
        where = str(path.parent.relative_to(folder))
        found[where] = torch.load(path, weights_only=True)["state_dict"]
        found[f"{where} metrics"] = (path.parent / "metrics.json").read_bytes()
    return found


def same(one: object, other: object) -> bool:
    """Equal to the last bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    return (
        torch.equal(one, other) if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) else one == other
    )


def kills(kind: str, n: int, root: Path, draw: random.Random) -> tuple[int, int]:
    """How many of ``n`` commands were killed before their end, and how many came to the undisturbed one's results."""
    words = KINDS[kind]
    whole = made(root / "whole")
    began = time.monotonic()
    assert ended(start(words, whole)) == 0, (whole / "said").read_text()
    lasts, wanted = time.monotonic() - began, results(whole)
    killed = right = 0
    for number in range(n):
        folder, hit = made(root / str(number)), 0
        for left in range(MOST_STARTS, 0, -1):
            if kind == "runs" and (folder / "kept" / "metrics.json").exists():
                status = 0  # killed when all was done: the folder holds a finished run, which no command overwrites
                break
            child = start(words, folder)
            if hit < 2 and left > 1:
                time.sleep(draw.uniform(0, lasts))
                os.kill(child, signal.SIGKILL)
            status = ended(child)
            if status != -signal.SIGKILL:
                break
            hit += 1
        killed += hit > 0
        right += verdict(status, wanted, folder, f"{kind} {number}")
    return killed, right


def calls(n: int, root: Path) -> tuple[int, int]:
    """The same of runs whose k-th writing call kills the process, or fails, for k = 1, 3, 5, …"""
    words = KINDS["calls"]
    whole = made(root / "whole")
    assert ended(start(words, whole)) == 0, (whole / "said").read_text()
    wanted = results(whole)
    hit = right = 0
    for number in range(n):
        folder = made(root / str(number))
        kill, at = number % 2 == 0, 1 + 2 * (number // 2)
        status = ended(start(words, folder, lambda at=at, kill=kill: disturb(at, kill)))
        hit += (folder / "disturbed").exists()
        if status:
            status = ended(start(words, folder))
        right += verdict(status, wanted, folder, f"call {at} {'killed' if kill else 'failed'}")
    return hit, right


def disturb(at: int, kill: bool) -> None:
    """From here on the ``at``-th call that writes kills this process, or says that the disk is full."""
    count = 0

    def counted(original: Callable) -> Callable:
        def call(*args: object, **options: object) -> object:
            nonlocal count
            mode = args[1] if len(args) > 1 else options.get("mode", "r")
            writes = original is not opened or (isinstance(mode, str) and set(mode) & set("wax+"))
            count += bool(writes) and not str(args[0]).endswith(("said", "log", ".lock"))
            if writes and count == at:
                count += 1
                opened("disturbed", "w").close()
                if kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(args[0]))
            return original(*args, **options)

        return call

    opened = builtins.open
    builtins.open = counted(opened)
    for name in ("replace", "rename", "link", "fsync"):
        setattr(os, name, counted(getattr(os, name)))


def verdict(status: int, wanted: dict[str, object], folder: Path, what: str) -> bool:
    """Whether the command ended well and with the same; what did not is said, and its folder kept."""
    found = results(folder) if status == 0 else {}
    if status == 0 and same(wanted, found):
        shutil.rmtree(folder)
        return True
    last = (folder / "said").read_text().strip().splitlines()[-1:]
    print(f"  {what}: status {status}, {'other results' if found else last} in {folder}", flush=True)
    return False


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, n in (("runs", 25), ("chains", 25), ("grids", 10), ("searches", 10), ("calls", 40)):
        parser.add_argument(f"--{kind}", type=int, default=n)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="kills-"))
    lost = 0
    for kind in KINDS:
        n = getattr(asked, kind)
        if n == 0:
            continue
        draw = random.Random(f"{asked.seed} {kind}")
        hit, right = calls(n, root / kind) if kind == "calls" else kills(kind, n, root / kind, draw)
        print(f"{kind}: {n} tried, {hit} disturbed before their end, {right} with the same results", flush=True)
        lost += n - right
    if lost == 0:
        shutil.rmtree(root)
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
