"""Networks between images and maps of codes, ``factor`` times smaller in each direction, and a critic of patches.

Images whose sides ``factor`` does not divide are extended by their edge values before encoding, and decoded images are
cut to size. Their stages are those of :mod:`fourfold.nn.pyramid`, without normalisation.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fourfold.core import Part
from fourfold.nn.layers import convolution, patches
from fourfold.nn.pyramid import GAIN, Pyramid, ascend, descend, patch_side, phi, stage_widths

__all__ = ["MapDecoder", "MapEncoder", "PatchCritic"]


@final
class MapEncoder(Part, nn.Module):
    """Images to maps: ``(B, C, H, W)`` to ``(B, outputs, H/factor, W/factor)``, float32. Labels are ignored.

    Args:
        shape: ``(C, H, W)`` of an image.
        outputs: channels of the map.
        width: channels of the finest stage. They double with every halving, up to four times.
        blocks: residual blocks of each stage.
        factor: number of pixels along each side that one code represents, a power of 2.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem", "exit")

    def __init__(
        self, shape: tuple[int, int, int], outputs: int, width: int = 64, blocks: int = 1, factor: int = 4
    ) -> None:
        super().__init__()
        self.pyramid = pyramid = Pyramid.to_codes(shape, factor, width)
        self.stem = convolution(pyramid.values, width)
        self.stages, self.down = pyramid.stages(blocks), pyramid.coarser()
        self.exit = convolution(pyramid.widths[-1], outputs, 1)

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        h = self.stem(self.pyramid.patches(x).to(self.stem.weight.dtype))
        return self.exit(phi(descend(h, self.stages, self.down)[-1])).float()


@final
class MapDecoder(Part, nn.Module):
    """Maps to images: ``(B, inputs, H/factor, W/factor)`` to ``(B, outputs, H, W)``, float32. Labels are ignored.

    Args:
        inputs: channels of the map.
        shape: ``(C, H, W)`` of an image. Only height and width matter.
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
        self.pyramid = pyramid = Pyramid.to_codes(shape, factor, width)
        self.entry = convolution(inputs, pyramid.widths[-1])
        self.stages, self.up = pyramid.stages(blocks), pyramid.finer()
        self.exit = convolution(width, outputs * pyramid.patch**2)

    def forward(self, u: Tensor, cond: Tensor | None = None) -> Tensor:
        h = self.entry(u.to(self.entry.weight.dtype).contiguous(memory_format=torch.channels_last))
        h = ascend(h, reversed(self.stages), reversed(self.up), self.pyramid.sizes[::-1])
        return self.pyramid.images(self.exit(phi(h)).float())


@final
class PatchCritic(Part, nn.Module):
    """One number for each patch of an image, and the features behind it (Isola et al. 2017).

    Reference: Image-to-Image Translation with Conditional Adversarial Networks (https://arxiv.org/abs/1611.07004).

    Args:
        shape: ``(C, H, W)`` of an image.
        width: channels of the finest layer. They double with every halving, up to four times.
        layers: number of convolutions, each but the first after a halving. Fewer if the image is too small.
    """

    for_adamw: ClassVar[tuple[str, ...]] = ("stem", "head")

    def __init__(self, shape: tuple[int, int, int], width: int = 32, layers: int = 3) -> None:
        super().__init__()
        self.patch = patch_side(shape)
        layers = max(1, min(layers, (min(shape[1:]) // self.patch).bit_length()))
        widths = stage_widths(width, layers)
        self.stem = convolution(shape[0] * self.patch**2, width, gain=GAIN)
        self.layers = nn.ModuleList(convolution(fine, coarse, gain=GAIN) for fine, coarse in pairwise(widths))
        self.head = convolution(widths[-1], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The critic's numbers, ``(B, h, w)`` float32, and the features of each layer."""
        x = patches(x, self.patch).to(self.stem.weight.dtype)
        features = [phi(self.stem(x.contiguous(memory_format=torch.channels_last)))]
        for layer in self.layers:
            features.append(phi(layer(F.avg_pool2d(features[-1], 2, ceil_mode=True))))
        return self.head(features[-1])[:, 0].float(), features
