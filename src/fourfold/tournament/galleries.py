"""A few samples for human eyes: random ones, the likeliest, the unlikeliest, and the closest to training examples."""

from __future__ import annotations

import torch
from torch import Tensor

from fourfold.core import Space
from fourfold.tournament.samples import NEIGHBOURS

__all__ = ["TITLES", "by_likelihood", "galleries", "nearest_of"]

TITLES = {
    "random": "Samples drawn at random",
    "likeliest": "The samples that the model finds likeliest",
    "unlikeliest": "The samples that the model finds least likely",
    "closest": "The samples that lie closest to a training example",
}
"""The galleries of a report, in order. The name of the neighbours ends in :data:`BELOW`."""
BELOW = ".nearest"
SEARCHED = 256
"""The most samples among which the closest to a training example are looked for."""


def nearest_of(name: str) -> str:
    """The name of the training examples nearest to the samples of a gallery."""
    return f"{name}{BELOW}"


def by_likelihood(x: Tensor, nats: Tensor) -> dict[str, Tensor]:
    """The likeliest and the unlikeliest of samples ``(n, *shape)``, by their log-probabilities ``(n,)``."""
    few = min(NEIGHBOURS, len(x) // 2)
    order = nats.argsort(descending=True, stable=True)
    return {"likeliest": x[order[:few]], "unlikeliest": x[order.flip(0)[:few]]} if few else {}


def galleries(space: Space, x: Tensor, train: Tensor, likelihood: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """A few samples of each gallery and, if the space shows them, the nearest training example of each.

    Args:
        space: of the samples.
        x: samples, ``(n, *shape)``.
        train: all training examples.
        likelihood: those of :func:`by_likelihood`, if the model tells likelihoods.
    """
    groups = {"random": x[:NEIGHBOURS], **(likelihood or {})}
    nearest = {name: below for name, part in groups.items() if (below := space.nearest(part, train)) is not None}
    if nearest:
        groups["closest"], nearest["closest"] = _closest(space, x[:SEARCHED], train)
    return groups | {nearest_of(name): below for name, below in nearest.items()}


def _closest(space: Space, x: Tensor, train: Tensor) -> tuple[Tensor, Tensor]:
    """The samples closest to a training example in the coordinates of the space, and these examples."""
    nearest, features = space.nearest(x, train), space.coordinates(train)
    assert nearest is not None
    order = torch.linalg.vector_norm(features(x) - features(nearest), dim=1).argsort(stable=True)[:NEIGHBOURS]
    return x[order], nearest[order]
