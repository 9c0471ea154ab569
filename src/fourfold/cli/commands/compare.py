"""The declarations of ``compare`` and ``demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

from fourfold.cli.command import Command, settings_of
from fourfold.cli.configfile import Config
from fourfold.cli.options import AsJson, Data, Report, RunsDir, Threads, machines
from fourfold.settings.data import DataKeywords, DataOptions
from fourfold.tournament.settings import Settings

__all__ = ["Compare", "Demo"]


@final
@dataclass(frozen=True, kw_only=True)
class Compare(Command):
    """Train every paradigm on the same data and budget, and write a report.

    The exit code is 1 if a paradigm failed.
    """

    work = "fourfold.cli.compare:compare"

    context: typer.Context
    data: Data = None
    settings: Annotated[dict[str, Any], settings_of(Settings)]
    out: Report = Path("report.html")
    runs_dir: RunsDir = Path("runs")
    threads: Threads = None
    print_jobs: Annotated[
        bool,
        machines(
            "--print-jobs",
            help="Train nothing: print the command of each run, for a scheduler.",
        ),
    ] = False
    run_folders: Annotated[
        list[Path] | None,
        machines(
            "--from",
            help="Train nothing: report on the runs in this folder, from any machine. Can be repeated.",
        ),
    ] = None
    config: Config = None
    as_json: AsJson = False
    data_options: Annotated[DataKeywords, settings_of(DataOptions, optional=True)]

    def thread_count(self) -> int | None:
        return self.threads


@final
@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Train a small model of every paradigm on digits, and write a report.

    Each model trains for 400 steps or 30 seconds, whichever ends first. All of it
    takes at most six minutes.
    """

    work = "fourfold.cli.compare:demo"

    out: Report = Path("report.html")
    runs_dir: RunsDir = Path("runs")
