"""Ranks models by a score: only at one number of samples, and no finer than the intervals and the floor allow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from fourfold.metrics import Measurement

__all__ = ["Lead", "at_floor", "lead"]


@final
@dataclass(frozen=True)
class Lead:
    """The leaders by one score.

    Attributes:
        leaders: the best model or, if several are :func:`at_floor`, all of these; empty if no winner is named.
        near: other models that cannot be distinguished from the best.
        reason: the reason why no winner is named.
        floor: whether the leaders are at the floor.
    """

    leaders: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    reason: str = ""
    floor: bool = False


def at_floor(score: Measurement) -> bool:
    """Whether a score lies within its floor's interval, or beyond it on the better side.

    Scores better than the floor are noise: an unbiased MMD² below that of training examples means nothing.
    """
    score = score.ranked()
    if score.better == "lower":
        return score.value <= (score.floor if math.isnan(score.floor_high) else score.floor_high)
    return score.value >= (score.floor if math.isnan(score.floor_low) else score.floor_low)


def lead(scores: Mapping[str, Measurement]) -> Lead:
    """The best of several models by one score, and the models that cannot be distinguished from it.

    All models that are :func:`at_floor` are equal. Two others are distinguished if their intervals do not overlap.

    Args:
        scores: the score of each model, by name; a score without a value is left out.
    """
    known = {name: score.ranked() for name, score in scores.items() if math.isfinite(score.value)}
    if len(known) < 2:
        return Lead(reason="fewer than two models have this score")
    counts = sorted({score.n for score in known.values()})
    if len(counts) > 1:
        return Lead(reason=f"their numbers of examples differ ({', '.join(map(str, counts))})")
    if not all(math.isfinite(score.low) and math.isfinite(score.high) for score in known.values()):
        return Lead(reason=f"{counts[0]} samples are too few for an interval")
    higher = next(iter(known.values())).better == "higher"
    order = sorted(known, key=lambda name: known[name].value, reverse=higher)
    best = known[order[0]]
    leaders = [name for name in order if at_floor(known[name])] or order[:1]
    near = [name for name in order if name not in leaders and _meets(known[name], best, higher)]
    return Lead(tuple(leaders), tuple(near), floor=at_floor(best))


def _meets(score: Measurement, best: Measurement, higher: bool) -> bool:
    """Whether the interval of a score overlaps that of the best or, if the best is at its floor, that of the floor."""
    floor = math.nan if not at_floor(best) else best.floor_low if higher else best.floor_high
    if higher:
        return score.high >= min(best.low, math.inf if math.isnan(floor) else floor)
    return score.low <= max(best.high, -math.inf if math.isnan(floor) else floor)
