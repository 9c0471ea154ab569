"""Commands whose data is a database, or whose run is that of one: this wing does their work. Torch-free."""

from __future__ import annotations

from pathlib import Path

from fourfold.cli.command import Command
from fourfold.cli.commands.about import Info
from fourfold.cli.commands.compare import Compare, Judge
from fourfold.cli.commands.data import DescribeData
from fourfold.cli.commands.runs import Evaluate, Sample, ScoreExamples
from fourfold.cli.commands.tables import Impute
from fourfold.cli.commands.train import Fit
from fourfold_databases import ENDINGS

__all__ = ["work_of"]

WORK = "fourfold_databases.cli"
"""The module that does the work."""
OF_RUNS = {Sample: "sample", ScoreExamples: "score", Evaluate: "evaluate", Impute: "impute"}
"""The commands that take the run of a database."""


def work_of(command: Command) -> str | None:
    """The function that does the work of a command for a database. ``None`` for other data."""
    if isinstance(command, DescribeData):
        return f"{WORK}:data" if _is_database(command.name) and "query" not in command.data_options else None
    if isinstance(command, Info):
        return f"{WORK}:info" if command.subject is not None and _is_run(Path(command.subject)) else None
    if isinstance(command, (Compare, Judge)):
        work, data = ("refuse_data", command.data) if isinstance(command, Compare) else ("judge", command.real)
        return f"{WORK}:{work}" if _is_database(data) and "query" not in command.data_options else None
    if isinstance(command, Fit):
        database = _is_run(command.resume) or (_is_database(command.data) and "query" not in command.data_options)
        return f"{WORK}:fit" if database else None
    if isinstance(command, Impute) and _is_run(command.run.absolute().parent.parent):
        return f"{WORK}:impute_table"
    return f"{WORK}:{OF_RUNS.get(type(command), 'refuse')}" if _is_run(getattr(command, "run", None)) else None


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
