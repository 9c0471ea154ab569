"""The spaces: what one raw example is. One file each, which says everything that depends on it.

A third party adds a space as one class of its own, see :class:`fourfold.core.Space`.
"""

from __future__ import annotations

from fourfold.spaces.images import Images
from fourfold.spaces.text import Text
from fourfold.spaces.vectors import Vectors

__all__ = ["Images", "Text", "Vectors"]

# model.json names a space by this package, so that its file may be moved and runs stay what they are.
Images.__module__ = Text.__module__ = Vectors.__module__ = __name__
