"""How large a network is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Size"]


@dataclass(frozen=True)
class Size:
    """The size of one network, or of one stage of it.

    Attributes:
        width: features or channels of a layer.
        depth: layers, or residual blocks.
        heads: of attention; 1 for a network without.
    """

    width: int
    depth: int
    heads: int = 1
