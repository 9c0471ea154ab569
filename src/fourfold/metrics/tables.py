"""Every measure of samples of a table, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.records import Records
from fourfold.metrics.references import References
from fourfold.metrics.rows import Columns, join_labels
from fourfold.metrics.rule_search import find_rules
from fourfold.metrics.rules import rare_categories, violations
from fourfold.metrics.score import Measurement, jackknife
from fourfold.metrics.shapes import quality
from fourfold.metrics.twosample import two_sample_auc, utility

__all__ = ["by_rows", "gaps"]


def by_rows(
    x: Tensor,
    references: References,
    columns: Columns,
    label: str = "label",
    train_digests: npt.NDArray[np.int64] | None = None,
) -> Iterator[Measurement]:
    """The two-sample test first, then quality, use, rare categories, gaps, rules, and what the samples give away.

    A score that says nothing is left out: of rare categories, gaps or rules where the data have none.

    Args:
        x: samples ``(n, C)`` as numbers, gaps as NaN, so are all rows of ``references``.
        references: test, training and fresh rows. With labels, these are one more column, the target.
        columns: of the rows.
        label: the name of that column.
        train_digests: the :func:`~fourfold.metrics.rows.digests` of all training rows, where ``references.all_train``
            is a part of them.
    """
    y, train, labelled = references.test, references.train, columns
    a = x
    if references.cond is not None and references.cond.ndim == 1:
        labels = references.cond.double()
        a, y, labelled = join_labels(x, labels[: len(x)]), join_labels(y, labels), columns.labelled(label)
        train = _labelled(train, labels)
    yield two_sample_auc(a, y, labelled)
    yield from quality(a, y, labelled, train)
    if labelled.target is not None and len(labelled.names) > 1:
        yield utility(a, y, labelled, train)
    if (rare := rare_categories(x, references.test, columns, references.all_train, references.train)) is not None:
        yield rare
    if references.all_train.isnan().any():
        yield gaps(x, references.test, references.train)
    unseen = torch.cat([references.test, references.fresh])
    if rules := find_rules(references.all_train, columns):
        yield violations(x, unseen, rules, columns)
    records = Records(x, references.all_train, references.test, references.fresh, columns, train_digests)
    yield records.closer()
    yield records.closest()
    yield records.copies()
    yield records.attack()


def _labelled(train: Draws, labels: Tensor) -> Draws:
    """Draws whose rows have the labels that they were drawn for."""
    labels_of_pool = torch.zeros(len(train.pool), dtype=labels.dtype)
    for rows in train.rows:
        labels_of_pool[rows] = labels[: len(rows)]
    return Draws(join_labels(train.pool, labels_of_pool), train.rows)


def gaps(x: Tensor, y: Tensor, train: Draws | None = None) -> Measurement:
    """The distance of patterns of missing values from those of the data: the total variation ``1/2 Σ |p - q|``.

    A pattern says which columns of a row are missing.

    Args:
        x: samples.
        y: test rows.
        train: training rows that stand in the samples' place for the floor.
    """
    value, low, high = jackknife(lambda keep: _patterns_apart(x[keep], y), len(x))
    words = (
        f"total variation of the patterns of missing values, {len(x)} samples against {len(y)} test rows; "
        "interval over samples: jackknife"
    )
    score = Measurement("missing[patterns]", value, max(low, 0.0), high, n=len(x), protocol=words, better="lower")
    floor = floor_of(train, len(x), lambda rows: _patterns_apart(rows, y))
    return score.beside(floor._replace(low=max(floor.low, 0.0)))


def _patterns_apart(x: Tensor, y: Tensor) -> float:
    every, place = torch.unique(torch.cat([x, y]).isnan(), dim=0, return_inverse=True)
    p, q = (torch.bincount(part, minlength=len(every)) / len(part) for part in (place[: len(x)], place[len(x) :]))
    return (p - q).abs().sum().item() / 2
