"""Rows that break the keys of a schema: doubled keys, and links to rows that are not there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from fourfold.data.errors import DataError, option
from fourfold.output.printable import plural
from fourfold_databases.reading import Frames, keys_in, places_in
from fourfold_databases.schema import Link, Schema

__all__ = ["faults", "faults_of", "joined_keys", "sound_frames", "sound_rows", "text_of", "with_texts", "without_rows"]

BETWEEN = "\x1f"
"""Stands between the joined values of a key of several columns."""


def sound_frames(
    where: str, frames: Frames, schema: Schema, skip_bad: bool = False
) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """The tables with their keys as texts, once every key is unique and every link leads to a row.

    Args:
        where: the database, for messages.
        frames: the rows of each table.
        schema: their keys and links.
        skip_bad: leave out rows that break a key, and the rows that name them, and say so.

    Returns:
        The rows of each table, and notes on those that were left out.

    Raises:
        DataError: for the first row that breaks a key, with table, row and column.
    """
    sound: dict[str, pd.DataFrame] = {}
    notes: list[str] = []
    for table in schema.order:
        sound[table], remarks = sound_rows(where, frames, schema, table, sound, skip_bad)
        notes += remarks
    return sound, tuple(notes)


def sound_rows(
    where: str, frames: Frames, schema: Schema, table: str, sound: Frames, skip_bad: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """The rows of one table, as :func:`sound_frames` has them, and notes, once those that it names are sound."""
    notes: list[str] = []
    frame = with_texts(where, frames, schema, table, skip_bad)
    while (fault := next(faults(frame, schema, table, sound), None)) is not None:
        frame, note = without_rows(f"{where}, table {table}", frame, *fault, skip_bad)
        notes.append(f"{table}: {note}")
    return frame.reset_index(drop=True), notes


def without_rows(
    where: str, frame: pd.DataFrame, column: str, bad: pd.Series, rule: str, skip_bad: bool
) -> tuple[pd.DataFrame, str]:
    """The rows of a table but for those that break a rule, and a note on these.

    Raises:
        DataError: with the first of them, unless they are left out.
    """
    row = frame.index[bad][0]
    if not skip_bad:
        raise DataError(
            f"{where}, row {row + 1}, column {column}: {rule}, got {text_of(frame[column][row])}; correct it, or leave "
            f"such rows out with {option('skip_bad', True)}"
        )
    count = int(bad.sum())
    return frame[~bad], f"{plural(count, 'row')} {'are' if count > 1 else 'is'} left out: {column} {rule}"


def faults_of(where: str, frames: Frames, schema: Schema) -> dict[tuple[str, str], int]:
    """How many rows break each key and link, by table and column. Those that nothing breaks are left out."""
    texts = {table: with_texts(where, frames, schema, table, skip_bad=True) for table in schema.keys}
    counts: dict[tuple[str, str], int] = {}
    for table, frame in texts.items():
        for column, bad, _ in faults(frame, schema, table, texts):
            counts[table, column] = counts.get((table, column), 0) + int(bad.sum())
    return counts


def with_texts(where: str, frames: Frames, schema: Schema, table: str, skip_bad: bool = False) -> pd.DataFrame:
    """The rows of a table with keys and links as texts, those of several columns joined."""
    frame, joint = frames[table], schema.joint(table)
    columns = {column for name in joint for column in schema.columns_of(name)}
    names = [*columns, *(name for name in schema.without(table) if name not in joint)]
    place = f"{where}, table {table}, column"
    texts = {name: keys_in(f"{place} {name}", frame[name], skip_bad) for name in dict.fromkeys(names)}
    joined = {name: joined_keys([texts[column] for column in schema.columns_of(name)]) for name in joint}
    own = {name: texts[name] for name in schema.without(table) if name in texts}
    return frame.reset_index(drop=True).assign(**own, **joined)


def joined_keys(columns: Sequence[pd.Series]) -> pd.Series:
    """Keys of several columns as one, missing where one of them has none."""
    joined, *others = (column.astype("str") for column in columns)
    for other in others:
        joined = joined + BETWEEN + other
    return joined


def text_of(key: object) -> str:
    """A key as a message shows it."""
    if isinstance(key, str):
        return repr(key.replace(BETWEEN, ", "))
    return repr(None if isinstance(key, float) and math.isnan(key) else key)


def faults(frame: pd.DataFrame, schema: Schema, table: str, sound: Frames) -> Iterator[tuple[str, pd.Series, str]]:
    """Each rule that rows of a table break: the column, which rows, and the rule."""
    key = schema.keys[table]
    if key is not None:
        missing = frame[key].isna()
        doubled = frame[key].duplicated() & ~missing
        rules = [(missing, "must name the row"), (doubled, "must differ in every row")]
        yield from ((key, bad, rule) for bad, rule in rules if bad.any())
    for link in schema.links_of(table):
        parents = _parents(link, frame, schema, sound)
        bad = frame[link.column].notna() & (places_in(parents, frame[link.column]) < 0)
        if bad.any():
            yield link.column, bad, f"must name a row of {link.parent}"


def _parents(link: Link, frame: pd.DataFrame, schema: Schema, sound: Frames) -> pd.Series:
    """The keys that a link may hold."""
    key = schema.keys[link.parent]
    assert key is not None, "Schema refuses such links"
    return (frame if link.parent == link.child else sound[link.parent])[key]
