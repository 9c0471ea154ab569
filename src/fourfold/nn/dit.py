"""A transformer of image patches, modulated by time and label.

Peebles, Xie 2023, Scalable Diffusion Models with Transformers (https://arxiv.org/abs/2212.09748); positions are learned
for the grid of patches of one image size.
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.attending import Attending
from fourfold.nn.embedding import Condition, with_detail
from fourfold.nn.entry import Maps
from fourfold.nn.layers import images, patches, zeroed
from fourfold.nn.transformer import TransformerBlock, modulated

__all__ = ["DiT"]


@final
class DiT(Part, nn.Module):
    """Images, times and labels to images: ``(B, C, H, W), (B,), (B,)`` to ``(B, C, H, W)``, float32. Zero at the start.

    Patches attend to the sequence that a reading offers, such as the tokens of a text, unless it gives them maps.

    Args:
        shape: ``(C, H, W)`` of an image. Sides that ``patch`` does not divide are padded by edge values and cut back.
        width: length of a token's vector.
        depth: number of blocks.
        heads: attention heads. Must divide ``width``.
        patch: side of a patch.
        reading: reads the condition, or ``None``.
        times: 1, or 2 for times ``(B, 2)``.

    Raises:
        ValueError: if ``heads`` does not divide ``width``.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "positions", "exit")

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
        patch: int = 4,
        reading: Reading | None = None,
        times: int = 1,
    ) -> None:
        super().__init__()
        channels, self.height, self.width = shape
        self.patch, self.grid = patch, (math.ceil(self.height / patch), math.ceil(self.width / patch))
        self.condition = Condition(width, reading, times)
        self.entry = nn.Linear(3 * channels * patch**2, width)
        self.maps = Maps(reading, width, patch)
        self.attending = Attending(None if reading is None or reading.maps else reading, width, heads, depth)
        self.positions = nn.Parameter(0.5 * torch.randn(1, self.grid[0] * self.grid[1], width))
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, width) for _ in range(depth))
        self.modulation = nn.Linear(width, 2 * width)
        self.exit = zeroed(nn.Linear(width, channels * patch**2))

    def forward(self, x: Tensor, tau: Tensor, cond: Tensor | None = None) -> Tensor:
        shares = self.attending.read(self.condition.given, cond, len(x))
        vector, memory = (None, None) if shares is None else shares
        c = self.condition.joined(tau, vector)
        tokens = patches(with_detail(x), self.patch).flatten(2).transpose(1, 2)
        h = self.entry(tokens.to(self.entry.weight.dtype)) + self.positions
        share = self.maps.share(cond, len(x), (self.height, self.width))
        h = h if share is None else h + share.flatten(2).transpose(1, 2)
        for i, block in enumerate(self.blocks):
            h = block(self.attending(h, i, memory), c)
        a, b = self.modulation(c)[:, None].chunk(2, 2)
        return self._images(self.exit(modulated(h, a, b)).float())

    def _images(self, tokens: Tensor) -> Tensor:
        """Tokens to images of the full size."""
        h = tokens.transpose(1, 2).reshape(len(tokens), -1, *self.grid)
        return images(h, self.patch, self.height, self.width)
