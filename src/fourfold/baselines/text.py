"""A baseline of text: an interpolated n-gram model, counted and not trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeAlias, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.core import Baseline, LogProb, Space
from fourfold.spaces import Text
from fourfold.vocabulary import Kind

__all__ = ["KneserNey"]

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
_MULTIPLIER = np.uint64(6364136223846793005)
MOST = 1 << 22
"""Tokens that are counted, at most: n-grams take memory in proportion to the text."""
ORDERS = {"character": 8, "byte": 8, "piece": 4}
"""Tokens of the longest n-gram."""


def _codes(ids: Ints, k: int) -> npt.NDArray[np.uint64]:
    """A 64-bit code of the ``k`` tokens that begin at each place of ``(..., L)``, ``(..., L - k + 1)``."""
    code = np.zeros((*ids.shape[:-1], ids.shape[-1] - k + 1), dtype=np.uint64)
    for i in range(k):
        code = code * _MULTIPLIER + ids[..., i : i + code.shape[-1]].astype(np.uint64) + np.uint64(1)
    return code


@final
@dataclass(frozen=True)
class _Order:
    """The n-grams of one length, sorted by the tokens before the last one.

    Attributes:
        contexts: codes of the different tokens before the last one, ``(H,)``, ascending.
        starts: where the n-grams of each context begin, ``(H + 1,)``.
        grams: codes of the n-grams, ascending, ``(G,)``.
        places: where each of them stands among those sorted by context.
        last: last tokens of the n-grams, sorted by context.
        kept: discounted counts of the n-grams, divided by the count of their context.
        sums: sums of ``kept``, ``(G + 1,)``.
        passed: the share of each context that goes to shorter n-grams.
    """

    contexts: npt.NDArray[np.uint64]
    starts: Ints
    grams: npt.NDArray[np.uint64]
    places: Ints
    last: Ints
    kept: Floats
    sums: Floats
    passed: Floats

    @classmethod
    def count(cls, grams: npt.NDArray[np.uint64], contexts: npt.NDArray[np.uint64], last: Ints, counts: Ints) -> Self:
        """From different n-grams, the codes of their contexts, their last tokens and their counts."""
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        order = np.lexsort((last, contexts))
        grams, contexts, last = grams[order], contexts[order], last[order]
        counts, discounts = counts[order], discounts[order]
        found, starts = np.unique(contexts, return_index=True)
        edges = np.append(starts, len(contexts)).astype(np.int64)
        total = np.add.reduceat(counts, starts).astype(np.float64)
        each = np.repeat(total, np.diff(edges))
        passed = np.add.reduceat(discounts, starts) / total
        kept, by_code = (counts - discounts) / each, np.argsort(grams)
        return cls(found, edges, grams[by_code], by_code, last, kept, np.append(0.0, kept.cumsum()), passed)

    def context(self, codes: npt.NDArray[np.uint64]) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """The numbers of contexts by their codes, and which of them are known."""
        at = np.searchsorted(self.contexts, codes).clip(max=len(self.contexts) - 1)
        return at.astype(np.int64), self.contexts[at] == codes

    def mass(self, codes: npt.NDArray[np.uint64]) -> Floats:
        """The discounted shares of n-grams, found by their codes; 0 for an unknown n-gram."""
        at = np.searchsorted(self.grams, codes).clip(max=len(self.grams) - 1)
        return np.where(self.grams[at] == codes, self.kept[self.places[at]], 0.0)


def _discounts(counts: Ints) -> Floats:
    """The discounts of n-grams that occur 0, 1, 2, and 3 or more times."""
    n_1, n_2, n_3, n_4 = (max(int((counts == i).sum()), 1) for i in (1, 2, 3, 4))
    y = n_1 / (n_1 + 2 * n_2)
    found = [0.0, 1 - 2 * y * n_2 / n_1, 2 - 3 * y * n_3 / n_2, 3 - 4 * y * n_4 / n_3]
    return np.array([0.0, *(min(max(d, 0.1), 0.95 * i) for i, d in enumerate(found[1:], 1))])


@final
class KneserNey(Baseline):
    """Interpolated n-grams: ``p_k(w | h) = (c(h w) - D) / c(h) + lambda(h) p_(k-1)(w | h')``, exact.

    ``c`` counts the n-grams of the longest order; of a shorter one it counts in how many different contexts it occurs.
    ``h'`` is ``h`` without its first token, and ``lambda(h)`` what the discounts took. The shortest order is mixed with
    equal masses of all tokens, so every text has a mass.

    Reference: Kneser, Ney 1995, Improved Backing-off for M-gram Language Modeling,
    https://doi.org/10.1109/ICASSP.1995.479394; Chen, Goodman 1999, An Empirical Study of Smoothing Techniques for
    Language Modeling, https://doi.org/10.1006/csla.1999.0128
    """

    name = "Kneser-Ney n-grams"
    summary = "Each token is drawn by counts of the few tokens before it, those that it was seen after in training"

    space: Text

    def __init__(self, orders: Sequence[_Order], space: Text, note: str = "") -> None:
        self.orders, self.space, self.tokens, self.length = orders, space, space.tokens, space.length
        self.note = note

    @classmethod
    def fit(cls, space: Space, x: Tensor) -> Self:
        assert isinstance(space, Text)  # this baseline is registered for texts
        ids = x[:MOST].numpy().astype(np.int64)
        note = f", counted in the first {MOST:,} tokens" if len(x) > MOST else ""
        orders = []
        longest = min(ORDERS[space.token], len(ids) - 1, space.length)
        for k in range(1, longest + 1):
            codes = _codes(ids, k)
            if k == longest:
                grams, place, counts = np.unique(codes, return_index=True, return_counts=True)
            else:  # of different n-grams with one more token, those that end so
                wider = np.unique(_codes(ids, k + 1), return_index=True)[1] + 1
                grams, first, counts = np.unique(codes[wider], return_index=True, return_counts=True)
                place = wider[first]
            contexts = _codes(ids, k - 1)[place] if k > 1 else np.zeros(len(place), dtype=np.uint64)
            orders.append(_Order.count(grams, contexts, ids[place + k - 1], counts.astype(np.int64)))
        return cls(orders, space, note)

    def masses(self, x: Tensor) -> Tensor:
        """``p(x_i | x_<i)`` of windows ``(B, L)``, ``(B, L)`` float64."""
        ids = x.numpy().astype(np.int64)
        p = np.full(ids.shape, 1.0 / self.tokens)
        for k, order in enumerate(self.orders, 1):
            if k > ids.shape[1]:
                break
            contexts = _codes(ids, k - 1)[:, : ids.shape[1] - k + 1] if k > 1 else np.zeros_like(ids, dtype=np.uint64)
            at, known = order.context(contexts)
            mixed = order.mass(_codes(ids, k)) + order.passed[at] * p[:, k - 1 :]
            p[:, k - 1 :] = np.where(known, mixed, p[:, k - 1 :])
        return torch.from_numpy(p)

    def next_masses(self, past: Tensor) -> Tensor:
        """``p(w | past)`` of every token after ``(B, T)``, ``(B, V)`` float64."""
        rows, past = len(past), past[:, -len(self.orders) + 1 :] if len(self.orders) > 1 else past[:, :0]
        every = torch.arange(self.tokens).expand(rows, -1).reshape(-1, 1)
        windows = torch.cat([past.repeat_interleave(self.tokens, 0), every], 1)
        return self.masses(windows)[:, -1].view(rows, self.tokens)

    def log_prob(self, x: Tensor, seed: int = 0) -> LogProb:
        parts = [self.masses(part).log().sum(1) for part in torch.split(x, 1024)]
        note = f"n-grams of up to {len(self.orders)} tokens{self.note}"
        return LogProb(torch.cat(parts), Kind.EXACT, x.shape[1], note=note, byte_counts=self.space.byte_counts(x))

    def sample(self, n: int, seed: int = 0) -> Tensor:
        numbers = np.random.default_rng(seed).random((n, self.length, len(self.orders) + 1), dtype=np.float32)
        drawn = np.zeros((n, self.length), dtype=np.int64)
        for i in range(self.length):
            drawn[:, i] = self._draw(drawn[:, max(i - len(self.orders) + 1, 0) : i], numbers[:, i].astype(np.float64))
        return torch.from_numpy(drawn)

    def _draw(self, past: Ints, numbers: Floats) -> Ints:
        """The next token of every row: each order keeps the choice, or passes it on to a shorter one.

        ``numbers`` are uniform, ``(n, K + 1)``: one for each order, and one for the equal masses.
        """
        n = len(past)
        token, open_ = (numbers[:, 0] * self.tokens).astype(np.int64), np.ones(n, dtype=bool)
        for k in range(min(len(self.orders), past.shape[1] + 1), 0, -1):
            order = self.orders[k - 1]
            context = _codes(past[:, past.shape[1] - k + 1 :], k - 1)[:, 0] if k > 1 else np.zeros(n, dtype=np.uint64)
            at, known = order.context(context)
            u, sums = numbers[:, k], order.sums
            chosen = open_ & known & (u >= order.passed[at])
            first, last = sums[order.starts[at]], sums[order.starts[at + 1]]
            share = (u - order.passed[at]) / np.maximum(1 - order.passed[at], 1e-300)
            place = np.searchsorted(sums, first + share * (last - first), side="right") - 1
            place = place.clip(order.starts[at], order.starts[at + 1] - 1)
            token, open_ = np.where(chosen, order.last[place], token), open_ & ~chosen
        return token
