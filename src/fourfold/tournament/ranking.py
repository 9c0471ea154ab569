"""Ranks models by a score: only at one number of samples, and no finer than the errors and the floor allow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from fourfold.metrics import Measurement
from fourfold.metrics.score import half_width

__all__ = ["Lead", "apart", "at_floor", "lead"]

RISK = 0.05
"""The probability that any of several equal models is called different from another, at most."""


@final
@dataclass(frozen=True)
class Lead:
    """The leaders by one score.

    Attributes:
        leaders: the best model or, if several are :func:`at_floor`, all of these. Empty if no winner is named.
        near: other models that cannot be distinguished from the best.
        reason: the reason why no winner is named.
        floor: whether the leaders are at the floor.
    """

    leaders: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    reason: str = ""
    floor: bool = False


def at_floor(score: Measurement) -> bool:
    """True if a score lies within its floor's interval, or beyond it on the better side.

    Scores better than the floor are noise: an unbiased MMD² below that of training examples means nothing.
    """
    score = score.ranked()
    if score.better == "lower":
        return score.value <= (score.floor if math.isnan(score.floor_high) else score.floor_high)
    return score.value >= (score.floor if math.isnan(score.floor_low) else score.floor_low)


def lead(scores: Mapping[str, Measurement]) -> Lead:
    """The best of several models by one score, and the models that cannot be distinguished from it.

    All models that are :func:`at_floor` are equal. Two others are distinguished if they are :func:`apart`, where all
    pairs share :data:`RISK`.

    Args:
        scores: the score of each model, by name. A score without a value is left out.
    """
    ranked = {name: score.ranked() for name, score in scores.items() if math.isfinite(score.value)}
    if len(ranked) < 2:
        return Lead(reason="fewer than two models have this score")
    counts = sorted({score.n for score in ranked.values()})
    if len(counts) > 1:
        return Lead(reason=f"their numbers of examples differ ({', '.join(map(str, counts))})")
    if not all(math.isfinite(score.low) and math.isfinite(score.high) for score in ranked.values()):
        return Lead(reason=f"{counts[0]} samples are too few for an interval")
    higher = next(iter(ranked.values())).better == "higher"
    order = sorted(ranked, key=lambda name: ranked[name].value, reverse=higher)
    best = ranked[order[0]]
    leaders = [name for name in order if at_floor(ranked[name])] or order[:1]
    pairs = len(ranked) * (len(ranked) - 1) // 2
    near = [name for name in order if name not in leaders and _near(ranked[name], best, pairs)]
    return Lead(tuple(leaders), tuple(near), floor=at_floor(best))


def apart(a: Measurement, b: Measurement, pairs: int = 1) -> bool:
    """True if two scores differ significantly, with error probability :data:`RISK` over ``pairs`` of them.

    Shared test examples are compared one by one: the error of the difference is the spread of the difference of their
    deviations, beside the own error of either score. Where that is unknown, or the scores are of different examples,
    their intervals must not overlap.

    Reference: Dunn 1961, Multiple Comparisons Among Means, https://doi.org/10.2307/2282330
    """
    paired = a.n == b.n and len(a.deviations) == len(b.deviations)
    if not (paired and math.isfinite(a.error) and math.isfinite(b.error)):
        return a.low > b.high or a.high < b.low
    error = math.hypot(a.error, b.error)
    parts = a.error**4 / a.freedom + b.error**4 / b.freedom
    freedom = error**4 / parts if parts > 0 else math.inf
    differences = [of_a - of_b for of_a, of_b in zip(a.deviations, b.deviations, strict=True)]
    return abs(a.value - b.value) > half_width(error, differences, freedom, 1 - RISK / pairs)


def _near(score: Measurement, best: Measurement, pairs: int) -> bool:
    """True if a score does not differ significantly from the best or, if the best is at its floor, from that."""
    if not apart(score, best, pairs):
        return True
    floor = math.nan if not at_floor(best) else best.floor_high if best.better == "lower" else best.floor_low
    return score.low <= floor if best.better == "lower" else score.high >= floor
