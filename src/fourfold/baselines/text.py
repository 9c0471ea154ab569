"""Baselines of text and of short texts: interpolated n-gram models, counted and not trained."""

from __future__ import annotations

from typing import Self, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor

from fourfold.core import Baseline, LogProb, Space
from fourfold.maths.ngrams import LONGEST, Ngrams
from fourfold.spaces import Lines, Text
from fourfold.vocabulary import Kind

__all__ = ["KneserNey", "KneserNeyLines"]

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


@final
class KneserNeyLines(Baseline):
    """Texts with an end: ``log p(x) = sum_{i <= n} log p(x_i | end, x_<i)`` by n-grams, the end included. Exact.

    The n-grams are counted in all training texts, one after the other, each behind an end.
    """

    name = "Kneser-Ney n-grams"
    summary = "Each token, and the end, is drawn by counts of the few tokens before it in training texts"

    def __init__(self, ngrams: Ngrams, space: Lines) -> None:
        self.ngrams, self.space = ngrams, space

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        lines = cast("Lines", space)  # this baseline is registered for short texts
        ids = F.pad(x[_up_to_ends(lines, x)], (1, 0), value=lines.end)[:MOST]
        return cls(Ngrams(ids, lines.tokens, min(LONGEST[lines.text.token], len(ids) - 1)), lines)

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        parts = [
            self.ngrams.masses(F.pad(part, (1, 0), value=self.space.end))[:, 1:].log() * _up_to_ends(self.space, part)
            for part in torch.split(x.long(), 1024)
        ]
        note = f"n-grams of up to {len(self.ngrams.orders)} tokens"
        kind, note = self.space.text.kind_of_text(Kind.EXACT, note)
        nats, bytes_of_text = torch.cat(parts).sum(1), self.space.byte_counts(x)
        return LogProb(nats, kind, self.space.dims, note=note, byte_counts=bytes_of_text)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        generator, orders = torch.Generator().manual_seed(seed), len(self.ngrams.orders)
        ids = torch.full((n, 1 + self.space.text.length), self.space.end)
        for i in range(1, ids.shape[1]):
            u = torch.rand(n, orders + 1, generator=generator, dtype=torch.float64)
            token = self.ngrams.draw(ids[:, max(i - orders + 1, 0) : i], u)
            ended = (ids[:, i - 1] == self.space.end) & (i > 1)
            ids[:, i] = torch.where(ended, self.space.end, token)
        return ids[:, 1:]


def _up_to_ends(space: Lines, x: Tensor) -> Tensor:
    """The tokens of texts ``(B, L)`` up to their ends, bool."""
    return F.pad(x[:, :-1] != space.end, (1, 0), value=True)
