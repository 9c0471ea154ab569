"""The wings and third parties that are installed beside fourfold, by the entry-point group that they join. Torch-free.

===================== ============================================================= ==============
group                 what an entry point names                                     its name
===================== ============================================================= ==============
``fourfold.names``    a public name of ``import fourfold``                          that name
``fourfold.commands`` a command of the command line, a function                     that command
===================== ============================================================= ==============

Paradigms join by ``fourfold.paradigms`` (:func:`fourfold.paradigms.cards`), spaces by ``fourfold.spaces``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

__all__ = ["extensions"]


@functools.cache
def extensions(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name, in alphabetical order; nothing is loaded.

    Raises:
        ValueError: if two installed packages give one name.
    """
    points = sorted(entry_points(group=group), key=lambda point: point.name)
    by_name = {point.name: point for point in points}
    for point in points:
        if by_name[point.name].value != point.value:
            raise ValueError(
                f"{group} has two entries {point.name!r}, {point.value} and {by_name[point.name].value}: uninstall one"
            )
    return MappingProxyType(by_name)
