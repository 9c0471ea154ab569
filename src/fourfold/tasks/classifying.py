"""Classification by Bayes' rule through a generative model, beside classifiers that learn nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fourfold.core import GenerativeModel, Space
from fourfold.machine.libraries import scipy, sklearn
from fourfold.output.printable import shortened
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, Categorical, Graded
from fourfold.tasks.examples import raw_examples
from fourfold.tasks.given import column_at
from fourfold.vocabulary import Kind

__all__ = [
    "ClassifierScores",
    "category_probabilities",
    "class_probabilities",
    "classes_of",
    "classifiers",
    "classify",
    "judge",
    "places_among",
    "target_of",
]

RESAMPLES = 200
"""Bootstrap resamples of an interval."""
MOST = 50_000
"""Training rows of the other classifiers, at most."""
MOST_CATEGORIES = 255
"""Categories of a column that gradient boosting accepts, at most, where rarer ones are one. And classes of examples."""


@dataclass(frozen=True)
class ClassifierScores:
    """Accuracy, log-loss and area under the curve of a classifier.

    Attributes:
        name: of the classifier.
        accuracy, log_loss, auc: each with the ends of its 95 % interval. The area under the curve is the mean of each
            class against the others, where both are there.
    """

    name: str
    accuracy: tuple[float, float, float]
    log_loss: tuple[float, float, float]
    auc: tuple[float, float, float]


def classify(model: GenerativeModel, x: Any, target: str | None = None, seed: int = 0) -> Tensor:
    """Probabilities ``(B, K)`` of the categories of a column given all others, or of the classes of examples.

    They follow by Bayes' rule: see :func:`category_probabilities` and :func:`class_probabilities`.

    Args:
        model: of a table, or conditional on classes.
        x: rows of a table as a tensor ``(B, C)`` or as a data frame, which may lack the column, or raw examples.
        target: the column. ``None`` for a model that is conditional on classes.
        seed: of a likelihood that draws.

    Raises:
        ValueError: for a column that is unknown or has no categories, or a model without classes or without a
            likelihood.
        TypeError: for a target of a model that is of no table.
    """
    if target is None:
        return class_probabilities(model, raw_examples(x, model.space), seed=seed)
    if hasattr(x, "columns") and target not in x.columns:
        x = x.assign(**{target: target_of(model, target)[0].categories[0]})
    return category_probabilities(model, raw_examples(x, model.space), target, seed)


def category_probabilities(
    model: GenerativeModel, x: Tensor, target: str, seed: int = 0, batch_size: int = 1024
) -> Tensor:
    """``p(y | x) = p(x, y) / sum_y' p(x, y')`` of each category of a column, ``(B, K)`` float64.

    A missing target has no probability here: the categories share all of it. The number is exact where the likelihood
    is. With bounds, it is a ratio of bounds.

    Args:
        model: of a table.
        x: rows ``(B, C)``. Values in the column of the target do not matter.
        target: a categorical column.
        seed: of a likelihood that draws.
        batch_size: rows per network call.

    Raises:
        ValueError: for a column that is unknown or has no categories, or a model without a likelihood.
        TypeError: for a model that is of no table.
    """
    column, place = target_of(model, target)
    log_joint = []
    for category in range(len(column.categories)):
        rows = x.clone()
        rows[:, place] = category
        log_joint.append(_nats(model, rows, None, seed, batch_size))
    log_p = torch.stack(log_joint, 1)
    log_p[torch.isinf(log_p).all(1)] = 0.0  # a row with a value without mass: all categories are equally likely
    return log_p.softmax(1)


def class_probabilities(
    model: GenerativeModel, x: Tensor, prior: Tensor | None = None, seed: int = 0, batch_size: int = 256
) -> Tensor:
    """``p(c | x) = p(x | c) p(c) / sum_c' p(x | c') p(c')`` of each class of a model by class, ``(B, K)`` float64.

    The number is exact where the likelihood is. With bounds, it is a ratio of bounds.

    Args:
        model: conditional on classes, or on columns of few values: see :func:`classes_of`.
        x: raw examples ``(B, *shape)``.
        prior: ``p(c)``, ``(K,)``. By default all classes are equally likely.
        seed: of a likelihood that draws.
        batch_size: rows per network call.

    Raises:
        ValueError: for a model without classes or without a likelihood, or a prior that is not one.
    """
    conditions, _ = classes_of(model.space)
    count = len(conditions)
    if not count:
        raise ValueError(
            f"model must have classes, got one of {model.space} without: train with --given labels, or with a column "
            "of few values"
        )
    p = torch.full((count,), 1 / count, dtype=torch.float64) if prior is None else prior.double()
    if p.shape != (count,) or float(p.min()) < 0 or abs(float(p.sum()) - 1) > 1e-6:
        raise ValueError(f"prior must be {count} probabilities that add up to 1, got {p.tolist()[:9]}")
    log_p = torch.stack([_nats(model, x, condition, seed, batch_size) for condition in conditions], 1)
    return (log_p + p.log()).softmax(1)


def classes_of(space: Space) -> tuple[Tensor, tuple[str, ...]]:
    """The conditions of a space that has few of them, ``(K, *given.shape)``, and their names: classes, or rows.

    Both are empty for a space without conditions, and where these are not a few categories or whole numbers.
    """
    given = space.given
    if given is None or not (given.names or given.mixed):
        return torch.empty(0), ()
    try:
        conditions, _ = given.support(1, 0.0)
    except ValueError:  # there are too many
        return torch.empty(0), ()
    if len(conditions) > MOST_CATEGORIES:
        return torch.empty(0), ()
    rows = given.names or given.table(conditions)[list(given.columns)].astype(str).agg(", ".join, axis=1)
    return conditions, tuple(rows)


def places_among(classes: Tensor, conditions: Tensor) -> Tensor:
    """The place of each condition ``(B, *)`` among classes ``(K, *)``, ``(B,)`` int64. -1 where it is none of them."""
    same = (conditions[:, None] == classes).reshape(len(conditions), len(classes), -1).all(2)
    return torch.where(same.any(1), same.long().argmax(1), -1)


def _nats(model: GenerativeModel, x: Tensor, condition: Tensor | None, seed: int, batch_size: int) -> Tensor:
    """Log-probabilities, ``(B,)`` float64. A model without a likelihood is refused (``ValueError``)."""
    result = model.log_prob(x, condition, seed=seed, batch_size=batch_size)
    if result.kind is Kind.NONE:
        raise ValueError(
            f"the model must have a likelihood to classify, got {model.paradigm}: train one of another paradigm"
        )
    return result.nats.double()


def target_of(model: GenerativeModel, target: str) -> tuple[Categorical, int]:
    """A categorical column, and its index.

    Raises:
        ValueError: for another column.
        TypeError: for a model that is of no table.
    """
    space = model.space
    if not isinstance(space, Table):  # only a table has a column to predict from the others
        raise TypeError(f"the model must be of a table to predict a column, got {space}: train on a table")
    place = column_at(space, target)
    column = space.modelled[place]
    if not isinstance(column, Categorical) or len(column.categories) < 2:
        names = [item.name for item in space.modelled if isinstance(item, Categorical) and len(item.categories) > 1]
        raise ValueError(f"target must have categories, as {shortened(names)} have, got {target!r}")
    return column, place


def classifiers(space: Table, train: Tensor, x: Tensor, place: int, seed: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Logistic regression and gradient-boosted trees that learn the column from rows, and their probabilities.

    Args:
        space: of the rows.
        train: rows to learn from. Those without the target are left out, and at most 50,000 are drawn.
        x: rows to judge.
        place: the index of the target.
        seed: of the draw.
    """
    train = train[train[:, place] >= 0]
    train = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:MOST]]
    graded = torch.tensor([isinstance(column, Graded) for column in space.modelled])
    numbers, categories = ([i for i in mask.nonzero().flatten().tolist() if i != place] for mask in (graded, ~graded))
    rank = sklearn.preprocessing.QuantileTransformer(
        output_distribution="normal", n_quantiles=min(200, len(train)), random_state=seed
    )
    imputation = sklearn.impute.SimpleImputer(add_indicator=True, keep_empty_features=True)
    dummies = sklearn.preprocessing.OneHotEncoder(handle_unknown="ignore")
    codes = sklearn.preprocessing.OrdinalEncoder(
        max_categories=MOST_CATEGORIES, handle_unknown="use_encoded_value", unknown_value=np.nan
    )
    trees = sklearn.ensemble.HistGradientBoostingClassifier(
        categorical_features=range(len(categories)) if categories else None, random_state=seed, early_stopping=True
    )
    pipelines = {
        "logistic regression": sklearn.pipeline.make_pipeline(
            sklearn.compose.ColumnTransformer(
                [
                    ("numbers", sklearn.pipeline.make_pipeline(imputation, rank), numbers),
                    ("categories", dummies, categories),
                ]
            ),
            sklearn.linear_model.LogisticRegression(max_iter=500),
        ),
        "gradient boosting": sklearn.pipeline.make_pipeline(
            sklearn.compose.ColumnTransformer([("categories", codes, categories), ("numbers", "passthrough", numbers)]),
            trees,
        ),
    }
    for name, classifier in pipelines.items():
        classifier.fit(_features(train, graded), train[:, place].numpy())
        p = torch.zeros(len(x), space.modelled[place].span[1] + 1, dtype=torch.float64)
        p[:, classifier.classes_] = torch.from_numpy(classifier.predict_proba(_features(x, graded)))
        yield name, p


def _features(x: Tensor, graded: Tensor) -> npt.NDArray[np.float64]:
    """Rows as features: numbers with NaN where one is missing. Categories with -1 for missing and new ones."""
    gap = torch.where(graded, math.nan, -1.0)
    return torch.where(x <= MISSING + 2, gap, x.double()).numpy()


def judge(name: str, p: Tensor, y: Tensor, seed: int = 0) -> ClassifierScores:
    """Accuracy, log-loss and area under the curve of probabilities ``(B, K)``, with bootstrap intervals over rows.

    Args:
        name: of the classifier.
        p: probabilities of the classes.
        y: the true ones, ``(B,)``.
        seed: of the bootstrap.
    """
    truth, values = y.numpy(), p.numpy()
    resamples = np.random.default_rng(seed).integers(0, len(truth), (RESAMPLES, len(truth)))
    rows = np.vstack([np.arange(len(truth)), resamples])  # the first are the rows themselves
    surprise = -np.log(np.clip(values[np.arange(len(truth)), truth], np.finfo(values.dtype).eps, 1))
    scores = (
        (truth == values.argmax(1))[rows].mean(1),
        surprise[rows].mean(1),
        np.array([_area(values[i], truth[i]) for i in rows]),
    )
    return ClassifierScores(name, *map(_interval, scores))


def _area(p: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> float:
    """The mean area under the curve of each class against the others: the statistic of Mann and Whitney 1947."""
    truth = y[:, None] == np.arange(p.shape[1])
    count = truth.sum(0)
    pairs = count * (len(y) - count)
    wins = (scipy.stats.rankdata(p, axis=0) * truth).sum(0) - count * (count + 1) / 2
    return float(np.mean((wins / np.maximum(pairs, 1))[pairs > 0])) if pairs.any() else math.nan


def _interval(scores: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """The first score, and the ends of the interval that 95 % of the others lie in."""
    defined = scores[1:][~np.isnan(scores[1:])]
    low, high = np.quantile(defined, (0.025, 0.975)) if len(defined) else (math.nan, math.nan)
    return float(scores[0]), float(low), float(high)
