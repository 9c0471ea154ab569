"""A causal transformer with rotary positions and a preallocated cache, for tokens and for real values.

Blocks normalise before each branch and start as the identity (output matrices are zero). Attention is causal, with
rotary positions (Su, Lu, Pan, Murtadha, Wen, Liu 2021, https://arxiv.org/abs/2104.09864); the transformer is that of
Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762). A network computes in the dtype of its weights and returns
float32.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part
from fourfold.nn.layers import zeroed

__all__ = [
    "Branches",
    "Cache",
    "MaskedTransformer",
    "NextToken",
    "TokenTransformer",
    "Transformer",
    "ValueTransformer",
    "attention",
    "matrix",
    "rotary",
]


@final
class Cache:
    """Keys and values of the positions seen so far, ``(B, 2, H, L, D)`` per block, allocated once.

    Args:
        depth: number of blocks.
        batch, heads, length, size: ``B``, ``H``, ``L`` and ``D``.
        like: a tensor that gives dtype and device.
    """

    def __init__(self, depth: int, batch: int, heads: int, length: int, size: int, like: Tensor) -> None:
        self.blocks = [like.new_zeros(batch, 2, heads, length, size) for _ in range(depth)]
        self.used, self.length = 0, length

    def select(self, rows: Tensor) -> Branches:
        """Branches ``(B',)`` of the text of the only row.

        Raises:
            ValueError: where there are several rows.
        """
        if len(self.blocks[0]) != 1:
            raise ValueError(f"one text has branches, not {len(self.blocks[0])}")
        return Branches(self, len(rows))

    def clear(self) -> None:
        """Forget every position; the memory stays."""
        self.used = 0

    def forget(self, count: int) -> None:
        """Forget the newest positions."""
        self.used -= count


@final
class Branches:
    """Several continuations of one cached text: its positions are there once, and those of each branch are its own.

    Args:
        text: the cache of the text, which may go on afterwards.
        rows: number of branches.
    """

    def __init__(self, text: Cache, rows: int) -> None:
        self.texts = [block[0, :, :, : text.used] for block in text.blocks]
        self.blocks = [block.new_empty(rows, *block.shape[1:3], 0, block.shape[4]) for block in text.blocks]
        self.used = text.used

    def select(self, rows: Tensor) -> Branches:
        """A copy of some branches ``(B',)``, in that order; a branch may be there several times."""
        chosen = object.__new__(Branches)
        chosen.blocks = [block.index_select(0, rows) for block in self.blocks]
        chosen.texts, chosen.used = self.texts, self.used
        return chosen


Angles: TypeAlias = tuple[Tensor, Tensor]
"""Tables of :func:`rotary`: of positions in order, ``(L, D)``, or those of queries and keys, ``(2, B, 1, L, D)``."""


@functools.lru_cache(maxsize=16)
@torch.inference_mode(mode=False)  # what is kept may be trained through
def rotary(length: int, size: int, dtype: torch.dtype, device: torch.device) -> Angles:
    """``cos`` and signed ``sin`` of ``position · 10000^(-2 i / D)``, each ``(L, D)``: ``y = x cos + swap(x) sin``."""
    frequency = 10000.0 ** -torch.linspace(0, 1, size // 2 + 1, dtype=torch.float64)[:-1]
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    cos, sin = angle.cos().repeat(1, 2), torch.cat([-angle.sin(), angle.sin()], 1)
    return cos.to(device, dtype), sin.to(device, dtype)


@functools.lru_cache(maxsize=4096)
@torch.inference_mode(mode=False)  # what is kept may be trained through
def _turning(length: int, size: int, at: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tables ``(3, 1, D)`` that turn query and key by the angle of one position and leave the value."""
    cos, sin = rotary(length, size, dtype, device)
    one, zero = torch.ones_like(cos[at]), torch.zeros_like(sin[at])
    return torch.stack([cos[at], cos[at], one])[:, None], torch.stack([sin[at], sin[at], zero])[:, None]


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each pair of coordinates ``(x_i, x_{i + D/2})`` by its position's angle; ``x`` is ``(..., D)``."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


@functools.lru_cache(maxsize=16)
@torch.inference_mode(mode=False)  # what is kept may be trained through
def _future(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``-inf`` above the diagonal of an ``(L, L)`` matrix, 0 elsewhere."""
    return torch.full((length, length), -math.inf, dtype=dtype, device=device).triu(1)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """:func:`_rotated`, in place for a contiguous ``x``; with ``-sin`` it turns back."""
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


def _attend(qkv: Tensor, causal: bool = True, mask: Tensor | None = None, angles: Angles | None = None) -> Tensor:
    """Attention with rotary positions, ``(B, L, 3, H, D)`` to ``(B, L, H, D)``; causal, or to all of a mask."""
    _, L, _, _, D = qkv.shape
    cos, sin = angles or rotary(L, D, qkv.dtype, qkv.device)
    if mask is None and qkv.device.type == "cpu" and L <= 512 and not torch.compiler.is_compiling():
        mixed: Tensor = _RotaryAttention.apply(qkv, causal, cos, sin)  # type: ignore[no-untyped-call]
        return mixed
    x = qkv.permute(2, 0, 3, 1, 4)
    q, k = _rotated(x[:2], cos, sin)
    return attention(q, k, x[2], mask, causal).transpose(1, 2)


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool = False) -> Tensor:
    """``softmax(q k^T / sqrt(D)) v`` over the positions of a mask, ``(B, H, L, D)``.

    Short ones that are masked or trained are two products on a CPU: the fused kernel's backward pass is slow there.
    """
    short = q.device.type == "cpu" and not causal and q.shape[2] * k.shape[2] <= 512**2
    if not short or (mask is None and not q.requires_grad):
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal)
    weights = (q * q.shape[-1] ** -0.5) @ k.mT
    mixed: Tensor = (weights if mask is None else weights.masked_fill(~mask, -math.inf)).softmax(-1) @ v
    return mixed


def matrix(outputs: int, inputs: int, gain: float) -> nn.Parameter:
    """A matrix with normal entries of standard deviation ``gain / sqrt(inputs)``."""
    return nn.Parameter(torch.randn(outputs, inputs) * (gain / math.sqrt(inputs)))


@final
class Block(Part, nn.Module):
    """``h + W_o attention(W_qkv norm(h))``, then ``h + W_down gelu(W_up norm(h))``.

    Args:
        width: size of ``h``.
        heads: number of attention heads; ``width / heads`` is even.
        ratio: hidden units of the second branch per unit of ``width``.
        causal: whether a position sees only those before it and itself; otherwise it sees all.
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

    def forward(
        self, h: Tensor, cache: Tensor | None = None, mask: Tensor | None = None, angles: Angles | None = None
    ) -> Tensor:
        """All positions at once, ``(B, L, width)``; keys and values are written into ``cache`` if there is one.

        ``mask``, ``(B, 1, 1, L)`` bool, is for a block that is not causal: which positions are attended to. ``angles``
        are for rows whose positions have an order of their own, without a cache.
        """
        B, L, C = h.shape
        qkv = F.linear(F.layer_norm(h, (C,)), self.qkv).view(B, L, 3, self.heads, self.size)
        if cache is not None:
            k = _rotated(qkv[:, :, 1].transpose(1, 2), *rotary(L, self.size, h.dtype, h.device))
            cache[:, 0, :, :L], cache[:, 1, :, :L] = k, qkv[:, :, 2].transpose(1, 2)
        mixed = _attend(qkv, self.causal, mask, angles).reshape(B, L, C)
        h = h + F.linear(mixed, self.out)
        return h + F.linear(F.gelu(F.linear(F.layer_norm(h, (C,)), self.up)), self.down)

    def extend(
        self, h: Tensor, cache: Tensor, at: int, angles: Angles | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Several positions, ``(B, L, width)``, given the cached ones before ``at``; writes their keys and values.

        They follow one another, unless ``angles`` and a ``mask`` ``(L, at + L)`` tell where they are and what they see.
        """
        B, L, C = h.shape
        qkv = F.linear(F.layer_norm(h, (C,)), self.qkv).view(B, L, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        cos, sin = angles or (table[at : at + L] for table in rotary(cache.shape[3], self.size, h.dtype, h.device))
        q, k = _rotated(qkv[:2], cos, sin)
        cache[:, 0, :, at : at + L], cache[:, 1, :, at : at + L] = k, qkv[2]
        k, v = cache[:, :, :, : at + L].unbind(1)
        earlier = torch.ones(L, at + L, dtype=torch.bool, device=h.device).tril(at) if mask is None else mask
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=earlier).transpose(1, 2).reshape(B, L, C)
        h = h + F.linear(mixed, self.out)
        return h + F.linear(F.gelu(F.linear(F.layer_norm(h, (C,)), self.up)), self.down)

    def step(self, h: Tensor, cache: Tensor, at: int, cos: Tensor, sin: Tensor) -> Tensor:
        """One position of every row, ``(B, width)``, given the cached ones before ``at``; writes its keys and values.

        ``cos`` and ``sin``, ``(3, 1, D)``, rotate queries and keys and leave values unchanged, in few operations, since
        these are the cost of one position.
        """
        B, C = h.shape
        qkv = F.linear(F.layer_norm(h, (C,)), self.qkv).view(B, 3, self.heads, self.size)
        turned = torch.addcmul(qkv * cos, qkv.roll(self.size // 2, -1), sin)
        cache[:, :, :, at] = turned[:, 1:]
        k, v = cache[:, :, :, : at + 1].unbind(1)
        mixed = F.scaled_dot_product_attention(turned[:, 0].unsqueeze(2), k, v).reshape(B, C)
        h = torch.addmm(h, mixed, self.out.t())
        return torch.addmm(h, F.gelu(F.linear(F.layer_norm(h, (C,)), self.up)), self.down.t())

    def branch(self, h: Tensor, text: Tensor, own: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """One position of every branch, ``(B, width)``, and its own keys and values with the new ones.

        ``text``, ``(2, H, L, D)``, holds those of the text before all branches, ``own``, ``(B, 2, H, S, D)``, of each.
        """
        B, C = h.shape
        qkv = F.linear(F.layer_norm(h, (C,)), self.qkv).view(B, 3, self.heads, self.size)
        turned = torch.addcmul(qkv * cos, qkv.roll(self.size // 2, -1), sin)
        own = torch.cat([own, turned[:, 1:].unsqueeze(3)], 3)
        q = turned[:, 0] * self.size**-0.5
        of_text = torch.bmm(q.transpose(0, 1), text[0].mT).transpose(0, 1)
        of_own = torch.matmul(own[:, 0], q.unsqueeze(3)).squeeze(3)
        weights = torch.cat([of_text, of_own], 2).softmax(2)
        used = text.shape[2]
        mixed = torch.bmm(weights[:, :, :used].transpose(0, 1), text[1]).transpose(0, 1)
        mixed = (mixed + torch.matmul(weights[:, :, used:].unsqueeze(2), own[:, 1]).squeeze(2)).reshape(B, C)
        h = torch.addmm(h, mixed, self.out.t())
        return torch.addmm(h, F.gelu(F.linear(F.layer_norm(h, (C,)), self.up)), self.down.t()), own


@final
class Transformer(Part, nn.Module):
    """A stack of causal blocks and a final normalisation.

    Args:
        width, depth, heads, ratio: its size, see :class:`Block`.
        length: the longest sequence, in positions.

    Raises:
        ValueError: if ``width`` is not a multiple of ``2 · heads``.
    """

    def __init__(self, width: int, depth: int, heads: int, length: int, ratio: int = 4) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of 2 · heads, but {width} is none of {2 * heads}")
        self.width, self.heads, self.length = width, heads, length
        self.blocks = nn.ModuleList(Block(width, heads, ratio) for _ in range(depth))

    def cache(self, batch: int) -> Cache:
        """An empty cache for ``batch`` sequences."""
        like = next(self.parameters())
        return Cache(len(self.blocks), batch, self.heads, self.length, self.width // self.heads, like)

    def forward(self, h: Tensor, cache: Cache | Branches | None = None) -> Tensor:
        """Mix ``(B, T, width)`` causally; return the normalised features of the same shape.

        With a cache the ``T`` positions follow the cached ones; of branches, one at a time.

        Raises:
            ValueError: if the positions do not fit into ``length`` or the cache.
        """
        used = 0 if cache is None else cache.used
        if used + h.shape[1] > self.length:
            raise ValueError(f"{h.shape[1]} positions after {used} cached do not fit into a context of {self.length}")
        if cache is None:
            for block in self.blocks:
                h = block(h)
        else:
            h = self._cached(h, cache)
        return F.layer_norm(h, (self.width,))

    def _cached(self, h: Tensor, cache: Cache | Branches) -> Tensor:
        """Advance a cache, which may be empty, by some positions."""
        if h.shape[1] == 1:
            h = h.squeeze(1)
            cos, sin = _turning(self.length, self.width // self.heads, cache.used, h.dtype, h.device)
            for i, block in enumerate(self.typed_blocks()):
                if isinstance(cache, Branches):
                    h, cache.blocks[i] = block.branch(h, cache.texts[i], cache.blocks[i], cos, sin)
                else:
                    h = block.step(h, cache.blocks[i], cache.used, cos, sin)
            h = h.unsqueeze(1)
        elif isinstance(cache, Branches):
            raise ValueError("branches advance by one position at a time")
        else:
            for block, memory in zip(self.typed_blocks(), cache.blocks, strict=True):
                h = block.extend(h, memory, cache.used) if cache.used else block(h, memory)
        cache.used += h.shape[1]
        return h

    def typed_blocks(self) -> list[Block]:
        """The blocks in order."""
        return [block for block in self.blocks if isinstance(block, Block)]


class NextToken(Part, nn.Module, ABC):
    """A network of next-token logits, which remembers earlier positions in a cache.

    Attributes:
        tokens: number of tokens; ids from there on are start symbols.
        length: the longest input, start symbol included.
        remark: what a reader must know of it beside that, for the end of a sentence.
    """

    tokens: int
    length: int
    remark: ClassVar[str] = ""

    def fit(self, x: Tensor) -> None:
        """Take what is counted in raw training examples; most networks count nothing."""

    @abstractmethod
    def cache(self, batch: int) -> Any:
        """An empty cache for ``batch`` sequences.

        It counts its positions in ``used``, forgets them by ``clear()`` or the newest by ``forget(count)``, and
        branches by ``select(rows)``.
        """

    @abstractmethod
    def forward(self, ids: Tensor, cache: Any = None) -> Tensor:
        """Logits of the token after each of ``(B, T)`` ids, ``(B, T, tokens)``, float32.

        With a cache the positions follow those it holds.
        """


@final
class TokenTransformer(NextToken):
    """Next-token logits.

    Ids below ``tokens`` are tokens; ``tokens + i`` is the ``i``-th start symbol.

    Args:
        tokens: number of tokens.
        length: the longest input, start symbol included.
        width, depth, heads, ratio: its size, see :class:`Block`.
        starts: number of start symbols.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(
        self, tokens: int, length: int, width: int, depth: int, heads: int, ratio: int = 4, starts: int = 1
    ) -> None:
        super().__init__()
        self.tokens, self.length = tokens, length
        self.embedding = nn.Embedding(tokens + starts, width)
        self.trunk = Transformer(width, depth, heads, length, ratio)
        self.head = zeroed(nn.Linear(width, tokens))
        nn.init.normal_(self.embedding.weight, std=0.5)

    def cache(self, batch: int) -> Cache:
        """An empty cache for ``batch`` sequences."""
        return self.trunk.cache(batch)

    def forward(self, ids: Tensor, cache: Cache | Branches | None = None) -> Tensor:
        """Logits of the token after each of ``(B, T)`` ids, ``(B, T, tokens)``; see :meth:`Transformer.forward`."""
        logits: Tensor = self.head(self.trunk(self.embedding(ids), cache))
        return logits.float()


@final
class MaskedTransformer(Part, nn.Module):
    """Logits of every token, given those that are not masked, before and after it.

    Args:
        tokens: number of tokens; the id ``tokens`` is the mask.
        width, depth, heads, ratio: its size, see :class:`Block`.
        classes: number of labels, or ``None``.

    Raises:
        ValueError: if ``width`` is not a multiple of ``2 · heads``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("head",)

    def __init__(
        self, tokens: int, width: int, depth: int, heads: int, ratio: int = 4, classes: int | None = None
    ) -> None:
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of 2 · heads, but {width} is none of {2 * heads}")
        self.tokens, self.width = tokens, width
        self.embedding = nn.Embedding(tokens + 1, width)
        self.label = nn.Embedding((classes or 0) + 1, width)
        self.blocks = nn.ModuleList(Block(width, heads, ratio, causal=False) for _ in range(depth))
        self.head = zeroed(nn.Linear(width, tokens))
        for table in (self.embedding, self.label):
            nn.init.normal_(table.weight, std=0.5)

    def forward(self, ids: Tensor, cond: Tensor | None = None) -> Tensor:
        """Logits ``(B, L, tokens)`` of ids ``(B, L)``, some of which are masks, float32."""
        labels = ids.new_zeros(len(ids)) if cond is None else cond + 1
        h = self.embedding(ids) + self.label(labels).unsqueeze(1)
        for block in self.blocks:
            h = block(h)
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
        classes: number of labels, or ``None``.
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
        classes: int | None = None,
        waves: int = 5,
    ) -> None:
        super().__init__()
        self.waves, self.classes = waves, classes
        self.entry = nn.Linear(2 + 2 * waves, width)
        self.position = nn.Embedding(dim, width)
        self.label = nn.Embedding((classes or 0) + 1, width)
        self.trunk = Transformer(width, depth, heads, dim, ratio)
        self.head = nn.Linear(width, outputs)
        for table in (self.position, self.label):
            nn.init.normal_(table.weight, std=0.5)
        nn.init.normal_(self.head.weight, std=0.1 / math.sqrt(width))

    def cache(self, batch: int) -> Cache:
        """An empty cache for ``batch`` vectors."""
        return self.trunk.cache(batch)

    def forward(self, previous: Tensor, cond: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """``(B, T, outputs)`` for the coordinates after ``previous``, ``(B, T)``, float32.

        ``previous[:, 0]`` of the first coordinate is ignored. With a cache the coordinates follow the cached ones.
        """
        first = 0 if cache is None else cache.used
        at = torch.arange(first, first + previous.shape[1], device=previous.device)
        h = self.entry(self._features(previous)) * (at > 0).to(self.entry.weight.dtype)[:, None] + self.position(at)
        labels = previous.new_zeros(len(previous), dtype=torch.long) if cond is None else cond + 1
        out: Tensor = self.head(self.trunk(h + self.label(labels).unsqueeze(1), cache))
        return out.float()

    def _features(self, x: Tensor) -> Tensor:
        """``x, tanh x, sin(2 pi x / 8), sin(2 pi x / 4), ..., cos(...)`` on a last axis."""
        angles = x.unsqueeze(-1) * (math.pi / 4 * 2.0 ** torch.arange(self.waves, device=x.device))
        features = [x.unsqueeze(-1), x.tanh().unsqueeze(-1), angles.sin(), angles.cos()]
        return torch.cat(features, -1).to(self.entry.weight.dtype)
