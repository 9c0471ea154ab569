"""How examples are shown: as an image, as points in a plane, or as texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

from torch import Tensor

__all__ = ["Cloud", "Excerpts", "Picture", "Sheet"]


@final
@dataclass(frozen=True)
class Sheet:
    """An image: the content of a PNG file. Whatever can be drawn can be shown so."""

    png: bytes


@final
@dataclass(frozen=True)
class Cloud:
    """Points in a plane.

    Attributes:
        points: ``(n, 2)``.
        box: the part of the plane that is shown: low and high of the first axis, then of the second.
        names: of the two axes.
        behind: ``(m, 2)`` points of the data, drawn behind them.
    """

    points: Tensor
    box: tuple[float, float, float, float]
    names: tuple[str, str]
    behind: Tensor


@final
@dataclass(frozen=True)
class Excerpts:
    """A few examples as texts."""

    texts: tuple[str, ...]


Picture: TypeAlias = Sheet | Cloud | Excerpts
"""What :meth:`fourfold.core.Space.picture` returns."""
