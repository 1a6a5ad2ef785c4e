"""What aelab costs: an epoch of an autoencoder against a bare PyTorch loop of the same arithmetic, and the start-up.

    python tests/benchmarks/bench_autoencoder.py [--rounds 5] [--precision 32-true] [--startup]

One torch thread, CPU seconds (``time.process_time``), MNIST where AELAB_DATA names a folder with it, else random images
of its size. A round is an epoch of the bare loop and an epoch of an ordinary aelab run, one straight after the other in
one process; printed are the minima over the rounds (after a first one that warms up), and their ratio. Both loops:
55,000 training images in batches of 128 by ``index_select`` from a permutation, BCE on logits, fused Adam, one rate.

``training``: from the first minibatch to the last. ``everything``: all that a run does in an epoch, its validation on
5,000 images, checkpoints, history.csv and logging to csv too; the bare loop then validates as well, and saves nothing.
"""

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import nn
from torch.nn import functional as F

NETS = {"784-400-20": ([400], 20), "784-1000-500-250-30": ([1000, 500, 250], 30)}
BATCH = 128


def bare_net(widths: list[int], n_code: int) -> nn.Sequential:
    """The same layers as aelab's autoencoder with rectified hidden units and a linear code."""
    up = [784, *widths, n_code]
    modules: list[nn.Module] = []
    for sizes in (up, up[::-1]):
        for n_in, n_out in itertools.pairwise(sizes):
            modules += [nn.Linear(n_in, n_out), nn.ReLU()]
        modules.pop()
    return nn.Sequential(*modules)


class Bare:
    """The loop that one would write by hand."""

    def __init__(self, widths: list[int], n_code: int, x: torch.Tensor, x_val: torch.Tensor, precision: str):
        self.x, self.x_val, self.mixed = x, x_val, precision == "bf16-mixed"
        self.net = bare_net(widths, n_code)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3, fused=True)

    def autocast(self):
        return torch.autocast("cpu", torch.bfloat16) if self.mixed else contextlib.nullcontext()

    def train(self) -> None:
        order = torch.randperm(len(self.x))
        for start in range(0, len(order), BATCH):
            x = self.x.index_select(0, order[start : start + BATCH])
            self.optimizer.zero_grad()
            with self.autocast():
                loss = F.binary_cross_entropy_with_logits(self.net(x), x, reduction="sum") / len(x)
            loss.backward()
            self.optimizer.step()

    @torch.no_grad()
    def validate(self) -> float:
        """Loss and squared error, as an aelab run has them."""
        total = torch.zeros(2)
        with self.autocast():
            for x in self.x_val.split(1000):
                logits = self.net(x)
                total[0] += F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
                total[1] += (logits.sigmoid() - x).square().sum()
        return float(total[0])


def compare(name: str, rounds: int, precision: str, folder: Path) -> tuple[float, float]:
    """Interleave the two loops, print their minima; the ratios of training and of everything."""
    from helpers import composed

    from aelab.models.base import Model
    from aelab.runs.train import train

    widths, n_code = NETS[name]
    cfg = composed(
        "data=mnist", "logger=csv", f"model.n_code={n_code}", f"model.network.widths={widths}", "schedule=constant",
        "model.network.activation=relu", "optimizer.lr=0.001", f"train.batch_size={BATCH}", "evaluate.probe=null",
        f"train.epochs={rounds + 1}", f"hardware.precision={precision}", "hardware.threads=1", "evaluate.knn=null",
    )  # fmt: skip
    seconds: dict[str, list[float]] = {key: [] for key in ("bare", "bare+val", "aelab", "aelab+all")}
    at = {}
    start, validate = Model.on_train_epoch_start, Model.on_validation_epoch_start
    bare: list[Bare] = []

    def epoch_start(model: Model) -> None:
        now = time.process_time()
        if "start" in at:
            seconds["aelab+all"].append(now - at["start"])
        if not bare:
            data = model.trainer.datamodule
            bare.append(Bare(widths, n_code, data.train.x, data.val.x, precision))
            assert [p.numel() for p in bare[0].net.parameters()] == [p.numel() for p in model.parameters()]
        now = time.process_time()
        bare[0].train()
        middle = time.process_time()
        bare[0].validate()
        seconds["bare"].append(middle - now)
        seconds["bare+val"].append(time.process_time() - now)
        at["start"] = time.process_time()
        start(model)

    def validation_start(model: Model) -> None:
        seconds["aelab"].append(time.process_time() - at["start"])
        validate(model)

    Model.on_train_epoch_start, Model.on_validation_epoch_start = epoch_start, validation_start
    try:
        folder.mkdir(parents=True)
        train(cfg, folder, "aelab")
    finally:
        Model.on_train_epoch_start, Model.on_validation_epoch_start = start, validate
    best = {key: min(values[1:]) for key, values in seconds.items()}
    ratios = best["aelab"] / best["bare"], best["aelab+all"] / best["bare+val"]
    print(f"{name:22}{best['bare']:8.2f}{best['aelab']:8.2f}{ratios[0]:8.3f}", end="")
    print(f"{best['bare+val']:12.2f}{best['aelab+all']:8.2f}{ratios[1]:8.3f}", flush=True)
    return ratios


def startup(folder: Path) -> None:
    """Wall-clock seconds of the command's help, and of a run's way to its first step."""
    from aelab.files import read_json

    command = [sys.executable, "-m", "aelab.app"]
    times = []
    for _ in range(5):
        before = time.perf_counter()
        subprocess.run([*command, "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - before)
    print(f"aelab --help: {min(times):.2f} s")
    times = []
    for number in range(3):
        run = folder / f"start{number}"
        options = ["train.epochs=1", f"hydra.run.dir={run}"]
        subprocess.run([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        times.append(read_json(run / "timing.json")["seconds_to_first_step"])
    print(f"from the command to the first training step: {min(times):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each loop that count")
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--startup", action="store_true", help="time the start-up instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        if options.startup:
            return startup(Path(scratch))
        if not (Path(os.environ.get("AELAB_DATA", scratch)) / "mnist").is_dir():
            from fake_data import write_mnist

            write_mnist(Path(scratch) / "mnist", 60_000, 10_000, packed=False)
            os.environ["AELAB_DATA"] = scratch
        print(
            f"CPU s an epoch        {'training':>24}{'everything':>28}\n{'':22}{'bare':>8}{'aelab':>8}{'ratio':>8}",
            end="",
        )
        print(f"{'bare':>12}{'aelab':>8}{'ratio':>8}")
        for number, name in enumerate(NETS):
            compare(name, options.rounds, options.precision, Path(scratch) / f"run{number}")


if __name__ == "__main__":
    main()
