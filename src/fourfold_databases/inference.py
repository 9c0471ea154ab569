"""Keys and links of tables that declare none: by uniqueness, inclusion and names. Each is said with its reason."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fourfold.data.databases import DeclaredKeys
from fourfold.data.errors import DataError, option
from fourfold.output.printable import plural
from fourfold_databases.integrity import joined_keys
from fourfold_databases.reading import Frames, gaps_in, keys_in, places_in
from fourfold_databases.repeats import Column, columns_of, names_by_codes, repeated_key, singular
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


@dataclass(frozen=True)
class Candidate:
    """A link that a table may have.

    Attributes:
        link: the link.
        columns: of the child.
        share: of their values that are keys of the parent, as far as they were looked up.
        missing: how many are none, where only values show the link. ``None``: names do.
    """

    link: Link
    columns: tuple[str, ...]
    share: float
    missing: int | None = None

    def holds(self, doubtful: bool) -> bool:
        """Whether it is a link. Rows that break one that values show are no faults, but leave it in doubt."""
        return self.share >= SHARE and (not self.missing or doubtful)

    @property
    def note(self) -> str:
        """A candidate that is no link, and the way to make it one."""
        head, skip_bad = f"{self.link.child}: {self.link.column} is a column like any other", option("skip_bad", True)
        if self.share >= SHARE:
            return (
                f"{head}: {self.share:.1%} of its values are keys of {self.link.parent}; {skip_bad} makes it a link, "
                f"and leaves out the {plural(self.missing or 0, 'row')} of the others"
            )
        return (
            f"{head}: {self.share:.0%} of its values are keys of {self.link.parent}, and a link needs {SHARE:.0%}; "
            f"name it in a {option('schema')}, and leave the other rows out with {skip_bad}"
        )


def inferred_schema(
    frames: Frames,
    declared: Mapping[str, DeclaredKeys],
    where: str = "database",
    skip_bad: bool = False,
    doubtful: bool = False,
) -> tuple[Schema, tuple[str, ...]]:
    """The schema of a database: the keys that it declares, and those that its values and names show.

    A column is a *primary key* if it has another value in every row and the name of a key. So are several columns
    together, of which one has the name of a key, if chance would hardly have it so. Without such columns one is that is
    named after the table, or that another table repeats, if nearly all its values differ: the others are faults. At
    last it is a column without the name of a key whose texts another table repeats (:func:`repeated_key`). A column is
    a *link* if its name speaks of the parent and nearly all its values are keys of the parent. So are several columns
    with the names of the parent's key, and one of another name that holds the parent's codes. Where only values show a
    link, all must be keys, or those that are none be ``doubtful``.

    Args:
        frames: the rows of each table.
        declared: the keys that the database itself names.
        where: the database, for messages.
        skip_bad: leave out links that close a circle.
        doubtful: take links that values show, though some are no keys.

    Returns:
        The schema, and notes on links that were left out, and on columns that are nearly links. Of a circle, a link
        that has the name of the parent's key stays.

    Raises:
        DataError: for links that run in a circle.
    """
    primaries = {table: declared.get(table, NOTHING).primary for table in frames}
    unique = {table: primaries[table] or _unique_names(table, frame) for table, frame in frames.items()}
    first = {table: primaries[table] or names[:1] for table, names in unique.items()}
    columns: dict[str, tuple[str, ...]] = {}
    reasons = {}
    links_alone = list[str]()
    for table, frame in frames.items():
        primary, left = primaries[table], unique[table]
        while not primary and left and (parent := _differs_by_chance(table, left[0], frames, first)) is not None:
            links_alone.append(
                f"{table}: {left[0]} names another row of {parent} in each of its {len(frame):,} rows, as chance may "
                f"have it, so it is a link and no key; write key = {json.dumps(left[0])} below [{json.dumps(table)}] "
                f"in a {option('schema')} if no two rows may name one"
            )
            left = left[1:]
        columns[table] = primary or left[:1] or _joint(table, frame, skip_bad)
        if columns[table]:
            different = "other values" if len(columns[table]) > 1 else "another value"
            reasons[table] = DECLARED if primary else f"{different} in every row, and the name of a key"
        elif nearly := _nearly_primary(table, frames):
            columns[table], reasons[table] = nearly, "another value in nearly every row, and the name of a key"
    every = [] if any(keys.foreign for keys in declared.values()) else columns_of(frames)
    by_values = {table: pair for table in frames if not columns[table] and (pair := repeated_key(table, every))}
    for table, (key, other) in by_values.items():
        columns[table] = (key.name,)
        reasons[table] = f"another value in every row, and {other.table}.{other.name} repeats them"
    values = {table: _keys(table, frames[table], key, skip_bad) for table, key in columns.items() if key}
    candidates = []
    for table, frame in frames.items():
        by_name = _links(table, frame, declared.get(table, NOTHING), columns, values, by_values)
        both, names = [*by_name, *_code_links(table, by_name, every, columns)], [*map(str, frame)]
        candidates += sorted(both, key=lambda item: (names.index(item.columns[0]), -len(item.columns)))
    links = [(item.link, item.columns) for item in candidates if item.holds(doubtful)]
    by_key = [(link.child == link.parent, link.column != joint_name(columns[link.parent]), link) for link, _ in links]
    straight, closing = without_circles([link for *_, link in sorted(by_key, key=lambda item: item[:2])])
    straight = tuple(sorted(straight, key=[link for link, _ in links].index))
    straight = tuple(sorted(straight, key=lambda link: (link.child == link.parent, not _is_own_key(link, columns))))
    by_names = {item.link for item in candidates if item.missing is None}
    if not skip_bad and (bad := next((link for link in closing if link in by_names), None)):
        raise DataError(
            f"{where}, table {bad.child}, column {bad.column}: links must not run in a circle, and this "
            f"one to {bad.parent} closes one; leave such links out with {option('skip_bad', True)}"
        )
    notes = (*links_alone,)
    notes += tuple(
        f"{link.child}: {link.column} is a column like any other, since a link to {link.parent} would close a circle"
        for link in closing
    )
    notes += tuple(item.note for item in candidates if not item.holds(doubtful))
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


def _unique_names(table: str, frame: pd.DataFrame) -> tuple[str, ...]:
    """The columns that may name the rows of a table. Those whose names speak of the table come first."""
    names = [name for name in map(str, frame) if KEY.search(name) or name.lower() == table.lower()]
    return tuple(name for name in sorted(names, key=lambda name: not _owns(table, name)) if _unique(frame[name]))


def _differs_by_chance(table: str, name: str, frames: Frames, keys: Mapping[str, tuple[str, ...]]) -> str | None:
    """The parent that a column without equal values names, if so few rows may differ by chance. ``None`` for a key.

    Were the rows independent, :data:`REPEATED` pairs of them or more would have been expected to name one row.
    """
    count = len(frames[table])
    for parent, key in keys.items():
        if _owns(table, name) or parent == table or not key or not _owns(parent, key[0]):
            continue
        few = count * (count - 1) / 2 < REPEATED * len(frames[parent])
        if few and _names(table, (name,), parent, keys):
            texts, values = (_keys(t, frames[t], (n,), True) for t, n in ((table, name), (parent, key[0])))
            if float((places_in(values, texts) >= 0).mean()) >= SHARE:
                return parent
    return None


def _is_own_key(link: Link, columns: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether rows of a child have a row of the parent each for themselves, since the link is the child's key."""
    return link.column == joint_name(columns[link.child])


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
    return bool(whole and column.is_unique and not gaps_in(column).any())


def _owns(table: str, name: str) -> bool:
    """Whether a column is named ``id``, or after its table."""
    stem = KEY.sub("", name)
    return not stem or singular(stem) == singular(table)


def _links(
    table: str,
    frame: pd.DataFrame,
    declared: DeclaredKeys,
    keys: Mapping[str, tuple[str, ...]],
    values: Mapping[str, pd.Series],
    by_values: Collection[str],
) -> list[Candidate]:
    """The links of a table that names show.

    Args:
        table: the child.
        frame: its rows.
        declared: the keys that the database itself names.
        keys: the columns of each table's primary key.
        values: of these keys.
        by_values: the tables whose keys only values show.
    """
    foreign = {columns: parent for columns, parent in declared.foreign if parent in keys}
    names = [str(name) for name in frame]
    joint = [key for parent, key in keys.items() if len(key) > 1 and parent != table and set(key) <= {*names}]
    candidates = [*foreign, *(key for key in joint if key != keys[table]), *((name,) for name in names)]
    links = []
    for columns in dict.fromkeys(candidates):
        parents = [parent for parent, key in keys.items() if key and _names(table, columns, parent, keys)]
        if columns in foreign:
            links.append(Candidate(Link(table, joint_name(columns), foreign[columns], DECLARED), columns, 1.0))
        elif parents:
            some = frame.iloc[:: -(-len(frame) // INFERRED)]
            present = _keys(table, some, columns, True).dropna()  # rows of a link are all looked at later
            shares = {parent: float(pd.Series(places_in(values[parent], present) >= 0).mean()) for parent in parents}
            after = {parent: singular(KEY.sub("", columns[-1])) == singular(parent) for parent in parents}
            parent = max(shares, key=lambda parent: (shares[parent] >= SHARE, after[parent], shares[parent]))
            if shares[parent] >= WEAK:
                whose = f"the key of {parent}" if parent in by_values and columns == keys[parent] else parent
                reason = f"named after {whose}, and {shares[parent]:.0%} of its values are keys there"
                link = Link(table, joint_name(columns), parent, reason)
                missing = _missing(_keys(table, frame, columns, True), values[parent]) if parent in by_values else None
                links.append(Candidate(link, columns, shares[parent], missing))
    return links


def _code_links(
    table: str, by_name: Sequence[Candidate], every: Sequence[Column], keys: Mapping[str, tuple[str, ...]]
) -> Iterator[Candidate]:
    """The links of a table that its codes show, of columns that neither names link nor are a key.

    Args:
        table: the child.
        by_name: the links of the table that names show.
        every: the columns of all tables.
        keys: the columns of each table's primary key.
    """
    linked = {column for item in by_name for column in item.columns} | {*keys[table]}
    parents = [column for column in every if column.table != table and keys[column.table] == (column.name,)]
    for column in (column for column in every if column.table == table and column.name not in linked):
        shares = {key: share for key in parents if (share := names_by_codes(column, key)) is not None}
        if shares:
            key = max(shares, key=lambda key: (shares[key], -len(key.values)))
            reason = f"{shares[key]:.0%} of its values are codes of {key.table}"
            link = Link(table, column.name, key.table, reason)
            yield Candidate(link, (column.name,), shares[key], _missing(column.texts, key.texts))


def _missing(texts: pd.Series, keys: pd.Series) -> int:
    """How many values of a column, gaps aside, are no keys."""
    return int((places_in(keys, texts.dropna()) < 0).sum())


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
    return singular(stem or name).endswith(singular(parent)) or (name == key[0] and bool(KEY.sub("", name)))
