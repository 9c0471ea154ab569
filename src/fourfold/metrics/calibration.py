"""Calibration of draws for each condition: ranks of the truth, and coverage of central intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from fourfold.metrics.conditional import over_conditions
from fourfold.metrics.score import Floor, Measurement, share_interval

__all__ = ["by_ranks", "interval_coverage", "rank_deviation", "ranks"]

LEVELS = (0.5, 0.8, 0.9)
"""Probabilities of central intervals. With 19 draws all three have ends at draws."""
SIMULATIONS = 1000
"""Sets of uniform ranks, and sets of conditions drawn again."""


def ranks(draws: Tensor, truth: Tensor, seed: int = 0) -> Tensor:
    """The number of draws below the truth, ``(m, Q)`` int64 from 0 to ``k``: uniform if both are of ``p(x | c)``.

    Among equal values the rank is random. Draws that are NaN, the gaps of a table, are left out: the rank among the
    others is then spread over 0 to ``k``, and uniform too. -1 where the truth is NaN, or all draws are.

    Args:
        draws: ``(m, k, Q)``, ``k`` draws for each condition.
        truth: ``(m, Q)``.
        seed: of the ranks among equal values.

    Reference: Talts et al. 2018, Validating Bayesian Inference Algorithms with Simulation-Based Calibration,
    https://arxiv.org/abs/1804.06788
    """
    below, ties = (compare(draws, truth[:, None]).sum(1) for compare in (torch.lt, torch.eq))
    random = torch.rand(ties.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    count, k = (~draws.isnan()).sum(1), draws.shape[1]
    places = ((below + random * (ties + 1)) * ((k + 1) / (count + 1))).long().clamp(max=k)
    return places.masked_fill((count == 0) | truth.isnan(), -1)


def by_ranks(draws: Tensor, truth: Tensor) -> Iterator[Measurement]:
    """The coverage of central intervals at each of :data:`LEVELS`, and the deviation of ranks from uniform ones.

    Args:
        draws: ``(m, k, Q)``.
        truth: ``(m, Q)``.
    """
    of_truth, k = ranks(draws, truth), draws.shape[1]
    if not (of_truth >= 0).any():
        return
    for level in LEVELS:
        yield interval_coverage(of_truth, k, level)
    yield rank_deviation(of_truth, k)


def interval_coverage(of_truth: Tensor, k: int, level: float) -> Measurement:
    """The share of true numbers in the central interval of ``k`` draws, which is ``level`` for draws of ``p(x | c)``.

    The truth is one of ``k + 1`` equally likely ranks. A rank that an end of the interval cuts counts by the part that
    lies inside, so that the expected share is ``level`` for any ``k``. Lower: the draws are too narrow, or too far from
    the truth. Higher: they are too wide. The floor is the law of draws of ``p(x | c)``, for columns as dependent as
    these.

    Args:
        of_truth: ranks ``(m, Q)`` of :func:`ranks`.
        k: number of draws.
        level: the probability of the interval.
    """
    edges = torch.arange(k + 2, dtype=torch.float64) / (k + 1)
    inside = edges.clamp((1 - level) / 2, (1 + level) / 2).diff() * (k + 1)
    hits = torch.where(of_truth >= 0, inside[of_truth.clamp(min=0)], torch.nan)
    hits = hits[~hits.isnan().all(1)]
    shares = hits.nanmean(1)
    words = f"central {level:.0%} interval of {k} draws for each condition, mean over {hits.shape[1]} columns"
    score = over_conditions(f"interval_coverage[{level:.0%}]", shares, words, "nearer", share=True)
    if score.value in (0, 1):
        low, high = share_interval(score.value, len(hits))
        score = replace(score, low=low, high=high)
    half = 1.96 * math.sqrt(_dependence(hits) * level * (1 - level) / len(hits))
    return score.beside(Floor(level, level - half, level + half))


def _dependence(hits: Tensor) -> float:
    """The variance of a mean over columns ``(m, Q)`` over that of a column: 1 if all agree, 1/Q if independent."""
    columns, m = hits.shape[1], len(hits)
    centred = (hits - hits.nanmean(0)).nan_to_num(0)
    of_columns = centred.square().sum().item() / columns
    ratio = centred.mean(1).square().sum().item() / of_columns if of_columns > 0 and m > 1 else 1.0
    return min(max(ratio, 1 / columns), 1.0)


def rank_deviation(of_truth: Tensor, k: int) -> Measurement:
    """The largest distance of the distribution function of ranks from that of uniform ones, of all columns.

    The floor is its law where all ranks are uniform and columns independent. Dependent ones deviate less.

    Args:
        of_truth: ranks ``(m, Q)`` of :func:`ranks`.
        k: number of draws.

    Reference: Talts et al. 2018, https://arxiv.org/abs/1804.06788 (ranks); Kolmogorov 1933 (the statistic)
    """
    m, columns = of_truth.shape
    value = _deviation(of_truth[None], k).item()
    generator = torch.Generator().manual_seed(0)
    times = min(SIMULATIONS, max(2_000_000 // of_truth.numel(), 50))
    again = _deviation(of_truth[torch.randint(m, (times, m), generator=generator)], k)
    uniform = torch.randint(k + 1, (times, m, columns), generator=generator)
    uniform = _deviation(uniform.masked_fill(of_truth < 0, -1), k)
    low, high = uniform.quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    half = 1.96 * again.std().item()
    words = (
        f"largest distance from the uniform distribution of ranks among {k} draws for each condition, largest of "
        f"{columns} columns; interval over {m} test conditions: bootstrap; floor: {times} sets of uniform ranks"
    )
    score = Measurement(
        "rank_deviation", value, value - half, value + half, n=m, protocol=words, better="lower", share=True
    )
    return score.beside(Floor(uniform.mean().item(), low, high))


def _deviation(of_truth: Tensor, k: int) -> Tensor:
    """The largest deviation of ranks ``(S, m, Q)``, ``(S,)`` float64. Ranks of -1 are left out."""
    places = of_truth.transpose(1, 2) + 1
    counts = torch.zeros(*places.shape[:2], k + 2).scatter_add_(2, places, torch.ones(places.shape))
    below = counts[..., 1:].cumsum(2).double()
    expected = torch.arange(1, k + 2, dtype=torch.float64) / (k + 1)
    deviation = (below / below[..., -1:].clamp(min=1) - expected).abs().amax(2)
    return deviation.masked_fill(below[..., -1] == 0, 0.0).amax(1)
