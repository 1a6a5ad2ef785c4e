"""The restricted Boltzmann machine: its energy, free energies, conditionals and pseudo-likelihood.

E(v, h) = e(v) + e(h) − (v/σ²)ᵀ W h, where a unit x with bias c has, by its type,
    bernoulli  e(x) = −c x,              x in {0, 1}
    gaussian   e(x) = (x − c)²/(2σ²)     (Cho, Ilin & Raiko 2011); σ² = exp(log_var_visible), 1 for hidden units
    relu       e(x) = x²/2 − c x,        x ≥ 0: the least energy of x copies of a binary unit whose biases are
                                         offset by −½, −1½, −2½ … (Nair & Hinton 2010)
Energies are in nats. A row is one case: v (batch, visible), h (batch, hidden).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from aelab.errors import UserError
from aelab.functional.activation import UNITS, Unit
from aelab.rbm.kernels import bernoulli, linear
from aelab.rbm.layer import Layer, mean_h_given_v, mean_v_given_h, scaled_visible

__all__ = [
    "energy",
    "free_energy",
    "free_energy_hidden",
    "log_normaliser",
    "mean_h_given_v",
    "mean_v_given_h",
    "pseudo_log_likelihood",
    "sample_h_given_v",
    "sample_v_given_h",
]


def energy(v: Tensor, h: Tensor, rbm: Layer) -> Tensor:
    """E(v, h) = e(v) + e(h) − (v/σ²)ᵀ W h, (batch,)."""
    own = _own_energy(v, rbm.visible, rbm.b_visible, _log_var(rbm)) + _own_energy(h, rbm.hidden, rbm.b_hidden, None)
    return own - ((scaled_visible(v, rbm) @ rbm.W) * h).sum(-1)


def free_energy(v: Tensor, rbm: Layer) -> Tensor:
    """F(v) = −log Σ_h exp(−E(v, h)) = e(v) − Σ_j log N_j((v/σ²) W), (batch,); N is ``log_normaliser``'s."""
    field = linear(scaled_visible(v, rbm), rbm.W, None)
    own = _own_energy(v, rbm.visible, rbm.b_visible, _log_var(rbm))
    return own - log_normaliser(field, rbm.hidden, rbm.b_hidden, None).sum(-1)


def free_energy_hidden(h: Tensor, rbm: Layer) -> Tensor:
    """F(h) = −log Σ_v exp(−E(v, h)) (an integral for Gaussian v), (batch,)."""
    log_var = _log_var(rbm)
    field = linear(h, rbm.W.t(), None)
    if log_var is not None:
        field = field * torch.exp(-log_var)
    normaliser = log_normaliser(field, rbm.visible, rbm.b_visible, log_var).sum(-1)
    return _own_energy(h, rbm.hidden, rbm.b_hidden, None) - normaliser


def log_normaliser(field: Tensor, unit: Unit, bias: Tensor, log_var: Tensor | None) -> Tensor:
    """log Σ_x exp(field·x − e(x)) of one unit, elementwise.

    bernoulli: softplus(c + field). gaussian: c·field + σ²·field²/2 + ½ log 2πσ². relu, an approximation: the sum of
    softplus(c + field − i + ½) over the copies i = 1, 2, … as the integral ∫₀^∞ softplus(c + field − t) dt, which is
    within 0.05 nats of the sum and whose derivative is softplus, Nair & Hinton's mean.
    """
    if unit == "bernoulli":
        return softplus(bias + field)
    if unit == "relu":
        return _softplus_integral(bias + field)
    s = torch.zeros_like(bias) if log_var is None else log_var
    return bias * field + s.exp() * field**2 / 2 + (math.log(2 * math.pi) + s) / 2


def sample_h_given_v(v: Tensor, rbm: Layer) -> tuple[Tensor, Tensor]:
    """Mean and one draw of p(h | v), each (batch, hidden).

    bernoulli: 1 with the mean's probability. gaussian: mean + N(0, 1). relu: max(0, x + N(0, logistic(x))) for total
    input x (Nair & Hinton 2010).
    """
    return _draw(scaled_visible(v, rbm), rbm.W, rbm.b_hidden, rbm.hidden, None)


def sample_v_given_h(h: Tensor, rbm: Layer) -> tuple[Tensor, Tensor]:
    """Mean and one draw of p(v | h), each (batch, visible); a Gaussian unit is mean + N(0, σ²)."""
    return _draw(h, rbm.W.t(), rbm.b_visible, rbm.visible, _log_var(rbm))


def gibbs_sample(v: Tensor, rbm: Layer, steps: int) -> Tensor:
    """v (chains, visible) after ``steps`` times h ~ p(h | v), v ~ p(v | h); each row is a chain of its own."""
    for _ in range(steps):
        h = sample_h_given_v(v, rbm)[1]
        v = sample_v_given_h(h, rbm)[1]
    return v


def pseudo_log_likelihood(v: Tensor, rbm: Layer, every_bit: bool) -> Tensor:
    """Σ_i log p(v_i | the other bits) = Σ_i log logistic(F(v with bit i flipped) − F(v)), (batch,), nats.

    ``every_bit=False`` flips one bit drawn at random in each row and multiplies by their number: unbiased, for one
    matrix product. Grey levels are rounded. Raises ``UserError`` if the visible units are not Bernoulli.
    """
    if rbm.visible != "bernoulli":
        raise UserError(f"model.visible: the pseudo-likelihood needs bernoulli units, got {rbm.visible}")
    v, n = v.round(), v.shape[1]
    row, field = torch.arange(len(v), device=v.device), linear(v, rbm.W, None)
    hidden = log_normaliser(field, rbm.hidden, rbm.b_hidden, None).sum(-1)

    def log_p(bit: Tensor | int) -> Tensor:  # of one bit, in each row another or in all the same
        sign = 1 - 2 * v[row, bit]  # flipping it adds sign · W[bit] to the hidden units' field
        flipped = log_normaliser(field + sign[:, None] * rbm.W[bit], rbm.hidden, rbm.b_hidden, None).sum(-1)
        return logsigmoid(hidden - flipped - sign * rbm.b_visible[bit])

    if every_bit:
        return torch.stack([log_p(bit) for bit in range(n)]).sum(0)
    return n * log_p(torch.randint(n, (len(v),), device=v.device))


def _log_var(rbm: Layer) -> Tensor | None:
    return rbm.log_var_visible if rbm.visible == "gaussian" else None


def _own_energy(x: Tensor, unit: Unit, bias: Tensor, log_var: Tensor | None) -> Tensor:
    if unit == "gaussian":
        squares = (x - bias) ** 2 / 2
        return (squares if log_var is None else squares * torch.exp(-log_var)).sum(-1)
    return -(x @ bias) if unit == "bernoulli" else (x**2 / 2).sum(-1) - x @ bias


def _draw(x: Tensor, W: Tensor, bias: Tensor, unit: Unit, log_var: Tensor | None) -> tuple[Tensor, Tensor]:
    if unit == "relu":
        total = linear(x, W, bias)
        return total.relu(), (total + torch.randn_like(total) * total.sigmoid().sqrt()).relu()
    mean = linear(x, W, bias, UNITS[unit])
    if unit == "bernoulli":
        return mean, bernoulli(mean)
    noise = torch.randn_like(mean)
    return mean, mean + (noise if log_var is None else noise * torch.exp(log_var / 2))


def _softplus_integral(x: Tensor) -> Tensor:
    """∫_{−∞}^x softplus = −Li₂(−eˣ); Li₂'s Bernoulli series in u = log(1 + e^{−|x|}) ≤ log 2 is good to 1e-12."""
    u = softplus(-x.abs())
    w = u * u
    series = 1 / 36 + w * (-1 / 3600 + w * (1 / 211680 + w * (-1 / 10886400 + w / 526901760)))
    tail = u + w / 4 + u * w * series  # −Li₂(−e^{−|x|})
    return torch.where(x > 0, x**2 / 2 + math.pi**2 / 6 - tail, tail)
