"""Sizes of networks, and the tables of presets by size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, final

from fourfold.output.printable import one_of
from fourfold.vocabulary import parse_size

__all__ = ["NoSuchSize", "Size", "Sizes"]


@dataclass(frozen=True)
class Size:
    """The size of one network, or of one stage of it.

    Attributes:
        width: features or channels of a layer.
        depth: layers, or residual blocks.
        heads: of attention. 1 for a network without.
    """

    width: int
    depth: int = 1
    heads: int = 1

    def narrowed(self, divisor: int) -> Size:
        """The same depth at a fraction of the width: a multiple of 8 features. Heads keep their length if they can."""
        width = max(round(self.width / divisor / 8), 1) * 8
        heads = max(self.heads // divisor, 1)
        while width % heads or width // heads % 2:
            heads -= 1
        return replace(self, width=width, heads=heads)


_T = TypeVar("_T")


class NoSuchSize(ValueError, LookupError):  # noqa: N818 (what it is)
    """A size that a recipe does not have."""


@final
class Sizes(Generic[_T]):
    """A table of presets by size. At ``s/2`` every :class:`Size` of ``s`` is narrowed by 2. Other numbers stay.

    Args:
        presets: a :class:`Size`, a number, or a tuple of these, for each of ``xs``, ``s`` and ``m``, and for ``l``
            and ``xl`` (100 million and a billion parameters) where a recipe has them.
    """

    def __init__(self, presets: Mapping[str, _T]) -> None:
        self.presets = presets

    def __getitem__(self, size: str) -> _T:
        name, divisor = parse_size(size)
        if name not in self.presets:
            raise NoSuchSize(f"size of this recipe must be {one_of(name, self.presets)}")
        return _narrowed(self.presets[name], divisor) if divisor > 1 else self.presets[name]


def _narrowed(value: Any, divisor: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_narrowed(item, divisor) for item in value)
    return value.narrowed(divisor) if isinstance(value, Size) else value
