"""A residual multilayer perceptron of a vector, a time and a label."""

from __future__ import annotations

from typing import ClassVar, final

import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.embedding import Condition, with_detail
from fourfold.nn.layers import zeroed

__all__ = ["TimeMLP"]


def _normalised(norm: nn.LayerNorm, h: Tensor) -> Tensor:
    """``norm(h)`` computed in float32, in the dtype of ``h``: forward-mode derivatives then have that dtype as well."""
    weight, bias = norm.weight.float(), norm.bias.float()
    return F.layer_norm(h.float(), norm.normalized_shape, weight, bias, norm.eps).to(h.dtype)


@final
class _Block(nn.Module):
    """``h + W_2 phi((1 + a) W_1 norm(h) + b)`` with ``phi`` = SiLU and ``(a, b)`` of the condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first, self.second = nn.Linear(width, width), zeroed(nn.Linear(width, width))
        self.modulation = nn.Linear(width, 2 * width)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        a, b = self.modulation(c).chunk(2, 1)
        return h + self.second(F.silu((1 + a) * self.first(_normalised(self.norm, h)) + b))


@final
class TimeMLP(Part, nn.Module):
    """Vectors, times and labels to vectors: ``(B, dim), (B,), (B,)`` to ``(B, outputs)``, float32. Zero at the start.

    Args:
        dim: length of the vectors.
        width: length of the residual stream.
        blocks: number of residual blocks.
        reading: reads the condition, or ``None``.
        times: 1, or 2 for times ``(B, 2)``.
        detail: whether the network also sees waves of the vector. Losses of derivatives are better without them, since
            waves are 8 times as steep.
        outputs: length of the output. By default ``dim``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(
        self,
        dim: int,
        width: int = 256,
        blocks: int = 3,
        reading: Reading | None = None,
        times: int = 1,
        detail: bool = True,
        outputs: int | None = None,
    ) -> None:
        super().__init__()
        self.condition, self.detail = Condition(width, reading, times), detail
        self.entry = nn.Linear(3 * dim if detail else dim, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.exit = zeroed(nn.Linear(width, dim if outputs is None else outputs))

    def forward(self, x: Tensor, tau: Tensor, cond: Tensor | None = None) -> Tensor:
        c = self.condition(tau, cond)
        h = self.entry((with_detail(x) if self.detail else x).to(self.entry.weight.dtype))
        for block in self.blocks:
            h = block(h, c)
        return self.exit(F.silu(_normalised(self.norm, h))).float()
