"""Keys and links of tables that declare none: by uniqueness, inclusion and names. Each is said with its reason."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from fourfold.data.databases import DeclaredKeys
from fourfold.data.errors import DataError, option
from fourfold_databases.integrity import joined_keys
from fourfold_databases.reading import Frames, keys_in, places_in
from fourfold_databases.schema import DECLARED, Link, Schema, joint_name, without_circles

__all__ = ["inferred_schema"]

KEY = re.compile(r"(^|[_\W])(id|key|code|no|nr|uuid|guid)s?$|(?<=[a-z])(Id|ID|Key|Code|No|UUID)s?$", re.IGNORECASE)
"""Endings of the names of columns that may be keys."""
PLACE = re.compile(
    r"(^|[_\W])(year|season|round|stint|line|seq|sequence|number|position|pos|date|day|week|month|version)s?$"
    r"|(?<=[a-z])(Year|Season|Round|Stint|Line|Number|Date|Day|Week|Month)$",
    re.IGNORECASE,
)
"""Endings of the names of columns that may be the part of a key which tells the rows of one owner apart."""
CANDIDATES = 6
"""The first columns of such names, which are tried together."""
REPEATED = 7.0
"""So many alike pairs of rows are expected of columns that are no key: none is then found once in a thousand cases."""
UPWARDS = re.compile(
    r"parent|manager|boss|reports?_?to|supervis|super|mother|father|reply|previous|refer", re.IGNORECASE
)
"""Names of columns that may name another row of their own table."""
SHARE = 0.95
"""The least share of a link's values that are keys of the parent, and of the rows that a key tells apart."""
INFERRED = 100_000
"""The most rows of a child that tell which table a column names."""
WEAK = 0.5
"""The least share of a column's values that are keys of a parent it is named after, if it is said to be no link."""
NOTHING = DeclaredKeys((), ())
"""The keys of a table that declares none."""


def inferred_schema(
    frames: Frames, declared: Mapping[str, DeclaredKeys], where: str = "database", skip_bad: bool = False
) -> tuple[Schema, tuple[str, ...]]:
    """The schema of a database: the keys that it declares, and those that its values and names show.

    A column is a *primary key* if it has another value in every row and the name of a key. So are several columns
    together, of which one has the name of a key, if chance would hardly have it so. Without such columns one is that is
    named after the table, or that another table repeats, if nearly all its values differ: the others are faults. A
    column is a *link* if its name speaks of the parent and nearly all its values are keys of the parent. So are several
    columns with the names of the parent's key.

    Args:
        frames: the rows of each table.
        declared: the keys that the database itself names.
        where: the database, for messages.
        skip_bad: leave out links that close a circle.

    Returns:
        The schema, and notes on links that were left out, and on columns that are nearly links. Of a circle, a link
        that has the name of the parent's key stays.

    Raises:
        DataError: for links that run in a circle.
    """
    columns: dict[str, tuple[str, ...]] = {}
    reasons = {}
    for table, frame in frames.items():
        primary = declared.get(table, NOTHING).primary
        columns[table] = primary or _primary(table, frame) or _joint(table, frame, skip_bad)
        if columns[table]:
            different = "other values" if len(columns[table]) > 1 else "another value"
            reasons[table] = DECLARED if primary else f"{different} in every row, and the name of a key"
        elif nearly := _nearly_primary(table, frames):
            columns[table], reasons[table] = nearly, "another value in nearly every row, and the name of a key"
    values = {table: _keys(table, frames[table], key, skip_bad) for table, key in columns.items() if key}
    candidates = [
        candidate
        for table, frame in frames.items()
        for candidate in _links(table, frame, declared.get(table, NOTHING), columns, values)
    ]
    links = [(link, names) for link, names, share in candidates if share >= SHARE]
    by_key = [(link.child == link.parent, link.column != joint_name(columns[link.parent]), link) for link, _ in links]
    straight, closing = without_circles([link for *_, link in sorted(by_key, key=lambda item: item[:2])])
    straight = tuple(sorted(straight, key=[link for link, _ in links].index))
    straight = tuple(sorted(straight, key=lambda link: link.child == link.parent))
    if closing and not skip_bad:
        raise DataError(
            f"{where}, table {closing[0].child}, column {closing[0].column}: links must not run in a circle, and this "
            f"one to {closing[0].parent} closes one; leave such links out with {option('skip_bad', True)}"
        )
    notes = tuple(
        f"{link.child}: {link.column} is a column like any other, since a link to {link.parent} would close a circle"
        for link in closing
    )
    notes += tuple(
        f"{link.child}: {link.column} is a column like any other: {share:.0%} of its values are keys of {link.parent}, "
        f"and a link needs {SHARE:.0%}; name it in a {option('schema')}, and leave the other rows out with "
        f"{option('skip_bad', True)}"
        for link, _, share in candidates
        if share < SHARE
    )
    parts = {joint_name(key): key for key in columns.values() if len(key) > 1}
    parts |= {link.column: names for link, names in links if len(names) > 1}
    keys = {table: joint_name(key) if key else None for table, key in columns.items()}
    schema = Schema(keys, straight, reasons, parts)
    links_left = tuple(link for link in schema.links if not schema.implied(link))
    return dataclasses.replace(schema, links=links_left), notes


def _keys(table: str, frame: pd.DataFrame, columns: Sequence[str], skip_bad: bool) -> pd.Series:
    """The keys that some columns of a table hold."""
    texts = [keys_in(f"{table}, column {column}", frame[column], skip_bad) for column in columns]
    return texts[0] if len(texts) == 1 else joined_keys(texts)


def _primary(table: str, frame: pd.DataFrame) -> tuple[str, ...]:
    """The column that names the rows of a table, if there is one. A name that speaks of the table comes first."""
    names = [name for name in map(str, frame) if KEY.search(name) or name.lower() == table.lower()]
    by_name = sorted(names, key=lambda name: not _owns(table, name))
    return next(((name,) for name in by_name if _unique(frame[name])), ())


def _nearly_primary(table: str, frames: Frames) -> tuple[str, ...]:
    """The column that tells nearly all rows apart, if it is named after its table, or another table repeats it."""
    names = [name for name in map(str, frames[table]) if KEY.search(name)]
    others = [frame for other, frame in frames.items() if other != table]
    return next(
        (
            (name,)
            for name in sorted(names, key=lambda name: not _owns(table, name))
            if _nearly_unique(frames[table][name])
            and (_owns(table, name) or any(name in frame and not _nearly_unique(frame[name]) for frame in others))
        ),
        (),
    )


def _nearly_unique(column: pd.Series) -> bool:
    return column.nunique() >= SHARE * len(column)


def _joint(table: str, frame: pd.DataFrame, skip_bad: bool) -> tuple[str, ...]:
    """The first two or three columns that together name the rows of a table, if there are some.

    One of them has the name of a key, and each other that of a key or a place. If the last one were independent of the
    others, :data:`REPEATED` pairs of rows or more would have been alike.
    """
    names = [name for name in map(str, frame) if KEY.search(name) or PLACE.search(name)][:CANDIDATES]
    codes = {name: pd.factorize(keys_in(f"{table}, column {name}", frame[name], skip_bad))[0] for name in names}
    whole = sorted((name for name, code in codes.items() if (code >= 0).all()), key=lambda name: not KEY.search(name))
    for count in (2, 3):
        for columns in itertools.combinations(whole, count):
            if KEY.search(columns[0]) and _tells_apart([codes[name] for name in columns]):
                return columns
    return ()


def _tells_apart(codes: Sequence[npt.NDArray[np.intp]]) -> bool:
    """Whether columns together differ in every row, as they hardly would by chance."""
    frame = pd.DataFrame(dict(enumerate(codes)))
    if frame.duplicated().any():
        return False
    alike, last = frame.groupby([*range(len(codes) - 1)]).size(), frame[len(codes) - 1].value_counts(normalize=True)
    return float((alike * (alike - 1) / 2).sum() * (last**2).sum()) >= REPEATED


def _unique(column: pd.Series) -> bool:
    whole = not pd.api.types.is_float_dtype(column) and not pd.api.types.is_datetime64_any_dtype(column)
    return bool(whole and column.notna().all() and column.is_unique)


def _owns(table: str, name: str) -> bool:
    """Whether a column is named ``id``, or after its table."""
    stem = KEY.sub("", name)
    return not stem or _singular(stem) == _singular(table)


def _singular(name: str) -> str:
    """A name without case, marks and the ending of a plural."""
    word = re.sub(r"[\W_]", "", name).lower()
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return re.sub(r"(?<=[sxz])es$|(?<=[cs]h)es$|(?<=[^s])s$", "", word)


def _links(
    table: str,
    frame: pd.DataFrame,
    declared: DeclaredKeys,
    keys: Mapping[str, tuple[str, ...]],
    values: Mapping[str, pd.Series],
) -> list[tuple[Link, tuple[str, ...], float]]:
    """The links of a table with their columns, and the share of their values that are keys of the parent.

    They stand in the order of their first columns. Those of more columns come first.
    """
    foreign = {columns: parent for columns, parent in declared.foreign if parent in keys}
    names = [str(name) for name in frame]
    joint = [key for parent, key in keys.items() if len(key) > 1 and parent != table and set(key) <= {*names}]
    candidates = [*foreign, *(key for key in joint if key != keys[table]), *((name,) for name in names)]
    links = []
    for columns in dict.fromkeys(candidates):
        parents = [parent for parent, key in keys.items() if key and _names(table, columns, parent, keys)]
        if columns in foreign:
            links.append((Link(table, joint_name(columns), foreign[columns], DECLARED), columns, 1.0))
        elif parents:
            some = frame.iloc[:: -(-len(frame) // INFERRED)]
            present = _keys(table, some, columns, True).dropna()  # rows of a link are all looked at later
            shares = {parent: float(pd.Series(places_in(values[parent], present) >= 0).mean()) for parent in parents}
            parent = max(shares, key=lambda parent: shares[parent])
            if shares[parent] >= WEAK:
                reason = f"named after {parent}, and {shares[parent]:.0%} of its values are keys there"
                links.append((Link(table, joint_name(columns), parent, reason), columns, shares[parent]))
    return sorted(links, key=lambda item: (names.index(item[1][0]), -len(item[1])))


def _names(table: str, columns: tuple[str, ...], parent: str, keys: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether the names of columns say that they may be a link to a parent.

    The column ``id`` of a table is its own key. So is one that is named after its table. A link to the own table says
    that it goes upwards, as ``manager_id`` does. Several columns have the names of the parent's key.
    """
    key, name = keys[parent], columns[0]
    if len(columns) > 1 or len(key) > 1:
        return columns == key and parent != table
    stem = KEY.sub("", name)
    if parent == table:
        return name != key[0] and bool(UPWARDS.search(name))
    if columns == keys[table] and _owns(table, name):
        return False
    return _singular(stem or name).endswith(_singular(parent)) or (name == key[0] and bool(KEY.sub("", name)))
