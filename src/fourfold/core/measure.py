"""The base measure of codes."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Measure"]


class Measure(StrEnum):
    """The base measure to which the probability of a code refers.

    ``COUNTING``: codes are discrete, and a model gives masses. ``LEBESGUE``: codes are reals, and a model gives
    densities. ``MIXED``: some values of a code are discrete and the others are reals.
    """

    COUNTING = "counting"
    LEBESGUE = "lebesgue"
    MIXED = "mixed"

    @property
    def words(self) -> str:
        """The word for probabilities with respect to this measure."""
        return {"counting": "masses", "lebesgue": "densities", "mixed": "masses of some values, densities of others"}[
            self
        ]
