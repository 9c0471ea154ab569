"""The weights and biases of a restricted Boltzmann machine."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.entry import Offset, Passed, read

__all__ = ["BoltzmannMachine"]


@final
class BoltzmannMachine(Part, nn.Module):
    """``b·v`` and ``c + v W`` of bits ``v``. A condition adds to both biases.

    Args:
        visible: number of visible bits.
        hidden: number of hidden bits.
        reading: reads the condition, or ``None``.
    """

    def __init__(self, visible: int, hidden: int, reading: Reading | None = None) -> None:
        super().__init__()
        self.hidden = hidden
        self.weight = nn.Parameter(torch.randn(visible, hidden) * 0.5 / max(visible, hidden) ** 0.5)
        self.reading = reading
        self.visible_bias, self.hidden_bias = (Offset(Passed.of(reading), n, 0.0) for n in (visible, hidden))

    def forward(self, v: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``b·v``, ``(B,)``, and ``c + v W``, ``(B, hidden)``, float32, for ``(B, visible)``."""
        c = read(self.reading, cond, len(v))
        linear = (v * self.visible_bias(c, len(v))).float().sum(1)
        fields = v.to(self.weight.dtype) @ self.weight + self.hidden_bias(c, len(v))
        return linear, fields.float()

    def visible(self, h: Tensor, cond: Tensor | None = None) -> Tensor:
        """``b + W h``, ``(B, visible)``, float32, for ``(B, hidden)``."""
        bias = self.visible_bias(read(self.reading, cond, len(h)), len(h))
        return (h.to(self.weight.dtype) @ self.weight.T + bias).float()
