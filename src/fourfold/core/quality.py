"""The measures of samples of a space, and its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from fourfold.metrics.features import Features, StandardisedColumns
from fourfold.metrics.measures import by_draws
from fourfold.pictures.picture import Excerpts, Picture

if TYPE_CHECKING:
    from fourfold.metrics.references import References
    from fourfold.metrics.score import Measurement

__all__ = ["DRAWS_SHOWN", "Quality"]

DRAWS_SHOWN = 6
"""The most draws beside a true example, where each takes a picture or a row."""


class Quality:
    """The measures of samples of a space, and its pictures.

    Models of a space without :meth:`measures` are neither evaluated nor compared.

    Attributes:
        several_draws: whether a model of this space, or conditioned on it, is judged by several draws for each
            condition. Not so for categories and texts.
    """

    several_draws: ClassVar[bool] = True

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        """Every measure of the quality of samples ``(n, *shape)``, one after the other. The first is the headline.

        ``features`` is a feature space that :meth:`check_features` accepts. ``None`` is the usual one.
        """
        self.check_features(features)
        return iter(())

    def coordinates(self, data: Tensor) -> Features:
        """Features of examples without a network, in which Euclidean distances mean something.

        Pairs of an example and its condition are compared by them, and draws with the true example. By default each
        number is a column, standardised by ``data``, raw examples ``(N, *shape)``.
        """
        return StandardisedColumns(data)

    def quantities(self, x: Tensor) -> tuple[tuple[str, ...], Tensor]:
        """The numbers of examples ``(n, *shape)`` that a model predicts: their names, and values ``(n, Q)``.

        A missing value is NaN. The draws of each are scored and their calibration is tested. By default there are none.
        """
        return (), torch.zeros(len(x), 0)

    def conditional_measures(self, draws: Tensor, truth: Tensor, data: Tensor) -> Iterator[Measurement]:
        """Measures of several draws for each condition.

        By default these are the energy score and, of :meth:`quantities`, CRPS, coverage of central intervals and ranks.

        Args:
            draws: raw draws, ``(m, k, *shape)``, ``k >= 2`` for each of ``m`` conditions.
            truth: the raw test example that has each condition, ``(m, *shape)``.
            data: raw training examples, ``(N, *shape)``.
        """
        return by_draws(draws, truth, data, self.coordinates(data), self.quantities)

    def check_features(self, features: str | None) -> None:
        """Refuse a feature space that :meth:`measures` does not know, and a space without measures.

        Raises:
            ValueError: for the feature space.
            TypeError: for a space without measures.
        """
        name = type(self).__name__
        if type(self).measures is Quality.measures:
            raise TypeError(
                f"{name} must have measures(x, references, features), got none: its models can be trained, but "
                "neither evaluated nor compared"
            )
        if features is not None:
            raise ValueError(f"features must be left out for {name}, got {features!r}")

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Picture:
        """Samples ``(n, *shape)`` as a page shows them: the first of them, in a grid of ``columns``.

        ``references`` may set the scale or be drawn behind. Sample ``i`` then has the condition ``references.cond[i]``.
        """
        return Excerpts(tuple(map(str, x[:2])))

    def picture_of_one(self, x: Tensor) -> Picture:
        """One example ``(*shape)`` as a page shows it as a condition."""
        return self.picture(x[None], None, 1)

    def picture_of_few(self, x: Tensor, references: References) -> Picture:
        """A few examples ``(n, *shape)`` side by side, as a page shows the likeliest samples, for example."""
        return self.picture(x, None, len(x))

    def picture_of_draws(self, draws: Tensor, truth: Tensor, data: Tensor) -> Picture:
        """The true example ``(*shape)`` and then draws ``(k, *shape)`` given its condition.

        ``data``, raw training examples, may set the scale.
        """
        few = draws[:DRAWS_SHOWN]
        return self.picture(torch.cat([truth[None], few]), None, 1 + len(few))

    def details(self, x: Tensor, references: References) -> Sequence[tuple[str, Picture]]:
        """Pictures of how samples ``(n, *shape)`` differ from the data, each with a title, for a section of a report.

        Most spaces have none.
        """
        return ()

    def nearest(self, x: Tensor, train: Tensor) -> Tensor | None:
        """The training example nearest to each of a few samples, shown under it. ``None`` where that shows nothing."""
        return None
