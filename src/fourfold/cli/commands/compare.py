"""The declarations of ``compare``, ``demo`` and ``judge``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

from fourfold.cli.command import Command, settings_of
from fourfold.cli.configfile import Config
from fourfold.cli.options import AsJson, Data, Features, Report, RunsDir, Seed, Threads, machines
from fourfold.settings.data import DataKeywords, DataOptions
from fourfold.tournament.settings import Settings

__all__ = ["Compare", "Demo", "Judge"]


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


@final
@dataclass(frozen=True, kw_only=True)
class Judge(Command):
    """Measure the samples of any system beside real data, and write a report.

    The scores, floors and intervals are those of models that are trained here.
    SYNTHETIC is of the kind of REAL: a table, a folder of images or sounds, an
    array, a text or sequences.

    REAL alone is split: its test split is the reference, and copies are looked
    for in its training split. Better is data that tells what was learned from.
    With --held-out, REAL is that, and the rows held out are the references. With
    --train, REAL is the reference. With both, rows held out give the floors of
    copies.
    """

    work = "fourfold.cli.compare:judge"

    real: Annotated[str, typer.Argument(help="A built-in set (see 'fourfold data'), a file, or a folder.")]
    synthetic: Annotated[str, typer.Argument(help="The samples: a file or a folder.")]
    train: Annotated[str | None, typer.Option(help="The data that the system learned from.", show_default=False)] = None
    held_out: Annotated[str | None, typer.Option(help="Data that the system never saw.", show_default=False)] = None
    n: Annotated[int, typer.Option("-n", "--n", help="The most samples and references.", min=16, metavar="N")] = 2000
    features: Features = None
    seed: Seed = 0
    out: Report = Path("judge.html")
    threads: Threads = None
    as_json: AsJson = False
    data_options: Annotated[DataKeywords, settings_of(DataOptions, optional=True)]

    def thread_count(self) -> int | None:
        return self.threads
