"""The measures of samples that a feature space allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from fourfold.metrics.calibration import by_ranks
from fourfold.metrics.conditional import crps_of_columns, energy_score
from fourfold.metrics.features import Features, cached
from fourfold.metrics.floor import Draws
from fourfold.metrics.frechet import frechet_distance
from fourfold.metrics.mmd import mmd
from fourfold.metrics.neighbours import coverage, density, memorisation_ratio, precision, recall
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement

__all__ = ["by_draws", "by_features", "by_frechet", "by_neighbours"]


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


def by_draws(
    draws: Tensor,
    truth: Tensor,
    data: Tensor,
    features: Features,
    quantities: Callable[[Tensor], tuple[tuple[str, ...], Tensor]],
) -> Iterator[Measurement]:
    """The energy score of draws for each condition and, of numbers, CRPS, coverage of central intervals and ranks.

    Args:
        draws: raw draws, ``(m, k, *shape)``, ``k`` for each of ``m`` conditions.
        truth: the raw test example of each condition, ``(m, *shape)``.
        data: raw training examples, ``(N, *shape)``.
        features: coordinates of examples.
        quantities: names and values ``(n, Q)`` of the numbers of raw examples.
    """
    m, k = draws.shape[:2]
    points = features(draws.flatten(0, 1)).reshape(m, k, -1)
    words = features.protocol
    yield energy_score(points, features(truth), features=features.name, protocol=words, data=features(data))
    names, values = quantities(truth)
    if not names:
        return
    numbers, scale = quantities(draws.flatten(0, 1))[1].reshape(m, k, -1), _deviations(quantities(data)[1])
    yield from crps_of_columns(numbers, values, names, scale)
    yield from by_ranks(numbers, values)


def _deviations(values: Tensor) -> Tensor:
    """The standard deviation of each column ``(N, Q)``, gaps left out."""
    values = values.double()
    return (values - values.nanmean(0)).square().nanmean(0).sqrt()
