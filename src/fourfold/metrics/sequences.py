"""Every measure of samples of sequences: what is in them, how they go on, how long they are, and whether they are new.

Sequences are float64 ``(n, length, C)``: a categorical value is the index of its category, a gap is NaN, and what lies
behind the end is infinite.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.records import Records
from fourfold.metrics.references import References
from fourfold.metrics.rows import Columns, digests
from fourfold.metrics.score import Measurement, jackknife, mean_interval
from fourfold.metrics.shapes import shapes
from fourfold.metrics.twosample import two_sample_auc

__all__ = [
    "autocorrelations",
    "by_sequences",
    "copied_sequences",
    "features",
    "length_distance",
    "lengths",
    "transition_matrix",
]

LAGS = 5
"""Lags of an autocorrelation, at most."""
MOST_CATEGORIES = 24
"""Categories of a column that transitions distinguish. The rarer ones count as one more."""
FEWEST = 50
"""Sequences below which trees find nothing, so that their verdict would be that of perfect samples."""
PLACES = 16
"""Places of a sequence whose cells tell how close two sequences are."""
SHARES = 8
"""Categories whose share is a feature of a sequence."""


def by_sequences(x: Tensor, references: References, columns: Columns, varying: bool = True) -> Iterator[Measurement]:
    """The two-sample test first, then autocorrelations, transitions, lengths, cells, and copies.

    Args:
        x: samples ``(n, length, C)`` as numbers, so are all sequences of ``references``.
        references: test, training and fresh sequences.
        columns: of the rows.
        varying: whether lengths vary.
    """
    y, train = references.test, references.train
    yield _two_sample(x, y, columns)
    if columns.quantities and x.shape[1] > 1:
        yield _autocorrelation_error(x, y, columns, train)
    if columns.categorical_columns and x.shape[1] > 1:
        yield _transition_distance(x, y, columns, train)
    if varying:
        yield length_distance(x, y, train)
    yield _cells(x, y, columns, train)
    yield dataclasses.replace(_records(x, references, columns).closer(), name="closer_to_training[sequences]")
    yield copied_sequences(x, references.all_train, y)


def lengths(x: Tensor) -> Tensor:
    """Rows of each sequence, ``(n,)``."""
    return (~x[..., 0].isposinf()).sum(1)


# --- the two-sample test ----------------------------------------------------------------------------------------------


def _two_sample(x: Tensor, y: Tensor, columns: Columns) -> Measurement:
    """:func:`two_sample_auc` of :func:`features`: at 0.5, trees cannot distinguish them."""
    name = "two_sample_auc[sequences]"
    if min(len(x), len(y)) < FEWEST:
        words = f"{min(len(x), len(y))} sequences are too few: trees need {FEWEST} samples and as many test sequences"
        return Measurement(name, math.nan, n=len(x), protocol=words, better="nearer", share=True)
    (a, b), names = features([x, y], columns, y)
    score = two_sample_auc(a, b, Columns(names, (False,) * len(names)))
    words = f"{len(names)} features of each sequence (moments, ends, changes, shares of categories); {score.protocol}"
    return dataclasses.replace(score, name=name, protocol=words)


def features(parts: Sequence[Tensor], columns: Columns, reference: Tensor) -> tuple[list[Tensor], tuple[str, ...]]:
    """The features of each sequence that trees grow on, ``(n, F)``, and the names of these features.

    The length; the cells of the first two and of the last two rows; of a quantity its mean, deviation, extremes, mean
    absolute step and first autocorrelation, and its correlation with each other quantity; of a category the shares of
    the most frequent categories and of changes; of both the share of gaps.

    Args:
        parts: sets of sequences.
        columns: of the rows.
        reference: the sequences whose frequent categories count.
    """
    often = {j: _frequent(reference[..., j], SHARES) for j in columns.categorical_columns}
    tables = [_features(x, columns, often) for x in parts]
    return [torch.stack(list(table.values()), 1) for table in tables], tuple(tables[0])


def _features(x: Tensor, columns: Columns, often: dict[int, Tensor]) -> dict[str, Tensor]:
    n, rows = lengths(x), torch.arange(len(x))
    table = {"length": n.double()}
    for j, name in enumerate(columns.names):
        v, there = x[..., j], ~x[..., j].isposinf()
        observed_mask = there & ~v.isnan()
        ends = {"first": n * 0, "second": n * 0 + 1, "last but one": n - 2, "last": n - 1}
        for word, at in ends.items():
            inside = (at >= 0) & (at < n)
            table[f"{name}, {word}"] = torch.where(inside, v[rows, at.clamp(0, x.shape[1] - 1)], torch.nan)
        table[f"{name}, gaps"] = (there & ~observed_mask).sum(1) / n
        pair_mask = observed_mask[:, 1:] & observed_mask[:, :-1]
        if columns.categorical[j]:
            for category in often[j].tolist():
                table[f"{name}, share of {category:g}"] = ((v == category) & observed_mask).sum(1) / observed_mask.sum(
                    1
                )
            table[f"{name}, changes"] = ((v[:, 1:] != v[:, :-1]) & pair_mask).sum(1) / pair_mask.sum(1)
            continue
        z = torch.where(observed_mask, v, 0.0)
        count = observed_mask.sum(1)
        mean = z.sum(1) / count
        centred = torch.where(observed_mask, v - mean[:, None], 0.0)
        deviation = (centred.square().sum(1) / count).sqrt()
        step = torch.where(pair_mask, z[:, 1:] - z[:, :-1], 0.0)
        table[f"{name}, mean"], table[f"{name}, deviation"] = mean, deviation
        table[f"{name}, smallest"] = torch.where(observed_mask, v, torch.inf).amin(1).nan_to_num(posinf=torch.nan)
        table[f"{name}, largest"] = torch.where(observed_mask, v, -torch.inf).amax(1).nan_to_num(neginf=torch.nan)
        table[f"{name}, step"] = step.abs().sum(1) / pair_mask.sum(1)
        moved = torch.where(pair_mask, centred[:, 1:] * centred[:, :-1], 0.0).sum(1)
        table[f"{name}, autocorrelation"] = moved / centred.square().sum(1)
    return table | _together(x, columns)


def _together(x: Tensor, columns: Columns, most: int = 12) -> dict[str, Tensor]:
    """Correlations of the first quantities within each sequence."""
    table, places = {}, columns.quantities[:most]
    for a, j in enumerate(places):
        for k in places[a + 1 :]:
            pair_mask = x[..., j].isfinite() & x[..., k].isfinite()
            count = pair_mask.sum(1, keepdim=True)
            u, v = (torch.where(pair_mask, x[..., i], 0.0) for i in (j, k))
            u, v = (torch.where(pair_mask, w - w.sum(1, keepdim=True) / count, 0.0) for w in (u, v))
            scale = (u.square().sum(1) * v.square().sum(1)).sqrt()
            name = f"{columns.names[j]} with {columns.names[k]}"
            table[name] = torch.where(scale > 0, (u * v).sum(1) / scale, torch.nan)
    return table


def _frequent(v: Tensor, most: int) -> Tensor:
    """The most frequent categories, ascending."""
    categories, counts = torch.unique(v[v.isfinite()], return_counts=True)
    return categories[counts.argsort(descending=True, stable=True)[:most]].sort().values


# --- how sequences go on ----------------------------------------------------------------------------------------------


def autocorrelations(x: Tensor, columns: Columns, lags: int = LAGS) -> Tensor:
    """Autocorrelations of each quantity, ``(Q, lags)``: correlations of a row with the one ``k`` rows later.

    All pairs of all sequences are pooled, so that the differences between sequences count too. NaN where there are no
    two pairs, or one of their sides is constant.
    """
    return _correlation(_pairs(x, columns, min(lags, x.shape[1] - 1)).sum(0))


def _pairs(x: Tensor, columns: Columns, lags: int) -> Tensor:
    """Of each sequence: count, sums, squares and product of the pairs of a quantity and a lag, ``(n, Q, lags, 6)``."""
    v = x[..., columns.quantities].transpose(1, 2)
    observed_mask = v.isfinite()
    z = torch.where(observed_mask, v, 0.0)
    centre = z.sum((0, 2), keepdim=True) / observed_mask.sum((0, 2), keepdim=True).clamp(min=1)
    z = torch.where(observed_mask, v - centre, 0.0)
    z = z / z.abs().amax((0, 2), keepdim=True).clamp(min=1e-300)
    moments = []
    for k in range(1, lags + 1):
        pair_mask = (observed_mask[..., k:] & observed_mask[..., :-k]).double()
        a, b = z[..., :-k] * pair_mask, z[..., k:] * pair_mask
        moments.append(torch.stack([pair_mask.sum(2), *(w.sum(2) for w in (a, b, a * a, b * b, a * b))], 2))
    return torch.stack(moments, 2)


def _correlation(sums: Tensor) -> Tensor:
    n, a, b, aa, bb, ab = sums.unbind(-1)
    spread = ((n * aa - a * a) * (n * bb - b * b)).clamp(min=0).sqrt()
    return torch.where(spread > 1e-9 * n * (aa * bb).sqrt(), (n * ab - a * b) / spread, torch.nan)


def _autocorrelation_error(x: Tensor, y: Tensor, columns: Columns, train: Draws) -> Measurement:
    """The mean absolute difference of autocorrelations over columns and lags."""
    lags = min(LAGS, x.shape[1] - 1)
    every = _pairs(torch.cat([y, x, train.pool]), columns, lags)  # in one go, so that all have one centre
    test_pairs, sample_pairs, pool = torch.split(every, [len(y), len(x), len(train.pool)])
    truth = _correlation(test_pairs.sum(0))

    def error(pairs: Tensor) -> float:
        return (_correlation(pairs.sum(0)) - truth).abs().nanmean().nan_to_num(1.0).item()

    value, low, high = jackknife(lambda keep: error(sample_pairs[keep]), len(x))
    words = (
        f"mean absolute difference of the autocorrelations of {len(columns.quantities)} columns at lags 1 to {lags}, "
        f"all rows of {len(x)} samples against {len(y)} test sequences; interval over samples: jackknife"
    )
    name = f"autocorrelation_error[lags 1-{lags}]"
    score = Measurement(name, value, max(low, 0.0), high, n=len(x), protocol=words, better="lower")
    return score.beside(floor_of(train.features(pool), len(x), error))


def transition_matrix(v: Tensor, categories: int) -> Tensor:
    """``p(next category | category)`` of one column of sequences ``(n, length)``, ``(K, K)``. NaN for no case."""
    pair_mask = v[:, :-1].isfinite() & v[:, 1:].isfinite()
    code = (v[:, :-1].nan_to_num(0, 0, 0) * categories + v[:, 1:].nan_to_num(0, 0, 0)).long()[pair_mask]
    counts = torch.bincount(code, minlength=categories * categories).view(categories, categories).double()
    return counts / counts.sum(1, keepdim=True)


def _transition_distance(x: Tensor, y: Tensor, columns: Columns, train: Draws) -> Measurement:
    """The total variation of pairs of categories in neighbouring rows, the mean over columns."""
    often = {j: _frequent(y[..., j], MOST_CATEGORIES) for j in columns.categorical_columns}
    test_counts, sample_counts, pool = (_transitions(part, often) for part in (y, x, train.pool))
    truth = [counts.sum(0) / counts.sum().clamp(min=1) for counts in test_counts]

    def distance(rows: Tensor, counts: Sequence[Tensor]) -> float:
        shares = [table[rows].sum(0) / table[rows].sum().clamp(min=1) for table in counts]
        return float(sum((p - q).abs().sum() / 2 for p, q in zip(shares, truth, strict=True)) / len(shares))

    value, low, high = jackknife(lambda keep: distance(keep, sample_counts), len(x))
    floor = floor_of(train.features(torch.arange(len(train.pool))), len(x), lambda rows: distance(rows, pool))
    words = (
        f"total variation of the pairs of categories of neighbouring rows, gaps included, the mean over {len(often)} "
        f"columns; {len(x)} samples against {len(y)} test sequences; interval over samples: jackknife"
    )
    score = Measurement(
        "transitions[total variation]", value, max(low, 0.0), high, n=len(x), protocol=words, better="lower"
    )
    return score.beside(floor)


def _transitions(x: Tensor, often: dict[int, Tensor]) -> list[Tensor]:
    """Counts of pairs of categories in each sequence, ``(n, K^2)`` for each column. A gap and "rare" count too."""
    tables = []
    for j, categories in often.items():
        v, size = x[..., j], len(categories) + 2
        at = torch.searchsorted(categories, v.nan_to_num(0, 0, 0).contiguous()).clamp(max=max(len(categories) - 1, 0))
        same = categories[at] == v if len(categories) else torch.zeros_like(v, dtype=torch.bool)
        code = torch.where(v.isnan(), size - 1, torch.where(same, at, size - 2))
        pair_mask = ~v[:, 1:].isposinf()
        pair = code[:, :-1] * size + code[:, 1:]
        counts = torch.zeros(len(x), size * size, dtype=torch.float64)
        tables.append(counts.scatter_add_(1, pair, pair_mask.double()))
    return tables


def length_distance(x: Tensor, y: Tensor, train: Draws | None = None) -> Measurement:
    """``sup |F - G|`` of the distribution functions of lengths (Kolmogorov and Smirnov)."""
    rows_of_samples, truth = lengths(x), lengths(y)
    grid = torch.arange(x.shape[1] + 1)
    distribution = (truth[:, None] <= grid).double().mean(0)

    def distance(rows: Tensor) -> float:
        return ((rows[:, None] <= grid).double().mean(0) - distribution).abs().max().item()

    value, low, high = jackknife(lambda keep: distance(rows_of_samples[keep]), len(x))
    words = (
        f"largest difference of the distribution functions of lengths (Kolmogorov and Smirnov), {len(x)} samples of "
        f"{rows_of_samples.double().mean():.1f} rows against {len(y)} test sequences of {truth.double().mean():.1f}; "
        "interval over samples: jackknife"
    )
    score = Measurement("lengths[KS]", value, max(low, 0.0), high, n=len(x), protocol=words, better="lower")
    return score.beside(floor_of(None if train is None else train.features(lengths(train.pool)), len(x), distance))


# --- cells, and copies ------------------------------------------------------------------------------------------------


def _cells(x: Tensor, y: Tensor, columns: Columns, train: Draws) -> Measurement:
    """The likeness of the cells of all rows, the mean of :func:`~fourfold.metrics.shapes.shapes` over columns."""
    truth = _rows(y)

    def alike(part: Tensor) -> float:
        return shapes(_rows(part), truth, columns).nanmean().nan_to_num(0.0).item()

    value, low, high = jackknife(lambda keep: alike(x[keep]), len(x))
    words = (
        "shape of each column of all rows, 1 less the distance of Kolmogorov and Smirnov or the total variation, the "
        f"mean over {len(columns.names)} columns; {len(x)} samples against {len(y)} test sequences; interval over "
        "samples: jackknife"
    )
    score = Measurement("cells[shape]", value, low, min(high, 1.0), n=len(x), protocol=words, better="higher")
    return score.beside(floor_of(train, len(x), alike))


def _rows(x: Tensor) -> Tensor:
    """All rows that are there, ``(N, C)``."""
    return x[~x[..., 0].isposinf()]


def _records(x: Tensor, references: References, columns: Columns) -> Records:
    """Whole sequences as rows: the cells of at most :data:`PLACES` evenly spaced places, gaps behind the end."""
    places = torch.arange(0, x.shape[1], -(-x.shape[1] // PLACES))
    parts = (x, references.all_train, references.test, references.fresh)
    samples, train, test, fresh = (part[:, places].nan_to_num(math.nan, math.nan).flatten(1) for part in parts)
    names = tuple(f"{name}, {place}" for place in places.tolist() for name in columns.names)
    wide = Columns(names, columns.categorical * len(places), columns.units * len(places))
    return Records(samples, train, test, fresh, wide)


def copied_sequences(x: Tensor, train: Tensor, y: Tensor) -> Measurement:
    """The share of samples that equal a training sequence in every cell. The floor is that of test sequences."""
    train_digests = torch.from_numpy(digests(train.flatten(1)))
    sample_hits, test_hits = (torch.isin(torch.from_numpy(digests(part.flatten(1))), train_digests) for part in (x, y))
    value, low, high = mean_interval(sample_hits.double(), share=True)
    words = (
        f"samples that equal one of {len(train)} training sequences in every cell; floor: test sequences that do; "
        "interval over samples: Agresti and Coull"
    )
    floor = test_hits.double().mean().item() if len(test_hits) else math.nan
    return Measurement("copies[sequences]", value, low, high, floor, len(x), words, better="lower")
