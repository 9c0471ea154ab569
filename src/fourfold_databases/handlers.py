"""Commands whose data is a database, or whose run is that of one: this wing does their work. Torch-free."""

from __future__ import annotations

from pathlib import Path

from fourfold.cli.command import Command
from fourfold.cli.commands.compare import Judge
from fourfold.cli.commands.data import DescribeData
from fourfold.cli.commands.runs import Sample, ScoreExamples
from fourfold.cli.commands.train import Fit
from fourfold_databases import ENDINGS

__all__ = ["work_of"]

WORK = "fourfold_databases.cli"
"""The module that does the work."""


def work_of(command: Command) -> str | None:
    """The function that does the work of a command for a database. ``None`` for other data."""
    if isinstance(command, DescribeData):
        return f"{WORK}:data" if _is_database(command.name) and "query" not in command.data_options else None
    if isinstance(command, Judge):
        return f"{WORK}:judge" if _is_database(command.real) and "query" not in command.data_options else None
    if isinstance(command, Fit):
        database = _is_run(command.resume) or (_is_database(command.data) and "query" not in command.data_options)
        return f"{WORK}:fit" if database else None
    if isinstance(command, (Sample, ScoreExamples)) and _is_run(command.run):
        return f"{WORK}:sample" if isinstance(command, Sample) else f"{WORK}:score"
    return None


def _is_run(folder: Path | None) -> bool:
    """Whether a folder is the run of a database."""
    return folder is not None and (folder / "database.json").is_file()


def _is_database(name: str | None) -> bool:
    """Whether data is a file or a folder of several tables."""
    if name is None:
        return False
    path = Path(name).expanduser()
    if not (path.is_dir() or (path.is_file() and path.suffix.lower() in ENDINGS)):
        return False
    from fourfold_databases.reading import holds_tables  # loads pandas

    return holds_tables(path)
