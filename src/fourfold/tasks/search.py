"""Beam search: the likeliest sequences of tokens, one token at a time."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["Paths", "beam_search"]


class Paths(ABC):
    """The unfinished sequences of a search, all of one length, and those that are finished so far."""

    @abstractmethod
    def scores(self) -> Tensor:
        """Score every path with one token more, ``(B, V)``. Minus infinity where no path goes on.

        Sequences that one token finishes are recorded here, and do not go on.
        """

    @abstractmethod
    def promising(self, scores: Tensor) -> int:
        """Count the paths worth following among the best ones, whose scores ``(n,)`` fall. 0 ends the search."""

    @abstractmethod
    def follow(self, rows: Tensor, tokens: Tensor, scores: Tensor) -> None:
        """Replace the paths: each is the path of a row ``(n,)`` with a token ``(n,)`` more."""


def beam_search(paths: Paths, beams: int, length: int) -> None:
    """Follow the best paths, at most ``beams`` at a time, until none is promising or each has ``length`` tokens."""
    for _ in range(length):
        scores = paths.scores()
        best, place = scores.flatten().topk(min(beams, int((scores > -math.inf).sum())))
        count = paths.promising(best) if len(best) else 0
        if not count:
            return
        rows, tokens = place[:count] // scores.shape[1], place[:count] % scores.shape[1]
        paths.follow(rows, tokens, best[:count])
