"""Classification by Bayes' rule through a generative model, beside classifiers that learn nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.core import GenerativeModel
from fourfold.output.printable import shortened
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, Categorical, Cells, Graded
from fourfold.tasks.given import column_at
from fourfold.vocabulary import Kind

__all__ = ["ClassifierScores", "class_probabilities", "classify", "judge", "rivals"]

DRAWS = 200
"""Bootstrap draws of an interval."""
MOST = 50_000
"""Rows that the other classifiers learn from, at most."""
LEVELS = 255
"""Levels of a category that gradient boosting takes, at most; rarer ones are one level."""


@dataclass(frozen=True)
class ClassifierScores:
    """How well probabilities of classes fit the truth.

    Attributes:
        name: of the classifier.
        accuracy, log_loss, auc: each with the ends of its 95 % interval; the area under the curve is the mean of each
            class against the others, where both are there.
    """

    name: str
    accuracy: tuple[float, float, float]
    log_loss: tuple[float, float, float]
    auc: tuple[float, float, float]


def classify(model: GenerativeModel, x: Tensor, target: str, seed: int = 0, batch_size: int = 1024) -> Tensor:
    """``p(y | x) = p(x, y) / sum_y' p(x, y')`` of each level of a column, ``(B, K)`` float64.

    A missing target has no probability here: the levels share all of it. The number is exact where the likelihood is;
    of bounds, it is a ratio of bounds.

    Args:
        model: of a table.
        x: rows ``(B, C)``; what stands in the column of the target does not matter.
        target: a column of levels.
        seed: of a likelihood that draws.
        batch_size: rows per network call.

    Raises:
        ValueError: for a column that is unknown or has no levels, or a model without a likelihood.
        TypeError: for a model that is of no table.
    """
    column, place = target_of(model, target)
    columns = []
    for level in range(len(column.levels)):
        rows = x.clone()
        rows[:, place] = level
        found = model.log_prob(rows, seed=seed, batch_size=batch_size)
        if found.kind is Kind.NONE:
            raise ValueError(f"this {model.paradigm} model has no likelihood, so it cannot classify: train another")
        columns.append(found.nats.double())
    log_joint = torch.stack(columns, 1)
    log_joint[torch.isinf(log_joint).all(1)] = 0.0  # a row that holds a value without mass: nothing is known
    return log_joint.softmax(1)


def class_probabilities(
    model: GenerativeModel, x: Tensor, prior: Tensor | None = None, seed: int = 0, batch_size: int = 256
) -> Tensor:
    """``p(c | x) = p(x | c) p(c) / sum_c' p(x | c') p(c')`` of each class of a model by class, ``(B, K)`` float64.

    The number is exact where the likelihood is; of bounds, it is a ratio of bounds.

    Args:
        model: conditional on classes.
        x: raw examples ``(B, *shape)``.
        prior: ``p(c)``, ``(K,)``; by default all classes are equally likely.
        seed: of a likelihood that draws.
        batch_size: rows per network call.

    Raises:
        ValueError: for a model without classes or without a likelihood, or a prior that is not one.
    """
    count = model.space.classes
    if count is None:
        raise ValueError(f"this model of {model.space} has no classes: train with --conditional on data that has some")
    p = torch.full((count,), 1 / count, dtype=torch.float64) if prior is None else prior.double()
    if p.shape != (count,) or float(p.min()) < 0 or abs(float(p.sum()) - 1) > 1e-6:
        raise ValueError(f"the prior must be {count} probabilities that add up to 1")
    found = [model.log_prob(x, label, seed=seed, batch_size=batch_size) for label in range(count)]
    if found[0].kind is Kind.NONE:
        raise ValueError(f"this {model.paradigm} model has no likelihood, so it cannot classify: train another")
    return (torch.stack([one.nats.double() for one in found], 1) + p.log()).softmax(1)


def target_of(model: GenerativeModel, target: str) -> tuple[Categorical, int]:
    """A column of levels, and its place.

    Raises:
        ValueError: for another column.
        TypeError: for a model that is of no table.
    """
    space = model.space
    if not isinstance(space, Table):  # only a table has a column to predict from the others
        raise TypeError(f"classification is for tables, and this model knows {space}: train on a table (--space table)")
    place = column_at(space, target)
    column = space.modelled[place]
    if not isinstance(column, Categorical) or len(column.levels) < 2:
        known = [one.name for one in space.modelled if isinstance(one, Categorical) and len(one.levels) > 1]
        raise ValueError(f"target {target!r} has no levels to choose from: choose one of {shortened(known)}")
    return column, place


def rivals(space: Table, train: Tensor, x: Tensor, place: int, seed: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Logistic regression and gradient-boosted trees that learn the column from rows, and their probabilities.

    Args:
        space: of the rows.
        train: rows to learn from; those without the target are left out, and at most 50,000 are drawn.
        x: rows to judge.
        place: the column of the target.
        seed: of the draw.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

    train = train[train[:, place] >= 0]
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:MOST]
    train, others = train[order], [i for i in range(train.shape[1]) if i != place]
    kinds = [isinstance(space.modelled[i], Graded) for i in others]
    numbers = [i for i, graded in enumerate(kinds) if graded]
    levels = [i for i, graded in enumerate(kinds) if not graded]
    known = [_features(train[:, i].numpy(), graded) for i, graded in zip(others, kinds, strict=True)]
    new = [_features(x[:, i].numpy(), graded) for i, graded in zip(others, kinds, strict=True)]
    for i in levels:
        known[i], new[i] = _frequent(known[i], new[i])
    seen, y = np.stack(known, 1), train[:, place].numpy()
    quantiles = QuantileTransformer(output_distribution="normal", n_quantiles=min(200, len(seen)), random_state=seed)
    prepared = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), quantiles), numbers),
            ("levels", OneHotEncoder(handle_unknown="ignore"), levels),
        ]
    )
    classifiers: dict[str, Any] = {
        "logistic regression": make_pipeline(prepared, LogisticRegression(max_iter=500)),
        "gradient boosting": HistGradientBoostingClassifier(
            categorical_features=levels or None, random_state=seed, early_stopping=True
        ),
    }
    for name, classifier in classifiers.items():
        classifier.fit(seen, y)
        found = torch.zeros(len(x), space.modelled[place].span[1] + 1, dtype=torch.float64)
        found[:, classifier.classes_] = torch.from_numpy(classifier.predict_proba(np.stack(new, 1)))
        yield name, found


def _features(cells: Cells, graded: bool) -> npt.NDArray[np.float64]:
    """Cells as a feature: numbers with NaN where one is missing; levels with one more for missing and unseen ones."""
    values = cells.astype(np.float64)
    values[cells <= MISSING + 2] = np.nan if graded else -1.0
    return values


def _frequent(known: npt.NDArray[Any], new: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Levels numbered by how frequent they are; those beyond the most that a classifier takes are one."""
    levels, counts = np.unique(known, return_counts=True)
    rank = np.empty(len(levels))
    rank[(-counts).argsort(kind="stable")] = np.minimum(np.arange(len(levels)), LEVELS - 1)
    place = np.searchsorted(levels, new).clip(0, len(levels) - 1)
    return rank[np.searchsorted(levels, known)], np.where(levels[place] == new, rank[place], rank.max())


def judge(name: str, p: Tensor, y: Tensor, seed: int = 0) -> ClassifierScores:
    """Accuracy, log-loss and area under the curve of probabilities ``(B, K)``, with bootstrap intervals over rows.

    Args:
        name: of the classifier.
        p: probabilities of the classes.
        y: the true ones, ``(B,)``.
        seed: of the bootstrap.
    """
    right = (p.argmax(1) == y).double().numpy()
    loss = -p.gather(1, y.unsqueeze(1)).squeeze(1).clamp(min=1e-15).log().numpy()
    draw = np.random.default_rng(seed)
    chosen = [draw.integers(0, len(y), len(y)) for _ in range(DRAWS)]
    scores, truth = p.numpy(), y.numpy()
    return ClassifierScores(
        name,
        _interval(right.mean(), [right[rows].mean() for rows in chosen]),
        _interval(loss.mean(), [loss[rows].mean() for rows in chosen]),
        _interval(_area(scores, truth), [_area(scores[rows], truth[rows]) for rows in chosen]),
    )


def _area(p: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    """The mean over classes of the area under the curve of one class against the others; ties count half."""
    from scipy.stats import rankdata

    areas = []
    for level in range(p.shape[1]) if p.shape[1] > 2 else (1,):
        inside = y == level
        n = int(inside.sum())
        if 0 < n < len(y):
            ranks = rankdata(p[:, level])[inside].sum()
            areas.append((ranks - n * (n + 1) / 2) / (n * (len(y) - n)))
    return float(np.mean(areas)) if areas else math.nan


def _interval(value: float, draws: Sequence[float]) -> tuple[float, float, float]:
    known = [one for one in draws if not math.isnan(one)]
    low, high = np.quantile(known, (0.025, 0.975)) if known else (math.nan, math.nan)
    return float(value), float(low), float(high)
