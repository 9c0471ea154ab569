"""The commands of the program: those of the core, in the order of the help, then those of wings. Torch-free."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from fourfold import __version__
from fourfold.cli import about
from fourfold.cli.command import Command
from fourfold.cli.commands.about import Info
from fourfold.cli.commands.compare import Compare, Demo, Judge
from fourfold.cli.commands.data import DescribeData
from fourfold.cli.commands.runs import Evaluate, Sample, ScoreExamples
from fourfold.cli.commands.tables import Classify, Impute
from fourfold.cli.commands.train import Fit
from fourfold.extensions import extensions

__all__ = ["app"]


class _PlainSwitches:
    """Shows no type for switches, which take no value."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            param.metavar = "" if getattr(param, "is_flag", False) else param.metavar
        return params


class _Command(_PlainSwitches, TyperCommand):
    """A command."""


class _Group(_PlainSwitches, TyperGroup):
    """The program."""


app = typer.Typer(
    name="fourfold",
    cls=_Group,
    help="Train, sample, score, compare and place generative models of every paradigm.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted. Errors are one line on standard error.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

COMMANDS: dict[str, type[Command]] = {
    "fit": Fit,
    "sample": Sample,
    "score": ScoreExamples,
    "evaluate": Evaluate,
    "impute": Impute,
    "classify": Classify,
    "compare": Compare,
    "judge": Judge,
    "demo": Demo,
    "data": DescribeData,
    "info": Info,
}


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fourfold {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the trace of an error. It may stand anywhere on the line.")
    ] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = (
        False
    ),
) -> None:
    """Options of every command."""


for _name, _declaration in COMMANDS.items():
    app.command(_name, cls=_Command)(_declaration.callback())
app.command("init", cls=_Command)(about.init)
for _name, _point in extensions("fourfold.commands").items():
    _command = _point.load()
    _is_declaration = isinstance(_command, type) and issubclass(_command, Command)
    app.command(_name, cls=_Command)(_command.callback() if _is_declaration else _command)
