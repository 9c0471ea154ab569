"""The probability that a quantity lies beyond the values of its training rows, and its distance there."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
import numpy.typing as npt

__all__ = ["Tails", "tails_of"]


class Tails(TypedDict):
    """The arguments of a :class:`~fourfold.spaces.columns.Graded` column for the values beyond its span."""

    beyond: tuple[float, float]
    scale: tuple[float, float]


def tails_of(codes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Tails:
    """The tails of a quantity.

    Among ``n + 1`` exchangeable values, the last is the largest with probability ``1 / (n + 1)``. Where ``m`` values
    share the largest code, it is rather an end that nothing exceeds, and ``1 / (m (n + 1))`` is taken. The scale is the
    mean excess of the ``sqrt(n)`` largest values over the next one, at least 1.

    Args:
        codes: of the values, ascending, ``(K,)``. Neighbours may be the same.
        counts: how many rows hold each, ``(K,)``.
    """
    codes, first = np.unique(codes, return_index=True)
    counts = np.add.reduceat(counts, first)
    low, high = _tail(-codes[::-1], counts[::-1]), _tail(codes, counts)
    return Tails(beyond=(low[0], high[0]), scale=(low[1], high[1]))


def _tail(codes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Probability and scale of the upper tail of ascending codes."""
    n = int(counts.sum())
    largest = np.repeat(codes[-math.isqrt(n) - 1 :], np.minimum(counts[-math.isqrt(n) - 1 :], n))
    largest = largest[-math.isqrt(n) - 1 :].astype(np.float64)
    excess = float((largest[1:] - largest[0]).mean()) if len(largest) > 1 else 0.0
    return 1 / (int(counts[-1]) * (n + 1)), max(excess, 1.0)
