"""Baselines of images: pixels predicted from their neighbours, and counted after them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, cast, final

import numpy as np
import torch
from torch import Tensor

from fourfold.baselines.residuals import Residuals, bins_of
from fourfold.core import Baseline, LogProb, Space
from fourfold.maths.categorical import quantile_between
from fourfold.spaces import Images
from fourfold.vocabulary import Kind

__all__ = ["CountedPixels", "PredictedPixels"]

Places = slice | int

REGRESSED, COUNTED = 1 << 18, 1 << 21
"""Pixels from which predictions are computed, and that are counted, at most: of images spread over the data."""
CHUNK = 1 << 22
"""Numbers of neighbours that are in memory at once."""
AROUND = tuple((y, x) for y in (-2, -1, 0) for x in range(-3, 4) if (y, x) < (0, 0) and abs(x) - y < 5)
"""Rows and columns of the neighbours by which a pixel is predicted, relative to it."""
BESIDE = ((0, 0), (0, -1), (-1, 0))
"""Those in channels that come before."""
RIDGE, EDGE = 30.0, 1e-3
"""Images with which all places of a channel pull at the prediction of one, and the share of the identity in them."""
BINS = 16
"""Bins of neighbourhoods, from even to uneven."""
SCALES, RELATIVE = (0.0005, 0.002, 0.005, 0.012, 0.03, 0.07, 0.15, 0.4), (0.15, 0.3, 0.6, 1.2)
"""Scales of logistics, as parts of the range of values, and of the error of predictions at a place."""
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 1e4, 1e6)
"""How many counts the simpler model may weigh."""
LEVELS = 16
"""Steps to which values of neighbours farther away are rounded."""


@final
class _Raster:
    """Images as rows of values in the order in which they are predicted: by rows, columns, and then channels.

    Attributes:
        neighbours: where each value's neighbours stand, ``(D, K)``. Those outside are a 0 that stands behind the image,
            and the last one is a constant.
        sides: where the left, the upper, the upper left and the upper right value stand, ``(D, 4)``.
    """

    def __init__(self, space: Images) -> None:
        self.space = space
        size = space.height, space.width, space.channels
        row, column, channel = (grid.flatten() for grid in torch.meshgrid(*map(torch.arange, size), indexing="ij"))

        def at(y: int, x: int, other: Tensor) -> Tensor:
            r, c = row + y, column + x
            inside = (r >= 0) & (c >= 0) & (c < space.width) & (other >= 0)
            return torch.where(inside, (r * space.width + c) * space.channels + other, space.dims)

        others = [at(y, x, channel - back) for back in range(1, space.channels) for y, x in BESIDE]
        constant = torch.full_like(row, space.dims + 1)
        self.neighbours = torch.stack([*(at(y, x, channel) for y, x in AROUND), *others, constant], 1)
        self.sides = torch.stack([at(y, x, channel) for y, x in ((0, -1), (-1, 0), (-1, -1), (-1, 1))], 1)
        self.places, self.channel = torch.arange(space.dims), channel

    def rows(self, x: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` as ``(B, D + 2)`` float32, a 0 and half the range behind the values."""
        flat = x.permute(0, 2, 3, 1).flatten(1).float()
        end = flat.new_tensor([0.0, self.space.n_values / 2])
        return torch.cat([flat, end.expand(len(flat), 2)], 1)

    def images(self, rows: Tensor) -> Tensor:
        """Rows as images, uint8."""
        height, width, channels = self.space.height, self.space.width, self.space.channels
        values = rows[:, : self.space.dims].reshape(-1, height, width, channels)
        return values.permute(0, 3, 1, 2).to(torch.uint8).contiguous()

    def chunks(self, rows: Tensor) -> Iterator[Tensor]:
        """Some rows at a time, so that their neighbours fit into memory."""
        return iter(torch.split(rows, max(CHUNK // self.neighbours.numel(), 1)))

    def spread(self, x: Tensor, most: int) -> Tensor:
        """The rows of images spread evenly over ``x``, with at most about ``most`` values."""
        count = min(max(most // self.space.dims, 1), len(x))
        return self.rows(x[torch.linspace(0, len(x) - 1, count, dtype=torch.float64).long()])

    def activity(self, rows: Tensor, at: Places) -> Tensor:
        """How uneven the neighbours of values are, ``(B, P)``: the sum of the differences around."""
        left, upper, upper_left, upper_right = (rows[:, self.sides[at, i]] for i in range(4))
        return (left - upper_left).abs() + (upper_left - upper).abs() + (upper - upper_right).abs()


@final
class PredictedPixels(Baseline):
    """``log p(x) = sum_i log P(x_i - mu_i(x_<i))``, with ``mu`` linear in the neighbours of a pixel. Exact.

    Each place has its own regression, which those of the whole channel pull at by :data:`RIDGE` images. The error is a
    mixture of discretised logistics (:class:`~fourfold.baselines.residuals.Residuals`), whose weights depend on how
    uneven the neighbours are. A later channel is predicted from the earlier ones, too.
    """

    name = "predicted pixels"
    summary = "Each pixel is predicted linearly from those beside and above it, with errors as large as in training"

    def __init__(self, raster: _Raster, tie: Tensor, error: Tensor, ends: Tensor, residuals: Residuals) -> None:
        self.raster, self.space = raster, raster.space
        self.tie, self.error, self.ends, self.residuals = tie, error, ends, residuals

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        raster = _Raster(cast("Images", space))  # this baseline is registered for images
        rows = raster.spread(x, REGRESSED)
        tie = _regressions(raster, rows)
        square = torch.zeros(space.dims)
        for part in raster.chunks(rows):
            square += (part[:, :-2] - _predicted(raster, part, tie, slice(None))).square().sum(0)
        few = rows[: max(REGRESSED // 4 // space.dims, 1)]
        activity = raster.activity(few, slice(None))
        error, ends = (square / len(rows) + 0.01).sqrt().double(), bins_of(activity, BINS)
        model = cls(raster, tie, error, ends, Residuals(0, raster.space.n_values - 1, torch.ones(1, 1)))
        mu, scales, bins = (part.flatten(0, 1) for part in model.law(few, slice(None)))
        parts = Residuals.parts(few[:, :-2].flatten(), mu, scales, 0, raster.space.n_values - 1)
        model.residuals = Residuals.fit(0, raster.space.n_values - 1, bins, len(ends) + 1, parts)
        return model

    def law(self, rows: Tensor, at: Places) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions ``(B, P)``, scales ``(B, P, K)`` and bins ``(B, P)`` of values at some places."""
        mu = _predicted(self.raster, rows, self.tie, at).double()
        fixed = torch.tensor(SCALES, dtype=torch.float64) * self.space.n_values
        own = torch.tensor(RELATIVE, dtype=torch.float64) * self.error[at].unsqueeze(-1)
        scales = torch.cat([fixed.expand(*own.shape[:-1], -1), own], -1).expand(*mu.shape, -1)
        return mu, scales, torch.bucketize(self.raster.activity(rows, at).double(), self.ends, right=True)

    def masses(self, rows: Tensor) -> Tensor:
        """``P(x_i | x_<i)`` of each value of rows, ``(B, D)`` float64."""
        parts = [self.residuals.masses(part[:, :-2], *self.law(part, slice(None))) for part in self.raster.chunks(rows)]
        return torch.cat(parts)

    def draw(self, rows: Tensor, i: int, u: Tensor) -> Tensor:
        """The values at place ``i`` after those before it, by uniform numbers ``(n, 2)``."""
        mu, scales, bins = self.law(rows, slice(i, i + 1))
        return self.residuals.draw(mu[:, 0], scales[:, 0], bins[:, 0], u)

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        nats = self.masses(self.raster.rows(x)).log().sum(1)
        return LogProb(nats, Kind.EXACT, self.space.dims, note="masses of errors of linear predictions")

    def sample(self, n: int, seed: int = 0) -> Tensor:
        u = torch.from_numpy(np.random.default_rng(seed).random((n, self.space.dims, 2)))
        rows = self.raster.rows(torch.zeros(n, *self.space.shape))
        for i in range(self.space.dims):
            rows[:, i] = self.draw(rows, i, u[:, i]).float()
        return self.raster.images(rows)


def _predicted(raster: _Raster, rows: Tensor, tie: Tensor, at: Places) -> Tensor:
    """Linear predictions of values at some places, ``(B, P)``."""
    return torch.einsum("npk,pk->np", rows[:, raster.neighbours[at]], tie[at])


def _regressions(raster: _Raster, rows: Tensor) -> Tensor:
    """The weights of the neighbours of each place, ``(D, K)`` float32."""
    d, k = raster.neighbours.shape
    gram, moment = torch.zeros(d, k, k, dtype=torch.float64), torch.zeros(d, k, dtype=torch.float64)
    for part in raster.chunks(rows):
        around = part[:, raster.neighbours].transpose(0, 1)
        gram += around.transpose(1, 2) @ around
        moment += (around.transpose(1, 2) @ part[:, :-2].T.unsqueeze(-1)).squeeze(-1)
    channels = raster.space.channels
    of_channel = gram.view(-1, channels, k, k).mean(0) / len(rows) + EDGE * torch.eye(k)
    shared = torch.linalg.solve(of_channel, moment.view(-1, channels, k).mean(0) / len(rows))
    pull = RIDGE * of_channel
    return torch.linalg.solve(
        gram + pull[raster.channel], moment + (pull @ shared.unsqueeze(-1)).squeeze(-1)[raster.channel]
    ).float()


@final
@dataclass(frozen=True)
class _Counts:
    """How often each value followed each context, and the weight of the simpler model.

    Attributes:
        keys: ``context * n_values + value`` of pairs that occur, ascending.
        below: counts of the pairs before each, and of all, float64.
        n_values: the number of values.
        strength: the counts that the simpler model weighs.
    """

    keys: Tensor
    below: Tensor
    n_values: int
    strength: float = 1.0

    @classmethod
    def of(cls, contexts: Tensor, values: Tensor, n_values: int) -> Self:
        keys, counts = torch.unique(contexts * n_values + values.long(), return_counts=True)
        return cls(keys, torch.cat([counts.new_zeros(1), counts.cumsum(0)]).double(), n_values)

    def range(self, contexts: Tensor) -> tuple[Tensor, Tensor]:
        """The places of the first pair of contexts, and of the first behind them."""
        start = contexts.contiguous() * self.n_values
        return torch.searchsorted(self.keys, start), torch.searchsorted(self.keys, start + self.n_values)

    def counts(self, contexts: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """How often values followed contexts, and how often there was any value."""
        key = contexts * self.n_values + values.long()
        at = torch.searchsorted(self.keys, key).clamp_(max=len(self.keys) - 1)
        count = torch.where(self.keys[at] == key, self.below[at + 1] - self.below[at], 0.0)
        first, last = self.range(contexts)
        return count, self.below[last] - self.below[first]


@final
class CountedPixels(Baseline):
    """Counts of each value after its neighbours, smoothed by simpler counts and at last by a prediction. Exact.

        p_j(v) = (c(v after a_j) + alpha_j p_(j-1)(v)) / (c(a_j) + alpha_j)

    ``p_0`` is that of :class:`PredictedPixels`. The contexts ``a_j`` are the left and the upper value, the same with
    the rounded values at both corners above, and the place with both rounded. Each ``alpha_j`` is the one under which
    training values are likeliest by the counts of the others.

    Reference: MacKay, Peto 1995, A hierarchical Dirichlet language model, https://doi.org/10.1017/S1351324900000218
    """

    name = "counted pixels"
    summary = "Each pixel is drawn by counts of the values after the same neighbours in training, or near a prediction"

    def __init__(self, base: PredictedPixels, counts: list[_Counts]) -> None:
        self.base, self.counts = base, counts

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        model = cls(PredictedPixels.fit(space, x), [])
        raster, everything = model.base.raster, slice(None)
        rows = raster.spread(x, COUNTED)
        few = rows[: max(REGRESSED // 4 // space.dims, 1)]
        p = model.base.masses(few)
        for j, contexts in enumerate(model.contexts(rows, everything)):
            counts = _Counts.of(contexts, rows[:, :-2], raster.space.n_values)
            count, total = counts.counts(model.contexts(few, everything)[j], few[:, :-2])
            by_others = [(count - 1 + a * p) / (total - 1 + a) for a in STRENGTHS]
            best = max(range(len(STRENGTHS)), key=lambda i: float(by_others[i].log().sum()))
            p = by_others[best]
            model.counts.append(_Counts(counts.keys, counts.below, counts.n_values, STRENGTHS[best]))
        return model

    def contexts(self, rows: Tensor, at: Places) -> list[Tensor]:
        """The numbers of the contexts of each value, from the simplest to the most detailed, ``(B, P)`` each."""
        raster, v = self.base.raster, self.base.space.n_values
        sides = rows[:, raster.sides[at]].long().unbind(-1)
        left, upper, upper_left, upper_right = (side // max(v // LEVELS, 1) for side in sides)
        both, steps = (raster.channel[at] * v + sides[0]) * v + sides[1], 2 * LEVELS
        corners = (both * steps + upper_left) * steps + upper_right
        return [both, corners, (raster.places[at] * steps + left) * steps + upper]

    def masses(self, rows: Tensor) -> Tensor:
        """``P(x_i | x_<i)`` of each value of rows, ``(B, D)`` float64."""
        p, values = self.base.masses(rows), rows[:, :-2]
        for counts, contexts in zip(self.counts, self.contexts(rows, slice(None)), strict=True):
            count, total = counts.counts(contexts, values)
            p = (count + counts.strength * p) / (total + counts.strength)
        return p

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        nats = [self.masses(part).log().sum(1) for part in self.base.raster.chunks(self.base.raster.rows(x))]
        return LogProb(
            torch.cat(nats), Kind.EXACT, self.base.space.dims, note="counts of pixels after their neighbours"
        )

    def sample(self, n: int, seed: int = 0) -> Tensor:
        space, raster = self.base.space, self.base.raster
        u = torch.from_numpy(np.random.default_rng(seed).random((n, space.dims, 2 + len(self.counts))))
        rows = raster.rows(torch.zeros(n, *space.shape))
        for i in range(space.dims):
            values = self.base.draw(rows, i, u[:, i])
            for j, contexts in enumerate(self.contexts(rows, slice(i, i + 1))):
                values = _drawn(self.counts[j], contexts[:, 0], u[:, i, 2 + j], values)
            rows[:, i] = values.float()
        return raster.images(rows)


def _drawn(counts: _Counts, contexts: Tensor, u: Tensor, otherwise: Tensor) -> Tensor:
    """Values by counts where ``u`` ``(n,)`` falls on one, and those of the simpler model elsewhere."""
    first, last = counts.range(contexts)
    total = counts.below[last] - counts.below[first]
    share = u * (total + counts.strength)
    counted = share < total
    at = quantile_between(counts.below, torch.where(counted, share / total.clamp(min=1), 0.0), first, last)
    return torch.where(counted, counts.keys[at.clamp(0, len(counts.keys) - 1)] % counts.n_values, otherwise)
