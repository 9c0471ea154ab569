"""Ranks models by a score: only at one number of samples, and no finer than the errors and the floor allow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fourfold.maths.uncertainty import adjusted, p_value, satterthwaite, student_t
from fourfold.metrics import Measurement
from fourfold.metrics.score import total_error

__all__ = ["RISK", "Difference", "Lead", "adjusted_p", "apart_from_floor", "at_floor", "difference", "lead"]

RISK = 0.05
"""The probability that any of several equal models is called different from another, at most."""


@final
@dataclass(frozen=True)
class Lead:
    """The leaders by one score.

    Attributes:
        leaders: the best model or, if several are :func:`at_floor`, all of these. Empty if no winner is named.
        near: other models that do not differ significantly from the best.
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


def apart_from_floor(score: Measurement) -> bool:
    """True if a score is worse than its floor, and the intervals of both do not overlap."""
    score = score.ranked()
    if score.better == "lower":
        return score.low > (score.floor if math.isnan(score.floor_high) else score.floor_high)
    return score.high < (score.floor if math.isnan(score.floor_low) else score.floor_low)


def lead(scores: Mapping[str, Measurement]) -> Lead:
    """The best of several models by one score, and the models that do not differ significantly from it.

    All models that are :func:`at_floor` are equal. Any others differ significantly if the p-value of their
    :func:`difference`, adjusted for all pairs of them, is at most :data:`RISK`.

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
    pairs = list(itertools.combinations(order, 2))
    p = dict(zip(pairs, adjusted_p([(ranked[a], ranked[b]) for a, b in pairs]), strict=True))
    near = [
        name
        for name in order[1:]
        if name not in leaders and (p[order[0], name] > RISK or _reaches_floor(ranked[name], best))
    ]
    return Lead(tuple(leaders), tuple(near), floor=at_floor(best))


def _reaches_floor(score: Measurement, best: Measurement) -> bool:
    """True if the best is at its floor, and the interval of a score reaches that floor."""
    if not at_floor(best):
        return False
    return score.low <= best.floor_high if best.better == "lower" else score.high >= best.floor_low


@final
@dataclass(frozen=True)
class Difference:
    """The difference of two scores, with its standard error and degrees of freedom."""

    value: float
    error: float
    freedom: float = math.inf

    @property
    def p(self) -> float:
        """The two-sided p-value of no difference."""
        return p_value(self.value, self.error, self.freedom)

    @property
    def half(self) -> float:
        """Half the 95 % interval."""
        return student_t(self.freedom) * self.error


def difference(a: Measurement, b: Measurement) -> Difference:
    """The difference ``a - b`` of two scores.

    Shared test examples are compared one by one: the error of the difference is the spread of the difference of their
    deviations, beside the own error of either score. Where that is unknown, or the scores are of different examples,
    the halves of both intervals that face each other are added.
    """
    value = a.value - b.value
    paired = a.n == b.n and len(a.deviations) == len(b.deviations)
    if not (paired and math.isfinite(a.error) and math.isfinite(b.error)):
        low, high = (b, a) if value > 0 else (a, b)
        return Difference(value, ((high.value - high.low) + (low.high - low.value)) / student_t(math.inf))
    error, freedom = math.hypot(a.error, b.error), satterthwaite((a.error**2, b.error**2), (a.freedom, b.freedom))
    deviations = [of_a - of_b for of_a, of_b in zip(a.deviations, b.deviations, strict=True)]
    return Difference(value, *total_error(error, deviations, freedom))


def adjusted_p(pairs: Sequence[tuple[Measurement, Measurement]]) -> list[float]:
    """The p-values of the differences of pairs of scores, adjusted for each other.

    Those of at most :data:`RISK` are true differences, all of them, in 95 % of comparisons. See
    :func:`~fourfold.maths.uncertainty.adjusted`.
    """
    if not pairs:
        return []
    effects = _effects([score for pair in pairs for score in pair])
    p_values = torch.tensor([difference(a, b).p for a, b in pairs], dtype=torch.float64)
    return adjusted(p_values, effects[::2] - effects[1::2]).tolist()


def _effects(scores: Sequence[Measurement]) -> Tensor:
    """The effects of independent sources of error on scores: what each has anew, and test examples they share."""
    places = {place: i for i, place in enumerate(dict.fromkeys(map(id, scores)))}  # two models may score alike
    names = list(dict.fromkeys(score.name for score in scores))
    width = max(len(score.deviations) for score in scores)
    effects = torch.zeros(len(scores), len(places) + width * len(names), dtype=torch.float64)
    for row, score in zip(effects, scores, strict=True):
        half, start = (score.high - score.low) / 2, len(places) + width * names.index(score.name)
        row[places[id(score)]] = half / student_t(math.inf) if math.isnan(score.error) else score.error
        row[start : start + len(score.deviations)] = torch.tensor(score.deviations, dtype=torch.float64)
    return effects
