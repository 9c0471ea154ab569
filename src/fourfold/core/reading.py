"""The protocol by which a network reads a condition, whatever space it lies in."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from fourfold.core.conditions import unknown
from fourfold.core.parts import Part

__all__ = ["Reading", "States"]


class States(NamedTuple):
    """Conditions as sequences of vectors, which a network attends to."""

    features: Tensor
    """``(B, T, states)``."""
    mask: Tensor
    """Which vectors are there, ``(B, T)`` bool."""

    def select(self, rows: Tensor) -> States:
        """Some rows ``(B',)``, in that order. A row may be there several times."""
        return States(self.features[rows], self.mask[rows])


class Reading(Part, nn.Module, ABC):
    """A condition as a vector ``r(c)``, ``(B, width)``, of squared length about one, as a sequence, and as maps.

        r(c) = f(c) / sqrt(width),    a learned vector where c is unknown

    A network adds a linear map of the vector to its own vectors. A transformer may also attend to the sequence, see
    :meth:`sequence`, and a network of images may join maps to its input, see :meth:`spread`.

    Args:
        width: length of the vector.

    Attributes:
        labels: the number of conditions that there are, where they are labels. 0 elsewhere.
        maps: channels of :meth:`spread`. 0 where the condition has no places.
        states: length of the vectors of :meth:`sequence`. 0 where the condition is no sequence. A reading that sets it
            defines :meth:`steps`.
        gain: scale of a network's linear map at the start. It is 0 for features of a frozen network: directions that
            no training condition has must add nothing to a new one.
    """

    gain: ClassVar[float] = 1.0
    labels: int = 0
    maps: int = 0
    states: int = 0

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.unknown = nn.Parameter(torch.zeros(width))

    def fit(self, cond: Tensor) -> None:
        """Take statistics of the training conditions, such as means and scales."""

    @abstractmethod
    def features(self, cond: Tensor) -> Tensor:
        """``f(c)``, ``(B, width)``, of order one. The value for an unknown condition does not matter."""

    def forward(self, cond: Tensor | None, batch: int) -> Tensor:
        """The vectors of ``batch`` conditions. ``None`` stands for unknown ones."""
        if cond is None:
            return self.unknown.repeat(batch, 1)
        hidden = unknown(cond)
        return self._vector(self.features(_finite(cond, hidden)), hidden)

    def _vector(self, features: Tensor, hidden: Tensor) -> Tensor:
        return torch.where(hidden[:, None], self.unknown, features.to(self.unknown.dtype) / math.sqrt(self.width))

    def steps(self, cond: Tensor) -> tuple[Tensor, States]:
        """:meth:`features`, and the vectors of :meth:`sequence`, of order one.

        Raises:
            NotImplementedError: for a reading that sets :attr:`states` and does not define this method.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define steps(cond), as it has states of length {self.states}; see "
            "fourfold.core.Reading.sequence, or set states to 0"
        )

    def sequence(self, cond: Tensor | None, batch: int) -> tuple[Tensor, States]:
        """The vectors of conditions, and vectors ``(B, T, states)`` to attend to. An unknown condition has none."""
        if cond is None:
            empty = torch.zeros(batch, 1, dtype=torch.bool, device=self.unknown.device)
            return self(cond, batch), States(self.unknown.new_zeros(batch, 1, self.states), empty)
        hidden = unknown(cond)
        features, (states, mask) = self.steps(_finite(cond, hidden))
        return self._vector(features, hidden), States(states, mask & ~hidden[:, None])

    def spread(self, cond: Tensor | None, batch: int, size: tuple[int, int]) -> Tensor:
        """The condition as maps ``(B, maps, H, W)`` of a size, in [-1, 1]. They are 0 where it is unknown."""
        return self.unknown.new_zeros(batch, 0, *size)


def _finite(cond: Tensor, hidden: Tensor) -> Tensor:
    """Conditions without NaN in unknown ones, which ``torch.where`` passes to gradients of what it leaves out."""
    return cond.masked_fill(hidden.view(-1, *[1] * (cond.ndim - 1)), 0.0) if cond.is_floating_point() else cond
