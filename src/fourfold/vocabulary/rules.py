"""Thresholds of monitors: rules that turn the values that training logged into a verdict."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

__all__ = ["BAD", "FINE", "WATCH", "Active", "Below", "Judged", "NearOne", "Rule", "Settled"]

FINE, WATCH, BAD = "fine", "watch", "bad"


@final
@dataclass(frozen=True)
class Judged:
    """A verdict (``fine``, ``watch``, ``bad``, or empty) and its rule."""

    word: str = ""
    rule: str = "no threshold is known"


class Rule(ABC):
    """A threshold of a monitor."""

    @abstractmethod
    def __call__(self, values: Sequence[float]) -> Judged:
        """The verdict on the logged values, of which there is at least one."""


@final
@dataclass(frozen=True)
class Below(Rule):
    """A number should stay below two thresholds, by its mean over the last quarter of the log."""

    watch: float
    bad: float

    def __call__(self, values: Sequence[float]) -> Judged:
        last = _late(values)
        word = BAD if last > self.bad else WATCH if last > self.watch else FINE
        return Judged(word, f"watch above {self.watch:g}, bad above {self.bad:g}")


@final
@dataclass(frozen=True)
class NearOne(Rule):
    """A ratio is 1 for the data."""

    def __call__(self, values: Sequence[float]) -> Judged:
        ratio = abs(math.log(max(_late(values), 1e-12)))
        word = BAD if ratio > math.log(2) else WATCH if ratio > math.log(1.25) else FINE
        return Judged(word, "1 is that of the data; watch outside 0.8 to 1.25, bad outside 0.5 to 2")


@final
@dataclass(frozen=True)
class Active(Rule):
    """The number of units of the code that carry information. 0 is a collapse."""

    def __call__(self, values: Sequence[float]) -> Judged:
        last, most = values[-1], max(values)
        word = BAD if last < 1 else WATCH if last < most / 2 else FINE
        return Judged(word, "watch below half of their greatest number, bad at none")


@final
@dataclass(frozen=True)
class Settled(Rule):
    """A number may settle anywhere but must not keep growing: its last quarter against the second."""

    def __call__(self, values: Sequence[float]) -> Judged:
        if len(values) < 8:
            return Judged("", "too few values to detect growth")
        middle = values[len(values) // 4 : len(values) // 2]
        ratio = abs(_late(values)) / max(sum(map(abs, middle)) / len(middle), 1e-12)
        word = BAD if ratio > 10 else WATCH if ratio > 3 else FINE
        return Judged(word, "last quarter of training against the second: watch above 3 times, bad above 10 times")


def _late(values: Sequence[float]) -> float:
    """The mean over the last quarter."""
    last = values[-max(len(values) // 4, 1) :]
    return sum(last) / len(last)
