"""Measure how a trained model follows its conditions: pairs (x, c), and several draws for each condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fourfold.core import GenerativeModel, unknown
from fourfold.data import Dataset
from fourfold.metrics.floor import Draws
from fourfold.metrics.pairs import by_pairs
from fourfold.metrics.references import References
from fourfold.metrics.score import Measurement
from fourfold.tasks.sampling import draw

__all__ = ["DRAWS", "DrawsGiven", "draw_given", "measure_draws", "measure_pairs"]

DRAWS = 19
"""Draws for each condition. With the truth they have 20 ranks, so central intervals of 50, 80 and 90 % end at draws."""
FEWEST = 20
"""The fewest conditions that get several draws, where the data have as many."""
SHOWN = 6
"""Conditions that are shown, and as many draws for each."""


@final
@dataclass(frozen=True)
class DrawsGiven:
    """Several draws for each of a few test conditions.

    Attributes:
        x: raw draws, ``(m, k, *shape)``.
        rows: the places of the conditions among the references, ``(m,)``.
        judged: whether there are enough of them for measures, and not for a picture alone.
    """

    x: Tensor
    rows: Tensor
    judged: bool


def measure_pairs(
    x: Tensor, dataset: Dataset, references: References, cond_of_x: Tensor | None = None
) -> list[Measurement]:
    """Two-sample tests of pairs of a sample and its condition. Empty for unconditional models.

    Args:
        x: samples, ``(n, *shape)``. Sample ``i`` was drawn for ``references.cond[i]``, or has ``cond_of_x[i]``.
        dataset: whose space has coordinates of examples and of conditions.
        references: test examples with their conditions. Those with an unknown condition are left out.
        cond_of_x: own conditions of samples, ``(n, *given.shape)``. Those with an unknown one are left out.
    """
    space, cond, train, rows = dataset.space, references.cond, references.train, _with_condition(references)
    samples = rows[rows < len(x)] if cond_of_x is None else (~unknown(cond_of_x)).nonzero().flatten()
    if cond is None or space.given is None or min(len(samples), len(rows)) < FEWEST:
        return []
    if train.cond is None or bool(unknown(train.cond).any()):
        train = Draws(train.pool, train.rows)  # whose pairs are not real ones
    test, cond = references.test[rows], space.given.examples_of(cond[rows])
    features = space.coordinates(train.pool)
    features_of_cond = space.given.coordinates(cond if train.cond is None else space.given.examples_of(train.cond))
    own = None if cond_of_x is None else space.given.examples_of(cond_of_x[samples])
    return list(by_pairs(x[samples], test, cond, train, features, features_of_cond, own))


def draw_given(
    model: GenerativeModel,
    dataset: Dataset,
    references: References,
    seed: int = 0,
    seconds: float | None = None,
    batch_size: int | None = None,
) -> DrawsGiven | None:
    """Draw :data:`DRAWS` times for each of as many test conditions as make up the number of references.

    If the model shows medians or means, these are its draws (:meth:`~fourfold.core.GenerativeModel.drawing`).

    Args:
        model: trained.
        dataset: the data.
        references: with conditions.
        seed: of the draws.
        seconds: time after which no new batch begins. Conditions without all their draws are left out.
        batch_size: as for :func:`~fourfold.tasks.sampling.draw`.

    Returns:
        the draws. Only :data:`SHOWN` for each of as many conditions, which are not judged, where the space says that
        one is enough. ``None`` for an unconditional model.
    """
    space, cond, rows = dataset.space, references.cond, _with_condition(references)
    if cond is None or space.given is None or not len(rows):
        return None
    judged = space.several_draws and space.given.several_draws
    k = DRAWS if judged else SHOWN
    rows = rows[: max(len(references.test) // k, FEWEST) if judged else SHOWN]
    every = cond[rows].repeat_interleave(k, 0)
    x = draw(model.drawing() or model, len(every), seed, every, seconds, batch_size).x
    m = len(x) // k
    return DrawsGiven(x[: m * k].reshape(m, k, *x.shape[1:]), rows[:m], judged and m > 1)


def measure_draws(draws: DrawsGiven | None, dataset: Dataset, references: References) -> list[Measurement]:
    """The measures of several draws for each condition that the space has. Empty where they are not judged."""
    if draws is None or not draws.judged:
        return []
    truth = references.test[draws.rows]
    return list(dataset.space.conditional_measures(draws.x, truth, references.train.pool))


def _with_condition(references: References) -> Tensor:
    """The places of test examples whose condition is known, ``(m,)``."""
    if references.cond is None:
        return torch.zeros(0, dtype=torch.long)
    return (~unknown(references.cond)).nonzero().flatten()
