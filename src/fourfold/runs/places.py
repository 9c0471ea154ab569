"""Places where runs are found by name: ``zoo:digits/diffusion`` is a run that comes with a package.

A place joins by the entry-point group ``fourfold.places``. Its name stands before the colon, and its function maps the
rest to a folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from fourfold.extensions import extensions

__all__ = ["folder_at"]


def folder_at(name: Path | str) -> Path:
    """The folder of a run: that of a place, or the path itself.

    Args:
        name: a path, or ``PLACE:NAME`` for an installed place. A file or folder of that name comes first.

    Raises:
        ValueError: for a name that the place does not have.
    """
    path, (place, _, rest) = Path(name), os.fspath(name).partition(":")
    point = extensions("fourfold.places").get(place) if rest and not path.exists() else None
    return path if point is None else Path(point.load()(rest))
