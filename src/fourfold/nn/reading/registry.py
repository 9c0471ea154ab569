"""The reading of each kind of space. A file of this package registers that of one kind."""

from __future__ import annotations

from functools import singledispatch

from fourfold.core import Reading, Space
from fourfold.extensions import load_recipes
from fourfold.nn.reading.numbers import NumberReading

__all__ = ["reading", "reading_of"]


def reading_of(space: Space, attends: bool = False) -> Reading | None:
    """The reading of the conditions of a space, or ``None`` where it has none.

    Args:
        space: of the examples.
        attends: whether the network attends to a sequence, see :class:`~fourfold.nn.attending.Attending`.
    """
    load_recipes()
    return None if space.given is None else reading(space.given, attends)


@singledispatch
def reading(given: Space, attends: bool = False) -> Reading:
    """How networks read examples of a space as conditions: as their flat numbers, unless the space has a reading.

    A third party registers a reading of its own space, in a module of the group ``fourfold.recipes``.
    """
    return NumberReading(given.dims)
