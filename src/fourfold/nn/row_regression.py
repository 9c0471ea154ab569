"""Vector autoregressions of the numbers in rows over time: of their values, and of their steps from the row before."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.codecs.table import ColumnTokens
from fourfold.core import Part
from fourfold.spaces.columns import MISSING, Graded

__all__ = ["LAWS", "RowRegression"]

SCALES = (0.5, 1.0, 2.0)
"""Multiples of the error of a prediction: a mixture of these has heavier tails than a Gaussian."""
LAWS = 2 * len(SCALES)
"""Laws of each number: of its value and of its step, at each scale."""
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
    that of the steps ``x_ti - x_(t-1)i``. Either is predicted from the scores of the row before, of the row one season
    before if there is one, and of the numbers before it in its own row. With a prediction ``m`` of error ``s``, a value
    with scores in ``[a, b]`` has the mass

        [Phi((b - m) / s) - Phi((a - m) / s)] / [Phi((B - m) / s) - Phi((A - m) / s)],    A, B: of the limits.

    So masses add up to 1. The law of steps reaches values that training rows never had, as a random walk does.

    Args:
        values: the counted distributions of the numbers, one bin each.
        steps: those of their steps.
        season: whether rows have the row of one season before, and the one before that.

    Reference: Lütkepohl 2005, New Introduction to Multiple Time Series Analysis, https://doi.org/10.1007/3-540-27752-8
    """

    weight: Tensor
    error: Tensor
    gap: Tensor

    def __init__(self, values: ColumnTokens, steps: ColumnTokens, season: bool = False) -> None:
        super().__init__()
        self.values, self.steps, self.count = values, steps, len(values.sizes)
        self.rows = 5 if season else 3
        width = 2 * self.count * len(self._later) + 1
        self.register_buffer("weight", torch.zeros(2, self.count, width, dtype=torch.float64))
        self.register_buffer("error", torch.ones(2, self.count, dtype=torch.float64))
        self.register_buffer("gap", torch.zeros(self.count, dtype=torch.float64))

    @property
    def _later(self) -> tuple[int, ...]:
        """The rows whose values and steps are features, the last one's last. Each is preceded by its row before."""
        return (*range(1, self.rows - 1, 2), self.rows - 1)

    @torch.no_grad()
    def fit(self, rows: Tensor) -> None:
        """Count values and steps, and regress, on runs of rows ``(N, R, Q)`` in the order of time.

        A run has three rows one after the other, or five, of which the first two are those of one season before.
        """
        before, now = rows[:, -2], rows[:, -1]
        step = _step(now, before)
        self.values.fit(now)
        self.steps.fit(step)
        missing = torch.tensor([column.missing for column in self.values.space.modelled], dtype=torch.float64)
        self.gap.copy_(((now == MISSING).sum(0) + 0.5) / (len(rows) + 1) * missing)
        features = self._features(rows)
        targets = [self._scores(codec, y) for codec, y in ((self.values, now), (self.steps, step))]
        present = [now != MISSING, step != MISSING]
        for i in range(self.count):
            columns = self._allowed(i)
            for v in range(2):
                mask = present[v][:, i]
                weight, error = _ridge(features[mask][:, columns], targets[v][mask, i], float(self.count))
                self.weight[v, i] = 0.0
                self.weight[v, i, columns] = weight
                self.error[v, i] = error

    def forward(self, rows: Tensor) -> Tensor:
        """``log p`` of the last of some rows ``(B, R, Q)`` by each law, ``(LAWS, B, Q)``, float64.

        The first row may be missing as a whole. Where the row before lacks a number, laws of steps are those of values.
        """
        before, now = rows[:, -2], rows[:, -1]
        mean = self._means(self._features(rows))
        values = self._masses(0, _interval(self.values, now), *self._ends(0, before), mean[0])
        steps = self._masses(1, _interval(self.steps, _step(now, before)), *self._ends(1, before), mean[1])
        steps = torch.where(before == MISSING, values, steps)
        masses = torch.where(now == MISSING, self.gap, (1 - self.gap) * torch.cat([values, steps]))
        return masses.log()

    def draw(self, rows: Tensor, i: int, law: Tensor, u: Tensor) -> Tensor:
        """Number ``i`` of the last row, ``(B,)``, by laws ``(B,)`` and uniform numbers ``(B, 2)``.

        Numbers behind it may hold anything.
        """
        before = rows[:, -2]
        view = torch.where(before[:, i] == MISSING, 0, law // len(SCALES))
        mean = self._means(self._features(rows))
        result = before[:, i].clone()
        for v, codec in enumerate((self.values, self.steps)):
            low, high = (end[:, i] for end in self._ends(v, before))
            scale = self.error[v, i] * torch.tensor(SCALES, dtype=torch.float64)[law % len(SCALES)]
            a, b = (torch.special.ndtr((end - mean[v, :, i]) / scale) for end in (low, high))
            z = mean[v, :, i] + scale * torch.special.ndtri((a + u[:, 0] * (b - a)).clamp(EDGE, 1 - EDGE))
            place = torch.special.ndtr(torch.maximum(torch.minimum(z, high), low)).clamp(max=1 - EDGE)
            token = torch.zeros(len(rows), self.count, dtype=torch.long, device=rows.device)
            y = codec.at(token, place.unsqueeze(1).expand(-1, self.count), i)[:, i]
            x = y if v == 0 else (before[:, i] + y)
            result = torch.where(view == v, x, result)
        return torch.where(u[:, 1] < self.gap[i], MISSING, result.clamp(*self._limits(self.values, i)))

    def _allowed(self, i: int) -> Tensor:
        """The features that number ``i`` is predicted from."""
        q, width = self.count, self.weight.shape[2]
        own = width - 1 - 2 * q  # features of the row itself are the last but for the one
        return torch.tensor([*range(own + i), *range(own + q, own + q + i), width - 1])

    def _features(self, rows: Tensor) -> Tensor:
        """Scores of values and steps of the rows before and of the row itself, and a one, ``(B, F)``."""
        parts = [
            self._scores(codec, y)
            for k in self._later
            for codec, y in ((self.values, rows[:, k]), (self.steps, _step(rows[:, k], rows[:, k - 1])))
        ]
        return F.pad(torch.cat(parts, 1), (0, 1), value=1.0)

    def _means(self, features: Tensor) -> Tensor:
        return torch.einsum("bf,vqf->vbq", features, self.weight)

    def _scores(self, codec: ColumnTokens, y: Tensor) -> Tensor:
        """The middle scores of codes, 0 for a gap."""
        return torch.where(y == MISSING, 0.0, _interval(codec, y).middle)

    def _limits(self, codec: ColumnTokens, i: int) -> tuple[int, int]:
        column = codec.space.modelled[i]
        assert isinstance(column, Graded)
        return column.limits

    def _ends(self, v: int, before: Tensor) -> tuple[Tensor, Tensor]:
        """The scores of the least and of the greatest value or step that can be, ``(B, Q)``."""
        if v == 0:
            infinite = torch.full(before.shape, torch.inf, dtype=torch.float64, device=before.device)
            return -infinite, infinite
        ends = [[*self._limits(self.values, i), *self._limits(self.steps, i)] for i in range(self.count)]
        least, most, low, high = before.new_tensor(ends).T
        there = before.masked_fill(before == MISSING, 0)
        down, up = ((end - there).maximum(low).minimum(high) for end in (least, most))
        return _interval(self.steps, down).low, _interval(self.steps, up).high

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
