"""Rivals: published models beside those of a comparison, measured on the same data, but not trained for it.

They join by the entry-point group ``fourfold.rivals``, whose points name a class below :class:`Rival`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch

from fourfold.core import Space
from fourfold.extensions import extensions
from fourfold.tournament.baselines import Rated
from fourfold.tournament.benchmark import Benchmark

__all__ = ["Rival", "rival_of"]


class Rival(ABC):
    """A kind of published models that can stand beside models that are trained here."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """True if a file or folder looks like such a model."""

    @abstractmethod
    def check(self, path: Path, space: Space) -> None:
        """Refuse a model that cannot be opened, or cannot stand beside models of a space.

        Raises:
            TypeError: for another space.
            ValueError: for a model that is damaged or incomplete.
        """

    @abstractmethod
    def rate(self, path: Path, benchmark: Benchmark, device: torch.device) -> Rated:
        """Score the test examples, and judge samples, if time allows it."""


def rival_of(path: str) -> Rival:
    """The rival that recognises a published model.

    Raises:
        TypeError: if none does.
    """
    rivals = (point.load()() for point in extensions("fourfold.rivals").values())
    rival = next((rival for rival in rivals if rival.recognises(Path(path))), None)
    if rival is None:
        raise TypeError(f"{path} must be a published language model, beside models of text; leave it out")
    return rival
