"""A network of sequences of rows: a transformer over rows, and a masked layer over the columns of each row.

The transformer gives every row a context: of the rows before it, or of all tokens that are known. With it, the network
of a table's columns (:class:`~fourfold.nn.columns.ColumnNetwork`) gives each code of the row given others of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.attending import Attending, Shares
from fourfold.nn.columns import ColumnNetwork
from fourfold.nn.entry import ConditionEntry
from fourfold.nn.relative import nearest
from fourfold.nn.transformer import Block, Cache, Transformer

__all__ = ["SequenceNetwork"]


@final
class SequenceNetwork(Part, nn.Module):
    """The context of each row, ``(B, T, C · width)`` for :attr:`columns`, from the tokens of other rows.

    Args:
        sizes: tokens of each column.
        length: the most rows.
        embedding, width, depth: of :class:`~fourfold.nn.columns.ColumnNetwork`.
        features, layers, heads: of the transformer.
        ordered: the columns whose tokens are ordered.
        causal: whether a row's context is of the rows before it. Otherwise it is of all tokens that are seen.
        relative: whether codes are also read and predicted relative to the nearest observed ones of their column
            (:mod:`fourfold.nn.relative`): in the rows before, and behind if it is not causal.
        missing: the ordered columns whose last token is "missing". Only for a network that is relative.
        dropout: share of the columns' hidden units that are dropped in training.
        reading: reads the condition, or ``None``. Every row sees its vector and attends to its sequence.

    Raises:
        ValueError: if ``features`` is not a multiple of ``2 · heads``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("place",)

    def __init__(
        self,
        sizes: Sequence[int],
        length: int,
        embedding: int = 8,
        width: int = 32,
        depth: int = 1,
        features: int = 64,
        layers: int = 2,
        heads: int = 2,
        ordered: Sequence[int] = (),
        causal: bool = True,
        relative: bool = False,
        missing: Sequence[int] = (),
        dropout: float = 0.0,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        if features % (2 * heads):
            raise ValueError(f"features must be a multiple of 2 · heads, got {features} and {heads} heads")
        self.causal, self.features, self.sides = causal, features, 0 if not relative else 1 if causal else 2
        self.missing = {i: sizes[i] - 1 for i in missing}
        self.columns = ColumnNetwork(
            sizes, embedding, width, depth, ordered, dropout=dropout, missing=missing, sides=self.sides
        )
        self.entry = nn.Linear(len(sizes) * (embedding + (not causal)), features)
        self.place = nn.Embedding(length, features)
        nn.init.normal_(self.place.weight, std=0.1)
        self.context = nn.Linear(features, len(sizes) * width)
        nn.init.normal_(self.context.weight, std=0.5 * features**-0.5)
        self.given = ConditionEntry.of(reading, features + len(sizes) * width + length * (not causal), 0.25)
        if causal:
            self.first = nn.Parameter(0.5 * torch.randn(features))
            self.trunk = Transformer(features, layers, heads, length, reading=reading)
        else:
            self.attending = Attending(reading, features, heads, layers)
            self.blocks = nn.ModuleList(Block(features, heads, causal=False) for _ in range(layers))

    def cache(self, batch: int) -> Cache:
        """An empty cache of the rows of a causal network."""
        return self.trunk.cache(batch)

    def read(self, cond: Tensor | None, batch: int) -> Shares | None:
        """The shares of conditions in the layers, for :meth:`forward`. ``None`` without a reading."""
        return (self.trunk.attending if self.causal else self.attending).read(self.given, cond, batch)

    def marks(self, shares: Shares) -> Tensor:
        """The part of :meth:`read` that belongs to the length, ``(B, length)``, of a network that is not causal."""
        return shares.vector[:, -self.place.num_embeddings :]

    def near(self, x: Tensor, mask: Tensor) -> Tensor | None:
        """The nearest observed tokens of other rows, ``(B, T, C, sides, 2)``, or ``None`` if the network takes none.

        Args:
            x: tokens ``(B, T, C)``.
            mask: which codes are there and observed, bool ``(B, T, C)``.
        """
        return nearest(x, self.observed(x, mask), self.sides) if self.sides else None

    def observed(self, x: Tensor, mask: Tensor) -> Tensor:
        """Which tokens ``(..., C)`` are observed, and no gap."""
        gaps = torch.tensor([self.missing.get(i, -1) for i in range(x.shape[-1])], device=x.device)
        return mask & (x != gaps)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        cache: Cache | None = None,
        near: Tensor | None = None,
        shares: Shares | None = None,
    ) -> Tensor:
        """The contexts of rows, float32.

        Args:
            x: tokens ``(B, T, C)`` of the rows, or their vectors by :meth:`ColumnNetwork.embedded`. Of a causal network
                the context of row ``t`` is of the rows before it. With a cache, ``x`` holds the rows before each of the
                rows that follow the cached ones, and the first row of an empty cache is ignored.
            mask: which codes are observed, bool ``(B, T, C)``. Only for a network that is not causal.
            cache: of earlier rows.
            near: of these rows, by :meth:`near`.
            shares: of the conditions, by :meth:`read`.
        """
        position = 0 if cache is None else cache.position
        place = self.place.weight[position : position + x.shape[1]]
        memory = None if shares is None else shares.memory
        if shares is not None:
            place = place + shares.vector[:, None, : self.features]
        flat = None if near is None else near.flatten(0, 1)
        e = x if x.is_floating_point() else self.columns.embedded(x.flatten(0, 1), flat).view(*x.shape, -1)
        if not self.causal:
            assert mask is not None
            h = torch.cat([(e * mask[..., None]).flatten(2), mask.to(e.dtype)], 2)
            h = self.entry(h) + place
            for i, block in enumerate(self.blocks):
                h = block(self.attending(h, i, memory))
            return self._contexts(F.layer_norm(h, (self.features,)), shares)
        h = self.entry(e.flatten(2))
        if cache is None:
            h = F.pad(h[:, :-1], (0, 0, 1, 0))
        if not position:
            h = torch.cat([self.first.expand(len(x), 1, -1), h[:, 1:]], 1)
        return self._contexts(self.trunk(h + place, cache, memory), shares)

    def _contexts(self, h: Tensor, shares: Shares | None) -> Tensor:
        """The contexts of features ``(B, T, features)`` and of conditions."""
        context: Tensor = self.context(h)
        if shares is not None:
            context = context + shares.vector[:, None, self.features : self.features + context.shape[2]]
        return context.float()
