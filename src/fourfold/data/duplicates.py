"""Examples that stand in several parts of a data set: found before a training starts, and left out on request."""

from __future__ import annotations

import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.data.errors import DataError, option
from fourfold.data.pairing import with_remarks
from fourfold.data.source import Source
from fourfold.metrics.rows import byte_digests
from fourfold.metrics.text import ngrams

__all__ = ["duplicate_notes", "without_duplicates"]

PASSAGE = 50
"""Tokens of a text that do not stand in two places by chance (Lee et al. 2022)."""
LEAST_SHARE = 0.01
"""The least share of held-out examples that is worth a note."""
BY_CHANCE = 0.01
"""The most training examples that may equal a new one by chance. In coarse data, such as a few categories, more do."""
MOST_TOKENS = 1 << 22
"""Tokens of each part that are looked at: the last training tokens, and the first test tokens behind them."""


REMEDY = f"leave repeats out with {option('deduplicate', True)}"
"""The way out, in the words of a note."""


def duplicate_notes(space: Space, train: Tensor, test: Tensor, remedy: str = REMEDY) -> tuple[str, ...]:
    """A line that says how many test examples are training examples too: a model that memorises them scores well.

    Of a text it counts passages of :data:`PASSAGE` tokens. There is no line for a share below :data:`LEAST_SHARE`, nor
    for coarse data, in which many new examples equal an old one by chance.

    Args:
        space: of one example.
        train: the training split.
        test: the test split.
        remedy: the way out, in words.
    """
    if space.window is None:
        share, words = _shared_examples(train, test), f"{len(test):,} test {space.item_name}"
    else:
        share, words = _shared_passages(train, test), f"the test text, in passages of {PASSAGE} {space.item_name},"
    if share < LEAST_SHARE:
        return ()
    end = f"so a model that memorises them scores well: {remedy}"
    return (f"{100 * share:.2g} % of {words} also stand in the training data, {end}",)


def _shared_examples(train: Tensor, test: Tensor) -> float:
    """The share of test examples that equal a training example. 0 where columns are so coarse that many would."""
    if expected_matches(train) > BY_CHANCE:
        return 0.0
    return torch.isin(byte_digests(test), byte_digests(train)).double().mean().item()


def expected_matches(x: Tensor, rows: int = 1000, columns: int = 64) -> float:
    """The number of examples ``(N, *)`` that a new one equals if columns are independent: ``N Π_j Σ_v p_j(v)²``.

    Estimated without bias from evenly spaced examples. Columns that are left out only raise the number, and so do
    repeated examples: in data of a single column they look like coarse values.
    """
    flat = x.reshape(len(x), -1)[:: -(-len(x) // rows)]
    chance, pairs = float(len(x)), max(len(flat) * (len(flat) - 1), 1)
    for values in flat[:, :: -(-flat.shape[1] // columns)].unbind(1):
        counts = torch.unique(values.nan_to_num(torch.finfo().min), return_counts=True)[1]
        chance *= (counts * (counts - 1)).sum().item() / pairs
    return chance


def _shared_passages(train: Tensor, test: Tensor) -> float:
    """The share of passages of a test text that stand in the training text. 0 for a series, whose rows are numbers."""
    if train.ndim > 1 or min(len(train), len(test)) < PASSAGE:
        return 0.0
    parts = test[:MOST_TOKENS], train[-MOST_TOKENS:]
    return torch.isin(*(_passages(part) for part in parts)).double().mean().item()


def _passages(stream: Tensor) -> Tensor:
    """A code of the passage that begins at each token, ``(N - PASSAGE + 1,)``."""
    return ngrams(stream[None], PASSAGE)[0]


# --- leaving them out -------------------------------------------------------------------------------------------------


def without_duplicates(name: str, source: Source) -> Source:
    """A source whose examples differ. The first of equal ones stays, and an official test set stays as it is.

    In a text, a passage of :data:`PASSAGE` tokens that has stood earlier is left out.

    Raises:
        DataError: for a series, which must stay whole.

    Reference: Lee et al. 2022, Deduplicating Training Data Makes Language Models Better,
    https://arxiv.org/abs/2107.06499 (passages of 50 tokens)
    """
    if source.space.window is None:
        mask = _first_examples(source.x, source.test)
    elif source.x.ndim == 1:
        mask = _first_passages(source.x)
    else:
        raise DataError(f"{name}: deduplicate must be left out for a series, whose rows follow one another")
    count = int((~mask).sum())
    note = f"left out {count:,} of {len(source.x):,} {source.space.item_name}, which repeat others"
    return with_remarks(source.at(mask.nonzero().flatten().numpy()), notes=(note,)) if count else source


def _first_examples(x: Tensor, official: int) -> Tensor:
    """True for the first of equal examples, and for all of the last ``official``, whose equals are all left out."""
    pool = len(x) - official
    order = torch.cat([torch.arange(pool, len(x)), torch.arange(pool)])
    mask = torch.ones(len(x), dtype=torch.bool)
    mask[order] = _is_first(byte_digests(x)[order])
    mask[pool:] = True
    return mask


def _is_first(codes: Tensor) -> Tensor:
    """True for every code that does not stand in an earlier place."""
    ordered, place = codes.sort(stable=True)
    first = torch.ones(len(codes), dtype=torch.bool)
    first[place[1:]] = ordered[1:] != ordered[:-1]
    return first


def _first_passages(stream: Tensor) -> Tensor:
    """True for the tokens of a text that no repeated passage covers."""
    if len(stream) < PASSAGE:
        return torch.ones(len(stream), dtype=torch.bool)
    repeated = ~_is_first(_passages(stream))
    edges = torch.zeros(len(stream) + 1, dtype=torch.long)
    edges[: len(repeated)] += repeated
    edges[PASSAGE : PASSAGE + len(repeated)] -= repeated.long()
    return edges.cumsum(0)[:-1] == 0
