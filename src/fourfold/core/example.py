"""The definition of one raw example, of which a space is made."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Example"]


class Example(ABC):
    """One raw example of a space: its shape, its values, and the unit of its likelihood.

    A raw batch is one tensor ``(B, *shape)``.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one raw example."""

    @property
    def dims(self) -> int:
        """The number of scalar values in one raw example, the divisor of "per dimension"."""
        return math.prod(self.shape)

    @property
    @abstractmethod
    def unit(self) -> str:
        """The unit of likelihoods: ``bits/dim``, ``bits/sample``, ``nats/char``, ``bits/byte`` or ``nats``."""

    def byte_counts(self, x: Tensor) -> Tensor | None:
        """Bytes of UTF-8 in each raw example of a text, ``(B,)``, which "per byte" divides by. ``None`` elsewhere."""
        return None

    def row_counts(self, x: Tensor) -> Tensor | None:
        """Rows of each raw example of sequences, ``(B,)``, which "per row" divides by. ``None`` elsewhere."""
        return None

    def outside(self, x: Tensor) -> Tensor | None:
        """True for raw examples with a value outside the space, bool ``(B,)``. ``None`` where none can.

        Such an example has no mass under any model of the space, so a mean over examples leaves it out and says so.
        """
        return None

    def __str__(self) -> str:
        """The space in words. Its ``repr`` is its configuration."""
        return f"examples of {type(self).__name__} of shape {self.shape}"

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Refuse a raw batch that does not belong to this space (``ValueError`` naming the row and the way out)."""

    def check_shape(self, x: Tensor) -> None:
        """Refuse a raw batch whose examples have another shape (``ValueError``)."""
        if tuple(x.shape[1:]) != self.shape or x.ndim != len(self.shape) + 1:
            kind, shape = type(self).__name__.lower(), ", ".join(map(str, self.shape))
            raise ValueError(f"examples must be {kind} of shape (B, {shape}), got {tuple(x.shape)}")

    @abstractmethod
    def examples(self, n: int, generator: torch.Generator) -> Tensor:
        """``n`` random examples that :meth:`check` accepts, for conformance checks. They should spread widely."""

    def support(self, points: int, reach: float) -> tuple[Tensor, float]:
        """Points that cover the space, ``(N, *shape)``, and the volume of each: 1 where examples are counted.

        Args:
            points: number of points along each axis of a grid.
            reach: the grid goes from ``-reach`` to ``reach`` where the space is unbounded.

        Raises:
            ValueError: for a space that is too large to be covered.
        """
        raise ValueError(f"{self} cannot be covered by points: implement {type(self).__name__}.support(points, reach)")
