"""The declarations of ``serve``, ``export-page`` and ``look``. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

import typer

from fourfold.cli.command import Command
from fourfold.cli.options import AsJson, Device, Folder, OtherData, Seed

__all__ = ["ExportPage", "Look", "Serve"]


@final
@dataclass(frozen=True, kw_only=True)
class Serve(Command):
    """Open a page with the map, the paradigms at work, and your runs.

    The page is for this machine alone: its address holds a token. It reads no
    file outside the folders of the runs. Ctrl-C ends it.
    """

    work = "fourfold_web.serving:serve"

    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Folders of runs.", show_default="runs, if it is there"),
    ] = None
    comparisons: Annotated[Path, typer.Option(help="The folder of comparisons that are started on the page.")] = Path(
        "comparisons"
    )
    port: Annotated[int, typer.Option(help="The port. 0 is any that is free.", min=0, max=65535, metavar="N")] = 8444
    open_: Annotated[bool, typer.Option("--open", help="Also open the page in the browser.")] = False


@final
@dataclass(frozen=True, kw_only=True)
class ExportPage(Command):
    """Write the page as files that need no server: map, paradigms, a run.

    Open index.html from the disk, or put the folder on any host. With a run the
    page also shows its card, its samples, the way its sampler goes, and the
    report of the comparison that it is from.
    """

    work = "fourfold_web.export:export"

    run: Annotated[Path | None, typer.Argument(help="The folder of a run, or zoo:NAME.", show_default="no run")] = None
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the page.")] = Path("page")
    seed: Seed = 0
    device: Device = "auto"
    as_json: AsJson = False


@final
@dataclass(frozen=True, kw_only=True)
class Look(Command):
    """Ask whether each of 40 examples is real or drawn, and count right answers.

    Texts and rows of tables are shown in the terminal. Anything else, and
    everything with --out, is shown on a page, which counts the answers itself.
    The rate of right answers has an interval; chance is 50 %.
    """

    work = "fourfold_web.look:look"

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
