"""A transformer over tokens in an order of their own. At each token it is conditioned on the position asked for."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.attending import Attending, Shares, positions
from fourfold.nn.entry import ConditionEntry
from fourfold.nn.layers import zeroed
from fourfold.nn.transformer import Block, Cache, placed, self_attention

__all__ = ["OrderedTransformer"]


@final
class OrderedTransformer(Part, nn.Module):
    """Logits of the token at a place, given tokens at others, in the order in which they became known.

    An input is a token, at its own place, with vectors for the way from there to the place that is asked for, and for
    the tokens on both sides of that. Keys are rotated by the own place, and queries by the place that is asked for, so
    that attention depends on how far from it a token is. Attention is causal in the order, so all tokens of an example
    are learned from in one evaluation, and earlier inputs are cached (Pannatier, Courdier, Fleuret 2024,
    https://arxiv.org/abs/2404.09562, who give an input both places).

    Ids below ``tokens`` are tokens. ``tokens`` is the symbol at place 0, before all of them, and ``tokens + 1`` stands
    for a token that is hidden.

    Args:
        tokens: number of tokens.
        length: places of tokens, ``1 .. length``.
        block: places of a block. The place that is asked for lies in the block of the token's own, or in the next.
        width, depth, heads, ratio: its size, see :class:`~fourfold.nn.transformer.Block`.
        reading: reads the condition, or ``None``. Its vector is added to every input, which attends to its sequence.

    Raises:
        ValueError: if ``width`` is not a multiple of ``2 · heads``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(
        self,
        tokens: int,
        length: int,
        block: int,
        width: int,
        depth: int,
        heads: int,
        ratio: int = 4,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of 2 · heads, got width {width} and {heads} heads")
        self.tokens, self.length, self.block, self.width, self.heads = tokens, length, block, width, heads
        self.embedding = nn.Embedding(tokens + 1, width)
        self.left, self.right = nn.Embedding(tokens + 2, width), nn.Embedding(tokens + 2, width)
        self.way = nn.Embedding(3 * block - 1, width)
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(depth))
        self.head = zeroed(nn.Linear(width, tokens))
        self.given, self.attending = ConditionEntry.of(reading, width, 0.5), Attending(reading, width, heads, depth)
        for table in (self.embedding, self.left, self.right, self.way):
            nn.init.normal_(table.weight, std=0.5)

    def cache(self, batch: int) -> Cache:
        """An empty cache for ``batch`` examples."""
        inputs = self.length + self.block  # those of one evaluation that are forgotten are written, too
        return Cache(len(self.blocks), batch, self.heads, inputs, self.width // self.heads, self.head.weight)

    def read(self, cond: Tensor | None, batch: int) -> Shares | None:
        """The shares of conditions in the inputs, for :meth:`forward`. ``None`` without a reading."""
        return self.attending.read(self.given, cond, batch)

    def forward(
        self,
        ids: Tensor,
        at: Tensor,
        target: Tensor,
        sides: Tensor,
        cache: Cache | None = None,
        last: int = 1,
        shares: Shares | None = None,
    ) -> Tensor:
        """Logits of the tokens at the places ``target``, ``(B, T, tokens)``, float32.

        With a cache the inputs follow the cached ones, and the ``last`` ones are one token that is asked for as many
        places. They do not see each other. Their logits ``(B, last, tokens)`` are returned, and the first is kept.

        Args:
            ids: tokens ``(B, T)`` in their order.
            at: their places ``(B, T)``.
            target: the places asked for, ``(B, T)``.
            sides: the tokens to the left and to the right of these, ``(2, B, T)``.
            cache: the earlier inputs.
            last: number of places that are asked for at the newest token.
            shares: of the conditions, by :meth:`read`.
        """
        h = self.embedding(ids) + self.left(sides[0]) + self.right(sides[1]) + self.way(target - at + self.block - 1)
        memory = None if shares is None else shares.memory
        if shares is not None:
            h = h + shares.vector[:, None]
        if memory is not None:
            h = h + positions(1 + self.length, self.width, h)[target]
        places = torch.stack([target - 1, at, torch.zeros_like(at)], 2)  # queries look from the place asked for
        angles = placed(1 + self.length, self.width // self.heads, places, h.dtype)
        attend = [partial(self_attention, angles=angles)] * len(self.blocks)
        if cache is not None:
            mask = self._mask(cache.position, h.shape[1], last, h.device)
            attend = [partial(cache.attend, i, angles=angles, mask=mask) for i in range(len(self.blocks))]
        for i, block in enumerate(self.blocks):
            h = block(self.attending(h, i, memory), attend[i])
        if cache is not None:
            cache.position, h = cache.position + h.shape[1] - last + 1, h[:, -last:]
        logits: Tensor = self.head(F.layer_norm(h, (self.width,)))
        return logits.float()

    @staticmethod
    def _mask(position: int, inputs: int, last: int, device: torch.device) -> Tensor:
        """Mask of each new input: all before it and itself, but the ``last`` ones do not attend to each other."""
        mask = torch.ones(inputs, position + inputs, dtype=torch.bool, device=device).tril(position)
        mask[-last:, -last:] = torch.eye(last, dtype=torch.bool, device=device)
        return mask
