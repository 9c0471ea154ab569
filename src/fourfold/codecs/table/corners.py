"""A row as one vector of reals, its categories the corners of simplices."""

from __future__ import annotations

import math
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.codecs.table.reals import GaussianColumns
from fourfold.codecs.table.tokens import ROWS
from fourfold.core import Codec, Measure, Noise
from fourfold.maths.categorical import categorical
from fourfold.maths.normal import log_phi
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, UNSEEN, Graded

__all__ = ["CORNER", "FAR", "RealRows"]

CORNER = 0.1
"""The standard deviation of a category about its corner, as a part of the corner's distance from 0."""
FAR = 5.0
"""The distance from 0 of the corners of a target, in standard deviations of a quantity."""


@final
class RealRows(Codec):
    """A row as one vector of reals: each category a corner of a simplex, each quantity in its standard deviation.

    A category ``k`` is ``z ~ N(a e_k, (a w)^2)``, and ``z`` is read as a draw of ``p(k | z)`` for equal shares of the
    categories. A quantity is spread over the cell of its grid, ``z = (x + u - mean) / scale`` with ``u ~ U[-1/2,
    1/2)``. A quantity that may be missing has two corners beside it. Where it is missing, ``z`` is a draw of ``N(m,
    d^2)`` about its linear prediction from the rest of the row, so that gaps leave the correlations of the codes. With

        log |det| = - sum_categories log sum_j N(z; a e_j, (a w)^2) - sum_quantities log scale,

    where ``- log N(z; m, d^2)`` takes the place of the last for a missing value, ``E[log p(z)] + log |det| <= log
    P(x)``. ``a`` is 1, but :data:`FAR` for the target if it is a category. It is the first part of the vector.

    Args:
        space: of the rows.
        classes: the most categories of a target that is far.
    """

    measure = Measure.LEBESGUE
    random = True
    bound = GaussianColumns.bound
    mean: Tensor
    scale: Tensor
    spread: Tensor
    weights: Tensor
    deviation: Tensor

    def __init__(self, space: Table, classes: int = 12) -> None:
        super().__init__()
        self.space = space
        self.graded = tuple(i for i, column in enumerate(space.modelled) if isinstance(column, Graded))
        sizes = [1 if i in self.graded else c.span[1] + 1 for i, c in enumerate(space.modelled)]
        sizes = [size + column.missing for size, column in zip(sizes, space.modelled, strict=True)]
        far = [i for i, c in enumerate(space.columns) if c == space.target and i not in self.graded]
        far = [i for i in far if 1 < sizes[i] <= classes]
        near = [i for i, size in enumerate(sizes) if i not in far and (size > 1 or i not in self.graded)]
        self.corners, self.sizes, self.far = (*far, *near), tuple(sizes), sum(sizes[i] for i in far)
        self.lengths = [sizes[i] for i in self.corners]
        self.event = (sum(self.lengths) + len(self.graded),)
        spread = [FAR if i in far else 1.0 for i in self.corners for _ in range(sizes[i])]
        self.register_buffer("spread", torch.tensor(spread), persistent=False)
        self.register_buffer("mean", torch.zeros(len(self.graded), dtype=torch.float64))
        self.register_buffer("scale", torch.ones(len(self.graded), dtype=torch.float64))
        self.register_buffer("weights", torch.zeros(len(self.graded), *self.event, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(len(self.graded), dtype=torch.float64))

    def fit(self, x: Tensor) -> None:
        """Take mean and standard deviation of each quantity, and its regression on the others where it has gaps.

        The standard deviation is at least a step of the grid.
        """
        x = x[:: -(-len(x) // ROWS)]
        values = _quantities(x[:, list(self.graded)])
        self.mean.copy_(values.nanmean(0).nan_to_num())
        self.scale.copy_((values - self.mean).square().nanmean(0).sqrt().nan_to_num().clamp(min=1.0))
        z, rest = (values - self.mean) / self.scale, self._rest(x, (values - self.mean) / self.scale)
        for g in range(len(self.graded)):
            rows = ~z[:, g].isnan()
            if bool(rows.all()) or not bool(rows.any()):
                continue
            inputs = rest[rows].index_fill(1, torch.tensor([sum(self.lengths) + g]), 0.0)
            gram = inputs.T @ inputs + torch.eye(inputs.shape[1], dtype=torch.float64)
            self.weights[g] = torch.linalg.solve(gram, inputs.T @ z[rows, g])
            self.deviation[g] = (z[rows, g] - inputs @ self.weights[g]).square().mean().sqrt().clamp(min=0.01)

    def _rest(self, x: Tensor, z: Tensor) -> Tensor:
        """The corners of a row and its standardised quantities, with 0 for a gap, ``(B, *event)`` float64."""
        corners = [F.one_hot(token, size) for token, size in zip(self._tokens(x), self.lengths, strict=True)]
        return torch.cat([*(corner.double() for corner in corners), z.nan_to_num()], 1)

    def _tokens(self, x: Tensor) -> list[Tensor]:
        """The categories of raw rows, the last one where a value is missing, ``(B,)`` for each that is a corner."""
        last = zip(self.corners, self.lengths, strict=True)
        observed = {i: torch.zeros_like(x[:, i]) if i in self.graded else x[:, i] for i in self.corners}
        return [torch.where(x[:, i] == MISSING, size - 1, observed[i].clamp(0, size - 1)) for i, size in last]

    def encode(self, x: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        quantity = _quantities(x[:, list(self.graded)])
        u = torch.rand(quantity.shape, device=x.device) if noise is None else noise.uniform(quantity.shape[1])
        eps = torch.randn(len(x), *self.event, device=x.device) if noise is None else noise.normal(*self.event)
        rest, eps = self._rest(x, (quantity - self.mean) / self.scale), eps.double()
        free = rest @ self.weights.T + self.deviation * eps[:, sum(self.lengths) :]
        density = log_phi(eps[:, sum(self.lengths) :]) - self.deviation.log()
        log_det = torch.where(quantity.isnan(), -density, -self.scale.log()).sum(1)
        z = torch.where(quantity.isnan(), free, (quantity + u.double() - 0.5 - self.mean) / self.scale)
        parts, place = [], 0
        for token, size in zip(self._tokens(x), self.lengths, strict=True):
            corner = F.one_hot(token, size) + CORNER * eps[:, place : place + size]
            log_det += self._log_det(corner, float(self.spread[place]))
            parts.append(corner * self.spread[place])
            place += size
        possible = torch.tensor([column.missing for column in self.space.modelled], device=x.device)
        foreign = ((x == MISSING) & ~possible) | self.space.foreign(x) | (x == UNSEEN)
        log_det = log_det.masked_fill(foreign.any(1), -torch.inf)
        return torch.cat([*parts, z], 1).float(), log_det.float()

    @staticmethod
    def _log_det(corner: Tensor, spread: float) -> Tensor:
        """``-log sum_j N(z; a e_j, (a w)^2)`` of ``z / a``, ``(B, K)``."""
        size, square = corner.shape[1], corner.square().sum(1, keepdim=True)
        exponent = -(square - 2 * corner + 1) / (2 * CORNER**2)
        return size * math.log(CORNER * spread * math.sqrt(2 * math.pi)) - exponent.logsumexp(1)

    def decode(self, z: Tensor, noise: Noise | None = None) -> Tensor:
        u = torch.full((len(z), len(self.corners)), 0.5) if noise is None else noise.uniform(len(self.corners))
        value = z[:, sum(self.lengths) :].double() * self.scale + self.mean
        x, place = torch.zeros(len(z), len(self.sizes), dtype=torch.int64, device=z.device), 0
        for g, i in enumerate(self.graded):
            least, most = self.space.modelled[i].limits  # type: ignore[attr-defined]
            x[:, i] = value[:, g].round().clamp(least, most).long()
        for c, (i, size) in enumerate(zip(self.corners, self.lengths, strict=True)):
            corner = z[:, place : place + size] / self.spread[place]
            token = categorical(corner / CORNER**2, u[:, c].to(z.device))
            gap = (token == size - 1) & self.space.modelled[i].missing
            x[:, i] = torch.where(gap, MISSING, x[:, i] if i in self.graded else token)
            place += size
        return x


def _quantities(x: Tensor) -> Tensor:
    """Codes of quantities as float64, NaN where they are missing."""
    return x.double().masked_fill(x <= UNSEEN, torch.nan)
