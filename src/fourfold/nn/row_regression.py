"""Vector autoregressions of the numbers in rows over time: of values, and of steps from rows before."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.codecs.table import ColumnTokens
from fourfold.core import Part
from fourfold.spaces.columns import MISSING, Graded

__all__ = ["RowRegression"]

SCALES = (0.5, 1.0, 2.0)
"""Multiples of the error of a prediction: a mixture of these has heavier tails than a Gaussian."""
FOLDS = 5
"""Parts of the rows, one after the other, that the error of predictions is measured on."""
THIN = 1e-5
"""The mass of a value below which its interval counts as a point."""
EDGE = 1e-12
"""The least mass on either side of a point."""
ROUNDING = 1e-14
"""Rounding may leave this mass above the greatest value. The score of its upper end is infinite all the same."""


class _Interval(NamedTuple):
    """Normal scores of both ends of values and of a point between, and their masses, ``(B, Q)`` each."""

    low: Tensor
    high: Tensor
    middle: Tensor
    mass: Tensor


@final
class RowRegression(Part, nn.Module):
    """``p(x_ti | x_<t, x_t<i)`` of numbers: Gaussians about linear predictions of normal scores, at :data:`SCALES`.

    A number has the score ``Phi^-1(F_i(x_ti))`` by the counted distribution ``F_i`` of its column, and another one by
    that of the steps ``x_ti - x_(t-1)i``, and of those from the row of one season before if there is one. Each is
    predicted from such scores of the row before, of the row one season before, and of the numbers before it in its own
    row. With a prediction ``m`` of error ``s``, a value with scores in ``[a, b]`` has the mass

        [Phi((b - m) / s) - Phi((a - m) / s)] / [Phi((B - m) / s) - Phi((A - m) / s)],    A, B: of the limits.

    So masses add up to 1. The law of steps reaches values that training rows never had, as a random walk does.

    Args:
        values: the counted distributions of the numbers, one bin each.
        steps: those of their steps.
        season: those of their steps from the row of one season before, if runs have it and the row before that.

    Reference: Lütkepohl 2005, New Introduction to Multiple Time Series Analysis, https://doi.org/10.1007/3-540-27752-8
    """

    weight: Tensor
    error: Tensor
    gap: Tensor

    def __init__(self, values: ColumnTokens, steps: ColumnTokens, season: ColumnTokens | None = None) -> None:
        super().__init__()
        self.values, self.steps, self.season, self.count = values, steps, season, len(values.sizes)
        self.views = [values, steps] if season is None else [values, steps, season]
        self.rows, self.laws = (3 if season is None else 5), len(self.views) * len(SCALES)
        width = (4 if season is None else 8) * self.count + 1
        self.register_buffer("weight", torch.zeros(len(self.views), self.count, width, dtype=torch.float64))
        self.register_buffer("error", torch.ones(len(self.views), self.count, dtype=torch.float64))
        self.register_buffer("gap", torch.zeros(self.count, dtype=torch.float64))

    @torch.no_grad()
    def fit(self, rows: Tensor) -> None:
        """Count values and steps, and regress, on runs of rows ``(N, R, Q)`` in the order of time.

        A run has three rows one after the other, or five, of which the first two are those of one season before.
        """
        now = rows[:, -1]
        missing = torch.tensor([column.missing for column in self.values.space.modelled], dtype=torch.float64)
        self.gap.copy_(((now == MISSING).sum(0) + 0.5) / (len(rows) + 1) * missing)
        changes = [now, *(_step(now, row) for row in self._references(rows))]
        for codec, y in zip(self.views, changes, strict=True):
            codec.fit(y)
        features = self._features(rows)
        targets = [self._scores(codec, y) for codec, y in zip(self.views, changes, strict=True)]
        present = [y != MISSING for y in changes]
        for i in range(self.count):
            columns = self._allowed(i)
            for v in range(len(self.views)):
                mask = present[v][:, i]
                weight, error = _ridge(features[mask][:, columns], targets[v][mask, i], float(self.count))
                self.weight[v, i] = 0.0
                self.weight[v, i, columns] = weight
                self.error[v, i] = error

    def forward(self, rows: Tensor) -> Tensor:
        """``log p`` of the last of some rows ``(B, R, Q)`` by each law, ``(laws, B, Q)``, float64.

        The first row may be missing as a whole. Where a row lacks a number, laws of steps from it are those of values.
        """
        now, mean = rows[:, -1], self._means(self._features(rows))
        values = self._masses(0, _interval(self.values, now), *self._ends(0, now), mean[0])
        parts = [values]
        for v, row in enumerate(self._references(rows), 1):
            steps = self._masses(v, _interval(self.views[v], _step(now, row)), *self._ends(v, row), mean[v])
            parts.append(torch.where(row == MISSING, values, steps))
        masses = torch.where(now == MISSING, self.gap, (1 - self.gap) * torch.cat(parts))
        return masses.log()

    def draw(self, rows: Tensor, i: int, law: Tensor, u: Tensor) -> Tensor:
        """Number ``i`` of the last row, ``(B,)``, by laws ``(B,)`` and uniform numbers ``(B, 2)``.

        Numbers behind it may hold anything.
        """
        references = [torch.zeros_like(rows[:, -1]), *self._references(rows)]
        start = torch.stack([row[:, i] for row in references])
        view = law // len(SCALES)
        view = torch.where(start.gather(0, view[None])[0] == MISSING, 0, view)
        mean = self._means(self._features(rows))
        result = start[0]
        for v, codec in enumerate(self.views):
            low, high = (end[:, i] for end in self._ends(v, references[v]))
            scale = self.error[v, i] * torch.tensor(SCALES, dtype=torch.float64)[law % len(SCALES)]
            a, b = (torch.special.ndtr((end - mean[v, :, i]) / scale) for end in (low, high))
            z = mean[v, :, i] + scale * torch.special.ndtri((a + u[:, 0] * (b - a)).clamp(EDGE, 1 - EDGE))
            place = torch.special.ndtr(torch.maximum(torch.minimum(z, high), low)).clamp(max=1 - EDGE)
            token = torch.zeros(len(rows), self.count, dtype=torch.long, device=rows.device)
            y = codec.at(token, place.unsqueeze(1).expand(-1, self.count), i)[:, i]
            result = torch.where(view == v, start[v] + y, result)
        return torch.where(u[:, 1] < self.gap[i], MISSING, result.clamp(*self._limits(self.values, i)))

    def _references(self, rows: Tensor) -> list[Tensor]:
        """The rows from which steps are: the one before, and that of one season before."""
        return [rows[:, -2]] if self.season is None else [rows[:, -2], rows[:, 1]]

    def _allowed(self, i: int) -> Tensor:
        """The features that number ``i`` is predicted from: all of rows before, and those of the numbers before it."""
        q, width = self.count, self.weight.shape[2]
        own = width - 1 - len(self.views) * q
        before = [own + v * q + j for v in range(len(self.views)) for j in range(i)]
        return torch.tensor([*range(own), *before, width - 1])

    def _features(self, rows: Tensor) -> Tensor:
        """Scores of values and steps of the rows before, then those of the row itself, and a one, ``(B, F)``."""
        values, steps, season = self.values, self.steps, self.season
        before, now = rows[:, -2], rows[:, -1]
        parts = [(values, before), (steps, _step(before, rows[:, -3]))]
        if season is not None:
            parts = [(values, rows[:, 1]), (steps, _step(rows[:, 1], rows[:, 0])), *parts]
            parts += [(season, _step(before, rows[:, 0]))]
        own = [now, *(_step(now, row) for row in self._references(rows))]
        scores = [self._scores(codec, y) for codec, y in (*parts, *zip(self.views, own, strict=True))]
        return F.pad(torch.cat(scores, 1), (0, 1), value=1.0)

    def _means(self, features: Tensor) -> Tensor:
        return torch.einsum("bf,vqf->vbq", features, self.weight)

    def _scores(self, codec: ColumnTokens, y: Tensor) -> Tensor:
        """The middle scores of codes, 0 for a gap."""
        return torch.where(y == MISSING, 0.0, _interval(codec, y).middle)

    def _limits(self, codec: ColumnTokens, i: int) -> tuple[int, int]:
        column = codec.space.modelled[i]
        assert isinstance(column, Graded)
        return column.limits

    def _ends(self, v: int, row: Tensor) -> tuple[Tensor, Tensor]:
        """The scores of the least and of the greatest value, or step from a row ``(B, Q)``, that can be, ``(B, Q)``."""
        if v == 0:
            infinite = torch.full(row.shape, torch.inf, dtype=torch.float64, device=row.device)
            return -infinite, infinite
        codec = self.views[v]
        ends = [[*self._limits(self.values, i), *self._limits(codec, i)] for i in range(self.count)]
        least, most, low, high = row.new_tensor(ends).T
        there = row.masked_fill(row == MISSING, 0)
        down, up = ((end - there).maximum(low).minimum(high) for end in (least, most))
        return _interval(codec, down).low, _interval(codec, up).high

    def _masses(self, v: int, interval: _Interval, low: Tensor, high: Tensor, mean: Tensor) -> Tensor:
        """Masses by the Gaussians of one prediction at each scale, ``(len(SCALES), B, Q)``."""
        parts = []
        for factor in SCALES:
            scale = self.error[v] * factor
            inside = _between((interval.low - mean) / scale, (interval.high - mean) / scale)
            ratio = (interval.middle.square() - ((interval.middle - mean) / scale).square()) / 2
            thin = interval.mass * ratio.exp() / scale
            whole = _between((low - mean) / scale, (high - mean) / scale).clamp(min=EDGE)
            parts.append(torch.where(interval.mass < THIN, thin, inside) / whole)
        return torch.stack(parts)


def _step(now: Tensor, before: Tensor) -> Tensor:
    """Steps of codes, ``MISSING`` where either is."""
    return torch.where((now == MISSING) | (before == MISSING), MISSING, now - before)


def _interval(codec: ColumnTokens, y: Tensor) -> _Interval:
    """The interval of codes ``(B, Q)`` by counted distributions. That of a gap has no meaning."""
    _, below, log_mass = codec.places(y)
    mass = log_mass.exp()
    above = (below + mass).masked_fill(below + mass > 1 - ROUNDING, 1.0)
    low, high = (torch.special.ndtri(part.clamp(0, 1)) for part in (below, above))
    return _Interval(low, high, torch.special.ndtri((below + mass / 2).clamp(EDGE, 1 - EDGE)), mass)


def _between(low: Tensor, high: Tensor) -> Tensor:
    """``Phi(high) - Phi(low)`` without loss in the upper tail."""
    flip = low > 0
    a, b = torch.where(flip, -high, low), torch.where(flip, -low, high)
    return torch.special.ndtr(b) - torch.special.ndtr(a)


def _ridge(features: Tensor, target: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weights on all rows, and the root mean square error on each part of the rows by the others."""
    count = features.shape[1]
    if len(target) < 2 * FOLDS:
        return features.new_zeros(count), features.new_ones(())
    ridge = torch.full((count,), penalty, dtype=torch.float64).diag()
    parts = [(a, y) for a, y in zip(features.tensor_split(FOLDS), target.tensor_split(FOLDS), strict=True)]
    squares, products = torch.stack([a.T @ a for a, _ in parts]), torch.stack([a.T @ y for a, y in parts])
    without = torch.linalg.solve(squares.sum(0) - squares + ridge, products.sum(0) - products)
    errors = torch.cat([y - a @ w for (a, y), w in zip(parts, without, strict=True)])
    weight = torch.linalg.solve(squares.sum(0) + ridge, products.sum(0))
    return weight, errors.square().mean().sqrt().clamp(min=1e-3)
