"""The wings and third parties that are installed beside fourfold, by the entry-point group that they join. Torch-free.

====================== ============================================================================== ==============
group                  what an entry point names                                                      its name
====================== ============================================================================== ==============
``fourfold.adapters``  a kind of published models, :class:`fourfold.adapters.Adapter`                 any
``fourfold.commands``  a command: :class:`fourfold.cli.command.Command`, or a function                that command
``fourfold.executors`` where runs are made, :class:`fourfold.tournament.executors.Executor`           that place
``fourfold.formats``   a format of files: :class:`fourfold.data.formats.FileFormat`                   any
``fourfold.handlers``  a function that names who works for a command: ``MODULE:FUNCTION`` or ``None`` any
``fourfold.names``     a public name of ``import fourfold``                                           that name
``fourfold.parts``     a class that earlier run folders name by a module of another package           that class
``fourfold.places``    a function from the name of a run to its folder (``zoo:digits/diffusion``)     before a colon
``fourfold.recipes``   a module that registers recipes of a space, its baselines and its reading      any
``fourfold.rivals``    a kind of rows beside a comparison, :class:`fourfold.tournament.rivals.Rival`  any
``fourfold.services``  what a person asks of some runs, :class:`fourfold.runs.services.Service`       any
``fourfold.sets``      a built-in data set: a function of the settings of reading                     that set
``fourfold.spaces``    a class of spaces, :class:`fourfold.core.Space`                                that space
====================== ============================================================================== ==============

Paradigms join by ``fourfold.paradigms`` (:func:`fourfold.paradigms.cards`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

__all__ = ["extensions", "load_recipes", "packages"]

GROUPS = (
    "adapters",
    "commands",
    "executors",
    "formats",
    "handlers",
    "names",
    "paradigms",
    "parts",
    "places",
    "recipes",
    "rivals",
    "services",
    "sets",
    "spaces",
)
"""What follows ``fourfold.`` in the names of the groups."""


@functools.cache
def extensions(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name, in alphabetical order. Nothing is loaded.

    Raises:
        ValueError: if two installed packages give one name.
    """
    points = sorted(entry_points(group=group), key=lambda point: point.name)
    by_name = {point.name: point for point in points}
    for point in points:
        if by_name[point.name].value != point.value:
            raise ValueError(
                f"{group} must have one entry {point.name!r}, got {point.value} and {by_name[point.name].value}; "
                "uninstall one"
            )
    return MappingProxyType(by_name)


@functools.cache
def load_recipes() -> None:
    """Import the modules in which wings and third parties register recipes of their own spaces."""
    for point in extensions("fourfold.recipes").values():
        point.load()


def packages() -> frozenset[str]:
    """The top-level packages that joined by any of the groups."""
    points = (point for group in GROUPS for point in entry_points(group=f"fourfold.{group}"))
    return frozenset(point.value.partition(":")[0].partition(".")[0] for point in points)
