"""The replicated softmax (Salakhutdinov & Hinton 2009): an RBM whose visible layer is a document's words, counted.

E(v, h) = −vᵀ W h − aᵀ v − D bᵀ h for a document of D = Σ_k v_k words: D softmax units that share their weights, and
hidden biases that grow with D. So log Z is that of one length. v (documents, words) holds counts; h is binary. Given h
the words are independent draws from softmax(W h + a). log p(v) is that of the words in their order: the multinomial
coefficient, which no model changes, is left out.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from aelab.rbm.kernels import bernoulli, linear
from aelab.rbm.layer import Layer
from aelab.rbm.partition import binary_states
from aelab.rbm.path import Path

BLOCK = 2**18  # numbers at once


def lengths(v: Tensor) -> Tensor:
    """D of each document, (documents, 1)."""
    return v.sum(1, keepdim=True)


def mean_h_given_v(v: Tensor, rbm: Layer) -> Tensor:
    """logistic(v W + D b), (documents, hidden)."""
    return (linear(v, rbm.W, None) + lengths(v) * rbm.b_hidden).sigmoid()


def log_p_word_given_h(h: Tensor, rbm: Layer) -> Tensor:
    """log softmax(W h + a), (documents, words)."""
    return linear(h, rbm.W.t(), rbm.b_visible).log_softmax(1)


def free_energy(v: Tensor, rbm: Layer) -> Tensor:
    """F(v) = −aᵀv − Σ_j softplus((v W)_j + D b_j), (documents,), nats; it may be differentiated."""
    return -(v * rbm.b_visible).sum(1) - softplus(linear(v, rbm.W, None) + lengths(v) * rbm.b_hidden).sum(1)


@torch.no_grad()
def gibbs_step(v: Tensor, rbm: Layer) -> Tensor:
    """h ~ p(h | v), then as many words as before from p(word | h), counted, (documents, words)."""
    D = lengths(v)
    h = bernoulli(linear(v, rbm.W, None).add_(D * rbm.b_hidden).sigmoid_())
    p = log_p_word_given_h(h, rbm).exp()
    most = max(int(D.max()), 1)
    words = torch.multinomial(p, most, replacement=True)
    kept = torch.arange(most, device=v.device) < D
    return torch.zeros_like(v).scatter_add_(1, words, kept.to(v))


@torch.no_grad()
def log_z_exact(rbm: Layer, D: Tensor) -> Tensor:
    """log Z of every length in D (lengths,), float64, nats: Σ_h exp(D (bᵀh + log Σ_k exp((W h + a)_k))).

    One pass over the 2^hidden states, which is meant for 20 hidden units or fewer, serves all lengths.
    """
    rbm, n = rbm.to(torch.float64), rbm.W.shape[1]
    D, total = D.double(), torch.full((len(D),), -torch.inf, dtype=torch.float64, device=rbm.W.device)
    for h in binary_states(n, rbm.b_hidden).split(max(1, BLOCK // rbm.W.shape[0])):
        per_word = h @ rbm.b_hidden + (h @ rbm.W.t() + rbm.b_visible).logsumexp(1)
        total = torch.logaddexp(total, (D[:, None] * per_word).logsumexp(1))
    return total


def path_of_length(rbm: Layer, D: int, frequency: Tensor) -> Path:
    """From words drawn with the ``frequency`` (words,) of the data to the machine of documents of D words."""
    machine = rbm._replace(b_hidden=D * rbm.b_hidden)
    return Path(machine, frequency.log(), group=len(frequency), draws=D)
