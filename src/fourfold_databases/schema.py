"""The schema of a database: primary keys, and the links between tables. Torch-free.

A *link* is a foreign key: each row of a child names one row of its parent, or none. A table's first link is its
*owner*: its rows are modelled as a sequence given the parent's row. Further links are references.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from fourfold.data.errors import DataError
from fourfold.output.printable import shortened

__all__ = ["DECLARED", "Link", "Schema"]

DECLARED = "declared by the database"
"""The reason of a key that the database itself names."""


@dataclass(frozen=True)
class Link:
    """A foreign key.

    Attributes:
        child: the table whose rows name another row.
        column: its column that holds the name.
        parent: the table that is named, by its primary key.
        reason: how the link became known.
    """

    child: str
    column: str
    parent: str
    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.child}.{self.column} -> {self.parent}"


@dataclass(frozen=True)
class Schema:
    """Tables, their primary keys, and their links.

    Attributes:
        keys: the primary key of each table, or ``None`` for a table without one.
        links: in the order of the children's columns, but that of the owner first.
        reasons: how each primary key became known.

    Raises:
        DataError: for a link to a table without a key, or a circle of links.
    """

    keys: Mapping[str, str | None]
    links: tuple[Link, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for link in self.links:
            if self.keys.get(link.parent) is None:
                raise DataError(f"{link}: the parent must be a table with a primary key, got {link.parent!r}; name it")
        try:
            self._sorter().prepare()
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            raise DataError(
                f"links must not run in a circle, got {circle}; write the schema to a file and leave one of them out"
            ) from None

    def _sorter(self) -> TopologicalSorter[str]:
        return TopologicalSorter(
            {table: {link.parent for link in self.links_of(table) if link.parent != table} for table in self.keys}
        )

    @property
    def order(self) -> tuple[str, ...]:
        """All tables, each after those that its rows name. Links of a table to itself do not count."""
        return tuple(self._sorter().static_order())

    def links_of(self, table: str) -> tuple[Link, ...]:
        """The links from a table to its parents, that of its owner first."""
        return tuple(link for link in self.links if link.child == table)

    def owner(self, table: str) -> Link | None:
        """The link to the table given whose rows this one is modelled. ``None`` for a table that stands alone."""
        links = self.links_of(table)
        return links[0] if links and links[0].parent != table else None

    def references(self, table: str) -> tuple[Link, ...]:
        """The links of a table that are not its owner's."""
        return tuple(link for link in self.links_of(table) if link != self.owner(table))

    def children(self, table: str) -> tuple[Link, ...]:
        """The links of the tables that this one owns."""
        return tuple(link for name in self.keys if (link := self.owner(name)) is not None and link.parent == table)

    def without(self, table: str) -> tuple[str, ...]:
        """The columns of a table that are keys, and so have no meaning of their own."""
        key = self.keys[table]
        return tuple(dict.fromkeys([*([] if key is None else [key]), *(link.column for link in self.links_of(table))]))

    def unlinked(self, tables: Collection[str]) -> Schema:
        """This schema without the links to some tables: their columns are then like any other."""
        return dataclasses.replace(self, links=tuple(link for link in self.links if link.parent not in tables))

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
        lines = [f"[{name}]", *([] if key is None else [f"key = {json.dumps(key)}"])]
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
            if unknown := sorted(section.keys() - {"key", "links"}):
                raise DataError(f"{where}, [{table}]: an entry must be key or links, got {unknown[0]!r}")
            links = section.get("links", {})
            if not isinstance(links, dict) or not all(isinstance(parent, str) for parent in links.values()):
                raise DataError(f'{where}, [{table}.links]: a line must be column = "table", got {links!r}')
        keys = {table: section.get("key") for table, section in sections.items()}
        reason = f"named by {where}"
        links = [
            Link(table, column, parent, reason)
            for table, section in sections.items()
            for column, parent in section.get("links", {}).items()
        ]
        return cls(keys, tuple(links), dict.fromkeys(keys, reason))

    def restricted(self, tables: Mapping[str, tuple[str, ...]], where: str) -> Schema:
        """This schema for a database with other tables: those that it does not have have no keys.

        Args:
            tables: the columns of each table of the database.
            where: the database, for messages.

        Raises:
            DataError: for a table or column that the database does not have.
        """
        for table, key in self.keys.items():
            if table not in tables:
                raise DataError(f"{where}: must have the table {table!r} of the schema, has {shortened([*tables])}")
            for column in [*([] if key is None else [key]), *(link.column for link in self.links_of(table))]:
                if column not in tables[table]:
                    raise DataError(
                        f"{where}, table {table}: must have the column {column!r} of the schema, has "
                        f"{shortened([*tables[table]])}"
                    )
        return dataclasses.replace(self, keys={table: self.keys.get(table) for table in tables})
