"""Tables of databases: SQLite, and DuckDB where it is installed.

A database may come from anybody, and its views are programs. It is only read, no view is read unless it is asked for,
nothing outside of the file can be reached, and reading it may take :data:`SECONDS`.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fourfold.data.errors import DataError, option
from fourfold.data.memory import free_memory
from fourfold.machine.libraries import pyarrow
from fourfold.output.printable import shortened

__all__ = ["DeclaredKeys", "batches_of_duckdb", "batches_of_sqlite", "declared_keys"]

ROWS, BYTES = 1 << 16, 1 << 24
"""Rows that are read at once, and about how many characters, if these are fewer rows."""
SECONDS = 600.0
"""How long reading a database may take."""
LONGEST = 1 << 20
"""Bytes of a cell or a row of SQLite, at most."""
STEPS = 10_000
"""Instructions of SQLite between two looks at the clock."""
READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
"""The operations that a query of SQLite may use."""
WALLED: Mapping[str, str] = {
    "enable_external_access": "false",  # neither files nor the network
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",  # a name in a query is no variable of this process
    "temp_directory": "",  # a result larger than memory is not written
    "lock_configuration": "true",
}
"""The settings of DuckDB under which a file is opened, for good."""


def batches_of_sqlite(path: Path, query: str | None) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a query, a table or a named view of a SQLite database that is only read.

    Raises:
        DataError: if the file is not such a database, if it cannot answer the query in time, or if it holds several
            tables and no query is given.
    """
    with _opened_sqlite(path) as base:
        tables, views = (
            [
                name
                for (name,) in base.execute(
                    "select name from sqlite_master where type = ? and name not like 'sqlite_%'", (kind,)
                )
            ]
            for kind in ("table", "view")
        )
        cursor = base.execute(_sql(path, query, tables, views))
        names = [str(about[0]) for about in cursor.description]
        for rows in _portions(cursor):
            arrays = [_array(column) for column in zip(*rows, strict=True)]
            yield pyarrow.RecordBatch.from_arrays(arrays, names=names)


@contextlib.contextmanager
def _opened_sqlite(path: Path, pragmas: Collection[str] = ()) -> Iterator[sqlite3.Connection]:
    """A SQLite database that is only read, for at most :data:`SECONDS`.

    Args:
        path: its file.
        pragmas: those that may be asked for.

    Raises:
        DataError: if the file is not such a database, or if it cannot answer in time.
    """

    def allowed(action: int, name: str | None, *_: str | None) -> int:
        reading = action in READING or (action == sqlite3.SQLITE_PRAGMA and name in pragmas)
        return sqlite3.SQLITE_OK if reading else sqlite3.SQLITE_DENY

    deadline = time.monotonic() + SECONDS
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
            base.execute("pragma trusted_schema = off")
            base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
            base.set_progress_handler(lambda: int(time.monotonic() > deadline), STEPS)
            base.set_authorizer(allowed)
            yield base
    except sqlite3.Error as error:
        if time.monotonic() > deadline:
            raise _late(path) from None
        raise DataError(f"{path}: cannot be read as SQLite ({error}); check the file and the query") from None


def _portions(cursor: sqlite3.Cursor) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a cursor, in portions whose memory does not depend on the length of their values."""
    rows, size = list[tuple[Any, ...]](), 0
    for row in cursor:
        rows.append(row)
        size += sum(len(cell) for cell in row if isinstance(cell, (str, bytes)))
        if len(rows) >= ROWS or size >= BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _array(values: Sequence[Any]) -> Any:
    """The values of a column as texts, since a column of SQLite may hold values of several types. Bytes stay so."""
    if any(isinstance(value, bytes) for value in values) and all(isinstance(v, (bytes, type(None))) for v in values):
        return pyarrow.array(values, pyarrow.binary())
    return pyarrow.array([None if value is None else str(value) for value in values], pyarrow.string())


def batches_of_duckdb(path: Path, query: str | None) -> Iterator[pyarrow.RecordBatch]:
    """The rows of a query, a table or a named view of a DuckDB database that is only read.

    Raises:
        DataError: as :func:`batches_of_sqlite` does, and where ``duckdb`` is not installed.
    """
    with _opened_duckdb(path) as base:
        tables, views = (
            [
                name
                for (name,) in base.execute(f"select {kind}_name from duckdb_{kind}s() where not internal").fetchall()
            ]
            for kind in ("table", "view")
        )
        sql = _sql(path, query, tables, views)
        if [statement.type.name for statement in base.extract_statements(sql)] != ["SELECT"]:
            raise DataError(f"{path}: the query must be one SELECT, got {option('query', query)}")
        yield from pyarrow.RecordBatchReader.from_stream(base.sql(sql))


@contextlib.contextmanager
def _opened_duckdb(path: Path) -> Iterator[Any]:
    """A DuckDB database that is only read, for at most :data:`SECONDS`.

    Raises:
        DataError: if the file is not such a database, cannot answer in time, or ``duckdb`` is not installed.
    """
    try:
        import duckdb  # optional
    except ImportError:
        raise DataError(
            f"{path}: duckdb must be installed: pip install '.[tables]' in its clone, or write the table as .parquet"
        ) from None
    settings: dict[str, Any] = {**WALLED, "memory_limit": f"{free_memory() // 2 >> 20} MiB"}
    late = threading.Event()
    try:
        with (
            contextlib.closing(duckdb.connect(str(path.absolute()), read_only=True, config=settings)) as base,
            _interrupted(base, late),
        ):
            yield base
    except (duckdb.Error, OSError, pyarrow.ArrowException) as error:
        if late.is_set():
            raise _late(path) from None
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path}: cannot be read as DuckDB ({reason}); check the file and the query") from None


@dataclass(frozen=True)
class DeclaredKeys:
    """The keys of a table as its database declares them.

    Attributes:
        primary: the columns of the primary key, none where there is none.
        foreign: for each foreign key its columns, in the order of the parent's primary key, and that table.
        types: of the columns.
    """

    primary: tuple[str, ...]
    foreign: tuple[tuple[tuple[str, ...], str], ...]
    types: Mapping[str, str] = field(default_factory=dict)


def declared_keys(path: Path) -> dict[str, DeclaredKeys]:
    """The tables of a database, with the keys and types that it declares.

    Raises:
        DataError: as :func:`batches_of_sqlite` and :func:`batches_of_duckdb` do.
    """
    return _keys_of_duckdb(path) if path.suffix.lower() == ".duckdb" else _keys_of_sqlite(path)


def _keys_of_sqlite(path: Path) -> dict[str, DeclaredKeys]:
    primary, foreign = dict[str, tuple[str, ...]](), dict[str, list[tuple[list[str], list[str], str]]]()
    types: dict[str, dict[str, str]] = {}
    with _opened_sqlite(path, ("foreign_key_list", "table_info")) as base:
        names = base.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
        for (table,) in names.fetchall():
            rows = base.execute("select name from pragma_table_info(?) where pk > 0 order by pk", (table,))
            primary[table] = tuple(name for (name,) in rows)
            types[table] = dict(base.execute("select name, type from pragma_table_info(?)", (table,)).fetchall())
            links = base.execute(
                'select id, "from", "to", "table" from pragma_foreign_key_list(?) order by id desc, seq', (table,)
            )
            by_number: dict[int, tuple[list[str], list[str], str]] = {}
            for number, column, partners, parent in links:
                columns, of_parent, _ = by_number.setdefault(number, ([], [], parent))
                columns.append(column)
                of_parent += [] if partners is None else [partners]
            foreign[table] = [*by_number.values()]
    return _declared(primary, foreign, types)


def _keys_of_duckdb(path: Path) -> dict[str, DeclaredKeys]:
    with _opened_duckdb(path) as base:
        names = base.execute("select table_name from duckdb_tables() where not internal").fetchall()
        rows = base.execute(
            "select table_name, constraint_type, constraint_column_names, referenced_column_names, referenced_table "
            "from duckdb_constraints()"
        ).fetchall()
        columns_of = base.execute("select table_name, column_name, data_type from duckdb_columns() where not internal")
        cells = columns_of.fetchall()
    types = {table: {name: kind for owner, name, kind in cells if owner == table} for (table,) in names}
    primary = {table: tuple(columns) for table, kind, columns, *_ in rows if kind == "PRIMARY KEY"}
    foreign = {
        table: [
            (columns, partners, parent)
            for t, kind, columns, partners, parent in rows
            if (t, kind) == (table, "FOREIGN KEY")
        ]
        for (table,) in names
    }
    return _declared({table: primary.get(table, ()) for (table,) in names}, foreign, types)


def _declared(
    primary: Mapping[str, tuple[str, ...]],
    foreign: Mapping[str, Sequence[tuple[Sequence[str], Sequence[str], str]]],
    types: Mapping[str, Mapping[str, str]],
) -> dict[str, DeclaredKeys]:
    """The keys of tables. A foreign key that names other columns of its parent than the primary key is none.

    Args:
        primary: the columns of each table's primary key.
        foreign: columns of each foreign key, those of its parent that they hold, if they are named, and the parent.
        types: of the columns of each table.
    """
    keys = {}
    for table, links in foreign.items():
        ordered = []
        for columns, partners, parent in links:
            key = primary.get(parent, ())
            partner = dict(zip(partners or key, columns, strict=False))
            if len(key) == len(columns) and partner.keys() == set(key):
                ordered.append((tuple(partner[name] for name in key), parent))
        keys[table] = DeclaredKeys(primary[table], tuple(ordered), types[table])
    return keys


@contextlib.contextmanager
def _interrupted(base: Any, late: threading.Event) -> Iterator[None]:
    """Inside, a database is interrupted once its time is over, which the event then tells."""

    def stop() -> None:
        late.set()
        base.interrupt()

    timer = threading.Timer(SECONDS, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _late(path: Path) -> DataError:
    return DataError(
        f"{path}: has not given all rows after {SECONDS:,.0f} s: give {option('query')} a query that ends, or write "
        "the table as .parquet"
    )


def _sql(path: Path, query: str | None, tables: Sequence[str], views: Sequence[str]) -> str:
    """A query as it is, or one for the rows of a table or view: the one that is named, or the only table."""
    if (
        query is not None
        and re.match(r"\s*(select|with|from)\b", query, re.IGNORECASE)
        and query not in (*tables, *views)
    ):
        return query
    if query is None and len(tables) != 1:
        more = f" and {len(views)} views" if views else ""
        raise DataError(
            f"{path}: must have one table, got {len(tables)}{more} ({shortened([*tables, *views])}); choose one with "
            f"{option('query')}"
        )
    table = tables[0] if query is None else query
    if table not in (*tables, *views):
        raise DataError(f"{path}: the table must be one of {shortened([*tables, *views])}, got {table!r}")
    return 'select * from "{}"'.format(table.replace('"', '""'))
