"""A causal transformer with rotary positions and a cache, for tokens and for real values.

Blocks normalise before each branch and start as the identity (output matrices are zero). Attention is causal, with
rotary positions (Su, Lu, Pan, Murtadha, Wen, Liu 2021, https://arxiv.org/abs/2104.09864); the transformer is that of
Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762). A network computes in the dtype of its weights and returns
float32.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.maths.one_by_one import one_by_one
from fourfold.nn.attending import Attending, Memory, Shares, attention, matrix
from fourfold.nn.entry import ConditionEntry, Offset
from fourfold.nn.layers import zeroed

__all__ = [
    "Attend",
    "Branches",
    "Cache",
    "MaskedTransformer",
    "NextToken",
    "TokenTransformer",
    "Transformer",
    "TransformerBlock",
    "ValueTransformer",
    "modulated",
    "placed",
    "rotary",
    "rotated",
    "self_attention",
]


SHORT = 16
"""Positions that a cache holds at first."""
Angles: TypeAlias = tuple[Tensor, Tensor]
"""Tables of :func:`rotary`: of positions in order, ``(L, D)``, or of queries, keys and values, ``(B, L, 3, 1, D)``."""


@functools.lru_cache(maxsize=16)
@torch.inference_mode(mode=False)  # what is kept may be trained through
def rotary(length: int, size: int, dtype: torch.dtype, device: torch.device) -> Angles:
    """``cos`` and signed ``sin`` of ``position · 10000^(-2 i / D)``, each ``(L, D)``: ``y = x cos + swap(x) sin``."""
    frequency = 10000.0 ** -torch.linspace(0, 1, size // 2 + 1, dtype=torch.float64)[:-1]
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    cos, sin = angle.cos().repeat(1, 2), torch.cat([-angle.sin(), angle.sin()], 1)
    return cos.to(device, dtype), sin.to(device, dtype)


def placed(length: int, size: int, positions: Tensor, dtype: torch.dtype) -> Angles:
    """The tables of positions ``(B, L, 3)``: those of queries, of keys, and 0 for values, which are not rotated."""
    cos, sin = rotary(length, size, dtype, positions.device)
    return cos[positions].unsqueeze(3), sin[positions].unsqueeze(3)


@functools.lru_cache(maxsize=4096)
@torch.inference_mode(mode=False)  # what is kept may be trained through
def _run(length: int, size: int, at: int, count: int, dtype: torch.dtype, device: torch.device) -> Angles:
    positions = torch.arange(at, at + count, device=device)[:, None]
    return placed(length, size, torch.cat([positions, positions, 0 * positions], 1)[None], dtype)


def following(length: int, qkv: Tensor, at: int) -> Angles:
    """The tables of the positions of ``qkv``, ``(B, L, 3, H, D)``, after ``at`` earlier ones."""
    return _run(length, qkv.shape[4], at, qkv.shape[1], qkv.dtype, qkv.device)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair of coordinates ``(x_i, x_{i + D/2})`` by its position's angle. ``x`` is ``(..., D)``."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(mode=False)  # what is kept may be trained through
def _future(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``-inf`` above the diagonal of an ``(L, L)`` matrix, 0 elsewhere."""
    return torch.full((length, length), -math.inf, dtype=dtype, device=device).triu(1)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """:func:`_rotated`, in place for a contiguous ``x``. With ``-sin`` it turns back."""
    first, second = x.chunk(2, -1)
    swapped = torch.cat([second, first], -1)  # operations on halves of rows are slow
    x.mul_(cos).addcmul_(swapped, sin)


class _RotaryAttention(torch.autograd.Function):
    """Attention with rotary positions, causal or to all, ``(B, L, 3, H, D)`` to ``(B, L, H, D)``.

    On a CPU and for short contexts, large matrix products over materialised weights are faster than the fused kernel,
    whose backward pass is slow there. Copies take most of the remaining time, so queries, keys and values are rotated
    and laid out in one pass, and so are their gradients.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, causal: bool, cos: Tensor, sin: Tensor) -> Tensor:
        B, L, _, H, D = qkv.shape
        laid = qkv.permute(2, 0, 3, 1, 4).clone(memory_format=torch.contiguous_format)
        _turn(laid[:2], cos, sin)
        q, k, v = laid.view(3, B * H, L, D).unbind()
        mask = _future(L, q.dtype, q.device) if causal else q.new_zeros(())
        weights = torch.baddbmm(mask.expand(B * H, L, L), q, k.mT, alpha=D**-0.5).softmax(-1)
        ctx.save_for_backward(laid, weights, cos, sin)
        return torch.bmm(weights, v).view(B, H, L, D).transpose(1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        laid, weights, cos, sin = ctx.saved_tensors
        _, B, H, L, D = laid.shape
        q, k, v = laid.view(3, B * H, L, D).unbind()
        g = grad.transpose(1, 2).reshape(B * H, L, D)
        d_scores = torch._softmax_backward_data(torch.bmm(g, v.mT), weights, -1, weights.dtype)
        d_scores.mul_(D**-0.5)
        out = torch.stack([torch.bmm(d_scores, k), torch.bmm(d_scores.mT, q), torch.bmm(weights.mT, g)])
        out = out.view(3, B, H, L, D)
        _turn(out[:2], cos, -sin)
        return out.permute(1, 3, 0, 2, 4).contiguous(), None, None, None


def self_attention(
    qkv: Tensor, causal: bool = True, mask: Tensor | None = None, angles: Angles | None = None
) -> Tensor:
    """Attention with rotary positions, ``(B, L, 3, H, D)`` to ``(B, L, H, D)``.

    Args:
        qkv: queries, keys and values.
        causal: whether a position attends only to those before it and itself.
        mask: which positions are attended to, ``(B, 1, 1, L)`` bool, where attention is not causal.
        angles: tables of positions with an order of their own.
    """
    _, L, _, _, D = qkv.shape
    cos, sin = rotary(L, D, qkv.dtype, qkv.device)
    if angles is not None:
        cos, sin = (table.permute(2, 0, 3, 1, 4)[:2] for table in angles)
    if causal and one_by_one():  # the fused kernel is slow there
        causal, mask = False, torch.ones(L, L, dtype=torch.bool, device=qkv.device).tril()
    if mask is None and qkv.device.type == "cpu" and L <= 512 and not torch.compiler.is_compiling():
        mixed: Tensor = _RotaryAttention.apply(qkv, causal, cos, sin)  # type: ignore[no-untyped-call]
        return mixed
    x = qkv.permute(2, 0, 3, 1, 4)
    q, k = rotated(x[:2], cos, sin)
    return attention(q, k, x[2], mask, causal).transpose(1, 2)


Attend: TypeAlias = Callable[[Tensor], Tensor]
"""Attention of a block, from queries, keys and values ``(B, L, 3, H, D)`` to ``(B, L, H, D)``."""


@final
class Block(Part, nn.Module):
    """``h + W_o attention(W_qkv norm(h))``, then ``h + W_down gelu(W_up norm(h))``.

    Args:
        width: size of ``h``.
        heads: number of attention heads. ``width / heads`` is even.
        ratio: hidden units of the second branch per unit of ``width``.
        causal: whether a position sees only those before it and itself. Otherwise it sees all.
    """

    block: ClassVar[bool] = True
    """Whether a large one is a unit of ``fsdp`` and of recomputation."""

    def __init__(self, width: int, heads: int, ratio: int = 4, causal: bool = True) -> None:
        super().__init__()
        self.heads, self.size, self.causal = heads, width // heads, causal
        self.qkv = matrix(3 * width, width, 1.0)
        self.out = matrix(width, width, 0.0)
        self.up = matrix(ratio * width, width, 1.0)
        self.down = matrix(width, ratio * width, 0.0)

    def forward(self, h: Tensor, attend: Attend | None = None) -> Tensor:
        """Positions ``(B, L, width)``, which attend to each other, or to what ``attend`` also remembers."""
        B, L, C = h.shape
        rows = h.reshape(B * L, C)  # of which a product and a sum are one operation
        qkv = F.linear(F.layer_norm(rows, (C,)), self.qkv).view(B, L, 3, self.heads, self.size)
        mixed = self_attention(qkv, self.causal) if attend is None else attend(qkv)
        rows = torch.addmm(rows, mixed.reshape(B * L, C), self.out.t())
        hidden = F.gelu(F.linear(F.layer_norm(rows, (C,)), self.up))
        return torch.addmm(rows, hidden, self.down.t()).view(B, L, C)


@final
class TransformerBlock(nn.Module):
    """Attention, then a perceptron, each on ``(1 + a) norm(h) + b`` and added times a gate (adaLN-Zero).

    Args:
        width: size of ``h``.
        heads: number of attention heads.
        condition: length of the vector that gives ``a``, ``b`` and the gate. ``None`` leaves all three out.

    Raises:
        ValueError: if ``heads`` does not divide ``width``.
    """

    block: ClassVar[bool] = True
    """Whether a large one is a unit of ``fsdp`` and of recomputation."""

    def __init__(self, width: int, heads: int, condition: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width must be a multiple of heads, got width {width} and {heads} heads")
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulation = None if condition is None else zeroed(nn.Linear(condition, 6 * width))

    def forward(self, h: Tensor, c: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Tokens ``(B, L, width)``, given a condition ``(B, condition)``. ``mask`` as in :func:`attention`."""
        if self.modulation is None or c is None:
            h = h + self._attended(F.layer_norm(h, h.shape[-1:]), mask)
            return h + self._perceptron(F.layer_norm(h, h.shape[-1:]))
        a_1, b_1, g_1, a_2, b_2, g_2 = self.modulation(c)[:, None].chunk(6, 2)
        h = torch.addcmul(h, g_1, self._attended(modulated(h, a_1, b_1), mask))
        return torch.addcmul(h, g_2, self._perceptron(modulated(h, a_2, b_2)))

    def _attended(self, h: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = self.qkv(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(attention(q, k, v, mask).transpose(1, 2).flatten(2))

    def _perceptron(self, h: Tensor) -> Tensor:
        return self.narrow(F.silu(self.wide(h)))


def modulated(h: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``(1 + a) norm(h) + b``."""
    return torch.addcmul(b, F.layer_norm(h, h.shape[-1:]), 1 + a)


@final
class Cache:
    """Keys and values of earlier positions, ``(B, 2, H, L, D)`` per block. The memory doubles when it is full.

    Args:
        depth: number of blocks.
        batch, heads, length, size: ``B``, ``H``, ``L`` and ``D``.
        like: a tensor that gives dtype and device.
    """

    def __init__(self, depth: int, batch: int, heads: int, length: int, size: int, like: Tensor) -> None:
        self.blocks = [like.new_empty(batch, 2, heads, min(length, SHORT), size) for _ in range(depth)]
        self.position, self.length = 0, length
        self.shares: Shares | None = None

    def attend(self, block: int, qkv: Tensor, angles: Angles | None = None, mask: Tensor | None = None) -> Tensor:
        """Attention of new positions of a block to the cached ones and to each other. Keys and values are cached.

        Args:
            block: number of the block.
            qkv: queries, keys and values, ``(B, L, 3, H, D)``.
            angles: tables of the positions. By default they follow one another.
            mask: what each attends to, ``(L, position + L)`` bool. By default those before it and itself.

        Returns:
            ``(B, L, H, D)``.
        """
        at, end = self.position, self.position + qkv.shape[1]
        memory, (cos, sin) = self._memory(block, end), angles or following(self.length, qkv, at)
        x = rotated(qkv, cos, sin).permute(2, 0, 3, 1, 4)
        memory[:, :, :, at:end] = x[1:].transpose(0, 1)
        if end == 1:  # it attends to itself alone
            return x[2].transpose(1, 2)
        if mask is None and end - at > 1:
            mask = torch.ones(end - at, end, dtype=torch.bool, device=x.device).tril(at)
        k, v = memory[:, :, :, :end].unbind(1)
        return F.scaled_dot_product_attention(x[0], k, v, mask).transpose(1, 2)

    def _memory(self, block: int, end: int) -> Tensor:
        """The memory of a block, of ``end`` positions at least."""
        memory = self.blocks[block]
        if end > memory.shape[3]:
            size = min(max(2 * memory.shape[3], end), self.length)
            memory = memory.new_empty(*memory.shape[:3], size, memory.shape[4])
            memory[:, :, :, : self.position] = self.blocks[block][:, :, :, : self.position]
            self.blocks[block] = memory
        return memory

    def select(self, rows: Tensor) -> Branches:
        """Branches ``(B',)`` of the text of the only row.

        Raises:
            ValueError: where there are several rows.
        """
        if len(self.blocks[0]) != 1:
            raise ValueError(f"cache must hold one text to branch, got {len(self.blocks[0])}")
        return Branches(self, len(rows))

    def copy(self, rows: Tensor) -> Cache:
        """A copy of some rows ``(B',)``, in that order. A row may be there several times."""
        cache = object.__new__(Cache)
        cache.blocks = [block[rows] for block in self.blocks]
        cache.position, cache.length = self.position, self.length
        cache.shares = None if self.shares is None else self.shares.select(rows)
        return cache

    def drop(self, ended: Tensor) -> Tensor:
        """Forget the rows of a mask, bool ``(B,)``. Rows from the end take their places, so that few are copied.

        Returns:
            The numbers of the rows that stay, in their new order.
        """
        order = torch.arange(len(ended), device=ended.device)
        n = int((~ended).sum())
        holes, last = order[:n][ended[:n]], order[n:][~ended[n:]]
        order[holes] = last
        for i, block in enumerate(self.blocks):
            block[holes, :, :, : self.position] = block[last, :, :, : self.position]
            self.blocks[i] = block[:n]
        return order[:n]

    def clear(self) -> None:
        """Forget every position. The memory stays."""
        self.position = 0

    def forget(self, count: int) -> None:
        """Forget the newest positions."""
        self.position -= count


@final
class Branches:
    """Several continuations of one cached text: its positions are there once, and those of each branch are its own.

    Args:
        text: the cache of the text, which may go on afterwards.
        rows: number of branches.
    """

    def __init__(self, text: Cache, rows: int) -> None:
        self.texts = [block[0, :, :, : text.position] for block in text.blocks]
        self.blocks = [block.new_empty(rows, *block.shape[1:3], 0, block.shape[4]) for block in text.blocks]
        self.position, self.length = text.position, text.length
        first = torch.zeros(rows, dtype=torch.long, device=text.blocks[0].device)
        self.shares = None if text.shares is None else text.shares.select(first)

    def attend(self, block: int, qkv: Tensor) -> Tensor:
        """Attention of one new position of every branch, ``(B, 1, 3, H, D)``, to the text and to the branch.

        Raises:
            ValueError: for several positions.
        """
        if qkv.shape[1] > 1:
            raise ValueError(f"branches must advance by 1 position, got {qkv.shape[1]}")
        x = rotated(qkv, *following(self.length, qkv, self.position)).permute(2, 0, 3, 1, 4)
        self.blocks[block] = branch = torch.cat([self.blocks[block], x[1:].transpose(0, 1)], 3)
        text, q = self.texts[block], x[0].squeeze(2) * x.shape[4] ** -0.5
        of_text = torch.bmm(q.transpose(0, 1), text[0].mT).transpose(0, 1)
        of_branch = torch.matmul(branch[:, 0], q.unsqueeze(3)).squeeze(3)
        weights, end = torch.cat([of_text, of_branch], 2).softmax(2), text.shape[2]
        mixed = torch.bmm(weights[:, :, :end].transpose(0, 1), text[1]).transpose(0, 1)
        return mixed.unsqueeze(1) + torch.matmul(weights[:, :, end:].unsqueeze(2), branch[:, 1]).transpose(1, 2)

    def select(self, rows: Tensor) -> Branches:
        """A copy of some branches ``(B',)``, in that order. A branch may be there several times."""
        branches = object.__new__(Branches)
        branches.blocks = [block.index_select(0, rows) for block in self.blocks]
        branches.texts, branches.position, branches.length = self.texts, self.position, self.length
        branches.shares = None if self.shares is None else self.shares.select(rows)
        return branches


@final
class Transformer(Part, nn.Module):
    """A stack of causal blocks and a final normalisation.

    Args:
        width, depth, heads, ratio: its size, see :class:`Block`.
        length: the longest sequence, in positions.
        reading: reads the condition, whose sequence all positions attend to, or ``None``. See :class:`Attending`.

    Raises:
        ValueError: if ``width`` is not a multiple of ``2 · heads``.
    """

    def __init__(
        self, width: int, depth: int, heads: int, length: int, ratio: int = 4, reading: Reading | None = None
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of 2 · heads, got width {width} and {heads} heads")
        self.width, self.heads, self.length = width, heads, length
        self.attending = Attending(reading, width, heads, depth)
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(depth))

    def cache(self, batch: int, shares: Shares | None = None) -> Cache:
        """An empty cache for ``batch`` sequences, which keeps the shares of their conditions if there are some."""
        like = next(self.parameters())
        cache = Cache(len(self.blocks), batch, self.heads, self.length, self.width // self.heads, like)
        cache.shares = shares
        return cache

    def forward(self, h: Tensor, cache: Cache | Branches | None = None, memory: Memory | None = None) -> Tensor:
        """Mix ``(B, T, width)`` causally. Return the normalised features of the same shape.

        With a cache the ``T`` positions follow the cached ones. Of branches, one at a time. Positions attend to the
        memory of conditions, if there is one.

        Raises:
            ValueError: if the positions do not fit into ``length`` or the cache.
        """
        position = 0 if cache is None else cache.position
        if position + h.shape[1] > self.length:
            raise ValueError(f"positions must fit into a context of {self.length}, got {position} + {h.shape[1]}")
        h = self.attending.placed(h, memory, position)
        for i, block in enumerate(self.blocks):
            h = block(self.attending(h, i, memory), None if cache is None else partial(cache.attend, i))
        if cache is not None:
            cache.position += h.shape[1]
        return F.layer_norm(h, (self.width,))

    def typed_blocks(self) -> list[Block]:
        """The blocks in order."""
        return [block for block in self.blocks if isinstance(block, Block)]


class NextToken(Part, nn.Module, ABC):
    """A network of next-token logits, which remembers earlier positions in a cache.

    Attributes:
        tokens: number of tokens. Ids from there on are start symbols.
        length: the longest input, start symbol included.
        remark: what a reader must know of it beside that, for the end of a sentence.
    """

    tokens: int
    length: int
    remark: ClassVar[str] = ""

    def fit(self, x: Tensor) -> None:
        """Take what is counted in raw training examples. Most networks count nothing."""

    @abstractmethod
    def cache(self, batch: int) -> Any:
        """An empty cache for ``batch`` sequences.

        It counts its positions in ``position``, forgets them by ``clear()`` or the newest by ``forget(count)``, and
        branches by ``select(rows)``.
        """

    @abstractmethod
    def forward(self, ids: Tensor, cache: Any = None) -> Tensor:
        """Logits of the token after each of ``(B, T)`` ids, ``(B, T, tokens)``, float32.

        With a cache the positions follow those it holds.
        """

    def read(self, ids: Tensor, cache: Any) -> None:
        """Put ``(B, T)`` ids into a cache. A network may save the logits, which cost most for a large vocabulary."""
        self(ids, cache)


@final
class TokenTransformer(NextToken):
    """Next-token logits.

    Ids below ``tokens`` are tokens. ``tokens + i`` is the ``i``-th start symbol.

    Args:
        tokens: number of tokens.
        length: the longest input, start symbol included.
        width, depth, heads, ratio: its size, see :class:`Block`.
        starts: number of start symbols.
        reading: reads the condition, or ``None``. Its vector is added to the start symbol, and every position attends
            to its sequence.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(
        self,
        tokens: int,
        length: int,
        width: int,
        depth: int,
        heads: int,
        ratio: int = 4,
        starts: int = 1,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        self.tokens, self.length = tokens, length
        self.embedding = nn.Embedding(tokens + starts, width)
        self.trunk = Transformer(width, depth, heads, length, ratio, reading)
        self.head = zeroed(nn.Linear(width, tokens))
        self.given = ConditionEntry.of(reading, width, 0.5)
        nn.init.normal_(self.embedding.weight, std=0.5)

    def cache(self, batch: int, cond: Tensor | None = None) -> Cache:
        """An empty cache for ``batch`` sequences of some conditions."""
        return self.trunk.cache(batch, self.trunk.attending.read(self.given, cond, batch))

    def forward(self, ids: Tensor, cache: Cache | Branches | None = None, cond: Tensor | None = None) -> Tensor:
        """Logits of the token after each of ``(B, T)`` ids, ``(B, T, tokens)``. See :meth:`Transformer.forward`."""
        h = self.embedding(ids)
        shares = self.trunk.attending.read(self.given, cond, len(ids)) if cache is None else cache.shares
        if shares is not None and (cache is None or not cache.position):
            h = torch.cat([h[:, :1] + shares.vector.unsqueeze(1), h[:, 1:]], 1)
        logits: Tensor = self.head(self.trunk(h, cache, None if shares is None else shares.memory))
        return logits.float()


@final
class MaskedTransformer(Part, nn.Module):
    """Logits of every token, given those that are not masked, before and after it.

    Args:
        tokens: number of tokens. The id ``tokens`` is the mask.
        width, depth, heads, ratio: its size, see :class:`Block`.
        reading: reads the condition, or ``None``.

    Raises:
        ValueError: if ``width`` is not a multiple of ``2 · heads``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(
        self, tokens: int, width: int, depth: int, heads: int, ratio: int = 4, reading: Reading | None = None
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of 2 · heads, got width {width} and {heads} heads")
        self.tokens, self.width = tokens, width
        self.embedding = nn.Embedding(tokens + 1, width)
        self.given, self.attending = Offset(reading, width, 0.5), Attending(reading, width, heads, depth)
        self.blocks = nn.ModuleList(Block(width, heads, ratio, causal=False) for _ in range(depth))
        self.head = zeroed(nn.Linear(width, tokens))
        nn.init.normal_(self.embedding.weight, std=0.5)

    def forward(self, ids: Tensor, cond: Tensor | None = None) -> Tensor:
        """Logits ``(B, L, tokens)`` of ids ``(B, L)``, some of which are masks, float32."""
        shares = self.attending.read(self.given, cond, len(ids))
        assert shares is not None
        h, memory = self.embedding(ids) + shares.vector.unsqueeze(1), shares.memory
        h = self.attending.placed(h, memory)
        for i, block in enumerate(self.blocks):
            h = block(self.attending(h, i, memory))
        logits: Tensor = self.head(F.layer_norm(h, (self.width,)))
        return logits.float()


@final
class ValueTransformer(Part, nn.Module):
    """For each coordinate of a vector, ``outputs`` numbers that depend on the earlier coordinates and the label.

    A value enters as itself, its hyperbolic tangent and sines and cosines of several wave lengths.

    Args:
        dim: length of the vectors.
        outputs: number of outputs per coordinate.
        width, depth, heads, ratio: its size, see :class:`Block`.
        reading: reads the condition, or ``None``.
        waves: number of wave lengths, ``8, 4, 2, ...``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "head")

    def __init__(
        self,
        dim: int,
        outputs: int,
        width: int,
        depth: int,
        heads: int,
        ratio: int = 4,
        reading: Reading | None = None,
        waves: int = 5,
    ) -> None:
        super().__init__()
        self.waves = waves
        self.entry = nn.Linear(2 + 2 * waves, width)
        self.position = nn.Embedding(dim, width)
        self.given = Offset(reading, width, 0.5)
        self.trunk = Transformer(width, depth, heads, dim, ratio, reading)
        self.head = nn.Linear(width, outputs)
        nn.init.normal_(self.position.weight, std=0.5)
        nn.init.normal_(self.head.weight, std=0.1 / math.sqrt(width))

    def cache(self, batch: int, cond: Tensor | None = None) -> Cache:
        """An empty cache for ``batch`` vectors of some conditions."""
        return self.trunk.cache(batch, self.trunk.attending.read(self.given, cond, batch))

    def forward(self, previous: Tensor, cond: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """``(B, T, outputs)`` for the coordinates after ``previous``, ``(B, T)``, float32.

        ``previous[:, 0]`` of the first coordinate is ignored. With a cache the coordinates follow the cached ones.
        """
        first = 0 if cache is None else cache.position
        at = torch.arange(first, first + previous.shape[1], device=previous.device)
        h = self.entry(self._features(previous)) * (at > 0).to(self.entry.weight.dtype)[:, None] + self.position(at)
        shares = self.trunk.attending.read(self.given, cond, len(h)) if cache is None else cache.shares
        assert shares is not None
        out: Tensor = self.head(self.trunk(h + shares.vector.unsqueeze(1), cache, shares.memory))
        return out.float()

    def _features(self, x: Tensor) -> Tensor:
        """``x, tanh x, sin(2 pi x / 8), sin(2 pi x / 4), ..., cos(...)`` on a last axis."""
        angles = x.unsqueeze(-1) * (math.pi / 4 * 2.0 ** torch.arange(self.waves, device=x.device))
        features = [x.unsqueeze(-1), x.tanh().unsqueeze(-1), angles.sin(), angles.cos()]
        return torch.cat(features, -1).to(self.entry.weight.dtype)
