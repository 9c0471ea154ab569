"""Presets of autoregressive models: networks and codecs by space, in sizes xs, s and m. Of texts also l and xl."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import singledispatch

from fourfold.codecs import ColumnTokens, LineTokens, RowCodes, Standardised, TextTokens, Tokens
from fourfold.core import Codec, GenerativeModel, Space, Training
from fourfold.estimands import Conditionals
from fourfold.maths.ngrams import LONGEST
from fourfold.nn.causal import CausalConvNet
from fourfold.nn.ngrams import CHUNK, MOST, BesideNgrams
from fourfold.nn.reading import reading_of
from fourfold.nn.reading.flat import flat_values
from fourfold.nn.regression import regression_of
from fourfold.nn.row_mixture import RowMixture
from fourfold.nn.row_regression import RowRegression
from fourfold.nn.transformer import NextToken, TokenTransformer, ValueTransformer
from fourfold.nn.trees import ColumnTrees
from fourfold.nn.vector_mixtures import VectorMixtures
from fourfold.paradigms.any_order import AnyOrderLikelihood, ColumnConditionals
from fourfold.paradigms.autoregressive import (
    Ancestral,
    ChainRule,
    LineConditionals,
    MaximumLikelihood,
    TokenConditionals,
    VectorConditionals,
)
from fourfold.paradigms.pixels import PixelConditionals
from fourfold.paradigms.sequences import SequenceConditionals
from fourfold.paradigms.series_trees import SeriesTrees
from fourfold.paradigms.trees import TreeConditionals
from fourfold.recipes.by_space import by_space
from fourfold.recipes.networks import bins_of, check_width, column_network, row_network
from fourfold.recipes.sizes import Size, Sizes
from fourfold.spaces import Images, Lines, Sequences, Table, Text, Vectors
from fourfold.spaces.columns import Graded, Numeric
from fourfold.vocabulary import TooManyColumns

__all__ = ["any_order", "default", "gaussians", "likelihood", "ngrams", "text_training", "texts", "trees"]

TEXT: Sizes[Size] = Sizes(
    {
        "xs": Size(64, 2, 1),
        "s": Size(128, 4, 2),
        "m": Size(256, 4, 4),
        "l": Size(768, 14, 12),
        "xl": Size(2048, 20, 16),
    }
)
TOKENS = 4096
"""Tokens of a batch of text up to size m, at most: larger batches make steps few on a processor."""
COUNTED_TEXT = 1 << 23
"""Tokens of a text up to which a network beside counts is the default: 4 million of them are counted."""
DIFFERENT = 4096
"""Different tokens of such a text, at most: each has a mass after every token."""
IMAGES: Sizes[tuple[Size, Size]] = Sizes(
    {"xs": (Size(32, 3), Size(32, 1)), "s": (Size(96, 8), Size(64, 3)), "m": (Size(128, 12), Size(96, 4))}
)
"""Layers of all pixels before, and layers of the rows above."""
PLANES = 64
"""Planes of images in a batch, at most."""
VECTORS: Sizes[tuple[Size, int]] = Sizes(
    {"xs": (Size(32, 1, 1), 8), "s": (Size(96, 2, 2), 24), "m": (Size(192, 4, 4), 32)}
)
"""The network, and the components of each conditional."""

TREES: Sizes[tuple[int, int, int]] = Sizes({"xs": (32, 4, 32), "s": (128, 12, 256), "m": (256, 24, 512)})
"""The most bins of a number, trees of a column, and leaves of a tree."""
FEW = 5000
"""Rows of a table up to which trees are the default. Networks are ahead on 10,000 diamonds, trees on 5,000."""
FEW_VECTORS = 2000
"""Vectors up to which mixtures of Gaussians stand beside a network by default. A network alone is ahead on more."""
VALUES = 100_000
"""Rows by columns of such a table, at most. Networks are ahead on 5,000 x 42 of census, trees on 5,000 x 15 (adult)."""
MOST_COLUMNS = 128
"""Columns of such a table, and of vectors with mixtures of Gaussians, at most."""
FINE = 6
"""Bins of a number as multiples of the root of the rows. Relations such as a volume's need fine ones."""
AXES = 3
"""Axes of the mixtures of whole rows: normal scores, values and logarithms."""
LEAST = 5
"""The fewest rows of a leaf."""
RUN = 3
"""Rows of a series that trees see: two, and that which they predict."""
RARE = 1e-6
"""The probability of a step of a series beyond the range of its column."""
COUNTED = 10_000
"""Values of a number that a codec counts one by one, at most."""
NODES = 1 << 23
"""Counts in the nodes of all trees, at most: each takes 36 bytes."""

SEQUENCES = Training(batch_size=32, learning_rate=3e-3, muon_rate=2e-2, weight_decay=0.01)


@singledispatch
def default(space: Space) -> str:
    """The recipe that ``autoregressive`` means where the data do not choose another one."""
    return "likelihood"


@default.register
def _(space: Table) -> str:
    rows = math.inf if space.observed is None else space.observed
    few = rows <= FEW and rows * space.dims <= VALUES and space.dims <= MOST_COLUMNS
    return "trees" if few else "any-order"


@default.register
def _(space: Sequences) -> str:
    rows = math.inf if space.observed is None else space.observed
    few = rows <= FEW and rows * len(space.columns) <= VALUES and len(space.columns) <= MOST_COLUMNS // RUN
    return "trees" if few and space.given is None else "likelihood"


@default.register
def _(space: Vectors) -> str:
    few = space.observed is not None and space.observed <= FEW_VECTORS and space.dim <= MOST_COLUMNS
    return "gaussians" if few and space.given is None else "likelihood"


@default.register
def _(space: Text) -> str:
    few = space.observed is not None and space.observed <= COUNTED_TEXT and space.tokens <= DIFFERENT
    return "ngrams" if few and space.given is None else "likelihood"


@by_space(Text, instead="autoregressive/any-order for tables")
def likelihood(space: Text, size: str) -> GenerativeModel:
    """A product of conditionals by maximum likelihood."""
    return _text(space, size, _text_network(space, size))


def _text_network(space: Text | Lines, size: str) -> TokenTransformer:
    net_size, (length,) = TEXT[size], space.shape
    width, depth, heads = net_size.width, net_size.depth, net_size.heads
    return TokenTransformer(space.tokens, length, width, depth, heads, reading=reading_of(space, attends=True))


def _text(space: Text, size: str, net: NextToken) -> GenerativeModel:
    training = text_training(space, TEXT[size])
    return _model(space, TextTokens(space), TokenConditionals(net, space.length), training)


def text_training(space: Text, size: Size) -> Training:
    """Rates and batch size of a transformer of texts."""
    batch = 32 if size.width > TEXT["m"].width else max(min(32, TOKENS // space.length), 8)
    return Training(batch_size=batch, learning_rate=3e-3, muon_rate=2e-2)


@likelihood.register
def _(space: Lines, size: str) -> GenerativeModel:
    return texts(space.given, space, size)


@singledispatch
def texts(given: Space | None, space: Lines, size: str) -> GenerativeModel:
    """Whole texts, up to their ends, given anything or nothing.

    A wing registers a better network for a kind of condition, such as one that attends to a sound.
    """
    estimand = LineConditionals(_text_network(space, size), space.text.length, space.end)
    return _model(space, LineTokens(space), estimand, text_training(space.text, TEXT[size]))


@likelihood.register
def _(space: Images, size: str) -> GenerativeModel:
    lower, upper = IMAGES[size]
    net = CausalConvNet(
        space.n_values,
        space.height,
        space.width,
        lower.width,
        lower.width,
        lower.depth,
        upper.width,
        upper.depth,
        kinds=space.channels,
        reading=reading_of(space),
        planes=space.channels if space.channels > 1 else 0,
    )
    batch = max(2, min(16, PLANES // space.channels))
    training = Training(batch_size=batch, learning_rate=6e-3, muon_rate=2e-2)
    return _model(space, Tokens(space), PixelConditionals(net, space.channels), training)


@likelihood.register
def _(space: Vectors, size: str) -> GenerativeModel:
    return _vectors(space, size)


def _vectors(space: Vectors, size: str, mixtures: VectorMixtures | None = None) -> GenerativeModel:
    (net_size, components), reading = VECTORS[size], reading_of(space, attends=True)
    net = ValueTransformer(space.dim, 3 * components, net_size.width, net_size.depth, net_size.heads, reading=reading)
    training = Training(batch_size=256, learning_rate=2e-3, muon_rate=1e-2, smoothing=0.5)
    estimand = VectorConditionals(net, space.dim, components, regression_of(space), mixtures)
    return _model(space, Standardised(space), estimand, training)


@likelihood.register
def _(space: Sequences, size: str) -> GenerativeModel:
    codec, net = row_network(space, size, causal=True)
    estimand = SequenceConditionals(net, space.length, 1 + len(space.columns), 1 + space.at, space.key is not None)
    return _model(space, codec, estimand, SEQUENCES)


@by_space(Text, instead="autoregressive")
def ngrams(space: Text, size: str) -> GenerativeModel:
    """A text as counted n-grams that a network corrects: ahead of either alone where there is little time."""
    chunks = -(-min(space.observed or MOST, MOST) // CHUNK)
    return _text(space, size, BesideNgrams(_text_network(space, size), LONGEST[space.token], chunks))


@by_space(Vectors, instead="autoregressive")
def gaussians(space: Vectors, size: str) -> GenerativeModel:
    """Vectors by mixtures of Gaussians beside a network: ahead of either alone on few rows.

    Raises:
        TypeError: for vectors with a condition, which the mixtures do not read.
        TooManyColumns: for vectors of too many numbers.
    """
    if space.given is not None:
        raise TypeError("mixtures of Gaussians model vectors without a condition, not given one: use autoregressive")
    if space.dim > MOST_COLUMNS:
        raise TooManyColumns(f"{space.dim:,} columns are more than {MOST_COLUMNS} for mixtures: use autoregressive")
    return _vectors(space, size, VectorMixtures(space.dim))


@by_space(Table, instead="autoregressive")
def any_order(space: Table, size: str) -> GenerativeModel:
    """One model of every order of the values.

    Batches are scored in the order of the columns and in random orders by turns.
    """
    codec, net = column_network(space, size)
    estimand, objective = ColumnConditionals(net, space.dims), AnyOrderLikelihood(0.3)
    training = Training(batch_size=256, learning_rate=1e-2, weight_decay=0.1)
    return GenerativeModel(space, codec, estimand, objective, Ancestral(), ChainRule(), training)


@by_space(Table, instead="autoregressive")
def trees(space: Table, size: str) -> GenerativeModel:
    """Trees of each column given those before it, grown at once: for tables of few rows.

    Fewer trees where there are many nodes: rows are many then, and trees agree.
    """
    check_width(space, "trees")
    bins, most, leaves = TREES[size]
    codec = ColumnTokens(space, bins_of(space, bins, FINE), min(space.observed or 0, COUNTED))
    leaves = leaves if space.observed is None else min(leaves, max(2, space.observed // (2 * LEAST)))
    count = max(1, min(most, NODES // (2 * leaves * max(codec.sizes) * space.dims)))
    missing = [i for i, column in enumerate(space.modelled) if column.missing]
    given = () if space.given is None else flat_values(space.given)
    net = ColumnTrees(codec.sizes, count, leaves, codec.graded, missing, given, LEAST, tree_order(space), axes=AXES)
    training = Training(batch_size=128, learning_rate=0.05)
    return _model(space, codec, TreeConditionals(net, space.dims), training)


@trees.register
def _(space: Sequences, size: str) -> GenerativeModel:
    """Rows given those before, by trees beside linear predictions: for series and sequences of few rows."""
    if space.given is not None:
        raise TypeError(
            f"conditions must be left out for trees of rows over time, got {space.given}; or use autoregressive"
        )
    check_width(space.row, "trees")
    before = tuple(range(RUN - 1 if space.key is not None else min(RUN, space.length) - 1, 0, -1))
    recent = _row_mixture(space, size, before)
    starts = ColumnTokens(Table((space.start,)), 1, COUNTED) if space.key is not None else None
    season, seasonal, wide = space.season, None, len(space.columns) * (RUN + 2) > MOST_COLUMNS
    if season is not None and RUN <= season < space.length - 1 and not wide:
        seasonal = _row_mixture(space, size, (season + 1, season, *before))
    estimand = SeriesTrees(recent, space.length, starts, space.at, seasonal)
    return _model(space, RowCodes(space), estimand, Training(batch_size=32, learning_rate=0.05))


def _row_mixture(space: Sequences, size: str, before: Sequence[int]) -> RowMixture:
    """A row given those ``before`` it, and those of one season before if there are more than the usual ones.

    Trees of the earlier rows grow only where a window may begin with them.
    """
    (bins, most, leaves), row, run = TREES[size], space.row, len(before) + 1
    tokens = ColumnTokens(row, bins_of(dataclasses.replace(row, observed=space.observed), bins), COUNTED)
    leaves = leaves if space.observed is None else min(leaves, max(2, space.observed // (2 * LEAST)))
    count, columns = max(1, min(most, NODES // (2 * leaves * max(tokens.sizes) * run * row.dims))), range(row.dims)
    graded, missing = (
        [row.dims * t + i for t in range(run) for i in columns if i in places]
        for places in (tokens.graded, [i for i in columns if row.modelled[i].missing])
    )
    begins = space.key is None and run <= RUN
    given, context = (() if space.key is None else (0, 0)), 0 if begins else row.dims * (run - 1)
    net = ColumnTrees(tokens.sizes * run, count, leaves, graded, missing, given, LEAST, context=context)
    fixed = [i for i in columns if space.columns[i] == space.series]
    return RowMixture(net, tokens, _regression(row, tokens, run > RUN), before, fixed)


def _regression(row: Table, tokens: ColumnTokens, season: bool) -> RowRegression | None:
    """Linear predictions of the numbers of a series."""
    numbers = [row.modelled[i] for i in tokens.graded]
    if not numbers:
        return None
    steps = [
        Numeric(
            c.name,
            "int64",
            low=-width,
            high=width,
            beyond=(RARE, RARE),
            scale=(float(width), float(width)),
            missing=c.missing,
        )
        for c, width in ((c, max(c.span[1] - c.span[0], 1)) for c in numbers)
    ]
    tables = (numbers, steps, steps) if season else (numbers, steps)
    return RowRegression(*(ColumnTokens(Table(tuple(table)), 1, COUNTED) for table in tables))


def tree_order(space: Table) -> tuple[int, ...]:
    """Categories before quantities, a category that is the target first, a quantity that is the target last.

    Groups of rows are then known before their quantities, which differ by group.
    """

    def place(i: int) -> tuple[bool, bool, int]:
        graded, target = isinstance(space.modelled[i], Graded), space.columns[i] == space.target
        return graded, target if graded else not target, 0 if graded else space.modelled[i].span[1]

    return tuple(sorted(range(space.dims), key=place))


def _model(space: Space, codec: Codec, estimand: Conditionals, training: Training) -> GenerativeModel:
    """The parts that all spaces share."""
    return GenerativeModel(space, codec, estimand, MaximumLikelihood(), Ancestral(), ChainRule(), training)
