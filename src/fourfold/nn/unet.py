"""A small U-Net without normalisation, for images of any height, width and number of channels.

After Ronneberger, Fischer, Brox 2015 (https://arxiv.org/abs/1505.04597) and Ho, Jain, Abbeel 2020
(https://arxiv.org/abs/2006.11239), with two changes for processors on which products are cheap and passes over memory
are expensive. Images enter as patches, so no layer works at full resolution. Nothing is normalised. Instead, the second
convolution of every residual block starts at zero (Zhang, Dauphin, Ma 2019, https://arxiv.org/abs/1901.09321).
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part, Reading
from fourfold.nn.embedding import Condition, with_detail
from fourfold.nn.entry import Maps
from fourfold.nn.layers import convolution, images, patches, zeroed
from fourfold.nn.pyramid import descend

__all__ = ["UNet"]


@final
class ResidualBlock(nn.Module):
    """``h + W_2 phi((1 + a) W_1 phi(h) + b)`` with 3 x 3 convolutions, ``phi`` = SiLU and ``(a, b)`` of the condition.

    Args:
        width: channels.
        condition: length of the condition's vector.
    """

    block: ClassVar[bool] = True
    """Whether a large one is a unit of ``fsdp`` and of recomputation."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.first = convolution(width, width, gain=1.5)
        self.second = convolution(width, width, gain=0.0)
        self.modulation = zeroed(nn.Linear(condition, 2 * width))

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        a, b = self.modulation(c)[:, :, None, None].chunk(2, 1)
        y = torch.addcmul(b, self.first(F.silu(h)), 1 + a)
        return self.second(F.silu(y)).add_(h)


@final
class UNetStage(nn.Module):
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

    Each stage halves height and width. The way up adds the features of the way down at the same resolution. Sizes that
    the strides do not divide are padded by edge values and cut back. The last layer starts at zero.

    Args:
        channels: number of channels of an image.
        widths: channels of every stage, finest first.
        blocks: residual blocks of every stage, on the way down and again on the way up (once in the coarsest).
        patch: side of the square patches that images are cut into.
        reading: reads the condition, or ``None``.
        condition: length of the vector of time and label.
        times: 1, or 2 for times ``(B, 2)``.

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
        reading: Reading | None = None,
        condition: int = 128,
        times: int = 1,
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ValueError(f"blocks must hold one number for each of {len(widths)} widths, got {len(blocks)}")
        self.patch, self.stride = patch, patch * 2 ** (len(widths) - 1)
        self.condition = Condition(condition, reading, times)
        self.stem = convolution(3 * channels * patch**2, widths[0])
        self.maps = Maps(reading, widths[0], patch, self.stride)
        self.down = nn.ModuleList(UNetStage(w, n, condition) for w, n in zip(widths, blocks, strict=True))
        self.coarser = nn.ModuleList(convolution(fine, coarse, 1) for fine, coarse in pairwise(widths))
        self.finer = nn.ModuleList(convolution(coarse, fine, 1) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(UNetStage(w, n, condition) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.head = convolution(widths[0], channels * patch**2, gain=0.0)

    def forward(self, x: Tensor, tau: Tensor, cond: Tensor | None = None) -> Tensor:
        c = self.condition(tau, cond)
        p = patches(with_detail(x), self.patch, self.stride).contiguous(memory_format=torch.channels_last)
        h = self.maps(self.stem(p.to(self.stem.weight.dtype)), cond, x.shape[2:])
        maps = descend(h, self.down, self.coarser, c)
        h = maps.pop()
        for finer, stage in zip(reversed(self.finer), reversed(self.up), strict=True):
            h = stage(maps.pop() + F.interpolate(finer(h), scale_factor=2.0), c)
        return images(self.head(F.silu(h)).float(), self.patch, *x.shape[-2:])
