"""Pairs of examples and conditions: columns of one table, files of one name, or examples in one order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fourfold.core.conditions import as_condition
from fourfold.data.errors import DataError, option
from fourfold.data.labels import alike, places_in
from fourfold.data.source import Source
from fourfold.machine.libraries import pandas as pd
from fourfold.settings.data import OWN, names_of, stands_apart
from fourfold.spaces import Together

__all__ = ["ConditionNote", "aligned", "columns_named", "paired", "with_remarks"]

REST = "rest"
"""Stands for all columns but the target, where no column has this name."""


class ConditionNote(str):
    """A note on the conditions of examples, which lie in data of their own."""

    __slots__ = ()


def columns_named(
    where: str, given: Any, columns: Sequence[str], target: str | None = None, things: str = "columns"
) -> tuple[str, ...]:
    """The columns of a table that a setting of conditions names, in the order of the table. Empty for other data.

    Args:
        where: the file, for messages.
        given: a name, several with commas between them, or a list of them.
        columns: all columns.
        target: the column that :data:`REST` leaves out.
        things: the noun for columns.

    Raises:
        DataError: for a column that is not there, or if none is left to model.
    """
    names = [name for name in names_of(given) if name in columns or not (name in OWN or stands_apart(name))]
    if not names:
        return ()
    parts = [part.strip() for name in names for part in ([name] if name in columns else name.split(","))]
    if parts == [REST] and REST not in columns:
        if target is None:
            raise DataError(f"{where}: given must name columns, got {REST!r}; name the column that is left: --target")
        parts = [column for column in columns if column != target]
    missing = next((part for part in parts if part not in columns), None)
    if missing is not None:
        raise DataError(
            f"{where}: given must name {things} or a file, got {missing[:80]!r}, which is neither: "
            f"{alike(missing, columns)}"
        )
    if len({*parts}) == len(columns):
        raise DataError(f"{where}: given must leave {things} to model, got all {len(columns)}; leave out some")
    return tuple(column for column in columns if column in parts)


def paired(target: Source, conditions: Mapping[str, Source]) -> Source:
    """A source whose conditions are the examples of others, in the same order. Several lie side by side."""
    every = {**target.conditions, **conditions}
    spaces, values = [part.space for part in every.values()], [as_condition(part.x) for part in every.values()]
    together = Together(tuple(spaces), tuple(every)) if len(every) > 1 else None
    sources = (target, *conditions.values())

    def schema(rows: Tensor) -> Source:
        return paired(_settled(target, rows), {label: _settled(part, rows) for label, part in conditions.items()})

    return dataclasses.replace(
        target,
        where="; conditions: ".join(dict.fromkeys(part.where for part in sources)),
        cond=values[0] if together is None else together.join(values),
        given=together or spaces[0],
        conditions=every,
        test=max(part.test for part in sources),
        skipped=tuple(dict.fromkeys(line for part in sources for line in part.skipped)),
        density=None,
        notes=tuple(dict.fromkeys(note for part in sources for note in part.notes)),
        columns=tuple(column for part in sources for column in part.columns),
        digest="",
        schema=schema if any(part.schema is not None for part in sources) else None,
    )


def with_remarks(source: Source, prefix: str = "", notes: Sequence[str] = (), skipped: Sequence[str] = ()) -> Source:
    """A source with further notes and examples left out. Behind a prefix its own are those of conditions."""
    schema = source.schema
    own = tuple(ConditionNote(prefix + note) for note in source.notes) if prefix else source.notes
    return dataclasses.replace(
        source,
        notes=(*own, *notes),
        skipped=(*source.skipped, *skipped),
        schema=None if schema is None else lambda rows: with_remarks(schema(rows), prefix, notes, skipped),
    )


def _settled(source: Source, rows: Tensor) -> Source:
    """A source with the schema of its training examples, if it has one."""
    return source if source.schema is None else source.schema(rows)


def aligned(
    name: str, target: Source, given_name: str, given: Source, skip_bad: bool, label: str = "condition"
) -> Source:
    """Examples with conditions from another file or folder: of the same name where both have names, else in order.

    Where a column names the examples, a condition of no example is left out: a customer without orders is no fault.

    Args:
        name: the data, for messages.
        target: the examples.
        given_name: the conditions, for messages.
        given: the conditions.
        skip_bad: whether examples without a partner are left out.
        label: the name of the conditions among several.

    Raises:
        DataError: for examples without a condition, conditions without an example, or other counts.
    """
    for source_name, source in ((name, target), (given_name, given)):
        if source.space.window is not None:
            raise DataError(
                f"{source_name}: must be examples, each with its condition, got one long series or text; "
                "leave out given"
            )
    given = with_remarks(given, f"{given_name}: ")
    if len(target.names) and len(given.names):
        target, given = _by_name(name, target, given_name, given, skip_bad)
    else:
        _check_order(name, target, given_name, given)
    return paired(target, {label: given})


def _check_order(name: str, target: Source, given_name: str, given: Source) -> None:
    """Refuse sources that cannot be paired by the places of their examples."""
    counts = f"got {len(target.x):,} in {name} and {len(given.x):,} in {given_name}"
    skipped = (*target.skipped, *given.skipped)
    if skipped and not (len(target.names) and len(given.names)):
        raise DataError(f"{name}: examples and conditions must pair by name where some are skipped, as {skipped[0]}")
    if len(target.x) != len(given.x):
        raise DataError(f"{name}: examples and conditions must be equally many, {counts}; give one for each")
    if target.test and given.test and target.test != given.test:
        raise DataError(
            f"{name}: official test sets must be equally long, got {target.test:,} and {given.test:,} in {given_name}"
        )


def _by_name(name: str, target: Source, given_name: str, given: Source, skip_bad: bool) -> tuple[Source, Source]:
    """Pairs of examples and conditions of one name, in the order of the examples."""
    labels, given_labels = (pd.Series(source.names, dtype="str") for source in (target, given))
    if (twice := given_labels.duplicated()).any():
        way = "keep one row" if len(given.keys) else "rename them, or give longer clips"
        clips = "" if len(given.keys) else f" ({option('seconds', 10)}) where a sound was cut"
        label = str(given_labels[twice].iloc[0])
        raise DataError(f"{given_name}: must hold one condition of each name, got several of {label!r}; {way}{clips}")
    places = places_in(given_labels, labels)
    bare, spare = _items(target, places < 0), _items(given, places_in(labels, given_labels) < 0)
    if len(target.keys) and spare:
        given = with_remarks(given, notes=(_spare(spare, name, given_name),))
        spare = []
    lines = [f"{Path(name) / item}: has no condition in {given_name}" for item in bare]
    lines += [f"{Path(given_name) / item}: is the condition of no example in {name}" for item in spare]
    matches = np.flatnonzero(places >= 0)
    if lines and (not skip_bad or not len(matches)):
        things = "sequences" if len(target.keys) else "files"
        counts = f"got {labels.nunique():,} and {len(given_labels):,}"
        raise DataError(
            f"{name}: {things} must pair by name with those of {given_name}, {counts}: "
            f"{'; '.join(part[:1][0] for part in (_first(bare, given_name), _first(spare, name)) if part)}; "
            f"add or remove them, or skip them with {option('skip_bad', True)}"
        )
    return with_remarks(target.at(matches), skipped=lines), given.at(places[matches])


def _items(source: Source, mask: npt.NDArray[np.bool_]) -> list[str]:
    """The keys or files of some examples."""
    items = source.keys if len(source.keys) else source.files
    return [str(items[row]) for row in np.flatnonzero(mask)]


def _spare(spare: Sequence[str], name: str, given_name: str) -> str:
    """A note on conditions of no example."""
    rows = "1 row" if len(spare) == 1 else f"{len(spare):,} rows"
    return f"{given_name}: {rows} without a sequence in {name}, such as {spare[0]!r}, left out"


def _first(files: Sequence[str], place: str) -> list[str]:
    """A clause on the first file that has no partner, and how many there are."""
    more = f" (and {len(files) - 1:,} more)" if len(files) > 1 else ""
    return [f"{files[0]} has no partner in {place}{more}"] if files else []
