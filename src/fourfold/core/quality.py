"""The measures of samples of a space, and its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from fourfold.pictures.picture import Excerpts, Picture

if TYPE_CHECKING:
    from fourfold.metrics.references import References
    from fourfold.metrics.score import Measurement

__all__ = ["Quality"]


class Quality:
    """The measures of samples of a space, and its pictures.

    Models of a space without :meth:`measures` are neither evaluated nor compared.
    """

    def measures(self, x: Tensor, references: References, features: str | None = None) -> Iterator[Measurement]:
        """Every measure of the quality of samples ``(n, *shape)``, one after the other. The first is the headline.

        ``features`` is a feature space that :meth:`check_features` accepts. ``None`` is the usual one.
        """
        self.check_features(features)
        return iter(())

    def check_features(self, features: str | None) -> None:
        """Refuse a feature space that :meth:`measures` does not know, and a space without measures.

        Raises:
            ValueError: for the feature space.
            TypeError: for a space without measures.
        """
        name = type(self).__name__
        if type(self).measures is Quality.measures:
            raise TypeError(
                f"{name} has no measures of samples, so its models can be trained but neither evaluated nor compared: "
                f"implement {name}.measures(x, references, features)"
            )
        if features is not None:
            raise ValueError(f"{name} has no feature space {features!r}: leave features out")

    def picture(self, x: Tensor, references: References | None = None, columns: int | None = None) -> Picture:
        """Samples ``(n, *shape)`` as a page shows them: the first of them, in a grid of ``columns``.

        ``references`` may set the scale or be drawn behind. Sample ``i`` then has the condition ``references.cond[i]``.
        """
        return Excerpts(tuple(map(str, x[:2])))

    def details(self, x: Tensor, references: References) -> Sequence[tuple[str, Picture]]:
        """Pictures of how samples ``(n, *shape)`` differ from the data, each with a title, for a section of a report.

        Most spaces have none.
        """
        return ()

    def nearest(self, x: Tensor, train: Tensor) -> Tensor | None:
        """The training example nearest to each of a few samples, shown under it. ``None`` where that shows nothing."""
        return None
