"""An epoch of CD-1, RBM 784-500, batch 100, 60,000 random images of bits, one thread: aelab's run against other code.

    taskset -c 1 python tests/benchmarks/bench_rbm.py --rounds 3

aelab is timed as a person runs it: ``train`` with its data, Trainer, validation, diagnostics and checkpoint, from the
start of one epoch to the start of the next. The others train for one epoch without anything of that, by their own
defaults; rbms centres its gradient, and is timed without that too. Rounds are interleaved, so that a slow spell hits
all alike; of each the least CPU time is kept. rbms and learnergy are optional
(pip install --ignore-requires-python rbms==0.6.0 learnergy==2.0.2): one that is missing is left out, and said so.
Exit status 1 if a bound does not hold.
"""

import argparse
import contextlib
import io
import itertools
import os
import sys
import tempfile
import time
import typing
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from bench_rbm_step import hand_written
from fake_data import idx_bytes
from hydra import compose, initialize_config_dir

from aelab import app
from aelab.config.build import resolved
from aelab.rbm.layer import Layer
from aelab.runs import progress
from aelab.runs.train import train

VISIBLE, HIDDEN, BATCH = 784, 500, 100
RATE, MOMENTUM, DECAY = 0.1, 0.5, 2e-4
VALIDATION = 1000
BOUNDS = {"naive, torch.bernoulli": 0.55, "scikit-learn": 1.0, "rbms": 0.25, "learnergy": 0.25}


class EpochClock(progress.Clock):
    """CPU time at the start of each epoch."""

    starts: list[float] = []

    def on_train_epoch_start(self, *args) -> None:
        super().on_train_epoch_start(*args)
        self.starts.append(time.process_time())


def aelab(bits: np.ndarray, folder: Path, *overrides: str) -> Callable[[], float]:
    root = folder / "data" / "mnist"
    root.mkdir(parents=True, exist_ok=True)
    for part, images in (("train", bits), ("t10k", bits[:VALIDATION])):
        (root / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes((255 * images).reshape(-1, 28, 28)))
        (root / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(len(images), np.uint8)))
    settings = ["model=rbm", "data=mnist", f"data.root={root.parent}", f"data.validation={VALIDATION}", "logger=csv"]
    settings += [f"model.n_hidden={HIDDEN}", f"train.batch_size={BATCH}", "train.epochs=3", "hardware.threads=1"]
    settings += ["evaluate.probe=null", "evaluate.knn=null", "schedule=constant", *overrides]
    app.register()
    with initialize_config_dir(str(app.CONF), version_base="1.3"):
        cfg = resolved(compose("config", overrides=settings))
    progress.Clock = EpochClock

    def run() -> float:
        EpochClock.starts.clear()
        with tempfile.TemporaryDirectory(dir=folder) as run_folder:
            train(cfg, Path(run_folder), "aelab")
        return min(end - start for start, end in itertools.pairwise(EpochClock.starts))

    return run


def cpu_seconds(epoch: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        start = time.process_time()
        epoch()
        return time.process_time() - start

    return run


def naive(x: torch.Tensor) -> Callable[[], float]:
    def epoch() -> None:
        weights = 0.1 * torch.randn(VISIBLE, HIDDEN), torch.zeros(HIDDEN), torch.zeros(VISIBLE)
        with torch.no_grad():
            hand_written(x, Layer(*weights, "bernoulli", "bernoulli"), BATCH, torch.bernoulli)

    return cpu_seconds(epoch)


def scikit_learn(x: torch.Tensor) -> Callable[[], float]:
    from sklearn.neural_network import BernoulliRBM

    machine = BernoulliRBM(n_components=HIDDEN, learning_rate=RATE, batch_size=BATCH, n_iter=1, random_state=0)
    return cpu_seconds(lambda: machine.fit(x.numpy()))


def learnergy(x: torch.Tensor) -> Callable[[], float]:
    from learnergy.models.bernoulli import RBM
    from torch.utils.data import TensorDataset

    rows = TensorDataset(x, torch.zeros(len(x)))
    options = dict(steps=1, learning_rate=RATE, momentum=MOMENTUM, decay=DECAY)
    return cpu_seconds(lambda: RBM(VISIBLE, HIDDEN, **options).fit(rows, batch_size=BATCH, epochs=1))


def rbms(x: torch.Tensor, centred: bool) -> Callable[[], float]:
    if not hasattr(typing, "override"):  # all that it needs of Python 3.12
        typing.override = lambda function: function
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.dataset.dataset_class import RBMDataset
    from rbms.optim import setup_optim
    from rbms.pre_grad import build_pre_grad_update
    from rbms.sampler import CD
    from rbms.training.pcd import train as fit

    n = len(x)
    labels, weights = np.zeros(n, np.int32), np.ones((n, 1), np.float32)
    rows = RBMDataset(x.numpy(), labels, weights, np.arange(n), "bits", "bernoulli", device="cpu")
    options = dict(optim="sgd", learning_rate=RATE, max_lr=10, scale_lr=False, mult_optim=False)

    def epoch() -> None:
        machine = BBRBM(0.1 * torch.randn(VISIBLE, HIDDEN), torch.zeros(VISIBLE), torch.zeros(HIDDEN))
        machine.init_grad()
        optimizer = setup_optim("sgd", options, machine)
        before_gradient = build_pre_grad_update(optimizer, 0.0, 0.0, False, -1)
        sampler = CD(machine, num_steps=1)
        with tempfile.TemporaryDirectory() as folder:
            archive = os.path.join(folder, "run.h5")
            fit(
                rows, rows, machine, sampler, optimizer, BATCH, centred, 0, before_gradient, 0.0, np.array([]),
                n // BATCH, archive,
            )  # fmt: skip

    return cpu_seconds(epoch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=60_000)
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    bits = np.random.default_rng(0).integers(0, 2, (args.rows + VALIDATION, VISIBLE), dtype=np.uint8)
    x = torch.from_numpy(bits[: args.rows]).float()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cases = {
            "aelab": lambda: aelab(bits, Path(folder), "model.recipe.mean_field_visible=false"),
            "aelab, centred": lambda: aelab(
                bits, Path(folder), "model.recipe.mean_field_visible=false", "model.recipe.centring=true"
            ),
            "aelab, model/recipe=h06": lambda: aelab(bits, Path(folder)),
            "aelab, model/recipe=pcd": lambda: aelab(bits, Path(folder), "model/recipe=pcd"),
            "naive, torch.bernoulli": lambda: naive(x),
            "scikit-learn": lambda: scikit_learn(x),
            "rbms": lambda: rbms(x, centred=True),
            "rbms, not centred": lambda: rbms(x, centred=False),
            "learnergy": lambda: learnergy(x),
        }
        runs = {}
        for name, prepare in cases.items():
            try:
                runs[name] = prepare()
            except ImportError as error:
                print(f"{name}: left out, {error}")
        for _ in range(args.rounds):
            for name, run in runs.items():
                torch.manual_seed(0)
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    seconds.setdefault(name, []).append(run())
    ours = min(seconds["aelab"])
    print(f"{'':26s}{'CPU s':>8s}{'worst':>8s}{'aelab / it':>12s}{'bound':>8s}")
    for name, times in seconds.items():
        bound = f"{BOUNDS[name]:8.2f}" if name in BOUNDS else ""
        print(f"{name:26s}{min(times):8.2f}{max(times):8.2f}{ours / min(times):12.2f}{bound}")
    sys.exit(any(ours > bound * min(seconds[name]) for name, bound in BOUNDS.items() if name in seconds))


if __name__ == "__main__":
    main()
