"""What a sweep of small nets could gain by training its members as one batched net: the most, on this processor.

    python tests/benchmarks/bench_packed.py [--runs 8] [--rounds 5] [--steps-only]

First the steps alone. A step of ``--runs`` nets in turn, each as a run takes it (zero_grad, forward, backward and fused
Adam, a batch of 128), against one step of them all by hand: weights stacked, ``baddbmm``, one fused Adam. That is less
than any packed sweep can cost, whose members have minibatches, rates, clipping and records of their own. CPU seconds of
one thread, the two interleaved, the least of all rounds; the first net is the default model's on digits.

Then the whole command, ``aelab -m seed=range(8)``, W&B offline: CPU seconds of all its processes, and those within
``training_step``. If packed steps cost the ratio of the default model, and all else (imports, validation, checkpoints,
history.csv, figures, W&B) what it costs now, then packed / in turn is 1 − share · (1 − ratio), the figure printed last;
1 − share is what it would be if training cost nothing. Linux only, as bench_chain_command.py.
"""

import argparse
import ctypes
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from bench_chain_command import PR_SET_CHILD_SUBREAPER, cpu_of
from torch import Tensor, nn
from torch.nn import functional as F

from aelab.clock import processor

NETS = ([64, 128, 64, 8], [64, 32, 8], [784, 32], [784, 400, 20])  # input … code
BATCH = 128
STEPS = 20  # of a round
# The command, with the CPU seconds of its training steps written where the first argument says.
COMMAND = """
import atexit, functools, pathlib, sys, time
import pytorch_lightning
from aelab.models.training import Trained

out, spent, step = pathlib.Path(sys.argv.pop(1)), [], Trained.training_step

@functools.wraps(step)
def timed(*arguments, **named):
    began = time.process_time()
    try:
        return step(*arguments, **named)
    finally:
        spent.append(time.process_time() - began)

Trained.training_step = timed
atexit.register(lambda: out.write_text(str(sum(spent))))
from aelab.app import main
main()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps-only", action="store_true", help="without the whole command")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{asked.runs} nets, {processor()}, one thread, least of {asked.rounds}, CPU ms per step of all")
    print(f"{'net':16}{'in turn':>10}{'as one':>10}{'ratio':>8}")
    ratios = []
    for widths in NETS:
        in_turn, as_one = measured_steps(widths, asked.runs, asked.rounds)
        ratios.append(as_one / in_turn)
        print(f"{'-'.join(map(str, widths)):16}{in_turn:10.2f}{as_one:10.2f}{ratios[-1]:8.2f}", flush=True)
    if asked.steps_only:
        return
    whole, steps = measured_command(asked.runs)
    share = steps / whole
    print(f"aelab -m seed=range({asked.runs}), CPU s: {whole:.1f}, of which training steps {steps:.1f} ({share:.0%})")
    print(f"packed / in turn, whole command, at the least {1 - share * (1 - ratios[0]):.2f}")
    print(f"the same if training cost nothing {1 - share:.2f}")


def measured_steps(widths: list[int], runs: int, rounds: int) -> tuple[float, float]:
    """CPU milliseconds of a step of all nets: in turn, and as one."""
    torch.manual_seed(0)
    nets = [net(widths) for _ in range(runs)]
    x = torch.rand(runs, BATCH, widths[0])
    ways = [in_turn(nets, x), as_one(nets, x)]
    for way in ways:
        way()
    seconds = [[cpu_seconds(way) for way in ways] for _ in range(rounds)]
    turn, one = (min(column) / STEPS * 1000 for column in zip(*seconds))
    return turn, one


def net(widths: list[int]) -> nn.Sequential:
    """Hidden units silu, code and output linear."""
    modules: list[nn.Module] = []
    for sizes in (widths, widths[::-1]):
        for n_in, n_out in itertools.pairwise(sizes):
            modules += [nn.Linear(n_in, n_out), nn.SiLU()]
        modules.pop()
    return nn.Sequential(*modules)


def in_turn(nets: list[nn.Sequential], x: Tensor) -> Callable[[], None]:
    """A step of one net after the other on its own x (net, batch, input)."""
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3, fused=True) for net in nets]

    def step() -> None:
        for net, optimizer, own in zip(nets, optimizers, x):

            def closure(net=net, optimizer=optimizer, own=own) -> Tensor:
                optimizer.zero_grad()
                loss = F.binary_cross_entropy_with_logits(net(own), own, reduction="sum") / BATCH
                loss.backward()
                return loss

            optimizer.step(closure)

    return step


def as_one(nets: list[nn.Sequential], x: Tensor) -> Callable[[], None]:
    """A step of all nets, their weights stacked, on x (net, batch, input)."""
    linear = [[module for module in net if isinstance(module, nn.Linear)] for net in nets]
    stacked = [
        (torch.stack([m.weight.detach().t() for m in same]), torch.stack([m.bias.detach()[None] for m in same]))
        for same in zip(*linear)
    ]
    parameters = [part.requires_grad_() for pair in stacked for part in pair]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def closure() -> Tensor:
        optimizer.zero_grad()
        h, layers = x, iter(stacked)
        for module in nets[0]:
            if isinstance(module, nn.Linear):
                weight, bias = next(layers)
                h = torch.baddbmm(bias, h, weight)
            else:
                h = module(h)
        loss = F.binary_cross_entropy_with_logits(h, x, reduction="sum") / BATCH
        loss.backward()
        return loss

    return lambda: optimizer.step(closure)


def cpu_seconds(step: Callable[[], None]) -> float:
    began = time.process_time()
    for _ in range(STEPS):
        step()
    return time.process_time() - began


def measured_command(runs: int) -> tuple[float, float]:
    """CPU seconds of the whole command, and of its training steps."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as folder:
        spent = Path(folder) / "spent"
        words = ["-m", f"seed=range({runs})", f"hydra.sweep.dir={folder}/sweep"]
        whole = cpu_of("-c", COMMAND, str(spent), *words)
        return whole, float(spent.read_text())


if __name__ == "__main__":
    main()
