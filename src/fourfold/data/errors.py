"""The error of data that cannot be used, and how its messages name an argument as the way out."""

from __future__ import annotations

import os

from fourfold.output.printable import printable

__all__ = ["DataError", "flag", "option"]


class DataError(ValueError):
    """Data that cannot be used: one line with the file, the row or column, and the way out.

    Control characters of names and cells are written as escapes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def option(name: str, value: object = None) -> str:
    """How to give an argument of :func:`fourfold.data.load`, on the command line and in Python."""
    words = flag(name, value)
    python = f"{name}={'...' if value is None else repr(value)}"
    return python if words is None else f"{' '.join(words)} (in Python: {python})"


def flag(name: str, value: object = None) -> list[str] | None:
    """The words that give an argument of :func:`fourfold.data.load` on the command line; ``None`` if none can.

    Nothing is said of an argument that is switched off.
    """
    if name == "header":
        return ["--header" if value else "--no-header"]
    if isinstance(value, bool):
        return [f"--{name.replace('_', '-')}"] if value else []
    if name == "size":
        value = value[0] if isinstance(value, (tuple, list)) and len(set(value)) == 1 else value
        return None if isinstance(value, (tuple, list)) else ["--image-size", *([] if value is None else [str(value)])]
    if isinstance(value, (tuple, list)):
        value = ",".join(map(str, value))
    plain = value is None or isinstance(value, (str, int, float, os.PathLike))
    return [f"--{name.replace('_', '-')}", *([] if value is None else [str(value)])] if plain else None
