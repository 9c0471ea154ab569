"""Commands that explain: ``info`` shows runs and paradigms, ``init`` writes every option into a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fourfold.cli.commands.about import Info
from fourfold.cli.configfile import SECTIONS, template
from fourfold.cli.printing import print_line, write_text
from fourfold.info import record, text

__all__ = ["info", "init"]


def info(command: Info) -> None:
    """Print the page of a run, a paradigm or a recipe."""
    subject = command.subject
    print_line(json.dumps(record(subject), indent=1) if command.as_json else text(subject))


def init(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("fourfold.toml"),
) -> None:
    """Write a configuration file with every option of fit and compare, explained.

    Remove the # before an option to set it. fit and compare read the file by
    --config. Options on the command line win.
    """
    if out.exists():
        raise ValueError(
            f"--out must be a new file, got {out}, which exists already; choose another name, or remove it"
        )
    program: Any = context.find_root().command
    write_text(out, "\n".join(template(program.commands[name]) for name in SECTIONS))
    print_line(f"{out}: edit it, then: fourfold fit --config {out}")
