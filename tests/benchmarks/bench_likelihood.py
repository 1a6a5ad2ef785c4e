"""log Z of restricted Boltzmann machines: how fast AIS is, and how often the bracket holds the exact value.

    OMP_NUM_THREADS=1 taskset -c 1 python tests/benchmarks/bench_likelihood.py speed
    OMP_NUM_THREADS=1 python tests/benchmarks/bench_likelihood.py bracket --seeds 100

``speed``: seconds for the 14,500 temperatures of Salakhutdinov & Murray 2008 with 100 runs of a 784-500 machine, from
some of them, against the loop one would type; rounds are interleaved, the least of each counts. ``bracket``: the three
machines of fixed weights, × 1 and × 3, and one of two modes, with shorter chains than the evaluator's.
"""

import argparse
import os
import sys
from pathlib import Path as File

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(File(__file__).parents[1]))

import time
from itertools import pairwise

import torch
from test_partition import two_modes, yardstick

from aelab.rbm.annealing import anneal
from aelab.rbm.bracket import Sampling, bracket_log_z
from aelab.rbm.layer import Layer
from aelab.rbm.partition import log_z_exact
from aelab.rbm.path import Path, path_to
from aelab.rbm.temperatures import by_sample_size, paper


def plain(path: Path, v: torch.Tensor, betas: list[float]) -> torch.Tensor:
    """What one would type: a machine for each temperature, two free energies of it, one whole Gibbs step."""
    W, b, a = path.rbm[:3]
    softplus = torch.nn.functional.softplus

    def machine(beta: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return beta * W, beta * b, (1 - beta) * path.base + beta * a

    def minus_free_energy(v: torch.Tensor, W: torch.Tensor, b: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        return v @ a + softplus(v @ W + b).sum(1)

    log_w = torch.zeros(len(v))
    for beta, following in pairwise(betas):
        now, then = machine(beta), machine(following)
        log_w += minus_free_energy(v, *then) - minus_free_energy(v, *now)
        h = torch.bernoulli(torch.sigmoid(v @ then[0] + then[1]))
        v = torch.bernoulli(torch.sigmoid(h @ then[0].t() + then[2]))
    return log_w


def speed(args: argparse.Namespace) -> None:
    rbm = Layer(
        0.05 * torch.randn(784, args.hidden), torch.zeros(args.hidden), torch.zeros(784), "bernoulli", "bernoulli"
    )
    path, betas, some = path_to(rbm, None), paper(), args.temperatures // 10
    stretches = [betas[k : k + some + 1] for k in range(0, len(betas) - some, len(betas) // 10)]
    taken = sum(len(stretch) - 1 for stretch in stretches)
    cases = {"plain loop": plain, "aelab": lambda path, v, betas: anneal(path, v, True, betas)}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(args.rounds):
        for name, run in cases.items():
            v = path.draw_base(args.runs)
            start = time.process_time()
            with torch.no_grad():
                for stretch in stretches:
                    run(path, v, stretch)
            seconds[name].append((time.process_time() - start) * len(betas) / taken)
    for name, times in seconds.items():
        print(f"{name:12s}{min(times):8.1f} s{min(times) / min(seconds['plain loop']):8.3f}")


def bracket(args: argparse.Namespace) -> None:
    shapes = [(4, 3), (6, 4), (12, 8)]
    machines = {f"{v} × {h}, weights × {k:g}": yardstick(v, h, scale=k) for v, h in shapes for k in (1.0, 3.0)}
    print(f"{'':24s}{'log Z':>9s}{'held':>10s}{'mean gap':>10s}{'warned':>8s}")
    for name, rbm in {**machines, "two modes": two_modes()}.items():
        log_z, held, gap, warned = log_z_exact(rbm), 0, 0.0, 0
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            path = path_to(rbm, None)
            found = bracket_log_z(path, by_sample_size(path, 0.9999, 100), 100, Sampling(20, 200, 5, 10), None)
            held += found.bounds[0] <= log_z <= found.bounds[1]
            gap, warned = gap + found.gap / args.seeds, warned + bool(found.warnings)
        print(f"{name:24s}{log_z:9.3f}{held:6d} of {args.seeds}{gap:8.2f}{warned:8d}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["speed", "bracket"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--temperatures", type=int, default=200)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--hidden", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    speed(args) if args.what == "speed" else bracket(args)


if __name__ == "__main__":
    main()
