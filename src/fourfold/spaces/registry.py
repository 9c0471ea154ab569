"""Spaces by name: those of fourfold, and those that are installed under the entry-point group ``fourfold.spaces``."""

from __future__ import annotations

from fourfold.core import Space
from fourfold.extensions import extensions
from fourfold.output.printable import one_of
from fourfold.spaces.categories import Categories
from fourfold.spaces.images import Images
from fourfold.spaces.lines import Lines
from fourfold.spaces.sequences import Sequences
from fourfold.spaces.table import Table
from fourfold.spaces.text import Text
from fourfold.spaces.vectors import Vectors

__all__ = ["space_named"]

GROUP = "fourfold.spaces"


def space_named(name: str) -> type[Space]:
    """The class of spaces that a name stands for: ``vectors``, or the name of an entry point such as ``torus``.

    Raises:
        ValueError: for an unknown name, listing the choices.
        TypeError: for an entry point that names anything else.
    """
    kinds = (Categories, Images, Lines, Sequences, Table, Text, Vectors)
    spaces: dict[str, type[Space]] = {kind.__name__.lower(): kind for kind in kinds}
    if name in spaces:
        return spaces[name]
    points = extensions(GROUP)
    if name not in points:
        raise ValueError(f"space must be {one_of(name, sorted({*spaces, *points}))}")
    kind = points[name].load()
    if not (isinstance(kind, type) and issubclass(kind, Space)):
        raise TypeError(f"{points[name].value} must be a Space, since the entry point {name!r} of {GROUP!r} names it")
    return kind
