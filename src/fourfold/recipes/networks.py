"""Networks that the recipes of several paradigms take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from fourfold.codecs import ColumnTokens, RowTokens
from fourfold.core import Space
from fourfold.nn.columns import ColumnNetwork
from fourfold.nn.reading import reading_of
from fourfold.nn.sequences import SequenceNetwork
from fourfold.nn.unet import UNet
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Images, Sequences, Table
from fourfold.vocabulary import TooManyColumns

__all__ = [
    "batch_of",
    "bins_of",
    "check_width",
    "column_network",
    "map_unet",
    "row_network",
    "sides",
    "unet",
]

COLUMNS: Sizes[tuple[int, int, Size]] = Sizes(
    {"xs": (32, 4, Size(16, 1)), "s": (512, 8, Size(32, 2)), "m": (1024, 16, Size(64, 2))}
)
"""The most bins of a number, length of a token's vector, and hidden units and layers of each column."""
ALONE = 4
"""A column alone, often given many others, has so many times the hidden units of a column, from 8,000 rows on."""
FINER = 2
"""A column alone has so many times the bins: it is one softmax in a row, and all rows teach it."""
ROWS: Sizes[tuple[int, Size]] = Sizes(
    {"xs": (128, Size(64, 2, 2)), "s": (512, Size(128, 3, 4)), "m": (1024, Size(256, 4, 4))}
)
"""The most bins of a number in sequences of rows, whose steps are small beside their range, and the transformer."""
LOGITS = 2**24
"""The most logits of a batch. Each takes some 50 bytes while the loss and its gradient are computed."""
WIDEST = 2000
"""The most columns of a table that networks with weights for each pair of columns model."""


def sides(space: Images) -> tuple[int, int, int]:
    """Channels, height and width of an image."""
    return space.channels, space.height, space.width


def unet(space: Images, stages: Sequence[Size], times: int = 1) -> UNet:
    """A U-Net of noised images whose patches and stages suit their size: the coarsest has about 8 pixels a side.

    Args:
        space: of the images, whose labels or captions it takes.
        stages: the sizes of its stages, fine to coarse. Small images need fewer than all.
        times: how many times it is given.
    """
    return map_unet(space, space.shape, stages, times)


def map_unet(space: Space, event: tuple[int, ...], stages: Sequence[Size], times: int = 1) -> UNet:
    """:func:`unet` of codes ``(C, H, W)`` that are maps, for the labels or captions of a space."""
    side = max(event[1:])
    patch = 1 if side < 16 else 2 if side <= 64 else 4
    levels = stages[: max(2, math.ceil(math.log2(side / patch / 8)) + 1)]
    widths, blocks = tuple(stage.width for stage in levels), tuple(stage.depth for stage in levels)
    return UNet(event[0], widths, blocks, patch, reading_of(space), 2 * stages[0].width, times)


def check_width(space: Table, purpose: str) -> None:
    """Refuse a table of more than :data:`WIDEST` columns.

    Raises:
        TooManyColumns: with the way out.
    """
    if space.dims > WIDEST:
        raise TooManyColumns(
            f"{purpose} must have at most {WIDEST:,} columns, got {space.dims:,}: leave columns out, or use "
            "latent-variable, diffusion/joint or adversarial"
        )


def bins_of(space: Table, most: int, factor: int = 2) -> int:
    """The most bins of a number, ``factor sqrt(rows)``, between 32 and the preset's ``most``.

    A bin then holds about ``sqrt(rows) / 2`` values. The masses of ``b`` bins, estimated from ``n`` values, cost ``b /
    (2 n)`` nats, and values within a bin get the same probability, which costs less the narrower the bin is. Held-out
    nats of 2,000 rows of census income and of diamonds are best with 64 to 128 bins, by networks. Trees smooth the
    masses of neighbouring bins: more of them cost little there.
    """
    return most if space.observed is None else min(most, max(32, round(factor * math.sqrt(space.observed))))


def batch_of(most: int, logits: int) -> int:
    """Rows in a batch: at most ``most``, and fewer of wide tables, whose rows have many logits."""
    return max(8, min(most, LOGITS // logits))


def dropout_of(space: Table | Sequences) -> float:
    """The dropout of networks of rows: 0.4 up to 2,000 rows, and less in proportion beyond."""
    return 0.0 if space.observed is None else min(0.4, 800 / space.observed)


def column_network(space: Table, size: str) -> tuple[ColumnTokens, ColumnNetwork]:
    """Tokens of a table, and the network of each column's conditionals. Those of many columns are narrower.

    The masked layer has a weight for each pair of columns, of vectors and of hidden units: from 128 columns on, vectors
    and hidden units shrink with the root of the number of columns.

    Raises:
        TooManyColumns: for a table of more than ``WIDEST`` columns.
    """
    check_width(space, "conditionals")
    bins, embedding, net_size = _columns(space.dims, size)
    rest, alone = (reading_of(space), dropout_of(space)), space.dims == 1
    codec = ColumnTokens(space, bins_of(space, bins) * (FINER if alone else 1))
    width = net_size.width * (ALONE if alone and dropout_of(space) <= 0.1 else 1)
    return codec, ColumnNetwork(codec.sizes, embedding, width, net_size.depth, codec.graded, *rest)


def _columns(count: int, size: str) -> tuple[int, int, Size]:
    """The presets for so many columns."""
    bins, embedding, net_size = COLUMNS[size]
    shrunk = max(1.0, math.sqrt(count / 128))
    return bins, max(round(embedding / shrunk), 2), replace(net_size, width=max(round(net_size.width / shrunk), 8))


def row_network(space: Sequences, size: str, causal: bool) -> tuple[RowTokens, SequenceNetwork]:
    """Tokens of sequences, and the network of their rows: causal, or of all values that are known.

    Raises:
        TooManyColumns: for sequences of rows of more than ``WIDEST`` columns.
    """
    count = len(space.columns)
    if count > WIDEST:
        raise TooManyColumns(f"rows must have at most {WIDEST:,} columns, got {count:,}: leave columns out")
    (_, embedding, net_size), (bins, rows) = _columns(count, size), ROWS[size]
    codec = RowTokens(space, bins)
    net = SequenceNetwork(
        codec.sizes,
        space.length,
        embedding,
        net_size.width,
        net_size.depth,
        rows.width,
        rows.depth,
        rows.heads,
        codec.graded,
        causal,
        relative=True,
        missing=codec.missing,
        dropout=dropout_of(space),
        reading=reading_of(space, attends=True),
    )
    return codec, net
