"""Modules with a mathematical meaning."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar, TypeVar

from torch import nn

from fourfold.core.measure import Measure
from fourfold.core.parts import Part
from fourfold.vocabulary import Cost

__all__ = ["E", "Estimand"]


E = TypeVar("E", bound="Estimand")


class Estimand(Part, nn.Module, ABC):
    """A module with a mathematical meaning, independent of how it was learned.

    It reaches its network through a child module named ``net``, whose calls :func:`count_evaluations` counts, and
    ``event`` is the shape of one encoded example. Time ``t`` and labels have the shape ``(B,)``. ``cost`` overrides the
    sampler's cost law where drawing a sample obeys another one; both are checked by counting.
    """

    event: tuple[int, ...]
    cost: ClassVar[Cost | None] = None

    @property
    def measure(self) -> Measure | None:
        """Whether a likelihood of it gives masses or densities; ``None``: neither, or it is not known."""
        return None

    @property
    def summary(self) -> str:
        """Its meaning as a noun in plain English: "the score of ..."; empty means that of its paradigm."""
        return ""
