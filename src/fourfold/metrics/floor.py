"""The floor of a score: the score of training examples in the place of samples, drawn several times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fourfold.metrics.rows import digests
from fourfold.metrics.score import Floor, t_quantile

__all__ = ["Draws", "choose_draws", "floor_of", "floors_of"]

TIMES = 10
"""The number of draws of a floor."""
POOL = 3
"""The number of training examples to draw from, as a multiple of the size of one draw."""
MOST = 0.8
"""The largest share of its pool that a draw may be. Beyond it the spread of the draws says too little about new
examples.
"""
VALUES = 4_000_000
"""The most values of conditions that are compared at once."""


@final
@dataclass(frozen=True)
class Draws:
    """Several draws without replacement from a pool of training examples, or of their features.

    Attributes:
        pool: ``(P, ...)``.
        rows: indices into the pool, one draw in each row: ``(K, n)`` int64. Where samples have labels, column ``i`` has
            the label of sample ``i``.
        cond: the own condition of each example of the pool, ``(P, *)``, or ``None``.
    """

    pool: Tensor
    rows: Tensor
    cond: Tensor | None = None

    def features(self, pool: Tensor) -> Draws:
        """The same draws from the features of the pool."""
        return Draws(pool, self.rows, self.cond)


def floor_of(train: Tensor | Draws | None, n: int, statistic: Callable[[Tensor], float]) -> Floor:
    """A floor and the interval that holds the same statistic of ``n`` new examples in 95 % of cases.

    With ``K`` draws of ``n`` of ``P`` examples, of mean ``m`` and standard deviation ``s``, the deviation of a draw of
    new examples is ``σ = s / sqrt(1 - n/P)``, because draws from one pool resemble each other, and the interval is ``m
    ± t_{K-1} σ sqrt(1 + n/P + (1 - n/P)/K)``: exact in the second moment where the statistic is a mean.

    Args:
        train: several draws, or one draw of at least ``n`` examples, whose floor has no interval. ``None``: there is no
            floor.
        n: number of examples of each draw that are used. The number of samples.
        statistic: maps examples ``(n, ...)`` to a number.

    Reference: Cochran 1977, Sampling Techniques, chapter 2 (the finite population correction).
    """
    return Floor() if train is None else floors_of(train, n, lambda x: torch.tensor([statistic(x)]))[0]


def floors_of(train: Tensor | Draws, n: int, statistic: Callable[[Tensor], Tensor]) -> list[Floor]:
    """:func:`floor_of` of several statistics ``(S,)`` that are computed together."""
    if not isinstance(train, Draws):
        return [Floor(value) for value in statistic(train[:n]).tolist()]
    values = torch.stack([statistic(train.pool[rows[:n]]).double() for rows in train.rows])
    mean, times, part = values.mean(0), len(values), min(n, train.rows.shape[1]) / len(train.pool)
    if times < 2 or part > MOST:
        return [Floor(value) for value in mean.tolist()]
    deviation = values.std(0) / math.sqrt(1 - part)
    half = t_quantile(times) * deviation * math.sqrt(1 + part + (1 - part) / times)
    return [Floor(*ends) for ends in zip(mean.tolist(), (mean - half).tolist(), (mean + half).tolist(), strict=True)]


def choose_draws(x: Tensor, n: int, labels: Tensor | None = None, targets: Tensor | None = None) -> Draws:
    """Draw ``n`` of the training examples :data:`TIMES` times from a pool of at most :data:`POOL` times as many.

    Args:
        x: training examples, ``(N, ...)``, ``N >= n``.
        n: the size of a draw.
        labels: conditions of the training examples, ``(N, *)``, such as labels or captions.
        targets: conditions of the samples, ``(n, *)``: a draw then has the same conditions in the same order, as far as
            training examples have them.
    """
    generator = torch.Generator().manual_seed(0)
    groups = [] if labels is None or targets is None else _groups(_keys(labels), _keys(targets), generator)
    if not groups:
        places = torch.randperm(len(x), generator=generator)[: POOL * n]
        rows = torch.stack([torch.randperm(len(places), generator=generator)[:n] for _ in range(TIMES)])
        return Draws(x[places], rows, None if labels is None else labels[places])
    places, place = torch.unique(torch.cat([pool for _, pool in groups]), return_inverse=True)
    edges = torch.tensor([len(pool) for _, pool in groups]).cumsum(0).tolist()
    rows = torch.empty(TIMES, n, dtype=torch.long)
    for (columns, pool), end in zip(groups, edges, strict=True):
        candidates = place[end - len(pool) : end]
        for row in rows:
            row[columns] = candidates[_some(len(candidates), len(columns), generator)]
    return Draws(x[places], rows, None if labels is None else labels[places])


def _keys(conditions: Tensor) -> Tensor:
    """An integer for each condition ``(N, *)``: equal for equal ones."""
    if conditions.ndim == 1 and not conditions.is_floating_point():
        return conditions
    flat = conditions.reshape(len(conditions), -1)
    return torch.cat([torch.from_numpy(digests(part)) for part in torch.split(flat, max(VALUES // flat.shape[1], 1))])


def _groups(labels: Tensor, targets: Tensor, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """The columns of each wanted label ``(n,)``, with the training examples that may fill them.

    Any may fill those whose label none has. Empty if that are all.
    """
    there = torch.isin(targets, labels)
    if not there.any():
        return []
    values, group = torch.unique(targets, return_inverse=True)
    pairs = [
        ((group == i).nonzero().flatten(), (labels == value).nonzero().flatten())
        for i, value in enumerate(values)
        if bool(torch.isin(value, labels))
    ]
    if not there.all():
        pairs.append(((~there).nonzero().flatten(), torch.arange(len(labels))))
    return [
        (columns, candidates[torch.randperm(len(candidates), generator=generator)[: POOL * len(columns)]])
        for columns, candidates in pairs
    ]


def _some(many: int, n: int, generator: torch.Generator) -> Tensor:
    """Sample ``n`` rows, without replacement if possible."""
    rounds = [torch.randperm(many, generator=generator) for _ in range(-(-n // many))]
    return torch.cat(rounds)[:n]
