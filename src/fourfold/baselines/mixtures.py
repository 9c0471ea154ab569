"""Mixtures of Gaussians and categories: the classical models of few rows, exact for vectors and for tables.

    p(x) = sum_k w_k prod_d p_k(c_d) prod_i p_k(q_i | q_<i)

A component ``k`` draws each category by itself, and the quantities by a Gaussian ``N(m_k, S_k)``, column after column.
A quantity of a table lies on a grid, so each conditional is that of the Gaussian, rounded to the grid within the limits
of its column: with ``L`` the Cholesky factor of ``S_k`` and ``e = L^-1 (q - m_k)``,

    p_k(q_i | q_<i) = Phi(e_i + h_i / L_ii) - Phi(e_i - h_i / L_ii),    h_i: half a step of the grid,

over the mass within the limits. These are masses that add up to 1. A missing quantity is left out of its Gaussian.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Self, final

import numpy as np
import torch
from torch import Tensor

from fourfold.baselines.frame import Frame, RowParts, frame_of
from fourfold.core import Baseline, LogProb, Space
from fourfold.machine.libraries import sklearn
from fourfold.maths.categorical import quantile
from fourfold.maths.covariance import class_covariance, shrunk_covariance
from fourfold.maths.normal import log_phi
from fourfold.vocabulary import Kind

__all__ = ["ClassGaussians", "KernelDensity", "MixedGaussians", "ProductMixture"]

ROWS = 4000
"""Training rows that a mixture is fitted to, at most."""
KERNELS = 1000
"""Training rows that are kernels, at most."""
TRIED = 300
"""Rows by which the width of the kernels is chosen, at most."""
COUNTS = (1, 2, 4, 8, 16)
"""Numbers of components that are tried, until held-out rows get less likely."""
FOLDED = 1000
"""Below so many rows three folds choose the number of components, else one."""
ROUNDS = 30
"""Steps of expectation and maximisation, at most."""
WIDTHS = (0.05, 0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 0.9)
"""Widths of kernels that are tried, in standard deviations of each column."""
LEAKS = (0.01, 0.05, 0.2, 0.5)
"""Shares of a category's mass that are tried to be spread over all categories of its column."""
FLOOR = 1e-3
"""The least standard deviation, in those of the column."""
NUMBERS = 1 << 22
"""Numbers of an array of rows by components by columns, at most."""


# --- how wide a component is ------------------------------------------------------------------------------------------


class _Spread(ABC):
    """The covariances of all components."""

    @abstractmethod
    def errors(self, deviation: Tensor, observed_mask: Tensor) -> tuple[Tensor, Tensor]:
        """``e = L^-1 d`` of deviations ``(B, K, Q)``, 0 where a value is missing, and ``diag L``.

        The latter is ``(B, K, Q)``, or ``(1, K, Q)`` where it is that of all rows.
        """

    @abstractmethod
    def covariances(self) -> Tensor:
        """``(K, Q, Q)``."""

    @abstractmethod
    def roots(self, k: Tensor, observed_mask: Tensor) -> Tensor:
        """``L`` of the component of each row ``(B,)``, for its observed values ``(B, Q)``: ``(B, Q, Q)``."""


@final
class _Diagonal(_Spread):
    """Columns that are independent within a component: standard deviations ``(K, Q)``."""

    def __init__(self, scales: Tensor) -> None:
        self.scales = scales

    def covariances(self) -> Tensor:
        return torch.diag_embed(self.scales.square())

    def errors(self, deviation: Tensor, observed_mask: Tensor) -> tuple[Tensor, Tensor]:
        return deviation / self.scales, self.scales.unsqueeze(0)

    def roots(self, k: Tensor, observed_mask: Tensor) -> Tensor:
        return torch.diag_embed(self.scales[k])


@final
class _Full(_Spread):
    """Covariances ``(K, Q, Q)``. The factor of rows with gaps is that of the values that they have."""

    def __init__(self, covariances: Tensor) -> None:
        self._covariances = covariances

    def covariances(self) -> Tensor:
        return self._covariances

    def errors(self, deviation: Tensor, observed_mask: Tensor) -> tuple[Tensor, Tensor]:
        e, scale = torch.empty_like(deviation), torch.empty_like(deviation)
        for pattern, rows in _patterns(observed_mask):
            root = self._root(self._covariances, pattern)
            d = torch.where(pattern, deviation[rows], 0.0).permute(1, 2, 0)
            e[rows] = torch.linalg.solve_triangular(root, d, upper=False).permute(2, 0, 1)
            scale[rows] = torch.diagonal(root, dim1=1, dim2=2)
        return e, scale

    def roots(self, k: Tensor, observed_mask: Tensor) -> Tensor:
        return self._root(self._covariances[k], observed_mask)

    @staticmethod
    def _root(covariances: Tensor, observed_mask: Tensor) -> Tensor:
        """Cholesky factors in which a missing value stands alone."""
        both = observed_mask.unsqueeze(-1) & observed_mask.unsqueeze(-2)
        root: Tensor = torch.linalg.cholesky(
            torch.where(both, covariances, torch.eye(observed_mask.shape[-1]).to(covariances))
        )
        return root


def _patterns(observed_mask: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Each set of values that rows know, ``(Q,)``, with the places of these rows."""
    if bool(observed_mask.all()):
        yield torch.ones(observed_mask.shape[1], dtype=torch.bool), torch.arange(len(observed_mask))
        return
    patterns, of_row = torch.unique(observed_mask, dim=0, return_inverse=True)
    for i, pattern in enumerate(patterns):
        yield pattern, (of_row == i).nonzero().flatten()


# --- the mixture ------------------------------------------------------------------------------------------------------


class _Components:
    """The components of a mixture in the coordinates of a frame.

    Args:
        frame: takes rows apart.
        weights: ``(K,)``, which add up to 1.
        tables: masses of the categories of each discrete value, ``(K, size)``, whose rows add up to 1.
        means: of the quantities, ``(K, Q)``.
        spread: their covariances.
    """

    def __init__(self, frame: Frame, weights: Tensor, tables: list[Tensor], means: Tensor, spread: _Spread) -> None:
        self.frame, self.weights, self.tables, self.means, self.spread = frame, weights, tables, means, spread
        self._log_tables = [torch.cat([t.log(), torch.full_like(t[:, :1], -torch.inf)], 1) for t in tables]

    def log_joint(self, parts: RowParts, exact: bool = True) -> Tensor:
        """``log w_k p_k(x)``, ``(B, K)``.

        If not ``exact``, quantities have densities on no grid and without limits, and those that are missing lie at
        the mean of each component. That is enough to fit by, and fast.
        """
        rows = max(NUMBERS // max(self.means.numel(), 1), 1)
        chunks = [parts.rows(slice(i, i + rows)) for i in range(0, len(parts.values), rows)]
        return torch.cat([self._block(chunk, exact) for chunk in chunks])

    def _block(self, parts: RowParts, exact: bool) -> Tensor:
        nats = self.weights.log().expand(len(parts.values), -1).clone()
        for d, table in enumerate(self._log_tables):
            nats += table[:, parts.tokens[:, d]].T  # -1 is the last one, of no mass
        observed_mask, x = ~torch.isnan(parts.values), parts.values.unsqueeze(1)
        if not exact:
            e, scale = self.spread.errors((x - self.means).nan_to_num(), torch.ones_like(observed_mask))
            return nats + (log_phi(e) - scale.log()).sum(2)
        e, scale = self.spread.errors(x.nan_to_num() - self.means, observed_mask)
        return nats + torch.where(observed_mask.unsqueeze(1), self._log_mass(x, e, scale), 0.0).sum(2)

    def _log_mass(self, x: Tensor, e: Tensor, scale: Tensor) -> Tensor:
        """``log p_k(q_i | q_<i)``, ``(B, K, Q)``, in the units of raw rows."""
        frame = self.frame
        if not bool((frame.step > 0).any()):
            return log_phi(e) - (scale * frame.scale).log()
        half = frame.step / 2 / scale
        mean = self.means if len(scale) < len(e) else x - scale * e  # one for all rows where columns are independent
        low, high = (frame.low - frame.step / 2 - mean) / scale, (frame.high + frame.step / 2 - mean) / scale
        return log_between(e - half, e + half) - log_between(low, high)

    def covariances(self) -> Tensor:
        """The covariances of the quantities, ``(K, Q, Q)``."""
        return self.spread.covariances()

    def sample(self, u: Tensor) -> Tensor:
        """Raw rows by uniform numbers ``(n, 1 + D + Q)``."""
        frame, discrete = self.frame, len(self.tables)
        k = quantile(self.weights.cumsum(0), u[:, 0])
        tokens = torch.zeros(len(u), discrete, dtype=torch.long)
        for d, table in enumerate(self.tables):
            tokens[:, d] = quantile(table.cumsum(1)[k], u[:, 1 + d])
        values = torch.zeros(len(u), self.means.shape[1], dtype=torch.float64)
        observed_mask = ~torch.isnan(frame.parts(frame.raw(RowParts(tokens, values))).values)
        rows = max(NUMBERS // max(values.shape[1] ** 2, 1), 1)
        for part in torch.split(torch.arange(len(u)), rows):
            values[part] = self._quantities(k[part], observed_mask[part], u[part, 1 + discrete :])
        return frame.raw(RowParts(tokens, values))

    def _quantities(self, k: Tensor, observed_mask: Tensor, u: Tensor) -> Tensor:
        root, frame = self.spread.roots(k, observed_mask), self.frame
        e, x = torch.zeros_like(u), torch.zeros_like(u)
        for i in range(u.shape[1]):
            mean, scale = self.means[k, i] + (root[:, i, :i] * e[:, :i]).sum(1), root[:, i, i]
            half = frame.step[i] / 2
            low, high = (frame.low[i] - half - mean) / scale, (frame.high[i] + half - mean) / scale
            x[:, i] = mean + scale * between(low, high, u[:, i])
            if frame.step[i] > 0:  # the value on its grid, counted from one of its values
                origin = -frame.mean[i] / frame.scale[i]
                places = ((x[:, i] - origin) / frame.step[i]).round()
                x[:, i] = (origin + places * frame.step[i]).clamp(frame.low[i], frame.high[i])
            e[:, i] = torch.where(observed_mask[:, i], (x[:, i] - mean) / scale, 0.0)
        return x


def log_between(low: Tensor, high: Tensor) -> Tensor:
    """``log(Phi(high) - Phi(low))`` for ``low < high``, float64, from the tail in which both ends are small."""
    flip = low + high > 0
    a, b = torch.where(flip, -high, low), torch.where(flip, -low, high)
    mass = (torch.special.erfc(-b / math.sqrt(2)) - torch.special.erfc(-a / math.sqrt(2))) / 2
    if bool((mass > 1e-290).all()):
        return mass.log()
    # beyond 36 standard deviations: the mass of an exponential tail
    tail = log_phi(b) - torch.log(-b.clamp(max=-1.0)) + torch.log(-torch.expm1(b * (b - a)))
    return torch.where(mass > 1e-290, mass.clamp(min=1e-300).log(), tail)


def between(low: Tensor, high: Tensor, u: Tensor) -> Tensor:
    """Standard normal numbers between two ends, by uniform ``u``."""
    flip = low + high > 0
    a, b, v = torch.where(flip, -high, low), torch.where(flip, -low, high), torch.where(flip, 1 - u, u)
    below, above = (torch.special.erfc(-end / math.sqrt(2)) / 2 for end in (a, b))  # ndtr rounds tails to 1e-16
    inner = torch.special.ndtri(below + v * (above - below))
    tail = b - v.log() / b  # beyond 38 standard deviations: the quantile of an exponential tail
    z = torch.where(above > 0, inner, tail).maximum(a).minimum(b)
    return torch.where(flip, -z, z)


class _Mixture(Baseline):
    """A baseline that is a mixture. Subclasses say how its components are fitted."""

    note: ClassVar[str]

    def __init__(self, components: _Components, dims: int) -> None:
        self.components, self.dims = components, dims

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        frame = frame_of(space, x)
        return cls(cls._fitted(frame, frame.training_parts(x[:: -(-len(x) // ROWS)])), space.dims)

    @classmethod
    @abstractmethod
    def _fitted(cls, frame: Frame, parts: RowParts) -> _Components:
        """The components of training rows."""

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        nats = self.components.log_joint(self.components.frame.parts(x)).logsumexp(1)
        return LogProb(nats, Kind.EXACT, self.dims, note=f"{len(self.components.weights)} {self.note}")

    def sample(self, n: int, seed: int = 0) -> Tensor:
        numbers = 1 + len(self.components.tables) + self.components.means.shape[1]
        return self.components.sample(torch.from_numpy(np.random.default_rng(seed).random((n, numbers))))


# --- how it is fitted -------------------------------------------------------------------------------------------------


def _tables(frame: Frame, parts: RowParts, shares: Tensor) -> list[Tensor]:
    """Masses of categories in each component: its counts, and one row more of all components, ``(K, size)`` each."""
    tables = []
    for d, size in enumerate(frame.sizes):
        counts = torch.zeros(shares.shape[1], size + 1, dtype=torch.float64)
        counts.index_add_(1, torch.where(parts.tokens[:, d] < 0, size, parts.tokens[:, d]), shares.T.contiguous())
        counts = counts[:, :size]
        every = (counts.sum(0) + 1 / size) / (counts.sum() + 1)
        tables.append((counts + every) / (counts.sum(1, keepdim=True) + 1))
    return tables


def _weights(shares: Tensor) -> Tensor:
    """The share of each component, half a row more for each."""
    return (shares.sum(0) + 0.5) / (shares.sum() + 0.5 * shares.shape[1])


def _means(values: Tensor, shares: Tensor) -> Tensor:
    """The mean of each component and of a thousandth of a row at the mean of all, ``(K, Q)``."""
    observed_mask = (~torch.isnan(values)).double()
    return shares.T @ values.nan_to_num() / (shares.T @ observed_mask + 1e-3)


def _scatter(values: Tensor, mean: Tensor, share: Tensor) -> Tensor:
    """The covariance of rows by their shares, ``(Q, Q)``. Missing values lie at the mean, and do not count."""
    d = (values - mean).nan_to_num()
    count = (share.unsqueeze(1) * ~torch.isnan(values)).sum(0) + 1e-12
    return (d * share.unsqueeze(1)).T @ d / torch.sqrt(count.unsqueeze(0) * count.unsqueeze(1))


def _least(frame: Frame) -> Tensor:
    """The least variance of each quantity: that of values within one cell of the grid, or a small one."""
    return frame.step.square() / 12 + FLOOR**2


@final
class ClassGaussians(_Mixture):
    """One Gaussian for each class of the target, or one for all rows, with covariances by Ledoit and Wolf.

    Categories are independent within a class. Columns of which a class has fewer than three values vary as they do
    within all classes. Rows that miss one of two values weaken their correlation.

    Reference: Ledoit, Wolf 2004, A well-conditioned estimator for large-dimensional covariance matrices,
    https://doi.org/10.1016/S0047-259X(03)00096-4
    """

    name = "shrunk Gaussians"
    summary = "One Gaussian for each class of the target, or one for all rows, whose correlations are shrunk"
    note = "Gaussians with shrunk covariances"

    @classmethod
    def _fitted(cls, frame: Frame, parts: RowParts) -> _Components:
        size = 1 if frame.target is None else frame.sizes[frame.target]
        label = parts.tokens.new_zeros(len(parts.values)) if frame.target is None else parts.tokens[:, frame.target]
        shares = (label.unsqueeze(1) == torch.arange(size)).double()
        tables, means = _tables(frame, parts, shares), _means(parts.values, shares)
        if frame.target is not None:
            tables[frame.target] = torch.eye(size, dtype=torch.float64)
        residual = parts.values - means[label.clamp(min=0)]
        within = torch.sqrt(residual.square().nanmean(0).nan_to_num() + _least(frame))
        every = shrunk_covariance(residual / within)
        covariances = [class_covariance(residual[label == k] / within, every) for k in range(size)]
        scaled = torch.stack(covariances) * within.unsqueeze(0) * within.unsqueeze(1) + torch.diag(_least(frame))
        return _Components(frame, _weights(shares), tables, means, _Full(scaled))


class _ByExpectation(_Mixture):
    """A mixture by expectation and maximisation. Held-out rows choose its number of components.

    Reference: Dempster, Laird, Rubin 1977, Maximum Likelihood from Incomplete Data via the EM Algorithm,
    https://www.jstor.org/stable/2984875
    """

    @classmethod
    def _fitted(cls, frame: Frame, parts: RowParts) -> _Components:
        n = len(parts.values)
        fold = torch.from_numpy(np.random.default_rng(0).permutation(n)) % 3
        return cls.folded(frame, parts, fold, 3 if n < FOLDED else 1)[-1]

    @classmethod
    def folded(cls, frame: Frame, parts: RowParts, fold: Tensor, folds: int) -> list[_Components]:
        """The components of the rows outside of each fold ``(N,)``, and at the end those of all rows.

        Their number is the one under which the rows of the folds are likeliest by components of the other rows.
        """
        best, count, best_fits = -math.inf, 1, list[_Components]()
        different = len(torch.unique(torch.cat([parts.tokens, parts.values.nan_to_num()], 1), dim=0))
        for k in COUNTS:
            if 5 * k > different and k > 1:
                break
            others = [fold != f if bool((fold != f).any()) else fold == f for f in range(folds)]
            fits = [cls._expected(frame, parts.rows(mask), k) for mask in others]
            nats = cls._held_out(parts, fits, fold)
            if nats > best:
                best, count, best_fits = nats, k, fits
            elif k > 2 * count:
                break
        return [*best_fits, cls._expected(frame, parts, count)]

    @classmethod
    def _held_out(cls, parts: RowParts, fits: list[_Components], fold: Tensor) -> float:
        """Mean nats of rows that components were not fitted to."""
        tests = [parts.rows(fold == f) for f in range(len(fits))]
        nats = [fit.log_joint(test).logsumexp(1) for fit, test in zip(fits, tests, strict=True) if len(test.values)]
        every = torch.cat(nats) if nats else torch.zeros(1)
        return float(every[torch.isfinite(every)].mean())

    @classmethod
    def _expected(cls, frame: Frame, parts: RowParts, count: int) -> _Components:
        shares, before = _clusters(frame, parts, count), -math.inf
        prior = cls._prior(parts.values, shares)
        for _ in range(ROUNDS if count > 1 else 0):
            components = cls._maximised(frame, parts, shares, prior)
            joint = components.log_joint(parts, exact=False)
            total = joint.logsumexp(1, keepdim=True)
            shares, now = (joint - total).exp().nan_to_num(), float(total[torch.isfinite(total)].mean())
            if now - before < 5e-3:
                break
            before = now
        return cls._maximised(frame, parts, shares, cls._prior(parts.values, shares))

    @classmethod
    def _maximised(cls, frame: Frame, parts: RowParts, shares: Tensor, prior: Tensor) -> _Components:
        """The components of rows that belong to them by shares ``(N, K)``."""
        means = _means(parts.values, shares)
        spread = cls._spread(frame, parts.values, means, shares, prior)
        return _Components(frame, _weights(shares), _tables(frame, parts, shares), means, spread)

    @classmethod
    @abstractmethod
    def _prior(cls, values: Tensor, shares: Tensor) -> Tensor:
        """The target of shrunk covariances, by rows in clusters. It stays while these are refined."""

    @classmethod
    @abstractmethod
    def _spread(cls, frame: Frame, values: Tensor, means: Tensor, shares: Tensor, prior: Tensor) -> _Spread:
        """The covariances of the components."""


def _clusters(frame: Frame, parts: RowParts, count: int) -> Tensor:
    """Shares ``(N, K)`` of rows in the clusters where expectation and maximisation begin."""
    if count == 1:
        return torch.ones(len(parts.values), 1, dtype=torch.float64)
    hot = [(parts.tokens[:, d, None] == torch.arange(size)).double() for d, size in enumerate(frame.sizes) if size > 1]
    rows = torch.cat([parts.values.nan_to_num(), *(h / math.sqrt(2) for h in hot)], 1).numpy()
    labels = sklearn.cluster.KMeans(count, n_init=3, max_iter=50, random_state=0).fit_predict(rows)
    return (torch.from_numpy(labels).long().unsqueeze(1) == torch.arange(count)).double()


@final
class MixedGaussians(_ByExpectation):
    """Gaussians with full covariances and categories, by EM.

    The covariance of a component has a prior of ``Q + 2`` rows, spread as those within all components: shrunk as
    Ledoit and Wolf do (after Fraley, Raftery 2007, https://doi.org/10.1007/s00357-007-0004-5).
    """

    name = "mixture of Gaussians"
    summary = "Gaussians with full covariances by EM, as many as held-out rows want"
    note = "Gaussians with full covariances"

    @classmethod
    def _prior(cls, values: Tensor, shares: Tensor) -> Tensor:
        return shrunk_covariance(values - _means(values, shares)[shares.argmax(1)])

    @classmethod
    def _spread(cls, frame: Frame, values: Tensor, means: Tensor, shares: Tensor, prior: Tensor) -> _Spread:
        (q, k), count = (values.shape[1], shares.shape[1]), shares.sum(0)[:, None, None]
        scatter = torch.stack([_scatter(values, means[j], shares[:, j]) for j in range(k)])
        covariances = (count * scatter + (q + 2) * prior) / (count + q + 2) if k > 1 else prior[None]
        return _Full(covariances + torch.diag(_least(frame)))


@final
class ProductMixture(_ByExpectation):
    """Components of independent columns, by EM: latent classes."""

    name = "mixture of products"
    recipe = "autoregressive/trees"
    summary = "Groups of rows by EM, as many as held-out rows want, in each of which columns are independent"
    note = "components of independent columns"

    @classmethod
    def _prior(cls, values: Tensor, shares: Tensor) -> Tensor:
        return torch.tensor(1 / shares.shape[1] ** 2, dtype=torch.float64)

    @classmethod
    def _spread(cls, frame: Frame, values: Tensor, means: Tensor, shares: Tensor, prior: Tensor) -> _Spread:
        observed_mask = (~torch.isnan(values)).double()
        square = shares.T @ values.nan_to_num().square() - (shares.T @ observed_mask) * means.square()
        variances = (square.clamp(min=0) + prior) / (shares.T @ observed_mask + 1)
        return _Diagonal(torch.sqrt(variances + _least(frame)))


@final
class KernelDensity(_Mixture):
    """A kernel at each of at most 1,000 training rows, with widths that leave one row out.

    A quantity has a Gaussian kernel, in proportion to its standard deviation. A category keeps the mass ``1 - l`` and
    spreads the rest as all rows are (Aitchison, Aitken 1976, https://doi.org/10.1093/biomet/63.3.413). Width and ``l``
    are those under which each of 300 rows is likeliest given the others.
    """

    name = "kernel density"
    recipe = "autoregressive/trees"
    summary = "A kernel at each training row, as wide as makes each row likeliest given the others"
    note = "kernels at training rows"

    @classmethod
    def _fitted(cls, frame: Frame, parts: RowParts) -> _Components:
        subset = parts.rows(slice(None, None, -(-len(parts.values) // TRIED)))
        every = _tables(frame, parts, torch.ones(len(parts.values), 1, dtype=torch.float64))
        bare = RowParts(subset.tokens[:, :0], subset.values)
        smooth = [_kernels(frame, bare, [], width, 0.5).log_joint(bare) for width in WIDTHS]
        flat = RowParts(subset.tokens, subset.values[:, :0])
        discrete = [_kernels(frame, flat, every, 1.0, leak).log_joint(flat, exact=False) for leak in LEAKS]
        scores = torch.tensor([[_left_out(a + b) for b in discrete] for a in smooth])
        width, leak = divmod(int(scores.argmax()), len(LEAKS))
        centres = parts.rows(slice(None, None, -(-len(parts.values) // KERNELS)))
        return _kernels(frame, centres, every, WIDTHS[width], LEAKS[leak])


def _left_out(joint: Tensor) -> float:
    """Mean nats of each row by the kernels of the others, up to a constant."""
    joint = joint.clone().fill_diagonal_(-torch.inf)
    nats = joint.logsumexp(1)
    return float(nats[torch.isfinite(nats)].mean()) if len(joint) > 1 else 0.0


def _kernels(frame: Frame, parts: RowParts, every: list[Tensor], width: float, leak: float) -> _Components:
    n = len(parts.values)
    tables = []
    for d, table in enumerate(every):
        same = (parts.tokens[:, d, None] == torch.arange(table.shape[1])).double()
        tables.append(torch.where(same.sum(1, keepdim=True) > 0, (1 - leak) * same + leak * table, table))
    means, observed_mask = parts.values.nan_to_num(), ~torch.isnan(parts.values)
    least = _least(frame)[: means.shape[1]]
    scales = torch.where(observed_mask, torch.sqrt(width**2 + least), 1.0)
    return _Components(frame, torch.full((n,), 1 / n, dtype=torch.float64), tables, means, _Diagonal(scales))
