"""How an argument of Python stands on the command line."""

from __future__ import annotations

import os

__all__ = ["flag"]


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
