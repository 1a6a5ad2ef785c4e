"""The machines between independent units and an RBM, by one inverse temperature β from 0 to 1.

p_β has weights βW, hidden biases βb and visible biases (1 − β)·base + βa, so at β = 0 all units are independent, the
hidden ones uniform, and at β = 1 it is the machine itself. Everything along the path needs one matrix product per
state: what the units of the other side receive is offset + β·field, with a field that does not depend on β.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from aelab.errors import UserError
from aelab.rbm.kernels import bernoulli, linear
from aelab.rbm.layer import Layer, scaled_visible

Beta = float | Tensor  # one for all rows, or (rows, 1)
FINE = 0.1  # a unit's largest change of input in a step for which its integral needs two points
GAUSS = 0.5 / math.sqrt(3)  # where they lie on either side of the middle, in steps (Gauss-Legendre)


class Path(NamedTuple):
    """The path to ``rbm`` from visible units with the biases ``base`` (visible,); ``path_to`` makes one from data.

    The last ``group`` visible units are one softmax group that is drawn ``draws`` times: 1 for a label beside Bernoulli
    units, a document's length for all of its words. A state is (rows, visible) or (rows, hidden), as ``visible`` says.
    """

    rbm: Layer
    base: Tensor
    group: int = 0
    draws: int = 1

    # --- the ends ---------------------------------------------------------------------------------------------------

    def log_z_base(self) -> float:
        """log Z of the energies at β = 0 in which the squares of Gaussian biases are those of β = 1."""
        visible = self.normaliser(self.base.double()[None], True)
        hidden = self.normaliser(torch.zeros_like(self.rbm.b_hidden, dtype=torch.float64)[None], False)
        return float(visible + hidden) - self.squares()

    def draw_base(self, rows: int) -> Tensor:
        """Visible states of independent draws at β = 0, (rows, visible)."""
        return self.draw(self.base.expand(rows, -1), visible=True)

    # --- one state ----------------------------------------------------------------------------------------------------

    def field(self, state: Tensor, visible: bool) -> Tensor:
        """What each unit of the other side receives per unit of β, its own bias included: the one matrix product."""
        rbm = self.rbm
        if visible:
            return linear(scaled_visible(state, rbm), rbm.W, rbm.b_hidden)
        return linear(state, rbm.W.t(), rbm.b_visible - self.base)

    def total(self, field: Tensor, visible: bool, beta: Beta) -> Tensor:
        """The natural parameters at β of the side opposite to a state, from the state's ``field``."""
        return beta * field if visible else self.base + beta * field

    def log_ratio(
        self, state: Tensor, field: Tensor, visible: bool, beta: Beta, other: Beta, fine: bool = False
    ) -> Tensor:
        """log f_other(state) − log f_β(state), (rows,), f the unnormalised marginal of the state's own side.

        ``fine`` promises that no unit's input changes by more than ``FINE``: Bernoulli units then take half the time,
        and are right to 1e-9 nats.
        """
        rbm = self.rbm
        own = scaled_visible(state, rbm) @ (rbm.b_visible - self.base) if visible else state @ rbm.b_hidden
        if fine and self._unit(not visible) == "bernoulli" and not (self.group and not visible):
            change = (other - beta) * self._mean_field(field, visible, beta, other)
        else:
            change = self._difference(self.total(field, visible, other), self.total(field, visible, beta), not visible)
        return ((other - beta) * own[:, None] + change[:, None]).squeeze(1)

    def largest_field(self, visible: bool) -> float:
        """No unit that faces a state receives more per unit of β; infinite where Gaussian states have no limit."""
        rbm = self.rbm
        if self._unit(visible) == "gaussian":
            return math.inf
        bias = rbm.b_hidden if visible else rbm.b_visible - self.base
        return float((rbm.W.abs().sum(0 if visible else 1) + bias.abs()).max())

    def log_unnormalised(self, state: Tensor, visible: bool) -> Tensor:
        """log f_1(state), (rows,): minus the free energy."""
        scaled, bias = (scaled_visible(state, self.rbm), self.rbm.b_visible) if visible else (state, self.rbm.b_hidden)
        facing = self.normaliser(self.total(self.field(state, visible), visible, 1.0), not visible)
        own = scaled @ bias - ((scaled * state).sum(-1) / 2 if self._unit(visible) == "gaussian" else 0)
        return own + facing - self.squares()

    def draw(self, total: Tensor, visible: bool) -> Tensor:
        """Independent draws of one side's units with the natural parameters ``total`` (rows, units)."""
        if self._unit(visible) == "gaussian":
            noise, log_var = torch.randn_like(total), self._log_var(visible)
            return total + (noise if log_var is None else noise * torch.exp(log_var / 2))
        if not (visible and self.group):
            return bernoulli(total.sigmoid())
        words = _counts(total[:, -self.group :].softmax(1), self.draws)
        return torch.cat([bernoulli(total[:, : -self.group].sigmoid()), words], 1) if self._others() else words

    def squares(self) -> float:
        """Σ c²/2σ² of the Gaussian units' biases c, which moves no state and is kept apart."""
        rbm, squares = self.rbm, 0.0
        if rbm.visible == "gaussian":
            squares += float((rbm.b_visible.double() * scaled_visible(rbm.b_visible, rbm)).sum()) / 2
        if rbm.hidden == "gaussian":
            squares += float(rbm.b_hidden.double().square().sum()) / 2
        return squares

    # --- one side's units ---------------------------------------------------------------------------------------------

    def _unit(self, visible: bool) -> str:
        return self.rbm.visible if visible else self.rbm.hidden

    def _others(self) -> int:
        return self.rbm.W.shape[0] - self.group

    def _log_var(self, visible: bool) -> Tensor | None:
        """Of one side's Gaussian units; None: all have unit variance."""
        return self.rbm.log_var_visible if visible else None

    def normaliser(self, total: Tensor, visible: bool) -> Tensor:
        """Σ over one side's units of log Σ_x exp(total·x − x²/2σ² if it is Gaussian), (rows,)."""
        if self._unit(visible) == "gaussian":
            known = self._log_var(visible)
            log_var = total.new_zeros(()) if known is None else known.to(total)
            return ((total**2 * torch.exp(-log_var)) / 2 + (math.log(2 * math.pi) + log_var) / 2).sum(-1)
        if not (visible and self.group):
            return softplus(total).sum(-1)
        words = self.draws * total[:, -self.group :].logsumexp(-1)
        return words + softplus(total[:, : -self.group]).sum(-1)

    def _difference(self, total: Tensor, before: Tensor, visible: bool) -> Tensor:
        """``normaliser`` at ``total`` less that at ``before``, subtracted unit by unit: no digits are lost."""
        if self._unit(visible) == "gaussian":
            product, log_var = (total - before) * (total + before) / 2, self._log_var(visible)
            return (product if log_var is None else product * torch.exp(-log_var)).sum(-1)
        if not (visible and self.group):
            return (softplus(total) - softplus(before)).sum(-1)
        words = self.draws * (total[:, -self.group :].logsumexp(-1) - before[:, -self.group :].logsumexp(-1))
        return words + (softplus(total[:, : -self.group]) - softplus(before[:, : -self.group])).sum(-1)

    def _mean_field(self, field: Tensor, visible: bool, beta: Beta, other: Beta) -> Tensor:
        """Σ_j field_j · mean of unit j between β and ``other``: the derivative of ``normaliser`` by β, averaged."""
        middle, half = (beta + other) / 2, (other - beta) * GAUSS
        low, high = (self.total(field, visible, b).sigmoid_() for b in (middle - half, middle + half))
        return torch.linalg.vecdot(low.add_(high), field) / 2


def path_to(rbm: Layer, data: Tensor | None, group: int = 0, draws: int = 1) -> Path:
    """The path to ``rbm`` from visible units with the rates of ``data`` (rows, visible), or without data from uniform.

    Raises ``UserError`` for rectified units, whose free energy is an approximation.
    """
    if "relu" in (rbm.visible, rbm.hidden):
        raise UserError("model.hidden: no log Z of relu units; use bernoulli or gaussian units")
    if data is None:
        return Path(rbm, torch.zeros_like(rbm.b_visible), group, draws)
    mean = data.to(rbm.b_visible).mean(0)
    if rbm.visible == "gaussian":
        return Path(rbm, mean, group, draws)
    smallest = 1 / (len(data) + 2)  # as if one more row of zeros and one of ones had been seen: no rate is 0 or 1
    base = mean.clamp(smallest, 1 - smallest).logit()
    if group:
        words = mean[-group:] + smallest
        base[-group:] = (words / words.sum()).log()
    return Path(rbm, base, group, draws)


def _counts(p: Tensor, draws: int) -> Tensor:
    """``draws`` draws from each row's categories p (rows, categories), counted."""
    if draws == 1:
        first = (torch.empty_like(p).exponential_() / p).argmin(1)  # clocks of rate p: as torch.multinomial, faster
        return torch.nn.functional.one_hot(first, p.shape[1]).to(p)
    index = torch.multinomial(p, draws, replacement=True)
    return torch.zeros_like(p).scatter_add_(1, index, torch.ones_like(index, dtype=p.dtype))
