"""The command for models of pictures and their captions: ``caption``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fourfold.cli.options import AsJson, Device, Folder, OtherData, Seed, Temperature
from fourfold.cli.printing import print_line, say
from fourfold.machine.threads import set_threads

__all__ = ["caption"]


def caption(
    run: Folder,
    data: OtherData = None,
    n: Annotated[int, typer.Option("-n", "--n", help="The most pictures.", min=1, metavar="N")] = 16,
    among: Annotated[
        list[str] | None,
        typer.Option(
            help="A caption to compare with the others. It may be given several times.",
            metavar="TEXT",
            show_default=False,
        ),
    ] = None,
    draws: Annotated[
        int, typer.Option(help="Number of captions to draw; the likeliest is printed.", min=1, metavar="N")
    ] = 8,
    temperature: Temperature = 0.5,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Describe pictures, by a model of pictures and their captions.

    Each line has the number of the picture, a caption, and its log-probability
    given the picture. With --among, it has the probability of each of these
    captions, if one of them is right.
    """
    set_threads()
    from fourfold.engine import Run
    from fourfold.tasks.captioning import caption_nats

    loaded = Run.load(run, device)
    part, notes = loaded.examples(data, limit=n)
    for note in notes:
        say(note)
    if among:
        shares = caption_nats(loaded.model, part.x, among).softmax(1).tolist()
        rows = [dict(zip(among, row, strict=True)) for row in shares]
        told = ["  ".join(f"{text} {share:.0%}" for text, share in row.items()) for row in rows]
    else:
        found = loaded.caption(part.x, draws, temperature, seed)
        rows = [{"caption": one.text, "nats": one.nats} for one in found]
        told = [f"{one.text}  ({one.nats:.1f} nats)" for one in found]
    for i, line in enumerate(json.dumps(row, ensure_ascii=False) for row in rows) if as_json else enumerate(told):
        print_line(line if as_json else f"{i}: {line}")
