"""Keys and links of tables that declare none: by uniqueness, inclusion and names. Each is said with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

import pandas as pd

from fourfold.data.databases import DeclaredKeys
from fourfold_databases.reading import Frames, keys_in
from fourfold_databases.schema import DECLARED, Link, Schema

__all__ = ["inferred_schema"]

KEY = re.compile(r"(^|[_\W])(id|key|code|no|nr|uuid|guid)s?$|(?<=[a-z])(Id|ID|Key|Code|No|UUID)s?$", re.IGNORECASE)
"""Endings of the names of columns that may be keys."""
UPWARDS = re.compile(
    r"parent|manager|boss|reports?_?to|supervis|super|mother|father|reply|previous|refer", re.IGNORECASE
)
"""Names of columns that may name another row of their own table."""
SHARE = 0.95
"""The least share of a link's values that are keys of the parent."""
NOTHING = DeclaredKeys((), ())
"""The keys of a table that declares none."""


def inferred_schema(frames: Frames, declared: Mapping[str, DeclaredKeys]) -> Schema:
    """The schema of a database: the keys that it declares, and those that its values and names show.

    A column is a *primary key* if it has another value in every row and the name of a key. A column is a *link* if its
    name speaks of the parent and nearly all its values are keys of the parent.

    Args:
        frames: the rows of each table.
        declared: the keys that the database itself names.

    Raises:
        DataError: for links that run in a circle.
    """
    keys: dict[str, str | None] = {}
    reasons = {}
    for table, frame in frames.items():
        primary = declared.get(table, NOTHING).primary
        keys[table] = primary[0] if len(primary) == 1 else _primary(table, frame)
        if keys[table] is not None:
            reasons[table] = DECLARED if len(primary) == 1 else "another value in every row, and the name of a key"
    values = {
        table: frozenset(keys_in(f"{table}, column {key}", frames[table][key]).dropna())
        for table, key in keys.items()
        if key is not None
    }
    links = [
        link
        for table, frame in frames.items()
        for link in _links(table, frame, declared.get(table, NOTHING), keys, values)
    ]
    owners_first = sorted(links, key=lambda link: link.child == link.parent)
    return Schema(keys, tuple(owners_first), reasons)


def _primary(table: str, frame: pd.DataFrame) -> str | None:
    """The column that names the rows of a table, or ``None``. A name that speaks of the table comes first."""
    names = [name for name in map(str, frame) if KEY.search(name) or name.lower() == table.lower()]
    return next((name for name in sorted(names, key=lambda name: not _owns(table, name)) if _unique(frame[name])), None)


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
    keys: Mapping[str, str | None],
    values: Mapping[str, Set[str]],
) -> list[Link]:
    """The links of a table, in the order of its columns."""
    foreign = {columns[0]: parent for columns, parent in declared.foreign if len(columns) == 1 and keys.get(parent)}
    links = []
    for name in map(str, frame):
        parents = [parent for parent, key in keys.items() if key is not None and _names(table, name, parent, keys)]
        if name in foreign:
            links.append(Link(table, name, foreign[name], DECLARED))
        elif parents:
            present = keys_in(f"{table}, column {name}", frame[name]).dropna()
            shares = {parent: float(present.isin(values[parent]).mean()) for parent in parents}
            parent = max(shares, key=lambda parent: shares[parent])
            if shares[parent] >= SHARE:
                reason = f"named after {parent}, and {shares[parent]:.0%} of its values are keys there"
                links.append(Link(table, name, parent, reason))
    return links


def _names(table: str, name: str, parent: str, keys: Mapping[str, str | None]) -> bool:
    """Whether the name of a column says that it may be a link to a parent.

    The column ``id`` of a table is its own key. So is one that is named after its table. A link to the own table says
    that it goes upwards, as ``manager_id`` does.
    """
    stem, key = KEY.sub("", name), keys[parent]
    if parent == table:
        return name != key and bool(UPWARDS.search(name))
    if name == keys[table] and _owns(table, name):
        return False
    return _singular(stem or name).endswith(_singular(parent)) or (name == key and bool(KEY.sub("", name)))
