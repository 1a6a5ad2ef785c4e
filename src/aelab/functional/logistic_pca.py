"""Logistic PCA: pixels are Bernoulli with logits that are linear in a code, p = sigmoid(code V + b).

There are two ways to a code. The *optimal* one maximises the likelihood of each image by itself (Collins, Dasgupta &
Schapire 2002). The *linear* one is one linear map for all images: an autoencoder without hidden layers. The linear one
gives with 30 components on MNIST what Hinton & Salakhutdinov 2006 print for "logistic PCA", 8.01, so we take it to be
theirs (inferred); optimal codes give a far smaller error, near that of the deep autoencoder.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from aelab.functional.likelihood import bernoulli
from aelab.functional.pca import fit_pca
from aelab.functional.schedule import cosine

RIDGE = 0.01  # ½ RIDGE ‖code‖² is added to an image's nats: an image that is fitted exactly has no finite code
CHUNK = 2048  # rows at a time: memory, and the cache


class LogisticPCA(NamedTuple):
    """``components`` V (code, input), not orthogonal, and ``bias`` b (input,), the logits of code 0."""

    components: Tensor
    bias: Tensor


def fit_logistic_pca(x: Tensor, n_code: int, evaluations: int) -> LogisticPCA:
    """The V and b of optimal codes: least −log p(x | U V + b) over U, V and b at once, ``x`` (sample, input) in [0, 1].

    L-BFGS from PCA, about ``evaluations`` of the objective; the same data give the same result. Raises UserError if
    ``n_code`` is more than the inputs or the samples.
    """
    W, V, b = _start(x, n_code)
    _minimize(x, codes := x @ W, LogisticPCA(V, b), [codes, V, b], evaluations)
    return LogisticPCA(V.detach(), b.detach())


def optimal_codes(pca: LogisticPCA, x: Tensor, evaluations: int) -> Tensor:
    """argmin over u of −log p(x | u V + b) + ½ RIDGE ‖u‖², (sample, code), by L-BFGS from 0: a convex problem."""
    codes = x.new_zeros(len(x), len(pca.components))
    _minimize(x, codes, pca, [codes], evaluations)
    return codes.detach()


def fit_linear_logistic_pca(x: Tensor, n_code: int, epochs: int) -> tuple[Tensor, LogisticPCA]:
    """W (input, code), and the V and b of the linear codes x W: least −log p(x | x W V + b), ``x`` in [0, 1].

    Adam from PCA, batches of 250 in an order of its own (torch's default generator is left alone): L-BFGS, which does
    well on free codes, was in the same time still at 10.8 on MNIST. Raises UserError as :func:`fit_logistic_pca` does.
    """
    parameters = [parameter.requires_grad_() for parameter in _start(x, n_code)]
    optimizer = torch.optim.Adam(parameters, fused=True)
    generator = torch.Generator().manual_seed(0)
    batches = [rows for _ in range(epochs) for rows in torch.randperm(len(x), generator=generator).split(250)]
    with torch.enable_grad():
        for step, rows in enumerate(batches):
            optimizer.param_groups[0]["lr"] = 5e-3 * cosine(step / len(batches), final=0.0)
            batch, (W, V, b) = x[rows.to(x.device)], parameters
            optimizer.zero_grad()
            bernoulli(batch @ W @ V + b, batch).backward()
            optimizer.step()
    W, V, b = (parameter.detach() for parameter in parameters)
    return W, LogisticPCA(V, b)


def reconstruct(pca: LogisticPCA, codes: Tensor) -> Tensor:
    """sigmoid(code V + b), (sample, input)."""
    return torch.sigmoid(codes @ pca.components + pca.bias)


def _start(x: Tensor, n_code: int) -> tuple[Tensor, Tensor, Tensor]:
    """W, V, b of PCA: logits 4 (x − μ) around those of μ, 4 being 1 / the slope of sigmoid at 0.

    V's entries start as large as the codes: with V's rows of norm 1 instead, L-BFGS took over ten times as long.
    """
    pca = fit_pca(x, n_code)
    scale = x.shape[1] ** 0.5 / 2
    W, V = 4 / scale * pca.components.T, scale * pca.components
    b = torch.logit(pca.mean, eps=1e-4) - pca.mean @ W @ V
    return W.to(x.dtype).contiguous(), V.to(x.dtype), b.to(x.dtype)


def _minimize(x: Tensor, codes: Tensor, pca: LogisticPCA, parameters: list[Tensor], evaluations: int) -> None:
    """Move ``parameters``, among ``codes`` and ``pca``, in place to less −log p(x | codes V + b) + ½ RIDGE ‖codes‖²."""
    for parameter in parameters:
        parameter.requires_grad_()
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=evaluations, max_eval=evaluations, history_size=10, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        total = x.new_zeros(())
        for rows, code in zip(x.split(CHUNK), codes.split(CHUNK)):
            nats = bernoulli(code @ pca.components + pca.bias, rows) + 0.5 * RIDGE * code.square().sum() / len(rows)
            loss = nats * (len(rows) / len(x))
            loss.backward()
            total += loss.detach()
        return total

    with torch.enable_grad():
        optimizer.step(objective)
