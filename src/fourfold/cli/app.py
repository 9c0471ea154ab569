"""The commands: a thin shell. A command imports what is heavy when it runs, so that help answers at once."""

from __future__ import annotations

from typing import Annotated

import typer

from fourfold import __version__
from fourfold.cli import about, captions, compare, data, runs, tables, train
from fourfold.extensions import extensions

__all__ = ["app"]

app = typer.Typer(
    name="fourfold",
    help="Train, sample, score, compare and place generative models of every paradigm.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted. Errors are one line on standard error.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


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


# The help lists the commands in this order, then those of the wings.
app.command("fit")(train.fit)
app.command("sample")(runs.sample)
app.command("score")(runs.score)
app.command("evaluate")(runs.evaluate)
app.command("impute")(tables.impute)
app.command("classify")(tables.classify)
app.command("caption")(captions.caption)
app.command("compare")(compare.compare)
app.command("demo")(compare.demo)
app.command("info")(about.info)
app.command("data")(data.data)
app.command("init")(about.init)
for _name, _point in extensions("fourfold.commands").items():
    app.command(_name)(_point.load())
