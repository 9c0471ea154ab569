"""The command line of the atlas: ``place`` and ``map``. Heavy imports wait until a command runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourfold.output.printable import printable

if TYPE_CHECKING:
    from fourfold_atlas.placement import Placement

__all__ = ["map_", "place"]


def place(
    subjects: Annotated[list[str] | None, typer.Argument(help="Names, texts, files or folders.")] = None,
    objective: Annotated[str, typer.Option(help="What the training loss compares, in words.")] = "",
    sampling: Annotated[str, typer.Option(help="How an example is drawn, in words.")] = "",
    sure: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Answer only from this confidence on; below it, name the missing fact."),
    ] = 0.0,
    together: Annotated[bool, typer.Option("--together", help="Read all files as those of one system.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--map", help="Also draw the map with these systems on it, to this HTML file.")
    ] = None,
) -> None:
    """Place generative systems on the map, with the evidence.

    One system is shown in full, up to three side by side, more as a table. A
    dash reads standard input. The text of papers (PDF) needs pypdf.
    """
    from fourfold_atlas import UnreadableError, api
    from fourfold_atlas.decision import surely

    placed: list[Placement] = []
    broken: list[str] = []
    names: list[str | None] = [*(subjects or [])] or ([None] if objective or sampling else [])
    for subject in names[:1] if together else names:
        try:
            if together:
                placed.append(surely(api.place_together(map(Path, subjects or [])), sure))
                continue
            content = _standard_input() if subject == "-" else subject
            placed.append(api.place(content, objective=objective, sampling=sampling, sure=sure))
        except UnreadableError as error:
            broken.append(str(error))
    if not placed and not broken:
        broken.append("SUBJECT must be a name, a text or a path, got nothing: or give --objective and --sampling")
    if placed or json:
        typer.echo(printable(_as_json(placed) if json else _as_text(placed), keep="\n"))
    if picture:
        from fourfold_atlas.drawing import html

        picture.write_text(html(placed), encoding="utf-8")
        typer.echo(f"map: {printable(str(picture))}")
    for line in broken:
        typer.echo(f"error: {printable(line)}", err=True)
    if broken:
        raise typer.Exit(2)


def _standard_input() -> str:
    """Read standard input as text.

    Raises:
        UnreadableError: it is closed, or binary.
    """
    from fourfold_atlas.bounded import TEXT_BYTES, UnreadableError, decode

    stream = getattr(sys.stdin, "buffer", None)
    try:
        raw = stream.read(TEXT_BYTES) if stream else None
    except (OSError, ValueError):
        raw = None
    if raw is None:
        raise UnreadableError("standard input must be a text, got a closed stream: give it as an argument")
    return decode(raw, "standard input")


def _as_json(placed: list[Placement]) -> str:
    """One object, or a list of any other number."""
    return placed[0].to_json() if len(placed) == 1 else "[" + ",\n".join(row.to_json() for row in placed) + "]"


def _as_text(placed: list[Placement]) -> str:
    """One in full, up to three side by side, more as a table."""
    from fourfold_atlas import show

    if len(placed) == 1:
        return show.text(placed[0])
    return show.side_by_side(placed) if len(placed) <= 3 else show.table(placed)


def map_(
    out: Annotated[Path | None, typer.Option("--out", help="Draw the map to this HTML (or .svg) file.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Draw the map and open it in a browser.")] = False,
) -> None:
    """Show the map of generative models: paradigms, their two answers, what follows, and the systems on it."""
    from fourfold_atlas import drawing

    if not out and not open_:
        typer.echo(drawing.as_text())
        return
    path = out or Path("fourfold-map.html")
    path.write_text(drawing.svg([]) if path.suffix == ".svg" else drawing.html([]), encoding="utf-8")
    typer.echo(f"map: {printable(str(path))}")
    if open_:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
