"""A network of next tokens beside counted n-grams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from fourfold.core import Part, Uncompiled
from fourfold.maths.ngrams import Ngrams
from fourfold.nn.transformer import NextToken

__all__ = ["CHUNK", "MOST", "BesideNgrams"]

MOST = 1 << 22
"""Tokens of a text that are counted, at most."""
CHUNK = 4096
"""Tokens of a chunk of it."""


@final
@dataclass
class _Cache:
    """The cache of the network, and the ids so far, ``(B, T)``."""

    network: Any
    ids: Tensor

    @property
    def position(self) -> int:
        """Positions that the network holds."""
        return int(self.network.position)

    def clear(self) -> None:
        """Forget everything."""
        self.network.clear()
        self.ids = self.ids[:, :0]

    def forget(self, count: int) -> None:
        """Forget the newest positions."""
        self.network.forget(count)
        self.ids = self.ids[:, : self.ids.shape[1] - count]

    def select(self, rows: Tensor) -> Self:
        """A cache that branches."""
        return type(self)(self.network.select(rows), self.ids[rows])


@final
class BesideNgrams(NextToken, Part, nn.Module):
    """``p(w | x_<i)`` in proportion to ``exp(f_w(x_<i)) q(w | x_<i)^a``: a network ``f`` corrects n-grams ``q``.

    The network begins with ``f = 0`` and ``a = 1``, so the model begins as good as the n-grams of the training text,
    and learns what these do not know. In training each token is scored by the counts of the text without this
    occurrence: otherwise every n-gram would seem certain. The text is a buffer, from which the n-grams are counted
    again where a run is opened. A run folder therefore holds the training text, up to 4 million tokens of it.

    Reference: Li et al. 2022, N-gram Is Back: Residual Learning of Neural Text Generation with n-gram Language Model,
    https://arxiv.org/abs/2210.14431 (n-grams beside a network); the counts that leave one out are those of Ney, Essen,
    Kneser 1994, https://doi.org/10.1006/csla.1994.1001.

    Args:
        net: gives ``f``, logits that are 0 before training.
        longest: tokens of the longest n-gram.
        chunks: chunks of the text that are counted, at most, of 4,096 tokens each.
    """

    remark = ": n-grams of the training text, which the model keeps, corrected by a network"

    def __init__(self, net: NextToken, longest: int, chunks: int = 512) -> None:
        super().__init__()
        self.net, self.longest = net, longest
        self.tokens, self.length = net.tokens, net.length
        self.power = nn.Parameter(torch.ones(()))
        kind = torch.int16 if net.tokens < 1 << 15 else torch.int32
        self.register_buffer("text", torch.full((chunks * CHUNK,), -1, dtype=kind))
        self.counted = Uncompiled(self._counted)
        self._looked_at, self._ngrams = (0, 0), list[tuple[Tensor, Ngrams]]()

    text: Tensor

    def fit(self, x: Tensor) -> None:
        """Take the text whose n-grams are counted: a stream of ids, or windows of it."""
        ids = x.flatten()[: len(self.text)]
        self.text.fill_(-1)[: len(ids)] = ids.to(self.text)

    def cache(self, batch: int, cond: Tensor | None = None) -> _Cache:
        network = self.net.cache(batch) if cond is None else self.net.cache(batch, cond)  # type: ignore[call-arg]
        return _Cache(network, self.text.new_zeros(batch, 0, dtype=torch.long))

    def forward(self, ids: Tensor, cache: Any = None, cond: Tensor | None = None) -> Tensor:
        text, following = ids, None
        if cache is not None:
            cache.ids = text = torch.cat([cache.ids, ids], 1)
        elif self.training:
            following = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -1)], 1)
        q = self.counted(text, following, ids.shape[1])
        network = None if cache is None else cache.network
        logits: Tensor = self.net(ids, network) if cond is None else self.net(ids, network, cond)
        return logits.float() + self.power * q.log()

    @torch.no_grad()
    def _counted(self, text: Tensor, following: Tensor | None, last: int) -> Tensor:
        """``q`` of every token after the last ids of a text."""
        return self.ngrams().after(text, following, last)

    def ngrams(self) -> Ngrams:
        """The n-grams of the text, counted once. Without a text all tokens have equal masses."""
        version = (self.text.data_ptr(), self.text._version)
        if version != self._looked_at:  # something was written into the text, but not always something new
            if not (self._ngrams and torch.equal(self._ngrams[0][0], self.text)):
                ids = self.text[self.text >= 0]
                self._ngrams = [(self.text.clone(), Ngrams(ids, self.tokens, min(self.longest, max(len(ids) - 1, 0))))]
            self._looked_at = version
        return self._ngrams[0][1]
