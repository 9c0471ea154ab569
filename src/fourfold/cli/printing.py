"""How commands print and write: results, remarks, data and files. Of several processes the first does."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fourfold import __version__
from fourfold.cli.configfile import config_text
from fourfold.machine.threads import is_first
from fourfold.output.printable import printable

if TYPE_CHECKING:
    from fourfold.data import Dataset


__all__ = ["print_data", "print_line", "print_parts", "results_of", "say", "say_notes", "write_repeat", "write_text"]


def print_line(line: object) -> None:
    """Print a result. Control characters are escaped: names and texts from outside cannot steer the terminal."""
    if is_first():
        typer.echo(printable(str(line), keep="\n\t"))


def say(line: object) -> None:
    """Print a remark to standard error."""
    if is_first():
        typer.echo(printable(str(line), keep="\n\t"), err=True)


def print_data(text: str) -> None:
    """Print data exactly as it is, but escape control characters if a terminal reads it."""
    if is_first():
        typer.echo(printable(text, keep="\n\t") if sys.stdout.isatty() else text)


def print_parts(parts: Iterable[str]) -> None:
    """Print data as it comes, as :func:`print_data` prints the whole of it."""
    for part in parts:
        if is_first():
            sys.stdout.write(printable(part, keep="\n\t") if sys.stdout.isatty() else part)
            sys.stdout.flush()
    print_data("")


def say_notes(dataset: Dataset) -> None:
    """Say what reading the data changed and left out."""
    for line in (*dataset.notes, *(f"skipped: {file}" for file in dataset.skipped)):
        say(line)


def results_of(run: Path) -> Path:
    """The folder for results that name no other: that of the run, or the working folder for a run of a place."""
    return run if run.is_dir() else Path()


def write_text(path: Path, text: str) -> None:
    """Write a text file, and make its folder if it is missing."""
    if is_first():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def write_repeat(path: Path, context: typer.Context) -> None:
    """Write the configuration file that repeats a call."""
    head = f"fourfold {__version__}; repeat with: fourfold {context.command.name} --config {path}"
    path.write_text(config_text(context.command, context.params, head), encoding="utf-8")
