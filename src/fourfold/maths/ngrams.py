"""Interpolated n-grams, counted in a text: masses, whole distributions and draws, by tensor operations alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, final

import torch
from torch import Tensor

from fourfold.maths.categorical import quantile_between

__all__ = ["LONGEST", "Ngrams", "discounts"]

LONGEST = {"character": 8, "byte": 8, "token": 4}
"""Tokens of the longest n-gram that pays, by the kind of token."""

_MULTIPLIER = 6364136223846793005


def _codes(ids: Tensor, k: int) -> Tensor:
    """A 64-bit code of the ``k`` tokens that begin at each place of ``(..., L)``, ``(..., L - k + 1)``."""
    code = ids.new_zeros((*ids.shape[:-1], ids.shape[-1] - k + 1), dtype=torch.long)
    for i in range(k):
        code = code * _MULTIPLIER + ids[..., i : i + code.shape[-1]] + 1
    return code


def _lookup(among: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """Places of codes among ascending ones, and which of them are there."""
    at = torch.searchsorted(among, codes.contiguous()).clamp_(max=len(among) - 1)
    return at, among[at] == codes


def discounts(counts: Tensor) -> Tensor:
    """The discounts of n-grams that occur 0, 1, 2, and 3 or more times, ``(4,)`` float64 (Chen, Goodman 1999)."""
    n_1, n_2, n_3, n_4 = (max(int((counts == i).sum()), 1) for i in (1, 2, 3, 4))
    y = n_1 / (n_1 + 2 * n_2)
    values = [1 - 2 * y * n_2 / n_1, 2 - 3 * y * n_3 / n_2, 3 - 4 * y * n_4 / n_3]
    return torch.tensor([0.0, *(min(max(d, 0.1), 0.95 * i) for i, d in enumerate(values, 1))], dtype=torch.float64)


@final
@dataclass(frozen=True)
class _Order:
    """The n-grams of one length, sorted by the tokens before the last one, and then by the last one.

    Attributes:
        contexts: codes of the different tokens before the last one, ``(H,)``, ascending.
        starts: where the n-grams of each context begin, ``(H + 1,)``.
        totals: counts of the contexts, ``(H,)``.
        removed: counts that the discounts remove from each context, ``(H,)``.
        grams: codes of the n-grams, ascending, ``(G,)``.
        places: where each of them stands among those sorted by context.
        last: last tokens, ``(G,)``.
        counts: counts ``c``, ``(G,)``.
        occurrences: how often each n-gram occurs in the text, ``(G,)``.
        discounted_counts: counts without their discounts, ``(G,)``.
        sums: cumulated ``discounted_counts``, ``(G + 1,)``.
        discounts: discounts ``D`` of the counts 0, 1, 2 and 3 or more, ``(4,)``.
    """

    contexts: Tensor
    starts: Tensor
    totals: Tensor
    removed: Tensor
    grams: Tensor
    places: Tensor
    last: Tensor
    counts: Tensor
    occurrences: Tensor
    discounted_counts: Tensor
    sums: Tensor
    discounts: Tensor

    @classmethod
    def count(cls, grams: Tensor, contexts: Tensor, last: Tensor, counts: Tensor, occurrences: Tensor) -> Self:
        """From different n-grams in the order of their codes."""
        by_last = torch.argsort(last, stable=True)
        order = by_last[torch.argsort(contexts[by_last], stable=True)]
        places = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
        contexts, last, counts, occurrences = contexts[order], last[order], counts[order], occurrences[order]
        distinct, sizes = torch.unique_consecutive(contexts, return_counts=True)
        starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        d = discounts(counts)
        discounted = counts - d[counts.clamp(max=3)]
        sums = torch.cat([discounted.new_zeros(1), discounted.cumsum(0)])
        all_counts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        totals = (all_counts[starts[1:]] - all_counts[starts[:-1]]).double()
        removed = totals - (sums[starts[1:]] - sums[starts[:-1]])
        return cls(distinct, starts, totals, removed, grams, places, last, counts, occurrences, discounted, sums, d)

    def gram(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Places of n-grams by their codes, and which of them are known."""
        at, present = _lookup(self.grams, codes)
        return self.places[at], present

    def discounted(self, counts: Tensor) -> Tensor:
        """Counts without their discounts."""
        return counts - self.discounts[counts.clamp(max=3)]

    def spread(self, at: Tensor, present: Tensor, tokens: int, dtype: torch.dtype) -> Tensor:
        """Discounted counts of every token after contexts by their places, ``(N, V)``. 0 after unknown contexts."""
        sizes = torch.where(present, self.starts[at + 1] - self.starts[at], 0)
        rows = torch.repeat_interleave(torch.arange(len(at), device=at.device), sizes)
        ends = sizes.cumsum(0)
        place = torch.arange(len(rows), device=at.device) + (self.starts[at] - ends + sizes)[rows]
        return torch.zeros(len(at), tokens, dtype=dtype, device=at.device).index_put_(
            (rows, self.last[place]), self.discounted_counts[place].to(dtype)
        )


@final
class Ngrams:
    """Interpolated n-grams: ``p_k(w | h) = (c(h w) - D) / c(h) + lambda(h) p_(k-1)(w | h')``, exact.

    ``c`` counts the n-grams of the longest order. Of a shorter one it counts in how many different contexts it occurs.
    ``h'`` is ``h`` without its first token, and ``lambda(h)`` what the discounts took. The shortest order is mixed with
    equal masses of all tokens, so every text has a mass.

    Reference: Kneser, Ney 1995, Improved Backing-off for M-gram Language Modeling,
    https://doi.org/10.1109/ICASSP.1995.479394; Chen, Goodman 1999, An Empirical Study of Smoothing Techniques for
    Language Modeling, https://doi.org/10.1006/csla.1999.0128

    Args:
        ids: text ``(N,)``.
        tokens: number of tokens ``V``.
        longest: tokens of the longest n-gram. 0: all tokens have equal masses.
    """

    def __init__(self, ids: Tensor, tokens: int, longest: int) -> None:
        self.tokens, self.orders = tokens, list[_Order]()
        ids = ids.long()
        groups = [torch.unique(_codes(ids, k), return_inverse=True, return_counts=True) for k in range(1, longest + 1)]
        places = [self._one_place(inverse, len(grams)) for grams, inverse, _ in groups]
        for k, ((grams, inverse, occurrences), place) in enumerate(zip(groups, places, strict=True), 1):
            wider = None if k == longest else inverse[places[k] + 1]  # in how many contexts: once for each wider one
            counts = occurrences if wider is None else torch.bincount(wider, minlength=len(grams))
            contexts = _codes(ids, k - 1)[place] if k > 1 else torch.zeros_like(grams)
            there = counts > 0
            self.orders.append(
                _Order.count(*(each[there] for each in (grams, contexts, ids[place + k - 1], counts, occurrences)))
            )

    @staticmethod
    def _one_place(inverse: Tensor, number: int) -> Tensor:
        """A place of each n-gram in the text. Any will do."""
        places = inverse.new_zeros(number)
        places[inverse] = torch.arange(len(inverse), device=inverse.device)
        return places

    def masses(self, x: Tensor) -> Tensor:
        """``p(x_i | x_<i)`` of windows ``(B, L)``, ``(B, L)`` float64."""
        p = torch.full(x.shape, 1.0 / self.tokens, dtype=torch.float64, device=x.device)
        for k, order in enumerate(self.orders, 1):
            if k > x.shape[1]:
                break
            contexts = _codes(x, k - 1)[:, : x.shape[1] - k + 1]
            at, present = _lookup(order.contexts, contexts)
            place, there = order.gram(_codes(x, k))
            discounted = torch.where(there, order.discounted_counts[place], 0.0)
            mixed = (discounted + order.removed[at] * p[:, k - 1 :]) / order.totals[at]
            p[:, k - 1 :] = torch.where(present, mixed, p[:, k - 1 :])
        return p

    def after(
        self,
        ids: Tensor,
        following: Tensor | None = None,
        last: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """``p(w | ids up to i)`` of every token ``w`` after each of ``(B, T)`` ids, or of the last, ``(B, T, V)``.

        Ids from ``V`` on, such as start symbols, are in no n-gram. With the tokens that follow, ``(B, T)``, the counts
        are those of the text without this one occurrence, as if the text that was counted had not held it: so a text
        can be scored by its own n-grams (the estimate that leaves one out). Where ``following`` is -1, only single
        tokens count.
        """
        B, T, longest = len(ids), last or ids.shape[1], len(self.orders)
        padded = torch.cat([ids.new_full((B, longest), self.tokens), ids], 1)[:, -T - longest :]
        contexts = [_codes(padded, k)[:, longest + 1 - k :].flatten() for k in range(longest)]
        p = torch.full((B * T, self.tokens), 1.0 / self.tokens, dtype=dtype, device=ids.device)
        losses = None if following is None else self._losses(contexts, following.flatten())
        for k, order in enumerate(self.orders):
            at, present = _lookup(order.contexts, contexts[k])
            totals, removed, discounted = (
                order.totals[at],
                order.removed[at],
                order.spread(at, present, self.tokens, dtype),
            )
            if losses is not None and following is not None:
                rows, place, less = losses[k]
                counts = order.counts[place]
                totals[rows] -= less
                removed[rows] += order.discounted(counts) - order.discounted(counts - less) - less
                discounted[rows, following.flatten()[rows]] = order.discounted(counts - less).to(dtype)
                present &= (totals > 0) & ((following.flatten() >= 0) | (k == 0))
            mixed = torch.addcmul(discounted, removed.to(dtype)[:, None], p).div_(
                totals.clamp(min=1).to(dtype)[:, None]
            )
            p = torch.where(present[:, None], mixed, p)
        return p.view(B, T, self.tokens)

    def _losses(self, contexts: list[Tensor], following: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each order: rows whose n-gram loses an occurrence, its place, and by how much its count falls.

        A shorter n-gram has lost a context only if the wider one, with one token more before it, stood there once.
        """
        losses, less = list[tuple[Tensor, Tensor, Tensor]](), torch.ones_like(following)
        for order, context in zip(reversed(self.orders), reversed(contexts), strict=True):
            place, present = order.gram(context * _MULTIPLIER + following + 1)
            present &= following >= 0
            rows = present.nonzero().squeeze(1)
            losses.append((rows, place[rows], less[rows]))
            less = (torch.where(present, order.occurrences[place], 0) <= 1).long()
        return losses[::-1]

    def draw(self, past: Tensor, u: Tensor) -> Tensor:
        """The next token of every row, ``(B,)``: each order keeps the choice, or passes it on to a shorter one.

        Args:
            past: ids ``(B, T)``.
            u: uniform numbers ``(B, K + 1)``: one for each order, and one for the equal masses.
        """
        token, unfinished = (u[:, 0] * self.tokens).long(), torch.ones(len(past), dtype=torch.bool, device=past.device)
        for k in range(min(len(self.orders), past.shape[1] + 1), 0, -1):
            order = self.orders[k - 1]
            at, present = _lookup(order.contexts, _codes(past[:, past.shape[1] - k + 1 :], k - 1)[:, 0])
            passing = order.removed[at] / order.totals[at]
            ends = unfinished & present & (u[:, k] >= passing)
            share = ((u[:, k] - passing) / (1 - passing)).clamp(0, 1).nan_to_num(0)  # of rows that pass it on: any
            place = quantile_between(order.sums, share, order.starts[at], order.starts[at + 1])
            token, unfinished = torch.where(ends, order.last[place], token), unfinished & ~ends
        return token
