"""A baseline of text: an interpolated n-gram model, counted and not trained."""

from __future__ import annotations

from typing import Self, final

import torch
from torch import Tensor

from fourfold.core import Baseline, LogProb, Space
from fourfold.maths.ngrams import LONGEST, Ngrams
from fourfold.spaces import Text
from fourfold.vocabulary import Kind

__all__ = ["KneserNey"]

MOST = 1 << 22
"""Tokens that are counted, at most: n-grams take memory in proportion to the text."""


@final
class KneserNey(Baseline):
    """Interpolated n-grams of tokens with Kneser and Ney's counts, exact. See :class:`fourfold.maths.ngrams.Ngrams`."""

    name = "Kneser-Ney n-grams"
    recipe = "autoregressive/ngrams"
    summary = "Each token is drawn by counts of the few tokens before it, those that it was seen after in training"

    space: Text

    def __init__(self, ngrams: Ngrams, space: Text, note: str = "") -> None:
        self.ngrams, self.space, self.tokens, self.length = ngrams, space, space.tokens, space.length
        self.note = note

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        assert isinstance(space, Text)  # this baseline is registered for texts
        ids = x[:MOST]
        note = f", counted in the first {MOST:,} tokens" if len(x) > MOST else ""
        longest = min(LONGEST[space.token], len(ids) - 1, space.length)
        return cls(Ngrams(ids, space.tokens, longest), space, note)

    def masses(self, x: Tensor) -> Tensor:
        """``p(x_i | x_<i)`` of windows ``(B, L)``, ``(B, L)`` float64."""
        return self.ngrams.masses(x)

    def next_masses(self, past: Tensor) -> Tensor:
        """``p(w | past)`` of every token after ``(B, T)``, ``(B, V)`` float64."""
        start = past.new_full((len(past), 1), self.tokens)  # in no n-gram, so that a past may be empty
        return self.ngrams.after(torch.cat([start, past], 1), last=1, dtype=torch.float64)[:, 0]

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        parts = [self.masses(part).log().sum(1) for part in torch.split(x, 1024)]
        note = f"n-grams of up to {len(self.ngrams.orders)} tokens{self.note}"
        kind, note = self.space.kind_of_text(Kind.EXACT, note)
        return LogProb(torch.cat(parts), kind, x.shape[1], note=note, byte_counts=self.space.byte_counts(x))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        generator, orders = torch.Generator().manual_seed(seed), len(self.ngrams.orders)
        ids = torch.zeros(n, self.length, dtype=torch.long)
        for i in range(self.length):
            u = torch.rand(n, orders + 1, generator=generator, dtype=torch.float64)
            ids[:, i] = self.ngrams.draw(ids[:, max(i - orders + 1, 0) : i], u)
        return ids
