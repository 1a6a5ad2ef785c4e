"""The digits chain's whole command beside its training: what everything round the training costs, in CPU seconds.

``python tests/benchmarks/bench_chain_command.py`` runs ``aelab chain=deep_autoencoder``, its store empty, W&B offline
as it is without a key, and prints the CPU of all its processes, that of its training, that of importing the libraries
it uses, and (whole − imports) / training, which should be at most 1.6. Of several rounds the least of each counts: CPU
seconds, unlike seconds, hardly depend on what else the machine does. Linux only, for W&B's own process is counted too.
``--startup`` prints instead how many seconds ``aelab --help`` takes, and an ordinary run until its first step.
"""

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aelab.clock import processor
from aelab.files import read_json

BAR = 1.6
PR_SET_CHILD_SUBREAPER = 36  # of prctl: processes that a child leaves behind are ours to wait for
LIBRARIES = (
    "hydra, torch, pytorch_lightning, wandb, matplotlib.figure, matplotlib.backends.backend_agg, rich.progress, "
    "sklearn.datasets, sklearn.linear_model, sklearn.model_selection, sklearn.neighbors"
)
# The command with the clock of its training counting CPU seconds of this process.
COMMAND = """
import time, types
import aelab.runs.progress
aelab.runs.progress.time = types.SimpleNamespace(**vars(time) | {"perf_counter": time.process_time})
from aelab.app import main
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--startup", action="store_true")
    args = parser.parse_args()
    rounds = args.rounds
    if args.startup:
        return startup(rounds)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    whole, training, imports = (min(each) for each in zip(*(measure() for _ in range(rounds))))
    ratio = (whole - imports) / training
    print(f"aelab chain=deep_autoencoder, {processor()}, least of {rounds}, CPU seconds")
    print(f"whole command          {whole:6.2f}")
    print(f"training of its stages {training:6.2f}")
    print(f"imports                {imports:6.2f}")
    print(f"(whole - imports) / training = {ratio:.2f}, to be at most {BAR}")


def measure() -> tuple[float, float, float]:
    """CPU seconds of the whole command, of its training, and of the imports."""
    imports = cpu_of("-c", f"import {LIBRARIES}")
    with tempfile.TemporaryDirectory() as folder:
        places = f"chain.store={folder}/store", f"hydra.run.dir={folder}/run"
        whole = cpu_of("-c", COMMAND, "chain=deep_autoencoder", *places)
        stages = [read_json(path)["train_seconds"] for path in sorted(Path(folder).glob("run/stages/*/timing.json"))]
    if len(stages) != 4:
        raise SystemExit(f"the chain left {len(stages)} stages, not 4")
    return whole, sum(stages), imports


def startup(rounds: int) -> None:
    """Seconds of the command's help, and of a run's way to its first step; the least of the rounds."""
    quiet, helps, steps = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True), [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            before = time.perf_counter()
            subprocess.run([sys.executable, "-m", "aelab.app", "--help"], **quiet)
            helps.append(time.perf_counter() - before)
            run = f"{folder}/{number}"
            options = "train.epochs=1", "logger=csv", f"hydra.run.dir={run}"
            subprocess.run([sys.executable, "-m", "aelab.app", *options], **quiet)
            steps.append(read_json(Path(run) / "timing.json")["seconds_to_first_step"])
    print(f"{processor()}: aelab --help {min(helps):.2f} s, from the command to the first step {min(steps):.2f} s")


def cpu_of(*arguments: str) -> float:
    """CPU seconds, user's and system's, of ``python ARGUMENTS`` and of every process that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    quiet = {**os.environ, "WANDB_MODE": "offline", "MPLBACKEND": "Agg"}
    child = subprocess.Popen([sys.executable, *arguments], env=quiet, stdout=subprocess.DEVNULL)
    if child.wait():
        raise SystemExit(f"it ended with status {child.returncode}")
    try:
        while True:
            os.wait()  # what it left behind
    except ChildProcessError:
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
