"""Attention to what is given: of positions to the sequence of a condition, such as the frames of a sound.

Vaswani et al. 2017, Attention Is All You Need (https://arxiv.org/abs/1706.03762).
"""

from __future__ import annotations

import math
from typing import NamedTuple, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading, States
from fourfold.nn.entry import ConditionEntry, Offset

__all__ = ["Attending", "CrossAttention", "Memory", "Shares", "attention", "matrix", "positions"]


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


def positions(length: int, width: int, like: Tensor) -> Tensor:
    """Sines and cosines of positions, ``(length, width)``."""
    rates = 10000.0 ** -torch.linspace(0, 1, width // 2, device=like.device)
    angles = torch.arange(length, device=like.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1).to(like.dtype)


class CrossAttention(Part, nn.Module):
    """Positions ``h`` attend to states ``s``: ``h + W_o attention(W_q norm h, W_k s, W_v s)``. ``W_o`` starts at zero.

    Args:
        width: size of ``h``.
        heads: number of attention heads.
        states: size of ``s``. By default ``width``.
    """

    def __init__(self, width: int, heads: int, states: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = matrix(width, width, 1.0), matrix(2 * width, states or width, 1.0)
        self.out = matrix(width, width, 0.0)

    def keys(self, states: States) -> Tensor:
        """Keys and values of the states, ``(2, B, H, T, D)``."""
        B, T, _ = states.features.shape
        features = states.features.to(self.key_value.dtype)
        return F.linear(features, self.key_value).view(B, T, 2, self.heads, -1).permute(2, 0, 3, 1, 4)

    def forward(self, h: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Positions ``(B, L, width)``, given :meth:`keys` and which of them there are, ``(B, 1, 1, T)`` bool."""
        B, L, C = h.shape
        q = F.linear(F.layer_norm(h, (C,)), self.query).view(B, L, self.heads, -1).transpose(1, 2)
        mixed = attention(q, keys[0], keys[1], mask)
        return h + F.linear(mixed.transpose(1, 2).reshape(B, L, C), self.out)


class Memory(NamedTuple):
    """Keys and values of conditions for every layer of a network."""

    keys: list[Tensor]
    """``(2, B, H, T, D)`` for each layer."""
    mask: Tensor
    """``(B, 1, 1, T)`` bool."""

    def select(self, rows: Tensor) -> Memory:
        """A copy of some rows ``(B',)``, in that order. A row may be there several times."""
        return Memory([layer[:, rows] for layer in self.keys], self.mask[rows])


class Shares(NamedTuple):
    """The shares of conditions in a network that reads them once for many evaluations."""

    vector: Tensor
    """``(B, n)``, as the network adds it to its layers."""
    memory: Memory | None
    """For the layers that attend."""

    def select(self, rows: Tensor) -> Shares:
        """Some rows, by their numbers or by a mask."""
        return Shares(self.vector[rows], None if self.memory is None else self.memory.select(rows))


@final
class Attending(nn.Module):
    """The layers by which the positions of a transformer attend to the sequence of a condition, one before each block.

    Without a reading, or with one that offers no sequence, there are none. Where a condition is unknown they add
    nothing.

    Args:
        reading: reads the condition, or ``None``. Another layer of the network must hold it too.
        width, heads: of the transformer.
        depth: number of blocks.
    """

    def __init__(self, reading: Reading | None, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.source = (reading,)  # a tuple, so that its weights are those of the other layer alone
        states = 0 if reading is None else reading.states
        self.layers = nn.ModuleList(CrossAttention(width, heads, states) for _ in range(depth if states else 0))

    def read(self, entry: ConditionEntry | Offset | None, cond: Tensor | None, batch: int) -> Shares | None:
        """The shares of ``batch`` conditions, read once: that of the vector by another layer, and the memory.

        ``None`` without that layer.
        """
        (reading,) = self.source
        if entry is None:
            return None
        if reading is None or not len(self.layers):
            return Shares(entry(cond, batch), None)
        vector, states = reading.sequence(cond, batch)
        there = states.mask.any(1, keepdim=True)
        layers = (layer for layer in self.layers if isinstance(layer, CrossAttention))
        keys = [layer.keys(states) * there[..., None, None] for layer in layers]  # a value of 0 adds nothing
        return Shares(entry.share(vector), Memory(keys, (states.mask | ~there)[:, None, None]))

    def forward(self, h: Tensor, layer: int, memory: Memory | None) -> Tensor:
        """Positions ``(B, L, width)`` before a block."""
        if memory is None:
            return h
        mixed: Tensor = self.layers[layer](h, memory.keys[layer], memory.mask)
        return mixed

    @staticmethod
    def placed(h: Tensor, memory: Memory | None, first: int = 0) -> Tensor:
        """Inputs ``(B, L, width)`` with their absolute positions, from ``first`` on, by which they find states."""
        if memory is None:
            return h
        return h + positions(first + h.shape[1], h.shape[2], h)[first:]
