"""A small U-Net without normalisation, for images of any height, width and number of channels.

After Ronneberger, Fischer, Brox 2015 (https://arxiv.org/abs/1505.04597) and Ho, Jain, Abbeel 2020
(https://arxiv.org/abs/2006.11239), with two changes for processors on which products are cheap and passes over memory
are expensive. Images enter as patches, so no layer works at full resolution. Nothing is normalised; instead, the second
convolution of every residual block starts at zero (Zhang, Dauphin, Ma 2019, https://arxiv.org/abs/1901.09321).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part
from fourfold.nn.embedding import Condition, with_detail
from fourfold.nn.text_encoder import TextEncoder

__all__ = ["UNet", "convolution"]


def convolution(inputs: int, outputs: int, size: tuple[int, int], gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps height and width, with weights of variance ``gain^2 / fan_in`` and no bias at first."""
    layer = nn.Conv2d(inputs, outputs, size, padding=(size[0] // 2, size[1] // 2))
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs * size[0] * size[1]))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


@final
class ResidualBlock(nn.Module):
    """``h + W_2 phi((1 + a) W_1 phi(h) + b)`` with 3 x 3 convolutions, ``phi`` = SiLU and ``(a, b)`` of the condition.

    Args:
        width: channels.
        condition: length of the condition's vector.
    """

    block: ClassVar[bool] = True
    """Whether a large one is sharded, and computed again in the backward pass, on its own."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.first = convolution(width, width, (3, 3), gain=1.5)
        self.second = convolution(width, width, (3, 3), gain=0.0)
        self.modulation = nn.Linear(condition, 2 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        a, b = self.modulation(c)[:, :, None, None].chunk(2, 1)
        y = torch.addcmul(b, self.first(F.silu(h)), 1 + a)
        return self.second(F.silu(y)).add_(h)


@final
class Level(nn.Module):
    """``blocks`` residual blocks at one resolution."""

    def __init__(self, width: int, blocks: int, condition: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(width, condition) for _ in range(blocks))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        for block in self.blocks:
            h = block(h, c)
        return h


@final
class UNet(Part, nn.Module):
    """Images, times and labels to images: ``(B, C, H, W), (B,), (B,)`` to ``(B, C, H, W)``, float32.

    Each stage halves height and width; the way up adds the features of the way down at the same resolution. Sizes that
    the strides do not divide are padded by edge values and cut back. The last layer starts at zero.

    Args:
        channels: number of channels of an image.
        widths: channels of every stage, finest first.
        blocks: residual blocks of every stage, on the way down and again on the way up (once in the coarsest).
        patch: side of the square patches that images are cut into.
        classes: number of labels, or ``None``.
        condition: length of the vector of time and label.
        times: 1, or 2 for times ``(B, 2)``.
        text: an encoder of captions ``(B, L)``, which then replace labels.

    Raises:
        ValueError: for different numbers of widths and blocks.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem", "head")

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...] = (64, 128),
        blocks: tuple[int, ...] = (1, 2),
        patch: int = 2,
        classes: int | None = None,
        condition: int = 128,
        times: int = 1,
        text: TextEncoder | None = None,
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"{len(widths)} widths and {len(blocks)} numbers of blocks: give one of each per stage")
        self.patch, self.stride = patch, patch * 2 ** (len(widths) - 1)
        self.condition = Condition(condition, classes, times, text)
        self.stem = convolution(3 * channels * patch**2, widths[0], (3, 3))
        self.down = nn.ModuleList(Level(w, n, condition) for w, n in zip(widths, blocks, strict=True))
        self.coarser = nn.ModuleList(convolution(fine, coarse, (1, 1)) for fine, coarse in pairwise(widths))
        self.finer = nn.ModuleList(convolution(coarse, fine, (1, 1)) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(Level(w, n, condition) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.head = convolution(widths[0], channels * patch**2, (3, 3), gain=0.0)

    def forward(self, x: Tensor, tau: Tensor, cond: Tensor | None = None) -> Tensor:
        height, width = x.shape[-2:]
        c = self.condition(tau, cond)
        h = self._trunk(self.stem(self._cut(x).to(self.stem.weight.dtype)), c)
        out = self.head(F.silu(h)).float()
        return F.pixel_shuffle(out, self.patch)[:, :, :height, :width]

    def _cut(self, x: Tensor) -> Tensor:
        """Images to patches, ``(B, 3 C p p, H / p, W / p)``, in channels-last order."""
        right, below = -x.shape[-1] % self.stride, -x.shape[-2] % self.stride
        if right or below:
            x = F.pad(x, (0, right, 0, below), mode="replicate")
        return F.pixel_unshuffle(with_detail(x), self.patch).contiguous(memory_format=torch.channels_last)

    def _trunk(self, h: Tensor, c: Tensor) -> Tensor:
        """All stages, down and up."""
        kept = []
        for stage, coarser in zip(self.down, self.coarser, strict=False):
            h = stage(h, c)
            kept.append(h)
            h = coarser(F.avg_pool2d(h, 2))
        h = self.down[-1](h, c)
        for i in reversed(range(len(self.up))):
            h = kept[i] + F.interpolate(self.finer[i](h), scale_factor=2.0)
            h = self.up[i](h, c)
        return h
