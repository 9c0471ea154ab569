"""The measures of samples that a feature space allows."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from fourfold.metrics.features import Features, cached
from fourfold.metrics.floor import Draws
from fourfold.metrics.frechet import frechet_distance
from fourfold.metrics.mmd import mmd
from fourfold.metrics.neighbours import coverage, density, memorisation_ratio, precision, recall
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement

__all__ = ["by_features", "by_frechet", "by_neighbours"]


def by_features(x: Tensor, references: References, features: Features) -> Iterator[Measurement]:
    """MMD first, then precision, recall, density, coverage, the Frechet distance and memorisation.

    Args:
        x: samples, ``(n, *shape)``.
        references: the data's own examples.
        features: a feature space in which Euclidean distances are meaningful.
    """
    a, b, base = features(x), features(references.test), references.train.features(features(references.train.pool))
    yield mmd(a, b, features=features.name, train=base)
    yield from by_neighbours(a, b, base, features.name)
    yield frechet_distance(a, b, features=features.name, train=base, protocol=features.protocol)
    training, fresh = features(references.all_train), features(references.fresh)
    yield memorisation_ratio(a, training, b, features=features.name, fresh=fresh)


def by_frechet(x: Tensor, references: References, features: Features) -> Iterator[Measurement]:
    """The Frechet distance first, then precision, recall, density, coverage and MMD.

    Features of the data are kept between calls (see :func:`~fourfold.metrics.features.cached`).

    Args:
        x: samples, ``(n, *shape)``.
        references: the data's own examples.
        features: a feature space that a network or many statistics span.
    """
    a, b = features(x), cached(features, references.test)
    base = references.train.features(cached(features, references.train.pool))
    yield frechet_distance(a, b, features=features.name, train=base, protocol=features.protocol)
    yield from by_neighbours(a, b, base, features.name)
    yield mmd(a, b, features=features.name, train=base)


def by_neighbours(x: Tensor, y: Tensor, train: Draws, name: str) -> list[Measurement]:
    """Precision, recall, density and coverage, if there are enough examples for a fifth neighbour.

    Args:
        x: features of samples, ``(n, D)``.
        y: features of references, ``(m, D)``.
        train: features of training examples, for the floors.
        name: name of the feature space.
    """
    if min(len(x), len(y)) <= 5:
        return []
    return [measure(x, y, features=name, train=train) for measure in (precision, recall, density, coverage)]
