"""Spaces by name: those of fourfold, and those that are installed under the entry-point group ``fourfold.spaces``."""

from __future__ import annotations

import difflib

from fourfold.core import Space
from fourfold.extensions import extensions
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
        names = sorted({*spaces, *points})
        close = difflib.get_close_matches(name.lower(), names, 1, 0.6)
        guess = f"did you mean {close[0]}? Known are" if close else "choose one of"
        raise ValueError(f"unknown space {name!r}: {guess} {', '.join(names)}")
    kind = points[name].load()
    if not (isinstance(kind, type) and issubclass(kind, Space)):
        raise TypeError(f"the entry point {name!r} of {GROUP!r} names {points[name].value}, which is not a Space")
    return kind
