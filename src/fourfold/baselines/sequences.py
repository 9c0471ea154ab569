"""Baselines of sequences: independent rows, and rows that depend on the one before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.baselines.codes import Floats, Marginal
from fourfold.core import Baseline, LogProb, Space
from fourfold.machine.libraries import scipy
from fourfold.maths.categorical import quantile
from fourfold.spaces import Sequences
from fourfold.spaces.columns import MISSING, Categorical, Codes
from fourfold.spaces.sequences import ABSENT
from fourfold.vocabulary import Kind

__all__ = ["FirstOrderRows", "IndependentRows"]

DRAWS = 16
"""Points of an interval at which normal scores are taken."""
PRIOR = 1.0
"""Pairs of categories that are added to each row of a transition matrix, in proportion to their marginal masses."""


@dataclass(frozen=True)
class _Rows:
    """All rows of a raw set, one below the other.

    Attributes:
        codes: ``(N, C)``.
        sequence: the number of each row's sequence, ``(N,)``.
        first: whether a row begins its sequence, ``(N,)``.
        mask: the codes that count, ``(N, C)``: the first row of a keyed sequence has a start, and no step.
    """

    codes: Codes
    sequence: npt.NDArray[np.int64]
    first: npt.NDArray[np.bool_]
    mask: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, space: Sequences, x: Tensor) -> Self:
        """The rows of sequences ``(B, length, C)``, or of a series ``(N, C)``."""
        whole = x if x.ndim == 3 else x[None]
        there = space.present(whole)
        sequence, place = (part.numpy() for part in there.nonzero(as_tuple=True))
        codes = whole[there].numpy()
        mask = np.ones(codes.shape, dtype=bool)
        mask[:, space.at] = (place > 0) | (space.key is None)
        return cls(codes, sequence, place == 0, mask)

    def summed(self, nats: Floats, count: int) -> Tensor:
        """Nats of rows, ``(N,)``, added up for each sequence."""
        return torch.from_numpy(np.bincount(self.sequence, nats, minlength=count))


@final
class _Frame:
    """The length and the start of sequences, counted.

    Masses of lengths are ``(count + 1/length) / (S + 1)``. Starts are counted by :class:`Marginal`. Windows have
    neither.
    """

    def __init__(self, space: Sequences, x: Tensor) -> None:
        self.space = space
        if space.key is not None:
            counts = torch.bincount(space.row_counts(x) - 1, minlength=space.length).double()
            self.lengths = ((counts + 1 / space.length) / (counts.sum() + 1)).numpy()
            self.starts = Marginal.fit(space.start, x[:, 0, space.at].numpy())

    def log_mass(self, x: Tensor) -> Tensor:
        if self.space.key is None:
            return torch.zeros(len(x), dtype=torch.float64)
        with np.errstate(divide="ignore"):
            start = np.log(self.starts.mass(x[:, 0, self.space.at].numpy()))
        return torch.from_numpy(np.log(self.lengths)[(self.space.row_counts(x) - 1).numpy()] + start)

    def framed(self, x: Codes, u: Floats) -> Tensor:
        """Rows ``(n, length, C)`` with drawn starts, cut at drawn lengths. ``u`` is uniform, ``(n, 2)``."""
        if self.space.key is None:
            return torch.from_numpy(x)
        x[:, 0, self.space.at] = self.starts.quantile(u[:, 0])
        length = quantile(torch.from_numpy(np.cumsum(self.lengths)), torch.from_numpy(u[:, 1])).numpy() + 1
        x[np.arange(x.shape[1]) >= length[:, None]] = ABSENT
        return torch.from_numpy(x)


def _marginals(space: Sequences, rows: _Rows) -> list[Marginal]:
    return [Marginal.fit(column, rows.codes[rows.mask[:, j], j]) for j, column in enumerate(space.modelled)]


@final
class IndependentRows(Baseline):
    """Every value by itself: ``p(x) = p(n) p(start) prod_t prod_j p(x_tj)``, each counted. Exact."""

    name = "independent rows"
    summary = "Length, start and each value are drawn from their own counted distributions, whatever came before"

    def __init__(self, frame: _Frame, marginals: list[Marginal]) -> None:
        self.frame, self.marginals = frame, marginals

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        assert isinstance(space, Sequences)  # a baseline is registered for its space
        return cls(_Frame(space, x), _marginals(space, _Rows.of(space, x)))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        space = self.frame.space
        u = np.random.default_rng(seed).random((n, space.length * len(self.marginals) + 2))
        uniforms = u[:, 2:].reshape(n * space.length, -1)
        x = np.stack([m.quantile(uniforms[:, j]) for j, m in enumerate(self.marginals)], 1)
        return self.frame.framed(x.reshape(n, *space.shape), u[:, :2])

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        space = self.frame.space
        rows = _Rows.of(space, x)
        nats = self.frame.log_mass(x) + rows.summed(_log_masses(self.marginals, rows).sum(1), len(x))
        return LogProb(nats, Kind.EXACT, space.dims, note="masses of counted values", row_counts=space.row_counts(x))


def _log_masses(marginals: list[Marginal], rows: _Rows) -> Floats:
    """``log p(x_tj)`` of each value that counts, ``(N, C)``."""
    with np.errstate(divide="ignore"):
        nats = np.stack([np.log(m.mass(rows.codes[:, j])) for j, m in enumerate(marginals)], 1)
    return np.where(rows.mask, nats, 0.0)


@final
class FirstOrderRows(Baseline):
    """Each row given the one before: categories by transition matrices, quantities by a vector autoregression.

    A category follows its own counted transitions, ``p(b | a) = (c(a, b) + p(b)) / (c(a) + 1)``. Quantities are tied
    through their normal scores, ``z_t = A z_(t-1) + e``, ``e ~ N(0, S)``, and keep their counted distributions. With
    ``u`` uniform within the intervals, ``log E_u prod_t N(z_t; A z_(t-1), S) / N(z_t; 0, I)`` is bounded by 16 draws.

    Reference: Lütkepohl 2005, New Introduction to Multiple Time Series Analysis, https://doi.org/10.1007/3-540-27752-8
    """

    name = "first-order rows"
    summary = "Categories follow their transition matrices, and quantities a vector autoregression of normal scores"

    def __init__(
        self, frame: _Frame, marginals: list[Marginal], matrices: dict[int, Floats], tie: Floats, noise: Floats
    ) -> None:
        self.frame, self.marginals, self.matrices, self.tie = frame, marginals, matrices, tie
        self.quantities = [j for j in range(len(marginals)) if j not in matrices]
        self.root = np.linalg.cholesky(noise) if len(noise) else noise
        self.precision = np.linalg.inv(noise) if len(noise) else noise

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        assert isinstance(space, Sequences)  # a baseline is registered for its space
        rows = _Rows.of(space, x)
        marginals = _marginals(space, rows)
        categories = {j: len(c.categories) for j, c in enumerate(space.modelled) if isinstance(c, Categorical)}
        matrices = {j: _transitions(marginals[j], rows, j, size) for j, size in categories.items()}
        quantities = [j for j in range(len(marginals)) if j not in matrices]
        z = _scores(marginals, rows, quantities, np.random.default_rng(0))
        after = np.flatnonzero(~rows.first)
        now, before, q = z[after], z[after - 1], len(quantities)
        tie: Floats = np.linalg.solve(before.T @ before + q * np.eye(q), before.T @ now).T.astype(np.float64)
        rest = now - before @ tie.T
        noise: Floats = (rest.T @ rest + q * np.eye(q)) / (len(now) + q)
        return cls(_Frame(space, x), marginals, matrices, tie, noise)

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        space, random = self.frame.space, np.random.default_rng(seed)
        rows = _Rows.of(space, x)
        nats = _log_masses(self.marginals, rows)
        before = np.roll(rows.codes, 1, axis=0)
        for j, matrix in self.matrices.items():
            category_mask = (rows.codes[:, j] >= 0) | (rows.codes[:, j] == MISSING)
            with np.errstate(divide="ignore"):
                log_p = np.log(matrix[_category(before[:, j], matrix), _category(rows.codes[:, j], matrix)])
            nats[:, j] = np.where(rows.first, nats[:, j], np.where(category_mask, log_p, -np.inf))
        fixed = self.frame.log_mass(x) + rows.summed(nats.sum(1), len(x))
        draws = torch.stack([rows.summed(self._ratio(rows, random), len(x)) for _ in range(DRAWS)])
        ratio = (draws - draws.logsumexp(0)).exp() * DRAWS
        note = f"first-order dependence, {DRAWS} points of each value"
        return LogProb(
            fixed + draws.logsumexp(0) - math.log(DRAWS),
            Kind.LOWER_BOUND,
            space.dims,
            ratio.var(0) / DRAWS,
            DRAWS,
            note=note,
            freedom=DRAWS - 1,
            row_counts=space.row_counts(x),
        )

    def _ratio(self, rows: _Rows, random: np.random.Generator) -> Floats:
        """``log N(z_t; A z_(t-1), S) - log N(z_t; 0, I)`` of each row, 0 for the first of a sequence, ``(N,)``."""
        z = _scores(self.marginals, rows, self.quantities, random)
        rest = z - np.roll(z, 1, axis=0) @ self.tie.T
        density = -np.log(np.diag(self.root)).sum() - ((rest @ self.precision) * rest).sum(1) / 2
        return np.where(rows.first, 0.0, density + np.square(z).sum(1) / 2)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        space = self.frame.space
        random = np.random.default_rng(seed).random((n, space.length * len(self.marginals) + 2))
        u = random[:, 2:].reshape(n, *space.shape)
        x = np.empty(u.shape, dtype=np.int64)
        e = scipy.special.ndtri(u[:, :, self.quantities].clip(1e-12, 1 - 1e-12))
        z = e[:, 0]
        for t in range(space.length):
            z = z if t == 0 else z @ self.tie.T + e[:, t] @ self.root.T
            for k, j in enumerate(self.quantities):
                x[:, t, j] = self.marginals[j].quantile(scipy.special.ndtr(z[:, k]).clip(0, 1 - 1e-12))
            for j, matrix in self.matrices.items():
                if t == 0:
                    x[:, t, j] = self.marginals[j].quantile(u[:, t, j])
                    continue
                sums = np.cumsum(matrix[_category(x[:, t - 1, j], matrix)], 1)
                category = quantile(torch.from_numpy(sums), torch.from_numpy(u[:, t, j])).numpy()
                gap = self.marginals[j].gap > 0
                x[:, t, j] = np.where(gap & (category == len(matrix) - 1), MISSING, category)
        return self.frame.framed(x, random[:, :2])


def _category(codes: Codes, matrix: Floats) -> Codes:
    """Places in a matrix of transitions. A gap has the last one, and so has what the schema lacks."""
    return np.where(codes < 0, len(matrix) - 1, codes)


def _transitions(marginal: Marginal, rows: _Rows, j: int, categories: int) -> Floats:
    """``p(b | a)`` of the values of a categorical column, the gap behind them if there is one, ``(K, K)``."""
    size = categories + (marginal.gap > 0)
    after = np.flatnonzero(~rows.first)
    b, a = (np.where(rows.codes[at, j] < 0, size - 1, rows.codes[at, j]) for at in (after, after - 1))
    counts = np.bincount(a * size + b, minlength=size * size).reshape(size, size).astype(np.float64)
    each = marginal.mass(np.append(np.arange(categories), [MISSING] * (size - categories)))
    return (counts + PRIOR * each) / (counts.sum(1, keepdims=True) + PRIOR * each.sum())


def _scores(marginals: list[Marginal], rows: _Rows, columns: list[int], random: np.random.Generator) -> Floats:
    """Normal scores of a random point of each value's interval, ``(N, Q)``. 0 for a value that does not count."""
    u = random.random((len(rows.codes), len(columns)))
    for k, j in enumerate(columns):
        u[:, k] = marginals[j].below(rows.codes[:, j]) + u[:, k] * marginals[j].mass(rows.codes[:, j])
    return np.where(rows.mask[:, columns], scipy.special.ndtri(u.clip(1e-12, 1 - 1e-12)), 0.0)
