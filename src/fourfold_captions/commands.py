"""The declaration of ``caption``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, final

import typer

from fourfold.cli.command import Command
from fourfold.cli.options import AsJson, Device, Folder, OtherData, Seed, Temperature

__all__ = ["CaptionImages"]


@final
@dataclass(frozen=True, kw_only=True)
class CaptionImages(Command):
    """Describe pictures, or other examples, by a model of texts.

    Each line has the number of the example, a caption, and its log-probability
    given the example. With --among, it has the probability of each of these
    captions, if one of them is right.

    A model of texts given pictures draws captions, and so does
    latent-autoregressive/multimodal. With --among, any model of pictures given
    captions that has a likelihood will do.
    """

    work = "fourfold_captions.cli:caption"

    run: Folder
    data: OtherData = None
    n: Annotated[int, typer.Option("-n", "--n", help="The most examples.", min=1, metavar="N")] = 16
    among: Annotated[
        list[str] | None,
        typer.Option(
            help="A caption to compare with the others. Can be repeated.",
            metavar="TEXT",
            show_default=False,
        ),
    ] = None
    draws: Annotated[
        int, typer.Option(help="Number of captions to draw; the likeliest is printed.", min=1, metavar="N")
    ] = 8
    temperature: Temperature = 0.5
    seed: Seed = 0
    device: Device = "auto"
    as_json: AsJson = False
