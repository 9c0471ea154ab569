"""What one raw example is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["Space"]


class Space(ABC):
    """What one raw example is. Concrete spaces are frozen dataclasses in :mod:`fourfold.spaces`.

    A raw batch is one tensor, ``(B, *shape)``. Every space has ``classes``, the number of class labels it is
    conditional on, or ``None``, and ``caption``, the most bytes of a caption it is conditional on, or ``None``.
    """

    classes: int | None
    caption: int | None = None

    @property
    def conditional(self) -> bool:
        """Whether examples come with a label or a caption."""
        return self.classes is not None or self.caption is not None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one raw example."""

    @property
    def dims(self) -> int:
        """The number of scalar values in one raw example: what "per dimension" divides by."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        """The space in words; its ``repr`` is its configuration."""
        return f"examples of {type(self).__name__} of shape {self.shape}"

    @property
    @abstractmethod
    def unit(self) -> str:
        """The unit likelihoods of this space are told in: ``bits/dim``, ``nats/char``, ``bits/byte``, ``nats``."""

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Refuse a raw batch that does not belong to this space (``ValueError`` naming the row and the way out)."""
