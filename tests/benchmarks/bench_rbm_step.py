"""CD-1 of an RBM 784-500, batch 100: CPU seconds of one epoch through aelab's update, against hand-written loops.

    OMP_NUM_THREADS=1 taskset -c 1 python tests/benchmarks/bench_rbm_step.py --rounds 4

The rounds are interleaved, so that a slow spell of the machine hits all alike; the least CPU time of each is kept, with
its ratio to the naive loop. No trainer, no logging: that is the step alone.
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable

import torch

from aelab.rbm import kernels
from aelab.rbm.contrastive_divergence import contrastive_divergence, gradient, update_, zero_velocity
from aelab.rbm.layer import Layer

RATE, MOMENTUM, DECAY = 0.1, 0.5, 2e-4


def hand_written(x: torch.Tensor, layer: Layer, batch: int, draw: Callable) -> None:
    """What one would type: five products, two draws, three velocities, new tensors everywhere."""
    W, b, a = layer[:3]
    dW, db, da = torch.zeros_like(W), torch.zeros_like(b), torch.zeros_like(a)
    order = torch.randperm(len(x))
    for i in range(0, len(x), batch):
        v0 = x[order[i : i + batch]]
        h0 = torch.sigmoid(v0 @ W + b)
        v1 = draw(torch.sigmoid(draw(h0) @ W.t() + a))
        h1 = torch.sigmoid(v1 @ W + b)
        dW = MOMENTUM * dW + RATE * ((v0.t() @ h0 - v1.t() @ h1) / batch - DECAY * W)
        db = MOMENTUM * db + RATE * (h0 - h1).mean(0)
        da = MOMENTUM * da + RATE * (v0 - v1).mean(0)
        W, b, a = W + dW, b + db, a + da


def aelab(x: torch.Tensor, layer: Layer, batch: int, mean_field: bool = False) -> None:
    velocity, order = zero_velocity(layer), torch.randperm(len(x))
    for i in range(0, len(x), batch):
        phases = contrastive_divergence(x[order[i : i + batch]], layer, 1, None, mean_field)
        update_(layer, velocity, gradient(phases, layer), RATE, MOMENTUM, DECAY)


def fallback(*args) -> None:
    """The same without oneDNN's product and the fused update."""
    kept, kernels.FUSED = kernels.FUSED, False
    os.environ["AELAB_KERNELS"] = "torch"
    try:
        aelab(*args)
    finally:
        kernels.FUSED = kept
        del os.environ["AELAB_KERNELS"]


def bfloat16(*args) -> None:
    """Products in bfloat16; weights, means and draws in float32."""
    with torch.autocast("cpu", torch.bfloat16):
        aelab(*args)


def products(dtype: torch.dtype, x: torch.Tensor, layer: Layer, batch: int) -> None:
    """The floor: the five products of an update and nothing else."""
    v, h, W = x[:batch].to(dtype), torch.rand(batch, layer.W.shape[1]).to(dtype), layer.W.to(dtype)
    for _ in range(0, len(x), batch):
        v @ W, h @ W.t(), v @ W, v.t() @ h, v.t() @ h


def products_onednn(x: torch.Tensor, layer: Layer, batch: int) -> None:
    """The same by oneDNN in float32."""
    v, h, W = x[:batch], torch.rand(batch, layer.W.shape[1]), layer.W
    vt, product = v.t().contiguous(), kernels.LINEAR["onednn"]
    for _ in range(0, len(x), batch):
        for a, b in ((v, W), (h, W.t()), (v, W), (vt, h), (vt, h)):
            product(a, b, None, "none")


CASES: dict[str, Callable] = {
    "naive, torch.bernoulli": lambda *args: hand_written(*args, draw=torch.bernoulli),
    "naive, uniform < p": lambda *args: hand_written(*args, draw=lambda p: (torch.rand_like(p) < p).float()),
    "aelab": aelab,
    "aelab, mean-field visibles": lambda *args: aelab(*args, mean_field=True),
    "aelab, bfloat16": bfloat16,
    "aelab, plain ways": fallback,
    "products alone": lambda *args: products(torch.float32, *args),
    "products alone, oneDNN": products_onednn,
    "products alone, bfloat16": lambda *args: products(torch.bfloat16, *args),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--visible", type=int, default=784)
    parser.add_argument("--hidden", type=int, default=500)
    parser.add_argument("--batch", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = (torch.rand(args.rows, args.visible) < 0.5).float()
    W = 0.01 * torch.randn(args.visible, args.hidden)
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for number in range(args.rounds + 1):  # the first, short, warms up
        rows = x if number else x[: 20 * args.batch]
        for name, run in CASES.items():
            layer = Layer(W.clone(), torch.zeros(args.hidden), torch.zeros(args.visible), "bernoulli", "bernoulli")
            with torch.no_grad():
                start = time.process_time()
                run(rows, layer, args.batch)
            if number:
                seconds[name].append(time.process_time() - start)
    naive = min(seconds["naive, torch.bernoulli"])
    print(f"{'':28s}{'CPU s':>8s}{'worst':>8s}{'ratio':>8s}")
    for name, times in seconds.items():
        print(f"{name:28s}{min(times):8.2f}{max(times):8.2f}{min(times) / naive:8.2f}")


if __name__ == "__main__":
    main()
