"""The declaration of ``serve``. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

import typer

from fourfold.cli.command import Command

__all__ = ["Serve"]


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
    port: Annotated[int, typer.Option(help="The port. 0 is any that is free.", min=0, max=65535, metavar="N")] = 8444
    open_: Annotated[bool, typer.Option("--open", help="Also open the page in the browser.")] = False
