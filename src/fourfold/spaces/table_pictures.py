"""How a table and its samples look side by side: columns, pairs, gaps, and rows that leak."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fourfold.machine.libraries import pandas as pd
from fourfold.metrics.records import Records
from fourfold.metrics.references import References
from fourfold.metrics.rows import Columns
from fourfold.metrics.rule_search import find_rules
from fourfold.metrics.shapes import Trends, associations, shapes
from fourfold.pictures.panels import Bars, Matrices, Panels, Rows
from fourfold.pictures.picture import Cloud, Picture
from fourfold.spaces.columns import MISSING, UNSEEN, Categorical, Codes, Modelled
from fourfold.spaces.modelled import ModelledColumns

__all__ = ["details", "panels", "rows_of"]

MOST_CATEGORIES = 12
"""Bars of a categorical column, at most. The rarer categories share the last."""
BINS = 20
"""Bars of a quantity, at most: of ``n`` values there are ``2 n^(1/3)`` (Rice's rule), and five at least."""
MOST_COLUMNS = 60
"""Columns that are drawn: the first ones, and of a card those that differ most."""
MOST_PAIRS = 8
"""Pairs, patterns and rules that are listed."""
LEAST_TIE = 0.3
"""Correlation of two quantities that are worth a picture."""
LEAKS = 6
"""Samples that are shown with the training row they come closest to."""


def panels(modelled: ModelledColumns, x: Tensor, y: Tensor | None, most: int) -> Panels:
    """The ``most`` columns that differ most from the data ``y``, or the first ones if there are no data."""
    columns, a = modelled.columns, x.numpy()
    if y is None:
        return Panels(tuple(bars(column, a[:, i], None) for i, column in enumerate(columns[:most])))
    scores = shapes(modelled.numbers(x), modelled.numbers(y), modelled.meaning)
    order = scores.nan_to_num(2).argsort(stable=True)[:most].tolist() if most < len(columns) else range(len(columns))
    b = y.numpy()
    return Panels(tuple(bars(columns[i], a[:, i], b[:, i], scores[i].item()) for i in order))


def bars(column: Modelled, samples: Codes, data: Codes | None, score: float = float("nan")) -> Bars:
    """One column of samples beside the data."""
    basis = samples if data is None else data
    if isinstance(column, Categorical):
        labels, groups = _categories(column, basis)
        ends = ("", f"+ {labels[-1]}" if len(labels) < len(column.categories) else "")
    else:
        labels, groups, ends = _intervals(column, basis)
    parts = [_shares(groups, codes, column.missing, len(labels)) for codes in (samples, data) if codes is not None]
    labels = (*labels, "missing") if column.missing else labels
    return Bars(column.name, labels, parts[1] if data is not None else (), parts[0], ends, column.missing, score)


def _shares(groups: _Groups, codes: Codes, missing: bool, count: int) -> tuple[float, ...]:
    place = np.where(codes == MISSING, count, groups(codes))
    shares = np.bincount(place, minlength=count + 1) / max(len(codes), 1)
    return tuple(shares[: count + missing].tolist())


def _categories(column: Categorical, codes: Codes) -> tuple[tuple[str, ...], _Groups]:
    """The most frequent categories, or all in their order where that means something and they are few."""
    counts = np.bincount(codes[codes >= 0], minlength=len(column.categories))
    order = np.arange(len(counts)) if column.ordered else np.argsort(-counts, kind="stable")
    few = order if len(order) <= MOST_CATEGORIES else order[: MOST_CATEGORIES - 1]
    place = np.full(len(counts) + 1, len(few))
    place[few] = np.arange(len(few))
    rest = (f"{len(order) - len(few)} other categories",) if len(few) < len(order) else ()
    labels = (*(column.categories[k] for k in few), *rest)
    return labels, _Groups(place=np.minimum(place, len(labels) - 1))


def _intervals(column: Modelled, codes: Codes) -> tuple[tuple[str, ...], _Groups, tuple[str, str]]:
    """Each value where they are few, else intervals: of one width, or of equal shares beside a frequent value."""
    codes = codes[(codes != MISSING) & (codes != UNSEEN)]
    codes = codes if len(codes) else np.array(column.span, dtype=np.int64)
    values, counts = np.unique(codes, return_counts=True)
    bins = min(max(round(2 * len(codes) ** (1 / 3)), 5), BINS)
    if len(values) <= bins:
        edges = values
    else:
        low, high = np.quantile(codes, [0.01, 0.99]).astype(np.int64)
        edges = np.unique(np.linspace(low, high + 1, bins + 1).astype(np.int64)[:-1])
        most = np.bincount(np.searchsorted(edges, codes, "right").clip(min=1) - 1).max() / len(codes)
        if most > 0.6:
            often = values[counts.argmax()]
            rest = codes[codes != often]
            edges = np.unique([often, often + 1, *np.quantile(rest, np.linspace(0, 1, bins - 2)).astype(np.int64)[:-1]])
    firsts = [str(value) for value in column.values(np.append(edges, codes.max()))]
    lasts = column.values(np.append(edges[1:] - 1, codes.max()))
    labels = tuple(a if a == str(b) else f"{a} to {b}" for a, b in zip(firsts[:-1], lasts, strict=True))
    return labels, _Groups(edges=edges), (firsts[0], firsts[-1])


class _Groups:
    """Which bar a code belongs to: that of its category, or of the interval it lies in."""

    def __init__(self, place: Codes | None = None, edges: Codes | None = None) -> None:
        self.place, self.edges = place, edges

    def __call__(self, codes: Codes) -> Codes:
        if self.place is not None:
            return self.place[np.where((codes < 0) | (codes >= len(self.place) - 1), len(self.place) - 1, codes)]
        assert self.edges is not None
        return np.searchsorted(self.edges, codes, "right").clip(min=1) - 1


def rows_of(frame: pd.DataFrame, marked: frozenset[tuple[int, int]] = frozenset()) -> Rows:
    """The rows of a data frame, some of their values ``marked`` by row and column."""
    rows = tuple(tuple(_text(value) for value in row) for row in frame.itertuples(index=False))
    return Rows(tuple(frame.columns), rows, marked)


def _text(value: object) -> str:
    return "" if value is None or value != value else str(value)  # noqa: PLR0124 (NaN)


def details(columns: ModelledColumns, x: Tensor, train: Tensor, references: References) -> list[tuple[str, Picture]]:
    """Columns, matrices of association, pairs, patterns of gaps, rules, and rows that leak, where there are any.

    Args:
        columns: the modelled columns.
        x: samples, as codes ``(B, C)``.
        train: the training rows that rules are searched in, and that samples may repeat.
        references: the examples that samples are compared with.
    """
    a, b, meaning = columns.numbers(x), columns.numbers(references.test), columns.meaning
    pictures: list[tuple[str, Picture]] = [
        ("Columns: data grey, samples in colour", panels(columns, x, references.test, MOST_COLUMNS))
    ]
    if len(meaning.names) > 1:
        pictures += _pairs(meaning, a, b)
    if references.all_train.eq(MISSING).any():
        pictures.append(("Which columns are missing together", _patterns(columns.names, a, b)))
    rules = find_rules(columns.numbers(train), meaning)
    broken = sorted(
        ((rule.broken(a).double().mean().item(), rule.words(meaning.names)) for rule in rules), reverse=True
    )
    if broken and broken[0][0] > 0:
        rows = tuple((words, f"{100 * share:.1f} %") for share, words in broken[:MOST_PAIRS] if share > 0)
        pictures.append(
            ("Rules of all training rows that samples break most", Rows(("rule", "samples that break it"), rows))
        )
    leaks = _leaks(columns, x, train, references)
    if leaks.rows:
        pictures.append(("Samples (first) closest to a training row (second), closer than to any test row", leaks))
    return pictures


def _pairs(meaning: Columns, a: Tensor, b: Tensor) -> list[tuple[str, Picture]]:
    """Matrices of association, the pairs that differ most, and the two quantities that are tied most."""
    places = list(range(min(len(meaning.names), MOST_COLUMNS)))
    real, samples = (associations(rows[:, places], meaning.part(places)) for rows in (b, a))
    names = tuple(meaning.names[i] for i in places)
    matrices = tuple(
        (title, tuple(tuple(None if np.isnan(v) else float(v) for v in row) for row in matrix))
        for title, matrix in (("data", real), ("samples", samples), ("samples less data", samples - real))
    )
    title = "Association of columns: correlation of two quantities, else Cramér's V"
    pictures: list[tuple[str, Picture]] = [(title, Matrices(names, matrices))]
    trends = Trends(b, meaning)
    scores = trends(a)
    order = scores.nan_to_num(2).argsort(stable=True)[:MOST_PAIRS].tolist()
    rows = tuple((*(meaning.names[k] for k in trends.pairs[i]), f"{scores[i].item():.2f}") for i in order)
    if rows:
        pictures.append(
            ("Pairs that belong together, the least alike first", Rows(("column", "column", "alike"), rows))
        )
    tied = [(abs(real[i, j]), i, j) for i in places for j in places if i < j and not np.isnan(real[i, j])]
    tied = [pair for pair in tied if {pair[1], pair[2]} <= set(meaning.quantities)]
    if tied and max(tied)[0] >= LEAST_TIE:
        _, i, j = max(tied)
        pictures.append(
            (
                f"{names[i]} and {names[j]}: data grey, samples in colour",
                _cloud(a[:, [i, j]], b[:, [i, j]], (names[i], names[j])),
            )
        )
    return pictures


def _cloud(a: Tensor, b: Tensor, names: tuple[str, str]) -> Cloud:
    a, b = (rows[~rows.isnan().any(1)][:800] for rows in (a, b))
    low, high = (b.quantile(q, dim=0) if len(b) else torch.tensor([q, q]) for q in (0.005, 0.995))
    pad = 0.06 * (high - low).clamp(min=1e-9)
    low, high = low - pad, high + pad
    return Cloud(a, (low[0].item(), high[0].item(), low[1].item(), high[1].item()), names, b)


def _patterns(names: Sequence[str], a: Tensor, b: Tensor) -> Rows:
    """Patterns of missing values by their share of the data, then of the samples."""
    every, place = torch.unique(torch.cat([b, a]).isnan(), dim=0, return_inverse=True)
    data, samples = (
        torch.bincount(part, minlength=len(every)) / len(part) for part in (place[: len(b)], place[len(b) :])
    )
    rows = []
    for k in torch.maximum(data, samples).argsort(descending=True, stable=True)[:MOST_PAIRS].tolist():
        missing_names = [name for name, missing in zip(names, every[k].tolist(), strict=True) if missing]
        words = (
            "none"
            if not missing_names
            else ", ".join(missing_names[:3])
            + (f" and {len(missing_names) - 3} more" if len(missing_names) > 3 else "")
        )
        rows.append((words, f"{100 * data[k]:.1f} %", f"{100 * samples[k]:.1f} %"))
    return Rows(("missing", "data", "samples"), tuple(rows))


def _leaks(columns: ModelledColumns, x: Tensor, train: Tensor, references: References) -> Rows:
    a, b, test, fresh = map(columns.numbers, (x, train, references.test, references.fresh))
    places, nearest = Records(a, b, test, fresh, columns.meaning).leaks(LEAKS)
    samples, repeated = x[places], train[nearest]
    differ = frozenset((2 * i, j) for i, j in (samples != repeated).nonzero().tolist())
    return rows_of(columns.frame(torch.stack([samples, repeated], 1).flatten(0, 1)), differ)
