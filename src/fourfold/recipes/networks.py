"""Networks that the recipes of several paradigms take."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fourfold.codecs import CellTokens
from fourfold.nn.columns import ColumnNetwork
from fourfold.nn.text_encoder import text_encoder
from fourfold.nn.unet import UNet
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Images, Table

__all__ = ["column_network", "sides", "unet"]

COLUMNS: Sizes[tuple[int, int, Size]] = Sizes(
    {"xs": (32, 4, Size(16, 1)), "s": (512, 8, Size(32, 2)), "m": (1024, 16, Size(64, 2))}
)
"""Bins of a number, length of a token's vector, and hidden units and layers of each column."""
WIDEST = 2000
"""The most columns of a table whose conditionals are modelled."""


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


def column_network(space: Table, size: str) -> tuple[CellTokens, ColumnNetwork]:
    """Tokens of a table, and the network of each column's conditionals; those of many columns are narrower.

    The masked layer has a weight for each pair of columns, of vectors and of hidden units: from 128 columns on, vectors
    and hidden units shrink with the root of the number of columns.

    Raises:
        TypeError: for a table of more than ``WIDEST`` columns.
    """
    if space.dims > WIDEST:
        raise TypeError(
            f"conditionals of {space.dims:,} columns are more than the {WIDEST:,} that fit: leave columns out, or use "
            "latent-variable"
        )
    bins, embedding, chosen = COLUMNS[size]
    shrunk = max(1.0, math.sqrt(space.dims / 128))
    codec = CellTokens(space, bins)
    embedding, width = max(round(embedding / shrunk), 2), max(round(chosen.width / shrunk), 8)
    return codec, ColumnNetwork(codec.sizes, embedding, width, chosen.depth, codec.graded, space.classes)
