"""The schema of a database: primary keys, and the links between tables. Torch-free.

A *link* is a foreign key: each row of a child names one row of its parent, or none. A table's first link is its
*owner*: its rows are modelled as a sequence given the parent's row. Further links are references.

A key of several columns is one column of their joined values, which frames hold beside them. It has their names, joined
by commas.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from fourfold.data.errors import DataError
from fourfold.output.printable import shortened

__all__ = ["DECLARED", "NAMED", "Link", "Schema", "joint_name", "without_circles"]

DECLARED = "declared by the database"
"""The reason of a key that the database itself names."""
NAMED = "named by"
"""The beginning of the reason of a key that a file for the schema names."""
COMMA = ", "
"""Joins the names of the columns of one key."""


def joint_name(columns: Sequence[str]) -> str:
    """The name of a key of some columns."""
    return COMMA.join(columns)


@dataclass(frozen=True)
class Link:
    """A foreign key.

    Attributes:
        child: the table whose rows name another row.
        column: its column that holds the name, or the :func:`joint_name` of several.
        parent: the table that is named, by its primary key.
        reason: how the link became known.
    """

    child: str
    column: str
    parent: str
    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.child}.{self.column} -> {self.parent}"


def _sorter(links: Iterable[Link], tables: Iterable[str] = ()) -> TopologicalSorter[str]:
    """Sorts tables after those that their rows name."""
    parents: dict[str, set[str]] = {table: set() for table in tables}
    for link in links:
        parents.setdefault(link.child, set()).update({link.parent} - {link.child})
    return TopologicalSorter(parents)


def _circle(links: Iterable[Link]) -> str:
    """The tables of a circle of links. Empty where there is none."""
    try:
        _sorter(links).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def without_circles(links: Sequence[Link]) -> tuple[tuple[Link, ...], tuple[Link, ...]]:
    """The links that close no circle with those before them, and those that do."""
    straight: list[Link] = []
    closing: list[Link] = []
    for link in links:
        (closing if _circle([*straight, link]) else straight).append(link)
    return tuple(straight), tuple(closing)


def _line_of(text: str, link: Link) -> int:
    """The number of the line of a TOML file that names a link, from 1. 0 where it is written in another way."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        section = line.strip() if line.lstrip().startswith("[") else section
        names_table = section.strip("[]").replace('"', "").removesuffix(".links") == link.child
        if names_table and line.partition("=")[0].strip().strip('"') == link.column:
            return number
    return 0


@dataclass(frozen=True)
class Schema:
    """Tables, their primary keys, and their links.

    Attributes:
        keys: the primary key of each table, or ``None`` for a table without one.
        links: in the order of the children's columns, but that of the owner first.
        reasons: how each primary key became known.
        parts: the columns of each key and link that has several, by its :func:`joint_name`. Those of a link stand in
            the order of the parent's key.
        free: the tables whose rows no other owns, though they have links: all of these are references.
        real: the reference tables, such as a list of airports: their rows stay as they are.

    Raises:
        DataError: for a link to a table without a key or to one of more columns, or a circle of links.
    """

    keys: Mapping[str, str | None]
    links: tuple[Link, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    free: tuple[str, ...] = ()
    real: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for link in self.links:
            if self.keys.get(link.parent) is None:
                raise DataError(f"{link}: the parent must be a table with a primary key, got {link.parent!r}; name it")
            columns, key = self.columns_of(link.column), self.columns_of(self.keys[link.parent])
            if len(columns) != len(key):
                raise DataError(
                    f"{link}: must name the {len(key)} columns of the key ({joint_name(key)}), got {len(columns)}"
                )
        if circle := _circle(self.links):
            raise DataError(f"links must not run in a circle, got {circle}; take one of them out of the schema")

    @property
    def order(self) -> tuple[str, ...]:
        """All tables, each after those that its rows name. Links of a table to itself do not count."""
        return tuple(_sorter(self.links, self.keys).static_order())

    def links_of(self, table: str) -> tuple[Link, ...]:
        """The links from a table to its parents, that of its owner first."""
        return tuple(link for link in self.links if link.child == table)

    def owner(self, table: str) -> Link | None:
        """The link to the table given whose rows this one is modelled. ``None`` for a table that stands alone."""
        links = () if table in self.free else self.links_of(table)
        return links[0] if links and links[0].parent != table else None

    def references(self, table: str) -> tuple[Link, ...]:
        """The links of a table that are not its owner's."""
        return tuple(link for link in self.links_of(table) if link != self.owner(table))

    def children(self, table: str) -> tuple[Link, ...]:
        """The links of the tables that this one owns."""
        return tuple(link for name in self.keys if (link := self.owner(name)) is not None and link.parent == table)

    def columns_of(self, key: str | None) -> tuple[str, ...]:
        """The columns of a key or a link: itself, where it is a column."""
        return () if key is None else self.parts.get(key, (key,))

    def key_columns(self, table: str) -> tuple[str, ...]:
        """The columns of a table's primary key."""
        return self.columns_of(self.keys[table])

    def joint(self, table: str) -> tuple[str, ...]:
        """The keys and links of a table that have several columns."""
        return tuple(name for name in self._keys_and_links(table) if name in self.parts)

    def _keys_and_links(self, table: str) -> Iterator[str]:
        """The key and the links of a table."""
        key = self.keys[table]
        yield from dict.fromkeys([*([] if key is None else [key]), *(link.column for link in self.links_of(table))])

    def without(self, table: str) -> tuple[str, ...]:
        """The columns of a table that are keys, and so have no meaning of their own.

        The columns of a joint key are not among them: the others of a row of one parent differ by their meaning.
        """
        links = (column for link in self.links_of(table) for column in self.columns_of(link.column))
        return tuple(dict.fromkeys([*self._keys_and_links(table), *links]))

    def implied(self, link: Link) -> bool:
        """Whether a link follows from another: a row that names an order by its customer names the customer, too."""
        return any(other.child == link.child and other != link and self._holds(other, link) for other in self.links)

    def _holds(self, other: Link, link: Link) -> bool:
        """Whether the row that ``other`` names has, in the same columns, a link to the parent of ``link``."""
        names = dict(zip(self.columns_of(other.column), self.key_columns(other.parent), strict=True))
        columns = self.columns_of(link.column)
        if not names.keys() >= set(columns):
            return False
        above = joint_name([names[column] for column in columns])
        return any(upper.column == above and upper.parent == link.parent for upper in self.links_of(other.parent))

    def unlinked(self, tables: Collection[str]) -> Schema:
        """This schema without the links to some tables: their columns are then like any other."""
        return dataclasses.replace(self, links=tuple(link for link in self.links if link.parent not in tables))

    def without_tables(self, tables: Collection[str]) -> Schema:
        """This schema without some tables and their links."""
        links = tuple(link for link in self.unlinked(tables).links if link.child not in tables)
        keys = {table: key for table, key in self.keys.items() if table not in tables}
        return dataclasses.replace(self, keys=keys, links=links)

    def __str__(self) -> str:
        lines = []
        for table in self.order:
            key = self.keys[table]
            reason = self.reasons.get(table, "")
            lines.append(f"{table}: " + (f"key {key}" if key else "no key") + (f" ({reason})" if reason else ""))
            for link in self.links_of(table):
                role = "owned by" if link == self.owner(table) else "refers to"
                lines.append(f"  {link.column} {role} {link.parent}" + (f" ({link.reason})" if link.reason else ""))
        return "\n".join(lines)

    # --- the file -----------------------------------------------------------------------------------------------------

    @property
    def toml(self) -> str:
        """The schema as a TOML file: a section for each table. The first of its links is its owner's."""
        return "\n".join(self._section(table) for table in self.order)

    def _section(self, table: str) -> str:
        name, key = json.dumps(table), self.keys[table]
        columns = self.columns_of(key)
        value = columns[0] if len(columns) == 1 else [*columns]
        lines = [f"[{name}]", *([f"key = {json.dumps(value)}"] if columns else [])]
        lines += ["owner = false"] if table in self.free else []
        lines += ["reference = true"] if table in self.real else []
        links = [f"{json.dumps(link.column)} = {json.dumps(link.parent)}" for link in self.links_of(table)]
        return "\n".join([*lines, *([f"[{name}.links]", *links] if links else []), ""])

    @classmethod
    def of_toml(cls, where: str, text: str) -> Schema:
        """The schema that a TOML file describes.

        Args:
            where: the file, for messages.
            text: its content.

        Raises:
            DataError: for a text that is no schema.
        """
        try:
            sections = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"{where}: cannot be read as TOML ({error}); correct it") from None
        for table, section in sections.items():
            if not isinstance(section, dict):
                raise DataError(f"{where}: {table} must be a section [{table}], got {section!r}")
            if unknown := sorted(section.keys() - {"key", "links", "owner", "reference"}):
                raise DataError(
                    f"{where}, [{table}]: an entry must be key, links, owner or reference, got {unknown[0]!r}"
                )
            if section.get("owner", False) is not False:
                raise DataError(
                    f"{where}, [{table}]: owner must be false or left out, got {section['owner']!r}; the first link is "
                    "the owner's"
                )
            if section.get("reference", True) is not True:
                raise DataError(
                    f"{where}, [{table}]: reference must be true or left out, got {section['reference']!r}; true keeps "
                    "the rows of a table that holds no persons"
                )
            links = section.get("links", {})
            if not isinstance(links, dict) or not all(isinstance(parent, str) for parent in links.values()):
                raise DataError(f'{where}, [{table}.links]: a line must be column = "table", got {links!r}')
            key = section.get("key", "")
            if not isinstance(key, str) and not (
                isinstance(key, list) and key and all(isinstance(n, str) for n in key)
            ):
                raise DataError(f"{where}, [{table}]: key must be a column or a list of columns, got {key!r}")
        several = {table: section["key"] for table, section in sections.items() if isinstance(section.get("key"), list)}
        keys = {table: section.get("key") for table, section in sections.items()}
        keys |= {table: joint_name(columns) for table, columns in several.items()}
        parts = {joint_name(columns): tuple(columns) for columns in several.values() if len(columns) > 1}
        reason = f"{NAMED} {where}"
        links = [
            Link(table, column, parent, reason)
            for table, section in sections.items()
            for column, parent in section.get("links", {}).items()
        ]
        parts |= {link.column: tuple(link.column.split(COMMA)) for link in links if keys.get(link.parent) in parts}
        free = tuple(table for table, section in sections.items() if "owner" in section)
        real = tuple(table for table, section in sections.items() if "reference" in section)
        for link in links:
            if link.parent not in keys:
                raise DataError(
                    f"{where}, line {_line_of(text, link)}: {link}: {link.parent!r} must be a section with a "
                    f"primary key, got {shortened([*keys])}; add [{json.dumps(link.parent)}]"
                )
        try:
            return cls(keys, tuple(links), dict.fromkeys(keys, reason), parts, free, real)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None

    def restricted(self, tables: Mapping[str, tuple[str, ...]], where: str) -> Schema:
        """This schema for a database with other tables: those that it does not have have no keys.

        Args:
            tables: the columns of each table of the database.
            where: the database, for messages.

        Raises:
            DataError: for a table or column that the database does not have.
        """
        for table in self.keys:
            if table not in tables:
                raise DataError(
                    f"{where}: must have the table {table!r} of the schema, has {shortened([*tables])}; add it, or "
                    "take it out of the schema"
                )
            for column in (column for name in self._keys_and_links(table) for column in self.columns_of(name)):
                if column not in tables[table]:
                    raise DataError(
                        f"{where}, table {table}: must have the column {column!r} of the schema, has "
                        f"{shortened([*tables[table]])}; add it, or take it out of the schema"
                    )
        return dataclasses.replace(self, keys={table: self.keys.get(table) for table in tables})
