"""A pyramid of convolutions: stages of residual blocks, each at half the resolution of the stage before.

Every block is ``h + W_2 phi(W_1 phi(h))`` with leaky rectifiers, ``W_2 = 0`` at the start and ``W_1`` scaled down by
the square root of the number of blocks, so that a deep network starts as a shallow one and needs no normalisation
(Zhang, Dauphin, Ma 2019, Fixup, https://arxiv.org/abs/1901.09321). Images enter and leave as patches of 2 x 2 pixels,
so no layer works at full resolution. Between stages, averages halve the resolution and bilinear interpolation doubles
it (Karras et al. 2019, https://arxiv.org/abs/1812.04948).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Reading
from fourfold.nn.entry import Maps
from fourfold.nn.layers import convolution, images, linear, patches

__all__ = [
    "GAIN",
    "Pyramid",
    "Residual",
    "StageMaps",
    "ascend",
    "code_size",
    "descend",
    "patch_side",
    "phi",
    "stage_widths",
]

SLOPE = 0.2
"""Slope of the rectifier for negative values."""
GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""Gain that keeps the variance behind the rectifier."""


def phi(h: Tensor) -> Tensor:
    """The leaky rectifier."""
    return F.leaky_relu(h, SLOPE)


@final
class Residual(nn.Module):
    """``h + W_2 phi(W_1 phi(h))`` with 3 x 3 convolutions (``spatial``) or matrices.

    Args:
        width: channels of ``h``.
        hidden: channels between the two.
        depth: residual blocks in the entire network. ``W_1`` starts ``sqrt(depth)`` times smaller.
        spatial: whether to convolve ``(B, width, H, W)`` or to multiply ``(B, width)``.
    """

    def __init__(self, width: int, hidden: int, depth: int, spatial: bool = True) -> None:
        super().__init__()
        gain = GAIN / math.sqrt(depth)
        self.first = convolution(width, hidden, gain=gain) if spatial else linear(width, hidden, gain)
        self.second = convolution(hidden, width, gain=0.0) if spatial else linear(hidden, width, 0.0)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(phi(self.first(phi(h))))


def patch_side(shape: Sequence[int]) -> int:
    """Side of the patches that images ``(C, H, W)`` are cut into: 2, and 1 for the smallest images."""
    return 2 if max(shape[1:]) >= 16 else 1


def code_size(shape: Sequence[int], factor: int) -> tuple[int, int]:
    """Height and width of the codes of an image of ``shape`` ``(C, H, W)``: ``ceil(H / factor), ceil(W / factor)``."""
    return math.ceil(shape[1] / factor), math.ceil(shape[2] / factor)


@final
@dataclass(frozen=True)
class Pyramid:
    """The stages between images of one shape and their coarsest maps, finest first.

    Args:
        shape: ``(C, H, W)`` of an image.
        patch: side of a patch.
        multiple: images are padded by edge values until it divides height and width.
        sizes: height and width of the map of every stage.
        widths: channels of every stage.
    """

    shape: tuple[int, ...]
    patch: int
    multiple: int
    sizes: tuple[tuple[int, int], ...]
    widths: tuple[int, ...]

    @classmethod
    def to_eight(cls, shape: Sequence[int], width: int) -> Pyramid:
        """Stages are added until no side of the map is above 8. Each side is half of the finer one, rounded up.

        Args:
            shape: ``(C, H, W)`` of an image.
            width: channels of the finest stage. They double with every halving, up to four times.
        """
        patch = patch_side(shape)
        sizes = [code_size(shape, patch)]
        while max(sizes[-1]) > 8:
            sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
        return cls(tuple(shape), patch, patch, tuple(sizes), stage_widths(width, len(sizes)))

    @classmethod
    def to_codes(cls, shape: Sequence[int], factor: int, width: int) -> Pyramid:
        """Stages down to a map that is ``factor`` times smaller than the image. The image is padded to fit.

        Args:
            shape: ``(C, H, W)`` of an image.
            factor: number of pixels along each side that one code represents.
            width: channels of the finest stage, as in :meth:`to_eight`.

        Raises:
            ValueError: if ``factor`` is not a power of 2.
        """
        if factor < 1 or factor & (factor - 1):
            raise ValueError(f"factor must be a power of 2, got {factor}")
        patch = min(2, factor)
        (height, across), count = code_size(shape, factor), (factor // patch).bit_length()
        sizes = tuple((height * 2**i, across * 2**i) for i in reversed(range(count)))
        return cls(tuple(shape), patch, factor, sizes, stage_widths(width, count))

    @property
    def values(self) -> int:
        """Number of values in a patch of an image."""
        return self.shape[0] * self.patch**2

    @property
    def features(self) -> int:
        """Number of values in the map of the coarsest stage."""
        return self.widths[-1] * math.prod(self.sizes[-1])

    def patches(self, x: Tensor) -> Tensor:
        """Images to patches, ``(B, C p p, h, w)``, in channels-last order."""
        return patches(x, self.patch, self.multiple).contiguous(memory_format=torch.channels_last)

    def images(self, h: Tensor) -> Tensor:
        """Patches to images of the full size."""
        return images(h, self.patch, *self.shape[1:])

    def coarsest(self, h: Tensor) -> Tensor:
        """Vectors ``(B, features)`` as maps of the coarsest stage, ``(B, C, h, w)``."""
        return h.reshape(-1, self.widths[-1], *self.sizes[-1])

    def stages(self, blocks: int) -> nn.ModuleList:
        """Residual blocks of every stage."""
        depth = blocks * len(self.widths)
        return nn.ModuleList(nn.Sequential(*(Residual(w, w, depth) for _ in range(blocks))) for w in self.widths)

    def coarser(self) -> nn.ModuleList:
        """The 1 x 1 convolution from every stage to the next coarser one."""
        return nn.ModuleList(convolution(fine, coarse, 1) for fine, coarse in pairwise(self.widths))

    def finer(self) -> nn.ModuleList:
        """The 1 x 1 convolution to every stage from the next coarser one."""
        return nn.ModuleList(convolution(coarse, fine, 1) for fine, coarse in pairwise(self.widths))


@final
class StageMaps(nn.Module):
    """The share of a picture that is given in the map of every stage, see :class:`~fourfold.nn.entry.Maps`.

    Args:
        pyramid: the stages.
        reading: reads the condition, or ``None``.
    """

    def __init__(self, pyramid: Pyramid, reading: Reading | None) -> None:
        super().__init__()
        finest, *widths = pyramid.widths
        self.sizes = (pyramid.shape[1:], *pyramid.sizes[1:])
        rest = (Maps(reading, width) for width in widths)
        self.layers = nn.ModuleList([Maps(reading, finest, pyramid.patch, pyramid.multiple), *rest])

    def forward(self, h: Tensor, stage: int, cond: Tensor | None) -> Tensor:
        """The map of a stage, ``(B, C, h, w)``. The finest stage is number 0."""
        joined: Tensor = self.layers[stage](h, cond, self.sizes[stage])
        return joined


def stage_widths(width: int, count: int) -> tuple[int, ...]:
    """Channels of every stage: they double with every halving, up to four times."""
    return tuple(width * min(2**i, 4) for i in range(count))


def descend(h: Tensor, stages: Iterable[nn.Module], coarser: Iterable[nn.Module], *context: Any) -> list[Tensor]:
    """The map of every stage, finest first.

    Args:
        h: what enters the finest stage.
        stages: their blocks, finest first.
        coarser: the layers that follow the averages between stages.
        context: further arguments of every stage.
    """
    first, *rest = stages
    maps = [first(h, *context)]
    for layer, stage in zip(coarser, rest, strict=True):
        maps.append(stage(layer(F.avg_pool2d(maps[-1], 2, ceil_mode=True)), *context))
    return maps


def ascend(
    h: Tensor,
    stages: Iterable[Callable[[Tensor], Tensor]],
    finer: Iterable[nn.Module],
    sizes: Sequence[tuple[int, int]],
) -> Tensor:
    """The map of the finest stage from what enters the coarsest one.

    Args:
        h: what enters the coarsest stage.
        stages: their blocks, coarsest first.
        finer: the layers before interpolation, coarsest first.
        sizes: height and width of the maps of all stages, coarsest first.
    """
    first, *rest = stages
    h = first(h.contiguous(memory_format=torch.channels_last))
    for layer, stage, size in zip(finer, rest, sizes[1:], strict=True):
        h = stage(F.interpolate(layer(h), size=size, mode="bilinear", align_corners=False))
    return h
