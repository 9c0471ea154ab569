"""Rivals: published models beside those of a comparison, measured on the same data, but not trained for it.

They join by the entry-point group ``fourfold.rivals``, whose points name a class below :class:`Rival`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import torch

from fourfold.core import Space
from fourfold.data import Dataset
from fourfold.extensions import extensions
from fourfold.metrics import References
from fourfold.tournament.baselines import Rated
from fourfold.tournament.settings import Protocol

__all__ = ["Rival", "rival_of"]


class Rival(ABC):
    """A kind of published models that can stand beside models that are trained here."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether a file or folder looks like such a model."""

    @abstractmethod
    def check(self, path: Path, space: Space) -> None:
        """Refuse a model that cannot be opened, or cannot stand beside models of a space.

        Raises:
            TypeError: for another space.
            ValueError: for a model that is damaged or incomplete.
        """

    @abstractmethod
    def rate(
        self,
        path: Path,
        dataset: Dataset,
        n: int,
        references: References,
        protocol: Protocol,
        seed: int,
        device: torch.device,
    ) -> Rated:
        """Score the test examples, and judge ``n`` samples, if time allows it."""


def rival_of(path: str) -> Rival:
    """The rival that recognises a published model.

    Raises:
        TypeError: if none does.
    """
    rivals = (point.load()() for point in extensions("fourfold.rivals").values())
    rival = next((rival for rival in rivals if rival.recognises(Path(path))), None)
    if rival is None:
        raise TypeError(f"{path}: must be a published model that is compared here, got another; leave it out")
    return rival
