"""Networks that the recipes of several paradigms take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fourfold.nn.text_encoder import text_encoder
from fourfold.nn.unet import UNet
from fourfold.recipes.sizes import Size
from fourfold.spaces import Images

__all__ = ["sides", "unet"]


def sides(space: Images) -> tuple[int, int, int]:
    """Channels, height and width of an image."""
    return space.channels, space.height, space.width


def unet(space: Images, stages: Sequence[Size], times: int = 1) -> UNet:
    """A U-Net of noised images whose patches and stages suit their size: the coarsest has about 8 pixels a side.

    Args:
        space: of the images, whose labels or captions it takes.
        stages: the sizes of its stages, fine to coarse; small images need fewer than all.
        times: how many times it is given.
    """
    side = max(space.height, space.width)
    patch = 1 if side < 16 else 2 if side <= 64 else 4
    used = stages[: max(2, math.ceil(math.log2(side / patch / 8)) + 1)]
    widths, blocks = tuple(stage.width for stage in used), tuple(stage.depth for stage in used)
    text = text_encoder(space.caption)
    return UNet(space.channels, widths, blocks, patch, space.classes, 2 * stages[0].width, times, text)
