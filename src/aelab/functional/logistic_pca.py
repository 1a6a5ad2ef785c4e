"""Logistic PCA: pixels are Bernoulli with logits that are linear in a code, p = sigmoid(code V + b).

The code is one linear map of the image: an autoencoder without hidden layers. It gives with 30 components on MNIST what
Hinton & Salakhutdinov 2006 print for "logistic PCA", 8.01, so we take it to be theirs (inferred); a code that maximises
the likelihood of each image by itself (Collins, Dasgupta & Schapire 2002) has a far smaller error, 3.13.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from aelab.functional.likelihood import bernoulli
from aelab.functional.pca import fit_pca
from aelab.functional.schedule import cosine


class LogisticPCA(NamedTuple):
    """``components`` V (code, input), not orthogonal, and ``bias`` b (input,), the logits of code 0."""

    components: Tensor
    bias: Tensor


def fit_linear_logistic_pca(x: Tensor, n_code: int, epochs: int) -> tuple[Tensor, LogisticPCA]:
    """W (input, code), and the V and b of the linear codes x W: least −log p(x | x W V + b), ``x`` in [0, 1].

    Adam from PCA, batches of 250 in an order of its own (torch's default generator is left alone): L-BFGS was in
    the same time still at 10.8 on MNIST. Raises UserError if ``n_code`` is more than the inputs or the samples.
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

    V's entries start as large as the codes.
    """
    pca = fit_pca(x, n_code)
    scale = x.shape[1] ** 0.5 / 2
    W, V = 4 / scale * pca.components.T, scale * pca.components
    b = torch.logit(pca.mean, eps=1e-4) - pca.mean @ W @ V
    return W.to(x.dtype).contiguous(), V.to(x.dtype), b.to(x.dtype)
