"""Measures by gradient-boosted trees: a two-sample test, and training on samples to predict a column of the data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from fourfold.machine.libraries import sklearn
from fourfold.metrics.floor import Draws, floor_of
from fourfold.metrics.rows import Array, Columns
from fourfold.metrics.score import Floor, Measurement, UncertainValue, jackknife, jackknife_of_both

__all__ = ["area", "cross_fitted", "two_sample_auc", "utility"]

FOLDS = 5
"""Parts of a cross-fitted test."""
MOST_CATEGORIES = 254
"""Categories of a column that trees distinguish. The rarer ones count as one more."""
REPEATS = 4
"""Draws of a floor for which trees are grown."""
TREES_TOO = 2.0
"""The variance of an area over trees and rows, as a multiple of that over rows alone."""
TREES = "100 boosted trees of scikit-learn"


def two_sample_auc(x: Tensor, y: Tensor, columns: Columns, paired: bool = False) -> Measurement:
    """The accuracy with which trees distinguish samples from references: an AUC, 0.5 if they cannot.

    Both are cut into five parts. The rows of each part are scored by trees grown on the other four, and the areas under
    the five curves are averaged. The floor is the law of that mean where both come from one distribution: 1/2, and
    twice the variance ``(n + m + 1) / (12 n m)`` of Mann and Whitney (1947), since trees that share rows err alike:
    tables that were cut in two gave 1.5 to 1.9 times that variance.

    Args:
        x: samples, ``(n, C)``.
        y: test rows, ``(m, C)``.
        columns: their meaning.
        paired: whether sample ``i`` and test row ``i`` share something, such as a condition. Both are then in one part:
            trees that saw one of them would take the other for the same.

    Reference: Lopez-Paz, Oquab 2017, Revisiting Classifier Two-Sample Tests, https://arxiv.org/abs/1610.06545
    """
    name, n, m = "two_sample_auc[boosted trees]", len(x), len(y)
    if min(n, m) < 4 * FOLDS:
        words = f"{min(n, m)} rows are too few for {FOLDS} parts"
        return Measurement(name, math.nan, n=n, protocol=words, better="nearer", share=True)
    scores, labels, parts = cross_fitted(x, y, columns, paired)
    random = np.random.default_rng(0)
    order = np.concatenate([random.permutation(n), n + random.permutation(m)])  # as a jackknife takes its rows
    scores, labels, parts = scores[order], labels[order], parts[order]

    def statistic(samples: Tensor, tests: Tensor) -> float:
        keep = torch.cat([samples, tests]).numpy()
        masks = [(parts == k) & keep for k in range(FOLDS)]
        return float(np.mean([area(scores[rows], labels[rows]) for rows in masks]))

    estimate = _of_trees_too(jackknife_of_both(statistic, n, m))
    words = (
        f"{TREES}, {FOLDS} parts, each scored by trees grown on the others; {n} samples against {m} test rows; 0.5 is "
        f"perfect; interval over samples and test rows: jackknife, and {TREES_TOO:g} times its variance since trees "
        "that share rows err alike; floor: the law where both come from one distribution"
    )
    half = 1.96 * math.sqrt(TREES_TOO * (n + m + 1) / (12 * n * m))
    score = Measurement(name, estimate.value, n=n, protocol=words, better="nearer", share=True)
    return score.within(estimate).beside(Floor(0.5, 0.5 - half, 0.5 + half))


def _of_trees_too(estimate: UncertainValue) -> UncertainValue:
    """An estimate over rows scored by fixed trees, widened by :data:`TREES_TOO` for trees that other rows grow."""
    value, error, deviations, freedom = estimate
    factor = math.sqrt(TREES_TOO)
    return UncertainValue(value, factor * error, tuple(factor * deviation for deviation in deviations), freedom)


def cross_fitted(
    x: Tensor, y: Tensor, columns: Columns, paired: bool = False
) -> tuple[Array, npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """The score of each row of ``x`` and then ``y`` by trees that did not see it, whether it is a sample, and its fold.

    All three have the shape ``(len(x) + len(y),)``. A higher score means that the row looks more like a sample.
    ``paired`` is described at :func:`two_sample_auc`.
    """
    rows = np.concatenate(for_trees(columns, y, x, y))
    labels = np.arange(len(rows)) < len(x)
    random = np.random.default_rng(0)
    of_samples, of_tests = (random.permutation(np.arange(size) % FOLDS) for size in (len(x), len(y)))
    parts = np.concatenate([of_tests[: len(x)] if paired else of_samples, of_tests])
    scores = np.empty(len(rows))
    for k in range(FOLDS):
        test_fold = parts == k
        empty = np.isnan(rows[~test_fold]).all(0)  # a column without a value here, of which trees can make no bins
        usable = np.where(empty, 0.0, rows)
        trees = _grow_trees(columns.categorical, usable[~test_fold], labels[~test_fold])
        scores[test_fold] = trees.decision_function(usable[test_fold])
    return scores, labels, parts


def for_trees(columns: Columns, y: Tensor, *parts: Tensor) -> list[Array]:
    """Rows for trees: categories by their frequency in ``y``, so that the rarest share a code where there are many."""
    coded = [part.double().numpy().copy() for part in parts]
    reference = y.double().numpy()
    for j in columns.categorical_columns:
        values, counts = np.unique(reference[:, j][~np.isnan(reference[:, j])], return_counts=True)
        order = values[np.argsort(-counts, kind="stable")][:MOST_CATEGORIES]
        place = np.argsort(order)
        for rows in coded:
            at = np.searchsorted(order[place], rows[:, j]).clip(max=max(len(order) - 1, 0))
            same = order[place][at] == rows[:, j] if len(order) else np.zeros(len(rows), dtype=bool)
            code = np.where(same, place[at] if len(order) else 0, len(order)).astype(np.float64)
            rows[:, j] = np.where(np.isnan(rows[:, j]), np.nan, code)
    return coded


def _grow_trees(categorical: tuple[bool, ...], rows: Array, target: npt.NDArray[Any], classes: bool = True) -> Any:
    """Trees grown on rows, by one thread: several that wait for each other on a busy machine take minutes."""
    forests = sklearn.ensemble
    kind = forests.HistGradientBoostingClassifier if classes else forests.HistGradientBoostingRegressor
    with threadpool_limits(1, "openmp"):
        trees = kind(categorical_features=np.array(categorical), early_stopping=False, random_state=0)
        return trees.fit(rows, target)


def area(scores: Array, labels: npt.NDArray[np.bool_]) -> float:
    """The area under the curve: the share of pairs that are in order, ties counted half. NaN without both labels."""
    positive, negative = scores[labels], np.sort(scores[~labels])
    if not len(positive) or not len(negative):
        return math.nan
    below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
    return float(below.mean() / (2 * len(negative)))


# --- trained on samples, tested on the data ---------------------------------------------------------------------------


def utility(x: Tensor, y: Tensor, columns: Columns, train: Draws | None = None) -> Measurement:
    """The accuracy with which trees grown on samples predict the target of test rows. Real rows give the floor.

    The area under the curve for a categorical column (the mean over categories, each against the rest, if there are
    more than two), and R² for a quantity.

    Args:
        x: samples, ``(n, C)``.
        y: test rows, ``(m, C)``.
        columns: their meaning, with a target.
        train: training rows, which stand in the samples' place for the floor.

    Reference: Esteban, Hyland, Rätsch 2017 (train on synthetic, test on real), https://arxiv.org/abs/1706.02633
    """
    assert columns.target is not None
    classes = columns.categorical[columns.target]
    measure = "AUC" if classes else "R²"
    predicted = _predicted(x, y, columns)
    truth = y[:, columns.target].double().numpy()

    def score(outputs: Array) -> Callable[[Tensor], float]:
        grade = _area_of_categories if classes else _explained
        return lambda keep: grade(outputs[keep.numpy()], truth[keep.numpy()])

    value, low, high = jackknife(score(predicted), len(y))
    every = torch.ones(len(y), dtype=torch.bool)
    few = None if train is None else Draws(train.pool, train.rows[:REPEATS])
    floor = floor_of(few, len(x), lambda rows: score(_predicted(rows, y, columns))(every))
    words = (
        f"{measure} of {columns.names[columns.target]} on {len(y)} test rows; {TREES}, grown on {len(x)} samples; "
        "floor: grown on as many training rows; interval over test rows, the trees fixed: jackknife"
    )
    name = f"train_on_synthetic[{measure} of {columns.names[columns.target]}]"
    measurement = Measurement(name, value, low, high, n=len(x), protocol=words, better="higher", share=classes)
    return measurement.beside(floor)


def _predicted(x: Tensor, y: Tensor, columns: Columns) -> Array:
    """The outputs of trees grown on samples for test rows: scores of categories ``(m, L)``, or numbers ``(m, 1)``."""
    at = columns.target
    assert at is not None
    rest = [j for j in range(len(columns.names)) if j != at]
    names, categorical = tuple(columns.names[j] for j in rest), tuple(columns.categorical[j] for j in rest)
    training_rows, test_rows = for_trees(Columns(names, categorical), x[:, rest], x[:, rest], y[:, rest])
    target = x[:, at].double().numpy()
    observed_mask = ~np.isnan(target)
    if not columns.categorical[at]:
        if not observed_mask.any():
            return np.zeros((len(y), 1))
        return np.asarray(
            _grow_trees(categorical, training_rows[observed_mask], target[observed_mask], classes=False).predict(
                test_rows
            )
        )[:, None]
    codes = np.where(observed_mask, target, -2.0)  # a gap is a category too
    classes = np.unique(codes)
    scores = np.full((len(y), int(max(np.nan_to_num(y[:, at].numpy(), nan=-2).max(), classes.max())) + 3), -np.inf)
    if len(classes) > 1:
        out = _grow_trees(categorical, training_rows, codes).predict_proba(test_rows)
        scores[:, classes.astype(np.int64) + 2] = out
    return scores


def _area_of_categories(scores: Array, truth: Array) -> float:
    """The mean area over the categories of the data, each against the rest. Of two, both areas are the same."""
    codes = np.where(np.isnan(truth), -2, truth).astype(np.int64)
    categories, counts = np.unique(codes, return_counts=True)
    often = categories[counts >= min(10, len(codes) // 4)]
    return (
        float(np.mean([area(scores[:, code + 2], codes == code) for code in often]))
        if len(categories) > 1
        else math.nan
    )


def _explained(predicted: Array, truth: Array) -> float:
    observed_mask = ~np.isnan(truth)
    spread = np.square(truth[observed_mask] - truth[observed_mask].mean()).sum() if observed_mask.any() else 0.0
    return (
        float(1 - np.square(truth[observed_mask] - predicted[observed_mask, 0]).sum() / spread) if spread else math.nan
    )
