"""Networks between images and maps of codes, ``factor`` times smaller in each direction, and a critic of patches.

Images whose sides ``factor`` does not divide are extended by their edge values before encoding, and decoded images are
cut to size. Blocks are those of :mod:`fourfold.nn.resnet`, without normalisation.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part
from fourfold.nn.resnet import _GAIN, Residual, _conv, _phi, _sides

__all__ = ["MapDecoder", "MapEncoder", "PatchCritic", "code_size"]


def code_size(shape: tuple[int, ...], factor: int) -> tuple[int, int]:
    """Height and width of the codes of an image of ``shape`` ``(C, H, W)``: ``ceil(H / factor), ceil(W / factor)``."""
    return math.ceil(shape[1] / factor), math.ceil(shape[2] / factor)


@final
class _Pyramid:
    """Patch size and channels of every stage, finest first, between images and their codes.

    Raises:
        ValueError: if ``factor`` is not a power of 2.
    """

    def __init__(self, shape: tuple[int, ...], factor: int, width: int) -> None:
        if factor < 1 or factor & (factor - 1):
            raise ValueError(f"the factor between images and codes is {factor}: give a power of 2")
        self.channels, self.height, self.width = shape
        self.patch = min(2, factor)
        self.widths = [width * min(2**i, 4) for i in range((factor // self.patch).bit_length())]
        across, down = code_size(shape, factor)[::-1]
        self.short = (0, across * factor - self.width, 0, down * factor - self.height)

    def cut(self, x: Tensor) -> Tensor:
        """Images to patches, ``(B, C p p, H/p, W/p)``, extended by edge values to a multiple of the factor."""
        if any(self.short):
            x = F.pad(x, self.short, mode="replicate")
        x = F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x
        return x.contiguous(memory_format=torch.channels_last)

    def join(self, h: Tensor) -> Tensor:
        """Patches to images of the full size."""
        x = F.pixel_shuffle(h, self.patch) if self.patch > 1 else h
        return x[:, :, : self.height, : self.width]

    def stages(self, blocks: int, depth: int) -> nn.ModuleList:
        """Residual blocks of every stage, finest first."""
        return nn.ModuleList(nn.Sequential(*(Residual(w, w, depth) for _ in range(blocks))) for w in self.widths)


@final
class MapEncoder(Part, nn.Module):
    """Images to maps: ``(B, C, H, W)`` to ``(B, outputs, H/factor, W/factor)``, float32; labels are ignored.

    Args:
        shape: ``(C, H, W)`` of an image.
        outputs: channels of the map.
        width: channels of the finest stage; they double with every halving, up to four times.
        blocks: residual blocks of each stage.
        factor: number of pixels along each side that one code represents, a power of 2.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem", "exit")

    def __init__(
        self, shape: tuple[int, int, int], outputs: int, width: int = 64, blocks: int = 1, factor: int = 4
    ) -> None:
        super().__init__()
        self.plan = plan = _Pyramid(shape, factor, width)
        self.stem = _conv(plan.channels * plan.patch**2, width)
        self.stages = plan.stages(blocks, blocks * len(plan.widths))
        self.down = nn.ModuleList(_conv(fine, coarse, 1) for fine, coarse in pairwise(plan.widths))
        self.exit = _conv(plan.widths[-1], outputs, 1)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        h = self.stages[0](self.stem(self.plan.cut(x).to(self.stem.weight.dtype)))  # type: ignore[arg-type]
        for down, stage in zip(self.down, self.stages[1:], strict=True):
            h = stage(down(F.avg_pool2d(h, 2)))
        return self.exit(_phi(h)).float()


@final
class MapDecoder(Part, nn.Module):
    """Maps to images: ``(B, inputs, H/factor, W/factor)`` to ``(B, outputs, H, W)``, float32; labels are ignored.

    Args:
        inputs: channels of the map.
        shape: ``(C, H, W)`` of an image; only height and width matter.
        outputs: values for each pixel.
        width, blocks, factor: those of the encoder.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("entry", "exit")

    def __init__(
        self,
        inputs: int,
        shape: tuple[int, int, int],
        outputs: int,
        width: int = 64,
        blocks: int = 1,
        factor: int = 4,
    ) -> None:
        super().__init__()
        self.plan = plan = _Pyramid(shape, factor, width)
        self.entry = _conv(inputs, plan.widths[-1])
        self.stages = plan.stages(blocks, blocks * len(plan.widths))
        self.up = nn.ModuleList(_conv(coarse, fine, 1) for fine, coarse in pairwise(plan.widths))
        self.exit = _conv(width, outputs * plan.patch**2)

    def forward(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        u = u.to(self.entry.weight.dtype)  # type: ignore[arg-type]
        h = self.stages[-1](self.entry(u.contiguous(memory_format=torch.channels_last)))
        for i in reversed(range(len(self.up))):
            h = F.interpolate(self.up[i](h), scale_factor=2.0, mode="bilinear", align_corners=False)
            h = self.stages[i](h)
        return self.plan.join(self.exit(_phi(h)).float())


@final
class PatchCritic(Part, nn.Module):
    """One number for each patch of an image, and the features behind it (Isola et al. 2017).

    Reference: Image-to-Image Translation with Conditional Adversarial Networks (https://arxiv.org/abs/1611.07004).

    Args:
        shape: ``(C, H, W)`` of an image.
        width: channels of the finest layer; they double with every halving, up to four times.
        layers: number of convolutions, each but the first after a halving; fewer if the image is too small.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem", "head")

    def __init__(self, shape: tuple[int, int, int], width: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.patch, sides = _sides(max(shape[1], shape[2]))[0], min(shape[1], shape[2])
        layers = max(1, min(layers, (sides // self.patch).bit_length()))
        widths = [width * min(2**i, 4) for i in range(layers)]
        self.short = (0, -shape[2] % self.patch, 0, -shape[1] % self.patch)
        self.stem = _conv(shape[0] * self.patch**2, width, gain=_GAIN)
        self.layers = nn.ModuleList(_conv(fine, coarse, gain=_GAIN) for fine, coarse in pairwise(widths))
        self.head = _conv(widths[-1], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The critic's numbers, ``(B, h, w)`` float32, and the features of each layer."""
        x = F.pad(x, self.short, mode="replicate") if any(self.short) else x
        x = F.pixel_unshuffle(x, self.patch) if self.patch > 1 else x
        x = x.to(self.stem.weight.dtype)  # type: ignore[arg-type]
        features = [_phi(self.stem(x.contiguous(memory_format=torch.channels_last)))]
        for layer in self.layers:
            features.append(_phi(layer(F.avg_pool2d(features[-1], 2, ceil_mode=True))))
        return self.head(features[-1])[:, 0].float(), features
