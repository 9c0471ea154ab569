"""The weights and biases of a restricted Boltzmann machine."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from fourfold.core import Part

__all__ = ["BoltzmannMachine"]


@final
class BoltzmannMachine(Part, nn.Module):
    """``b·v`` and ``c + v W`` of bits ``v``. A label adds to both biases.

    Args:
        visible: number of visible bits.
        hidden: number of hidden bits.
        classes: number of labels, or ``None``. Label -1 is "unknown" and has biases of its own.
    """

    def __init__(self, visible: int, hidden: int, classes: int | None = None) -> None:
        super().__init__()
        rows = 1 if classes is None else classes + 1
        self.hidden, self.classes = hidden, classes
        self.weight = nn.Parameter(torch.randn(visible, hidden) * 0.5 / max(visible, hidden) ** 0.5)
        self.visible_bias, self.hidden_bias = nn.Embedding(rows, visible), nn.Embedding(rows, hidden)
        nn.init.zeros_(self.visible_bias.weight)
        nn.init.zeros_(self.hidden_bias.weight)

    def forward(self, v: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``b·v``, ``(B,)``, and ``c + v W``, ``(B, hidden)``, float32, for ``(B, visible)``."""
        rows = self._rows(cond, v)
        linear = (v * self.visible_bias(rows)).float().sum(1)
        fields = v.to(self.weight.dtype) @ self.weight + self.hidden_bias(rows)
        return linear, fields.float()

    def visible(self, h: Tensor, cond: Tensor | None = None) -> Tensor:
        """``b + W h``, ``(B, visible)``, float32, for ``(B, hidden)``."""
        return (h.to(self.weight.dtype) @ self.weight.T + self.visible_bias(self._rows(cond, h))).float()

    def _rows(self, cond: Tensor | None, like: Tensor) -> Tensor:
        """The rows of the tables for given labels."""
        if cond is None or self.classes is None:
            return torch.zeros(len(like), dtype=torch.long, device=like.device)
        return cond + 1
