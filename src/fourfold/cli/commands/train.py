"""The declaration of ``fit``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

from fourfold.cli.command import Command, opening_of, settings_of
from fourfold.cli.configfile import Config
from fourfold.cli.options import AsJson, Data, Threads, machines
from fourfold.runs.settings import FitKeywords, FitSettings
from fourfold.settings.data import DataKeywords, DataOptions

__all__ = ["BEST", "Fit"]

BEST = "best"
"""The word in the place of a paradigm that asks for a race."""
RACE_PANEL = "The race of best"


@final
@dataclass(frozen=True, kw_only=True)
class Fit(Command):
    """Train a model of a paradigm on data, within a budget.

    'best' races paradigms and trains the best of them.

    --resume continues a run under its own settings. Its budget, device,
    precision, compiling, checkpoints and choice of weights may change. Other
    options may be left out. If given, they must be those of the run.
    """

    work = "fourfold.cli.train:fit"

    context: typer.Context
    paradigm: Annotated[
        str | None,
        typer.Argument(
            help="A paradigm or recipe, such as 'diffusion' or 'diffusion/velocity'; or a published model to tune."
        ),
    ] = None
    data: Data = None
    settings: Annotated[FitKeywords, settings_of(FitSettings, optional=True)]
    opening: Annotated[dict[str, Any], opening_of(tuning=True)]
    aim: Annotated[
        str | None,
        typer.Option(
            help="With best: the score that decides: distance, likelihood, coverage or speed.",
            rich_help_panel=RACE_PANEL,
            show_default="distance",
        ),
    ] = None
    candidates: Annotated[
        str | None,
        typer.Option(
            help="With best: paradigms or recipes, separated by commas.",
            rich_help_panel=RACE_PANEL,
            show_default="all that model the data",
        ),
    ] = None
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder.", show_default="a new one in runs/")
    ] = None
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.", show_default=False)] = None
    threads: Threads = None
    config: Config = None
    as_json: AsJson = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the memory and time needed, and train nothing.")] = (
        False
    )
    ranks: Annotated[
        int | None,
        machines(
            help="With --dry-run: the number of processes.", min=1, metavar="N", show_default="those of torchrun, or 1"
        ),
    ] = None
    data_options: Annotated[DataKeywords, settings_of(DataOptions, optional=True)]

    def thread_count(self) -> int | None:
        """The number of threads. That of the run that goes on, since another would round sums differently."""
        if self.threads is not None or self.resume is None:
            return self.threads
        try:
            return int(json.loads((self.resume / "card.json").read_text(encoding="utf-8"))["hardware"]["threads"])
        except (OSError, ValueError, LookupError, TypeError):
            return None
