"""Whose epochs the table times: aelab as a person runs it, other code for the same work, and its matrix products alone.

``python contenders.py WORK CONTENDER ROWS FOLDER`` makes one of them ready, on the images that :func:`write_data` left
in FOLDER, and trains an epoch for each line that it reads; it answers with a line of JSON: CPU seconds of that epoch,
and MiB of memory that the process held at most. table.py starts these processes and lets them take turns.

An epoch of aelab is all of a run between the start of one epoch and that of the next: validation on 1,000 images,
diagnostics, checkpoint and history.csv too, which take as long as some ten to twenty updates. Of the others it is the
training alone, by their own defaults where the work does not say otherwise (rbms centres its gradient: it is timed
without that too). ``PyTorch, naive`` is the loop that one types first; ``PyTorch, careful`` takes the loss on logits
and the fused Adam. What such a loop can't do without is timed by itself too: the layers forward and backward, and Adam.
"""

import contextlib
import io
import itertools
import json
import math
import os
import sys
import tempfile
import time
import typing
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))
from fake_data import idx_bytes

VALIDATION = 1000  # images
PIXELS = 28 * 28
CD_RATE, MOMENTUM, DECAY = 0.1, 0.5, 2e-4  # of contrastive divergence
ADAM_RATE = 1e-3


class Work(NamedTuple):
    """What is to be trained: ``kind`` rbm, vae or ae; ``layers`` from the pixels to the hidden units or the code.

    ``rows`` are the images of an epoch.
    """

    kind: str
    layers: tuple[int, ...]
    batch: int
    rows: int

    @property
    def name(self) -> str:
        return {"rbm": "CD-1", "vae": "VAE", "ae": "autoencoder"}[self.kind]

    @property
    def title(self) -> str:
        return f"{self.name} {'-'.join(map(str, self.layers))}"

    @property
    def steps(self) -> int:
        """Updates of an epoch."""
        return math.ceil(self.rows / self.batch)


WORKS = {
    "rbm": Work("rbm", (PIXELS, 500), 100, 30_000),
    "vae": Work("vae", (PIXELS, 400, 20), 128, 30_000),
    "ae": Work("ae", (PIXELS, 1000, 500, 250, 30), 128, 10_000),
}


class Done(BaseException):
    """No further epoch is wanted."""


class Laps:
    """Called where an epoch begins: tells the CPU seconds since the last call, then waits until one more is wanted."""

    def __init__(self, wanted: Iterator[Any], tell: Callable[[float], Any]):
        self.wanted, self.tell, self.started = wanted, tell, None

    def __call__(self) -> None:
        if self.started is not None:
            self.tell(time.process_time() - self.started)
        if next(self.wanted, None) is None:
            raise Done
        self.started = time.process_time()


def write_data(folder: Path, work: Work) -> None:
    """Random images, bits for an RBM, grey levels for the others: x.npy in [0, 1], and MNIST's files in mnist/."""
    draw = np.random.default_rng(0)
    n = work.rows + VALIDATION
    pixels = draw.integers(0, 2 if work.kind == "rbm" else 256, (n, PIXELS), dtype=np.uint8)
    pixels *= 255 if work.kind == "rbm" else 1
    (folder / "mnist").mkdir(parents=True)
    for part, images in (("train", pixels), ("t10k", pixels[:VALIDATION])):
        (folder / "mnist" / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images.reshape(-1, 28, 28)))
        (folder / "mnist" / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(len(images), np.uint8)))
    np.save(folder / "x.npy", pixels[: work.rows].astype(np.float32) / 255)


def images(folder: Path, work: Work) -> Tensor:
    return torch.from_numpy(np.load(folder / "x.npy", mmap_mode="r")[: work.rows].copy())


def again_and_again(lap: Laps, epoch: Callable[[], object]) -> None:
    while True:
        lap()
        epoch()


def least_seconds(contender: Callable, work: Work, folder: Path, epochs: int) -> float:
    """CPU seconds of the cheapest of some epochs, in this process."""
    seconds: list[float] = []
    with contextlib.suppress(Done), contextlib.redirect_stdout(io.StringIO()):  # what a run says is not asked for
        contender(work, folder, Laps(iter(range(epochs)), seconds.append))
    return min(seconds)


# --- the floor --------------------------------------------------------------------------------------------------------


def factors(work: Work) -> list[tuple[Tensor, Tensor]]:
    """The matrix products of an update, as their factors: nobody does with less arithmetic."""
    rows, pairs = work.batch, []
    if work.kind == "rbm":
        (n, m), v, h = work.layers, torch.rand(rows, work.layers[0]), torch.rand(rows, work.layers[1])
        W = torch.rand(n, m)
        return [(v, W), (h, W.t()), (v, W), (v.t(), h), (v.t(), h)]
    for n_in, n_out in [*itertools.pairwise(up(work)), *itertools.pairwise(work.layers[::-1])]:
        x, W, slope = torch.rand(rows, n_in), torch.rand(n_out, n_in), torch.rand(rows, n_out)
        pairs += [(x, W.t()), (slope.t(), x), (slope, W)]
    del pairs[2]  # nobody asks for the slope of the input
    return pairs


def products(work: Work, folder: Path, lap: Laps, library: str, dtype: torch.dtype = torch.float32) -> None:
    """The products alone, of tensors that lie ready."""
    pairs = [(a.to(dtype), b.to(dtype)) for a, b in factors(work)]
    if library == "torch":
        calls = [partial(torch.mm, a, b, out=(a @ b)) for a, b in pairs]
    else:
        linear = torch.ops.mkldnn._linear_pointwise
        calls = [partial(linear, a.contiguous(), b.t(), None, "none", [], "") for a, b in pairs]

    def epoch() -> None:
        for _ in range(work.steps):
            for call in calls:
                call()

    with torch.no_grad():
        again_and_again(lap, epoch)


# --- aelab ------------------------------------------------------------------------------------------------------------


def overrides(work: Work, folder: Path) -> list[str]:
    """What one types for this work."""
    said = ["data=mnist", f"data.root={folder}", f"data.validation={VALIDATION}", f"data.train_size={work.rows}"]
    said += [f"train.batch_size={work.batch}", "train.epochs=1000", "schedule=constant", "logger=csv"]
    said += ["hardware.threads=1", "evaluate.probe=null", "evaluate.knn=null"]
    if work.kind == "rbm":
        return [*said, "model=rbm", f"model.n_hidden={work.layers[1]}", "model.recipe.mean_field_visible=false"]
    said += ["model=vae" if work.kind == "vae" else "model=autoencoder", f"model.n_code={work.layers[-1]}"]
    said += [f"model.network.widths={list(work.layers[1:-1])}", "model.network.activation=relu"]
    return [*said, f"optimizer.lr={ADAM_RATE}"]


def aelab(work: Work, folder: Path, lap: Laps, *more: str) -> None:
    """An ordinary run, from Python."""
    from aelab import run
    from aelab.runs import progress

    class Clock(progress.Clock):
        def on_train_epoch_start(self, *arguments: Any) -> None:
            super().on_train_epoch_start(*arguments)
            lap()

    kept, progress.Clock = progress.Clock, Clock
    try:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            run([*overrides(work, folder), *more, f"hydra.run.dir={place}/run"])
    finally:
        progress.Clock = kept


def aelab_update(work: Work, folder: Path, lap: Laps) -> None:
    """CD-1 without a run: minibatches, both phases, the step."""
    from aelab.rbm.contrastive_divergence import contrastive_divergence, gradient, update_, zero_velocity
    from aelab.rbm.layer import Layer

    x, (n, m) = images(folder, work), work.layers
    rbm = Layer(0.01 * torch.randn(n, m), torch.zeros(m), torch.zeros(n), "bernoulli", "bernoulli")
    velocity = zero_velocity(rbm)

    def epoch() -> None:
        for index in torch.randperm(len(x)).split(work.batch):
            phases = contrastive_divergence(x.index_select(0, index), rbm, 1, None, False)
            update_(rbm, velocity, gradient(phases, rbm), CD_RATE, MOMENTUM, DECAY)

    with torch.no_grad():
        again_and_again(lap, epoch)


# --- bare PyTorch -----------------------------------------------------------------------------------------------------


def naive_cd(work: Work, folder: Path, lap: Laps) -> None:
    """What one types: five products, two draws, three velocities, new tensors everywhere."""
    x, (n, m) = images(folder, work), work.layers
    W, b, a = 0.01 * torch.randn(n, m), torch.zeros(m), torch.zeros(n)
    dW, db, da = torch.zeros_like(W), torch.zeros_like(b), torch.zeros_like(a)

    def epoch() -> None:
        nonlocal W, b, a, dW, db, da
        for index in torch.randperm(len(x)).split(work.batch):
            v0 = x[index]
            h0 = torch.sigmoid(v0 @ W + b)
            v1 = torch.bernoulli(torch.sigmoid(torch.bernoulli(h0) @ W.t() + a))
            h1 = torch.sigmoid(v1 @ W + b)
            dW = MOMENTUM * dW + CD_RATE * ((v0.t() @ h0 - v1.t() @ h1) / len(v0) - DECAY * W)
            db = MOMENTUM * db + CD_RATE * (h0 - h1).mean(0)
            da = MOMENTUM * da + CD_RATE * (v0 - v1).mean(0)
            W, b, a = W + dW, b + db, a + da

    with torch.no_grad():
        again_and_again(lap, epoch)


def up(work: Work) -> tuple[int, ...]:
    """Widths of the encoder, whose last layer of a VAE puts out means and log variances."""
    return (*work.layers[:-1], work.layers[-1] * (2 if work.kind == "vae" else 1))


def stack(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with rectified units between them."""
    modules: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        modules += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


class Bare(nn.Module):
    """x → its loss, (): cross-entropy summed over the pixels, of a VAE with the KL; ``naive`` on probabilities."""

    def __init__(self, work: Work, naive: bool):
        super().__init__()
        self.encoder, self.decoder = stack(up(work)), stack(work.layers[::-1])
        self.variational, self.naive = work.kind == "vae", naive

    def forward(self, x: Tensor) -> Tensor:
        code, kl = self.encoder(x), 0.0
        if self.variational:
            mean, log_var = code.chunk(2, 1)
            code = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
            kl = -0.5 * torch.sum(1 + log_var - mean**2 - log_var.exp())
        output = self.decoder(code)
        if self.naive:
            cost = F.binary_cross_entropy(torch.sigmoid(output), x, reduction="sum")
        else:
            cost = F.binary_cross_entropy_with_logits(output, x, reduction="sum")
        return (cost + kl) / len(x)


def bare(work: Work, folder: Path, lap: Laps, naive: bool) -> None:
    x, net = images(folder, work), Bare(work, naive)
    again_and_again(lap, partial(epoch_of, net, adam(net, naive), x, work.batch))


def adam(net: nn.Module, naive: bool) -> torch.optim.Optimizer:
    return torch.optim.Adam(net.parameters(), lr=ADAM_RATE, **({} if naive else {"fused": True}))


def epoch_of(loss_of: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, batch: int) -> None:
    for index in torch.randperm(len(x)).split(batch):
        loss = loss_of(x.index_select(0, index))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def layers_alone(work: Work, folder: Path, lap: Laps) -> None:
    """The nets forward and backward, with slopes that lie ready instead of a loss, and no step."""
    net = Bare(work, naive=False)
    x, slope = torch.rand(work.batch, PIXELS), torch.rand(work.batch, PIXELS)

    def epoch() -> None:
        for _ in range(work.steps):
            net.zero_grad()
            net.decoder(net.encoder(x)[:, : work.layers[-1]]).backward(slope)

    again_and_again(lap, epoch)


def adam_alone(work: Work, folder: Path, lap: Laps) -> None:
    """The fused step of slopes that lie ready."""
    net = Bare(work, naive=False)
    net(torch.rand(work.batch, PIXELS)).backward()
    optimizer = adam(net, naive=False)

    def epoch() -> None:
        for _ in range(work.steps):
            optimizer.step()

    again_and_again(lap, epoch)


# --- other libraries --------------------------------------------------------------------------------------------------


def scikit_learn(work: Work, folder: Path, lap: Laps) -> None:
    """Its machine by CD-1 with persistent chains; its perceptron, by squared error, as an autoencoder."""
    from sklearn.neural_network import BernoulliRBM, MLPRegressor

    x = images(folder, work).numpy()
    if work.kind == "rbm":
        machine = BernoulliRBM(n_components=work.layers[1], learning_rate=CD_RATE, batch_size=work.batch, n_iter=1)
        return again_and_again(lap, lambda: machine.fit(x))
    hidden = [*work.layers[1:], *work.layers[-2:0:-1]]
    net = MLPRegressor(hidden_layer_sizes=hidden, batch_size=work.batch, learning_rate_init=ADAM_RATE)
    return again_and_again(lap, lambda: net.partial_fit(x, x))


def rbms(work: Work, folder: Path, lap: Laps, centred: bool) -> None:
    if not hasattr(typing, "override"):  # all that it needs of Python 3.12
        typing.override = lambda function: function
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.dataset.dataset_class import RBMDataset
    from rbms.optim import setup_optim
    from rbms.pre_grad import build_pre_grad_update
    from rbms.sampler import CD
    from rbms.training.pcd import train

    x, (n, m), rows = images(folder, work).numpy(), work.layers, work.rows
    weights, labels = np.ones((rows, 1), np.float32), np.zeros(rows, np.int32)
    data = RBMDataset(x, labels, weights, np.arange(rows), "bits", "bernoulli", device="cpu")
    options = dict(optim="sgd", learning_rate=CD_RATE, max_lr=10, scale_lr=False, mult_optim=False)
    machine = BBRBM(0.01 * torch.randn(n, m), torch.zeros(n), torch.zeros(m))
    machine.init_grad()
    optimizer = setup_optim("sgd", options, machine)
    before_step, sampler = build_pre_grad_update(optimizer, 0.0, 0.0, False, -1), CD(machine, num_steps=1)

    def epoch() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            train(
                data, data, machine, sampler, optimizer, work.batch, centred, 0, before_step, 0.0, np.array([]),
                work.steps, f"{place}/run.h5",
            )  # fmt: skip

    again_and_again(lap, epoch)


def learnergy(work: Work, folder: Path, lap: Laps) -> None:
    from learnergy.models.bernoulli import RBM
    from torch.utils.data import TensorDataset

    rows = TensorDataset(images(folder, work), torch.zeros(work.rows))
    machine = RBM(*work.layers, steps=1, learning_rate=CD_RATE, momentum=MOMENTUM, decay=DECAY)
    again_and_again(lap, lambda: machine.fit(rows, batch_size=work.batch, epochs=1))


def pythae(work: Work, folder: Path, lap: Laps) -> None:
    """Its trainer, with the same layers; its plain autoencoder has squared error."""
    from pythae import models
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            BaseEncoder.__init__(self)
            self.net = stack(up(work))

        def forward(self, x: Tensor) -> ModelOutput:
            names = ("embedding", "log_covariance")
            return ModelOutput(**dict(zip(names, self.net(x).split(work.layers[-1], 1))))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            BaseDecoder.__init__(self)
            self.net = stack(work.layers[::-1])

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=torch.sigmoid(self.net(z)))

    class Clock(TrainingCallback):
        def on_epoch_begin(self, training_config: Any, **_: Any) -> None:
            lap()

    size = dict(input_dim=(PIXELS,), latent_dim=work.layers[-1])
    if work.kind == "vae":
        model = models.VAE(models.VAEConfig(**size, reconstruction_loss="bce"), Encoder(), Decoder())
    else:
        model = models.AE(models.AEConfig(**size), Encoder(), Decoder())
    settings = BaseTrainerConfig(
        output_dir=str(folder), num_epochs=1000, learning_rate=ADAM_RATE, optimizer_cls="Adam",
        per_device_train_batch_size=work.batch, train_dataloader_num_workers=0, no_cuda=True,
    )  # fmt: skip
    data = BaseDataset(images(folder, work), torch.zeros(work.rows))
    BaseTrainer(model, data, training_config=settings, callbacks=[Clock()]).train()


# --- who takes part ---------------------------------------------------------------------------------------------------

BF16 = "hardware.precision=bf16-mixed"
NAIVE = "PyTorch, naive"
FLOORS: dict[str, Callable] = {
    "products alone, torch": partial(products, library="torch"),
    "products alone, oneDNN": partial(products, library="oneDNN"),
    "products alone, torch, bf16": partial(products, library="torch", dtype=torch.bfloat16),
    "products alone, oneDNN, bf16": partial(products, library="oneDNN", dtype=torch.bfloat16),
}
OURS: dict[str, Callable] = {"aelab": aelab, "aelab, bf16": lambda *of: aelab(*of, BF16)}
NETS: dict[str, Callable] = {
    **FLOORS,
    **OURS,
    NAIVE: partial(bare, naive=True),
    "PyTorch, careful": partial(bare, naive=False),
    "PyTorch, layers alone": layers_alone,
    "PyTorch, Adam alone": adam_alone,
    "pythae": pythae,
}
CONTENDERS: dict[str, dict[str, Callable]] = {
    "rbm": {
        **FLOORS,
        **OURS,
        "aelab, centred": lambda *of: aelab(*of, "model.recipe.centring=true"),
        "aelab, the update alone": aelab_update,
        NAIVE: naive_cd,
        "scikit-learn": scikit_learn,
        "rbms": partial(rbms, centred=True),
        "rbms, not centred": partial(rbms, centred=False),
        "learnergy": learnergy,
    },
    "vae": NETS,
    "ae": {**NETS, "scikit-learn": scikit_learn},
}


def peak_mib() -> float:
    """The most memory that this process has held, MiB (Linux). Its ru_maxrss would count the parent's before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    kind, name, rows, folder = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries say is no answer
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)

    def tell(seconds: float) -> None:
        print(json.dumps({"seconds": seconds, "mib": peak_mib()}), file=answers, flush=True)

    work = WORKS[kind]._replace(rows=int(rows))
    with contextlib.suppress(Done):
        CONTENDERS[kind][name](work, Path(folder), Laps(iter(sys.stdin.readline, ""), tell))


if __name__ == "__main__":
    main()
