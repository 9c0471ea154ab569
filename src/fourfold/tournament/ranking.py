"""Who is best by a score: only at one number of samples, never beyond what intervals and the floor tell."""

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
    """What may be said of the best by one score.

    Attributes:
        leaders: the best, or, where some are :func:`at_floor`, all of those; empty where nobody is named.
        near: whoever else is not told apart from the best.
        reason: why nobody is named.
        floor: whether the leaders are at the floor.
    """

    leaders: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    reason: str = ""
    floor: bool = False


def at_floor(score: Measurement) -> bool:
    """Whether a score lies within its floor's interval, or beyond it on the better side.

    Beyond it there is nothing to win: an unbiased MMD² below that of training examples is noise.
    """
    if score.better == "lower":
        return score.value <= (score.floor if math.isnan(score.floor_high) else score.floor_high)
    return score.value >= (score.floor if math.isnan(score.floor_low) else score.floor_low)


def lead(scores: Mapping[str, Measurement]) -> Lead:
    """The best of several models by one score, with those that are not told apart from it.

    All that are :func:`at_floor` are equal. Two others are told apart where their intervals do not meet.

    Args:
        scores: of each model, by name; those without a value are left out.
    """
    known = {name: score for name, score in scores.items() if math.isfinite(score.value)}
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
    """Whether the interval of a score meets that of the best, or its floor's where the best is there."""
    floor = math.nan if not at_floor(best) else best.floor_low if higher else best.floor_high
    if higher:
        return score.high >= min(best.low, math.inf if math.isnan(floor) else floor)
    return score.low <= max(best.high, -math.inf if math.isnan(floor) else floor)
