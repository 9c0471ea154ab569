"""Masked residual perceptrons: for each coordinate, numbers that depend only on earlier coordinates.

Germain, Gregor, Murray, Larochelle 2015, MADE (https://arxiv.org/abs/1502.03509); residual blocks as in Durkan and Nash
2019 (https://arxiv.org/abs/1911.01361).
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import ConditionEntry, Passed, read

__all__ = ["MaskedMLP", "MaskedStack"]


@final
class Masked(nn.Module):
    """``x (W * M)^T + b``, where ``M`` marks the inputs that each output may see.

    Args:
        sees: ``M``, ``(outputs, inputs)`` of booleans.
        gain: the outputs' standard deviation for inputs of standard deviation one, at the start.
    """

    mask: Tensor

    def __init__(self, sees: Tensor, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("mask", sees.float(), persistent=False)
        scale = gain / sees.sum(1, keepdim=True).clamp(min=1).sqrt()
        self.weight = nn.Parameter(torch.randn(sees.shape) * self.mask * scale)
        self.bias = nn.Parameter(torch.zeros(len(sees)))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask.to(self.weight.dtype), self.bias)


@final
class _Block(nn.Module):
    """``h + W_2 drop(phi(W_1 phi(h)))`` with ``phi`` = SiLU. Silent at the start."""

    def __init__(self, sees: Tensor, dropout: float) -> None:
        super().__init__()
        self.first, self.second, self.dropout = Masked(sees, 1.4), Masked(sees, 0.0), dropout

    def forward(self, h: Tensor) -> Tensor:
        u = F.silu(self.first(F.silu(h)))
        return h + self.second(F.dropout(u, self.dropout, self.training))


@final
class MaskedMLP(Part, nn.Module):
    """``values`` numbers for each of ``dim`` coordinates that depend on the coordinates of lower rank and the label.

    The network sees inputs as they are and as sines and cosines of ``2^i`` cycles per unit, so that it learns sharp
    dependences early. Zero at the start. Returns float32, or float64 if the weights are.

    Args:
        dim: number of coordinates.
        values: number of outputs for each coordinate.
        width, blocks: size of the residual network.
        reverse: whether coordinates are ranked from last to first.
        waves: number of frequencies, from 1/4 cycle per unit on.
        reading: reads the condition, or ``None``.
        dropout: share of hidden units dropped in training.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    frequencies: Tensor

    def __init__(
        self,
        dim: int,
        values: int,
        width: int = 256,
        blocks: int = 2,
        reverse: bool = False,
        waves: int = 0,
        reading: Reading | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim, self.values = dim, values
        rank = torch.arange(dim).flip(0) if reverse else torch.arange(dim)
        degree = torch.arange(width) * dim // width
        self.register_buffer("frequencies", 2.0 ** torch.arange(-2, waves - 2), persistent=False)
        self.entry = Masked(degree[:, None] > rank.repeat(1 + 2 * waves))
        inner = degree[:, None] >= degree
        self.blocks = nn.Sequential(*(_Block(inner, dropout) for _ in range(blocks)))
        self.exit = Masked(rank.repeat_interleave(values)[:, None] >= degree, 0.0)
        self.given = ConditionEntry.of(reading, width)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """``(B, dim)`` to ``(B, dim, values)``."""
        phase = (2 * math.pi * x.unsqueeze(1) * self.frequencies.to(x.dtype)[:, None]).flatten(1)
        h = self.entry(torch.cat([x, phase.sin(), phase.cos()], 1).to(self.entry.weight.dtype))
        if self.given is not None:
            h = h + self.given(cond, len(x))
        out = self.exit(F.silu(self.blocks(h)))
        return out.to(torch.promote_types(out.dtype, torch.float32)).view(len(x), self.dim, self.values)


@final
class MaskedStack(Part, nn.Module):
    """Masked networks of alternating order. One call runs one of them, so it counts as ``1 / layers`` of an evaluation.

    Args:
        dim, values, width, blocks, waves, reading, dropout: those of :class:`MaskedMLP`. Only the first layer has
            waves.
        layers: number of networks.
    """

    def __init__(
        self,
        dim: int,
        values: int,
        width: int = 256,
        blocks: int = 2,
        layers: int = 1,
        waves: int = 0,
        reading: Reading | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.share, self.reading = 1 / layers, reading
        self.layers = nn.ModuleList(
            MaskedMLP(dim, values, width, blocks, i % 2 == 1, 0 if i else waves, Passed.of(reading), dropout)
            for i in range(layers)
        )

    def forward(self, x: Tensor, layer: int, cond: Tensor | None = None) -> Tensor:
        """The numbers of one layer, ``(B, dim, values)``."""
        return self.layers[layer](x, read(self.reading, cond, len(x)))
