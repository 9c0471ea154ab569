"""The base measure of codes."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Measure"]


class Measure(StrEnum):
    """The base measure to which the probability of a code refers.

    ``COUNTING``: codes are discrete, and a model gives masses. ``LEBESGUE``: codes are reals, and a model gives
    densities.
    """

    COUNTING = "counting"
    LEBESGUE = "lebesgue"

    @property
    def words(self) -> str:
        """The word for probabilities with respect to this measure."""
        return "masses" if self is Measure.COUNTING else "densities"
