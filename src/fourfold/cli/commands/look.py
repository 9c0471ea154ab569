"""The declaration of ``look``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

import typer

from fourfold.cli.command import Command
from fourfold.cli.options import AsJson, Device, Folder, OtherData, Seed

__all__ = ["Look"]


@final
@dataclass(frozen=True, kw_only=True)
class Look(Command):
    """Ask whether each of 40 examples is real or drawn, and say how often that was told.

    Texts and rows of tables are shown in the terminal. Anything else, and
    everything with --out, is shown on a page, which counts the answers itself.
    The rate of right answers has an interval; chance is 50 %.
    """

    work = "fourfold.cli.look:look"

    run: Folder
    data: OtherData = None
    n: Annotated[int, typer.Option("-n", "--n", help="Number of examples.", min=1, metavar="N")] = 40
    seed: Seed = 0
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write a page.", show_default="look.html in the run folder, if there is one"),
    ] = None
    answers: Annotated[
        Path | None,
        typer.Option(help="Ask nothing: count the answers in this file, r or d for each example.", show_default=False),
    ] = None
    device: Device = "auto"
    as_json: AsJson = False
