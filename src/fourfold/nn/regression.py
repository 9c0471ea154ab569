"""The linear regression of examples on their conditions, from which a model starts."""

from __future__ import annotations

from functools import singledispatch
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Space
from fourfold.core.conditions import unknown
from fourfold.nn.reading.numbers import Standardiser
from fourfold.spaces import Vectors

__all__ = ["Regression", "regression_of", "ridge"]

FITTED = 100_000
"""The most examples that are fitted."""
WIDEST = 2000
"""The most numbers of a condition, and of a vector, that have a regression: its time grows with their cube."""
SMALLEST = 1e-3
"""The least standard deviation of residuals that is added to those of the data."""


@final
class Regression(Part, nn.Module):
    """``x = A c + L y``: standardised vectors by a linear regression on their conditions, and white residuals ``y``.

        A = argmin |x - A c|^2 + penalty |A|^2,    L L^T = cov(x - A c),  L a lower triangle

    All is fitted before the first step, and stays. A model of ``y`` has less to learn than one of ``x``. The standard
    normal in its place is the best normal distribution whose mean is linear in ``c``. An unknown condition has ``A c =
    0`` and ``L = I``, and a missing number of one adds nothing. The penalty has the least generalised cross-validation
    error (Golub, Heath, Wahba 1979, https://doi.org/10.1080/00401706.1979.10489751), so conditions that say nothing
    about ``x`` add little.

    Args:
        inputs: count of numbers of a condition.
        outputs: length of a vector.
    """

    summary = "a linear regression on the condition"

    slopes: Tensor
    factor: Tensor
    whitening: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.standardised = Standardiser(inputs)
        self.register_buffer("slopes", torch.zeros(outputs, inputs))
        self.register_buffer("factor", torch.eye(outputs))
        self.register_buffer("whitening", torch.eye(outputs))

    def fit(self, x: Tensor, cond: Tensor | None) -> None:
        """Fit ``A`` and ``L`` to standardised vectors ``(N, outputs)`` and their raw conditions ``(N, inputs)``."""
        if cond is None or bool(unknown(cond).all()):
            return
        self.standardised.fit(cond[~unknown(cond)])
        x, cond = (values[:: -(-len(values) // FITTED)] for values in (x, cond))
        rows = ~unknown(cond)
        c, z = self.standardised(cond[rows]).double(), x[rows].double()
        slopes = ridge(c, z)
        residuals = z - c @ slopes
        least = SMALLEST**2 * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        factor = torch.linalg.cholesky(residuals.T @ residuals / len(z) + least)
        self.slopes.copy_(slopes.T)
        self.factor.copy_(factor)
        self.whitening.copy_(torch.linalg.inv(factor))

    def _centre(self, cond: Tensor | None, batch: int) -> tuple[Tensor, Tensor]:
        """``A c``, ``(B, outputs)``, and which conditions are unknown, ``(B, 1)``."""
        if cond is None:
            hidden = torch.ones(batch, 1, dtype=torch.bool, device=self.slopes.device)
            return self.slopes.new_zeros(batch, len(self.slopes)), hidden
        return F.linear(self.standardised(cond), self.slopes), unknown(cond)[:, None]

    def residuals(self, x: Tensor, cond: Tensor | None) -> tuple[Tensor, Tensor]:
        """``y = L^-1 (x - A c)`` and ``log |dy_i/dx_i|``, ``(B, outputs)`` each."""
        centre, hidden = self._centre(cond, len(x))
        log_slopes = self.whitening.diagonal().log()
        return torch.where(hidden, x, F.linear(x - centre, self.whitening)), torch.where(hidden, 0.0, log_slopes)

    def restored(self, y: Tensor, cond: Tensor | None) -> Tensor:
        """``x = A c + L y``, ``(B, outputs)``. Earlier coordinates do not depend on later ones."""
        centre, hidden = self._centre(cond, len(y))
        return torch.where(hidden, y, centre + F.linear(y, self.factor))


@singledispatch
def regression_of(space: Space) -> Regression | None:
    """The regression of vectors that are given vectors. ``None`` for others."""
    return None


@regression_of.register
def _(space: Vectors) -> Regression | None:
    return None if space.given is None else _on(space.given, space.dim)


@singledispatch
def _on(given: Space, outputs: int) -> Regression | None:
    """The regression of so many numbers on a condition, if it is a vector."""
    return None


@_on.register
def _(given: Vectors, outputs: int) -> Regression | None:
    return Regression(given.dim, outputs) if max(given.dim, outputs) <= WIDEST else None


PENALTIES = torch.logspace(-6, 3, 28, dtype=torch.float64)
"""Penalties that are tried, each times the number of rows."""


def ridge(c: Tensor, z: Tensor) -> Tensor:
    """The slopes ``(I, O)`` of ``z``, ``(N, O)``, on ``c``, ``(N, I)``, float64. Both are centred."""
    rows = len(c)
    values, vectors = torch.linalg.eigh(c.T @ c)
    values, shares = values.clamp(min=0)[:, None], vectors.T @ c.T @ z
    damped = values + rows * PENALTIES.to(c.device)[:, None, None]
    residual = z.square().sum() - (shares.square() * (2 / damped - values / damped.square())).sum((1, 2))
    freedom = 1 - (values / damped).sum((1, 2)) / rows
    best = int((residual / freedom.square().clamp(min=1e-12)).argmin())
    return vectors @ (shares / damped[best])
