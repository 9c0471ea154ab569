"""The ends of a quantity, and the probability and distance of values beyond them."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
import numpy.typing as npt

__all__ = ["Ends", "ends_of"]


class Ends(TypedDict):
    """The arguments of a :class:`~fourfold.spaces.columns.Graded` column for its span and the values beyond it."""

    low: int
    high: int
    beyond: tuple[float, float]
    scale: tuple[float, float]
    support: int


def ends_of(codes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], support: int = 1) -> Ends:
    """The ends of a quantity: the codes that ``support`` rows reach or exceed. No model learns a value beyond.

    Among ``n + 1`` exchangeable values, the last exceeds the ``k``-th largest with probability ``k / (n + 1)``. Where
    ``m`` values share that code and none exceeds it, it is rather an end, and ``1 / (m (n + 1))`` is taken. The scale
    is the mean excess of the ``sqrt(n)`` largest values over the next one, at least 1.

    Args:
        codes: of the values, ascending, ``(K,)``. Neighbours may be the same.
        counts: how many rows hold each, ``(K,)``.
        support: rows that an end stands for, at most a quarter of all. 1: the ends are the extreme values.
    """
    codes, first = np.unique(codes, return_index=True)
    counts = np.add.reduceat(counts, first)
    rank = max(min(support, int(counts.sum()) // 4), 1)
    low, high = _end(-codes[::-1], counts[::-1], rank), _end(codes, counts, rank)
    return Ends(low=-low[0], high=high[0], beyond=(low[1], high[1]), scale=(low[2], high[2]), support=support)


def _end(codes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], support: int) -> tuple[int, float, float]:
    """The upper end of ascending codes, the probability beyond it, and the scale there.

    An end has the sign of the largest code, since no value of another sign has a mass where none is in the span.
    """
    n, above = int(counts.sum()), counts[::-1].cumsum()[::-1]
    k = int(np.flatnonzero(above >= support)[-1])
    largest = np.repeat(codes[-math.isqrt(n) - 1 :], np.minimum(counts[-math.isqrt(n) - 1 :], n))
    largest = largest[-math.isqrt(n) - 1 :].astype(np.float64)
    excess = float((largest[1:] - largest[0]).mean()) if len(largest) > 1 else 0.0
    end = 1 if codes[-1] > 0 >= codes[k] else int(codes[k])
    return end, (int(above[k] - counts[k]) + 1 / int(counts[k])) / (n + 1), max(excess, 1.0)
