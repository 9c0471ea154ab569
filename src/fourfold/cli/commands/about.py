"""The declaration of ``info``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import typer

from fourfold.cli.command import Command
from fourfold.cli.options import AsJson

__all__ = ["Info"]


@final
@dataclass(frozen=True, kw_only=True)
class Info(Command):
    """Show a run, a paradigm or a recipe: how it is trained, sampled and scored.

    Without a subject, list all paradigms and their recipes.
    """

    work = "fourfold.cli.about:info"

    subject: Annotated[str | None, typer.Argument(help="The folder of a run, a paradigm or a recipe.")] = None
    as_json: AsJson = False
