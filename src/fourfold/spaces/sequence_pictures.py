"""How sequences and their samples look side by side: a few of them row by row, autocorrelations, and transitions."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from fourfold.metrics.rows import Columns
from fourfold.metrics.sequences import autocorrelations, lengths, transition_matrix
from fourfold.pictures.panels import Bars, Matrices, Panels
from fourfold.pictures.picture import Picture
from fourfold.pictures.tracks import Track, Tracks
from fourfold.spaces.columns import Categorical, Modelled

__all__ = ["charts", "details"]

COLUMNS = 6
"""Columns of a sequence that are drawn."""
MOST_CATEGORIES = 12
"""Categories of a matrix of transitions, at most. Wider ones are left out."""
MATRICES = 4
"""Categories whose transitions are drawn."""
BARS = 20
"""Bars of the lengths."""


def charts(columns: Mapping[int, Modelled], samples: Tensor, references: Tensor | None) -> Tracks:
    """A few samples, and a few sequences of the data on their right, column by column, on one scale.

    Args:
        columns: the columns that may be drawn, by their place among the numbers. The first ones are.
        samples: their numbers, ``(B, length, C)``.
        references: the numbers of sequences of the data, or ``None``.
    """
    sequences = samples if references is None else torch.cat([samples, references])
    rows = []
    for j, column in [*columns.items()][:COLUMNS]:
        v = sequences[..., j]
        categories = column.categories if isinstance(column, Categorical) else ()
        finite = v[v.isfinite()]
        low, high = (finite.min().item(), finite.max().item()) if len(finite) else (0.0, 1.0)
        series = tuple(tuple(values[~values.isposinf()].tolist()) for values in v)  # up to the end; a gap is NaN
        rows.append(Track(column.name, categories, low, high, series))
    counts = lengths(sequences).tolist()
    data = 0 if references is None else len(references)
    titles = tuple(f"{'sample' if i < len(samples) else 'data'}, {n} row{'s' * (n > 1)}" for i, n in enumerate(counts))
    return Tracks(titles, tuple(rows), data)


def details(
    columns: Mapping[int, Modelled], meaning: Columns, a: Tensor, b: Tensor, keyed: bool
) -> list[tuple[str, Picture]]:
    """Sequences side by side, autocorrelations, lengths, and transitions, where there are any.

    Args:
        columns: the columns that may be drawn, by their place among the numbers.
        meaning: what the numbers mean.
        a: the numbers of the samples, ``(B, length, C)``.
        b: those of the data.
        keyed: whether sequences have keys, so that their lengths vary.
    """
    pictures: list[tuple[str, Picture]] = [("Sequences of the data, and samples", charts(columns, a[:3], b[:3]))]
    if meaning.quantities and a.shape[1] > 1:
        of_samples, of_data = (autocorrelations(part, meaning, 8) for part in (a, b))
        bars = tuple(
            _correlations(meaning.names[j], of_samples[i], of_data[i])
            for i, j in enumerate(meaning.quantities)
            if of_data[i].isfinite().any()
        )
        title = "Autocorrelation at lags of 1, 2, ... rows (its size; a minus is said): data grey, samples in colour"
        pictures += [(title, Panels(bars))] if bars else []
    if keyed:
        pictures.append(("Rows of a sequence: data grey, samples in colour", Panels((_lengths(a, b),))))
    categorical = {j: column.categories for j, column in columns.items() if isinstance(column, Categorical)}
    small = [(j, categories) for j, categories in categorical.items() if 1 < len(categories) <= MOST_CATEGORIES]
    for j, categories in small[:MATRICES]:
        title = f"{meaning.names[j]}: share of each next category (columns) after a category (rows)"
        pictures.append((title, _next(a, b, j, categories)))
    return pictures


def _correlations(name: str, of_samples: Tensor, of_data: Tensor) -> Bars:
    samples, data = (tuple(abs(v) for v in part.nan_to_num(0.0).tolist()) for part in (of_samples, of_data))
    labels = tuple(f"lag {k + 1}" + (" (negative)" if v < 0 else "") for k, v in enumerate(of_data.tolist()))
    return Bars(name, labels, data, samples, ("1", str(len(labels))))


def _lengths(a: Tensor, b: Tensor) -> Bars:
    of_samples, of_data = lengths(a), lengths(b)
    width = max(math.ceil(int(of_data.max()) / BARS), 1)
    count = (max(int(of_samples.max()), int(of_data.max())) - 1) // width + 1
    samples, data = (torch.bincount((n - 1) // width, minlength=count) / len(n) for n in (of_samples, of_data))
    firsts = [1 + i * width for i in range(len(samples))]
    labels = tuple(str(i) if width == 1 else f"{i} to {i + width - 1}" for i in firsts)
    return Bars("rows", labels, tuple(data.tolist()), tuple(samples.tolist()), (labels[0], labels[-1]))


def _next(a: Tensor, b: Tensor, j: int, names: tuple[str, ...]) -> Matrices:
    samples, data = (transition_matrix(part[..., j], len(names)) for part in (a, b))
    parts = (("data", data), ("samples", samples), ("samples less data", samples - data))
    shades = tuple((t, tuple(tuple(None if math.isnan(v) else v for v in r) for r in m.tolist())) for t, m in parts)
    return Matrices(names, shades, diagonal=True)
