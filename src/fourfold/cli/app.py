"""The commands of the program: those of the core, in the order of the help, then those of wings. Torch-free."""

from __future__ import annotations

from typing import Annotated

import typer

from fourfold import __version__
from fourfold.cli import about
from fourfold.cli.command import Command
from fourfold.cli.commands.captions import Caption
from fourfold.cli.commands.compare import Compare, Demo
from fourfold.cli.commands.data import DescribeData
from fourfold.cli.commands.runs import Evaluate, Sample, Score
from fourfold.cli.commands.tables import Classify, Impute
from fourfold.cli.commands.train import Fit
from fourfold.extensions import extensions

__all__ = ["app"]

app = typer.Typer(
    name="fourfold",
    help="Train, sample, score, compare and place generative models of every paradigm.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted. Errors are one line on standard error.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

COMMANDS: dict[str, type[Command]] = {
    "fit": Fit,
    "sample": Sample,
    "score": Score,
    "evaluate": Evaluate,
    "impute": Impute,
    "classify": Classify,
    "caption": Caption,
    "compare": Compare,
    "demo": Demo,
    "data": DescribeData,
}


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fourfold {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the trace of an error. It may stand anywhere on the line.", metavar="")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.", metavar="")
    ] = (False),
) -> None:
    """Options of every command."""


for _name, _declaration in COMMANDS.items():
    app.command(_name)(_declaration.callback())
app.command("info")(about.info)
app.command("init")(about.init)
for _name, _point in extensions("fourfold.commands").items():
    _command = _point.load()
    _is_declaration = isinstance(_command, type) and issubclass(_command, Command)
    app.command(_name)(_command.callback() if _is_declaration else _command)
