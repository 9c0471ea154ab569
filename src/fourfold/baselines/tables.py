"""Baselines of tables: independent columns, and a Gaussian copula."""

from __future__ import annotations

import math
from typing import Self, final

import numpy as np
import torch
from torch import Tensor

from fourfold.baselines.codes import Floats, Marginal
from fourfold.core import Baseline, LogProb, Space
from fourfold.machine.libraries import scipy
from fourfold.spaces import Table
from fourfold.spaces.columns import Codes
from fourfold.vocabulary import Kind

__all__ = ["GaussianCopula", "IndependentColumns"]

ROWS = 200_000
"""Training rows that correlations are computed from, at most."""
DRAWS = 16
"""Points of an interval at which a copula is evaluated."""
BLOCK = 4096
"""Rows that are scored at once."""


def _marginals(space: Space, x: Tensor) -> list[Marginal]:
    assert isinstance(space, Table)  # these baselines are registered for tables
    return [Marginal.fit(column, x[:, i].numpy()) for i, column in enumerate(space.modelled)]


def _log_masses(marginals: list[Marginal], x: Tensor) -> Tensor:
    """``log p(x_j)`` of each column, ``(B, C)``."""
    with np.errstate(divide="ignore"):
        return torch.from_numpy(np.stack([np.log(m.mass(x[:, j].numpy())) for j, m in enumerate(marginals)], 1))


@final
class IndependentColumns(Baseline):
    """Every column by itself: ``p(x) = prod_j p(x_j)``, each counted by :class:`~fourfold.baselines.codes.Marginal`."""

    name = "independent columns"
    recipe = "autoregressive/trees"
    summary = "Each column is drawn from its own counted distribution, whatever the others hold"

    def __init__(self, marginals: list[Marginal]) -> None:
        self.marginals = marginals

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        return cls(_marginals(space, x))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        u = np.random.default_rng(seed).random((n, len(self.marginals)))
        return torch.from_numpy(np.stack([m.quantile(u[:, j]) for j, m in enumerate(self.marginals)], 1))

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        terms = _log_masses(self.marginals, x)
        return LogProb(terms.sum(1), Kind.EXACT, len(self.marginals), note="masses of counted columns", terms=terms)


@final
class GaussianCopula(Baseline):
    """Counted columns, tied together by the correlations of their normal scores.

    With ``u_j`` uniform between the mass below ``x_j`` and that mass plus ``p(x_j)``, and ``z_j = Phi^-1(u_j)``,

        log p(x) = sum_j log p(x_j) + log E_u[c_R(z)],   c_R(z) = |R|^(-1/2) exp(-z^T (R^-1 - I) z / 2).

    The expectation over the interval is a probability of a box in many dimensions. The logarithm of the mean of 16
    draws bounds it from below in expectation.

    Reference: Nelsen 2006, An Introduction to Copulas. Smith, Khaled 2012, Estimation of Copula Models with Discrete
    Margins, https://doi.org/10.1080/01621459.2011.644501
    """

    name = "Gaussian copula"
    recipe = "autoregressive/trees"
    summary = "Counted columns, tied together by the correlations of their normal scores"

    def __init__(self, marginals: list[Marginal], correlation: Floats) -> None:
        self.marginals = marginals
        self.root = np.linalg.cholesky(correlation)
        self.excess = np.linalg.inv(correlation) - np.eye(len(correlation))

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        marginals, rows = _marginals(space, x), x[:: -(-len(x) // ROWS)].numpy()
        z = _scores(marginals, rows, np.random.default_rng(0))
        n, c = z.shape
        scale = np.sqrt(np.square(z).mean(0))
        moments = (z / scale).T @ (z / scale)
        # a prior of C independent rows keeps the matrix regular where rows are few
        return cls(marginals, (moments + c * np.eye(c)) / (n + c))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        u = scipy.special.ndtr(np.random.default_rng(seed).standard_normal((n, len(self.root))) @ self.root.T)
        return torch.from_numpy(np.stack([m.quantile(u[:, j]) for j, m in enumerate(self.marginals)], 1))

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        random = np.random.default_rng(seed)
        draws = torch.cat([self._densities(part.numpy(), random) for part in torch.split(x, BLOCK)], 1)
        ratio = (draws - draws.logsumexp(0)).exp() * len(draws)  # of mean 1
        nats = _log_masses(self.marginals, x).sum(1) + draws.logsumexp(0) - math.log(len(draws))
        note = f"a copula of {len(self.root)} counted columns, {len(draws)} points of each value"
        variance = ratio.var(0) / len(draws)
        return LogProb(nats, Kind.LOWER_BOUND, len(self.root), variance, DRAWS, note=note, freedom=DRAWS - 1)

    def _densities(self, rows: Codes, random: np.random.Generator) -> Tensor:
        """``log c_R`` at points of each row, ``(DRAWS, B)``."""
        densities = []
        for _ in range(DRAWS):
            z = _scores(self.marginals, rows, random)
            densities.append(-np.log(np.diag(self.root)).sum() - ((z @ self.excess) * z).sum(1) / 2)
        return torch.from_numpy(np.stack(densities))


def _scores(marginals: list[Marginal], rows: Codes, random: np.random.Generator) -> Floats:
    """Normal scores of a random point of each value's interval, ``(B, C)``."""
    u = random.random(rows.shape)
    for j, marginal in enumerate(marginals):
        u[:, j] = marginal.below(rows[:, j]) + u[:, j] * marginal.mass(rows[:, j])
    return scipy.special.ndtri(u.clip(1e-12, 1 - 1e-12))
