"""Commands whose data is a database, or whose run is that of one: this wing does their work. Torch-free."""

from __future__ import annotations

from pathlib import Path

from fourfold.cli.command import Command
from fourfold.cli.commands.data import DescribeData

__all__ = ["work_of"]

ENDINGS = (".sqlite", ".sqlite3", ".db", ".duckdb")
"""Endings of files that may hold several tables."""


def work_of(command: Command) -> str | None:
    """The function that does the work of a command for a database. ``None`` for other data."""
    if isinstance(command, DescribeData) and command.name and "query" not in command.data_options:
        return "fourfold_databases.cli:data" if _is_database(command.name) else None
    return None


def _is_database(name: str) -> bool:
    """Whether data is a file or a folder of several tables."""
    path = Path(name).expanduser()
    if not (path.is_dir() or (path.is_file() and path.suffix.lower() in ENDINGS)):
        return False
    from fourfold_databases.reading import holds_tables  # loads pandas

    return holds_tables(path)
