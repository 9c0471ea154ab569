"""The spelling of columns of texts, counted in training rows, given the category that tells most of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fourfold.adapters import text_writer
from fourfold.data.schema.values import GAPS, Coded
from fourfold.machine.libraries import pandas as pd
from fourfold.spaces import Table
from fourfold.spaces.columns import Categorical, Column, FreeText
from fourfold.spaces.spelling import spelling_of

__all__ = ["spelled"]

SOME, WORDS = 20_000, 200
"""Rows whose words are counted, and frequent words that are told apart, at most."""
MOST_LEVELS = 60
"""Categories of a column that a text is drawn given, at most."""


def spelled(
    space: Table,
    columns: Sequence[Coded],
    x: Tensor,
    rows: Tensor,
    text_model: str | None = None,
    beside: pd.DataFrame | None = None,
) -> Table:
    """The table whose texts can be drawn, by the texts of some rows.

    Args:
        space: of the rows.
        columns: of the file.
        x: all rows ``(N, C)``.
        rows: the places of training rows.
        text_model: the model that writes texts. Those of a few formats, such as telephone numbers, need none.
        beside: a row for each row of the file, which that model is shown too.

    Raises:
        ValueError: for a model that cannot be opened.
    """
    if not any(isinstance(column, FreeText) for column in space.schema):
        return space
    by_name = {coded.name: coded for coded in columns}
    schema = (
        _spelled(space, column, by_name[column.name], x, rows, text_model, beside)
        if isinstance(column, FreeText)
        else column
        for column in space.schema
    )
    return dataclasses.replace(space, schema=tuple(schema))


def _spelled(
    space: Table,
    column: FreeText,
    coded: Coded,
    x: Tensor,
    rows: Tensor,
    text_model: str | None,
    beside: pd.DataFrame | None,
) -> Column:
    inverse = coded.inverse[rows.numpy()]
    words = np.append(coded.distinct.astype(str).to_numpy(dtype=object), "")
    words[np.isin(words, list(GAPS))] = ""
    texts = words[inverse]
    source = _source(space, texts, x[rows])
    levels = [None] * len(texts) if source is None else [k if k >= 0 else None for k in x[rows, source].tolist()]
    order = np.random.default_rng(0).permutation(len(texts))
    spelling = spelling_of(texts[order].tolist(), [levels[i] for i in order])
    if text_model is not None and (spelling is None or not spelling.formats):
        some = rows[order[:SOME]]
        places = some.numpy() if coded.rows is None else coded.rows[some.numpy()]
        texts_of_rows = space.row_texts(x[some], None if beside is None else beside.iloc[places].reset_index(drop=True))
        writer = text_writer().of(text_model, column.name, texts_of_rows, pd.Series(texts[order[:SOME]]))
        return dataclasses.replace(column, writer=writer)
    return dataclasses.replace(column, spelling=spelling, source=None if source is None else space.columns[source])


def _source(space: Table, texts: npt.NDArray[np.object_], x: Tensor) -> int | None:
    """The categorical column that tells most of the first letter, or of the frequent words (Akaike 1974).

    Only what it tells beyond chance counts.
    """
    _, first = np.unique([text[:1] for text in texts], return_inverse=True)
    some = [text.lower().split() for text in texts[:SOME]]
    counts = Counter(itertools.chain.from_iterable(some))
    number = {word: k for k, (word, _) in enumerate(counts.most_common(WORDS))}
    rows = np.repeat(np.arange(len(some)), [len(words) for words in some])
    words = np.array([number.get(word, len(number)) for row in some for word in row], dtype=np.int64)
    gains = {}
    for i, column in enumerate(space.modelled):
        if isinstance(column, Categorical) and 1 < len(column.categories) <= MOST_LEVELS:
            levels = x[:, i].clamp(min=-1).numpy() + 1
            gains[i] = max(_gain(levels, first), _gain(levels[rows], words) if len(words) else 0.0)
    best = max(gains, key=lambda i: gains[i], default=None)
    return best if best is not None and gains[best] > 0 else None


def _gain(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> float:
    """Mutual information of two variables in nats over all rows, less the parameters that it takes."""
    counts = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(counts, (a, b), 1)
    expected = counts.sum(1)[:, None] * counts.sum(0)[None] / len(a)
    there = counts > 0
    nats = float((counts[there] * np.log(counts[there] / expected[there])).sum())
    return nats - ((counts.sum(1) > 0).sum() - 1) * ((counts.sum(0) > 0).sum() - 1)
