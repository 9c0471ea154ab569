"""The declarations of ``chat``, ``complete``, ``speculate`` and ``export``. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

import typer

from fourfold.cli.command import Command, opening_of
from fourfold.cli.options import AsJson, Device, Folder, Seed, Temperature, TopK, TopP

__all__ = ["Chat", "Complete", "Export", "Speculate"]


@final
@dataclass(frozen=True, kw_only=True)
class Chat(Command):
    """Talk with a model of text.

    A published model gets the dialogue in its own chat template. A model without
    one continues it as plain text.

    Ctrl-C stops an answer. /score shows the nats of the last answer, /reset
    begins anew, /quit ends.
    """

    work = "fourfold_published.terminal:chat"

    run: Folder
    temperature: Temperature = 1.0
    top_k: TopK = None
    top_p: TopP = None
    length: Annotated[int, typer.Option(help="The most tokens of an answer.", min=1, metavar="N")] = 256
    seed: Seed = 0
    opening: Annotated[dict[str, Any], opening_of()]
    device: Device = "auto"


@final
@dataclass(frozen=True, kw_only=True)
class Complete(Command):
    """Suggest the likeliest next words, as a phone's keyboard does.

    Letters at the end of the text begin the word, unless they most likely are a
    whole word: then the next word is meant. The probability of a word is the sum
    over all ways to spell it in tokens.
    """

    work = "fourfold_published.terminal:complete"

    run: Folder
    text: Annotated[str | None, typer.Argument(help="The text so far.", show_default="lines of standard input")] = None
    n: Annotated[int, typer.Option("-n", "--n", help="Number of words.", min=1, metavar="N")] = 3
    measure: Annotated[
        Path | None,
        typer.Option(
            help="Simulate typing this text with three suggestions, and print the keystrokes saved.", show_default=False
        ),
    ] = None
    words: Annotated[int, typer.Option(help="Number of words that --measure types.", min=1, metavar="N")] = 200
    opening: Annotated[dict[str, Any], opening_of()]
    device: Device = "auto"
    as_json: AsJson = False


@final
@dataclass(frozen=True, kw_only=True)
class Speculate(Command):
    """Draw texts by speculative decoding: a draft proposes tokens.

    The model evaluates several proposed tokens at once, so it is evaluated less
    often. The texts have its distribution, whatever the draft.
    """

    work = "fourfold_published.terminal:speculate"

    run: Folder
    draft: Annotated[Path, typer.Argument(help="A smaller model over the same tokens.", show_default=False)]
    given: Annotated[str, typer.Option(help="The prefix of the texts.", show_default="none")] = ""
    n: Annotated[int, typer.Option("-n", "--n", help="Number of texts.", min=1, metavar="N")] = 1
    length: Annotated[int, typer.Option(help="The most tokens of a text.", min=1, metavar="N")] = 256
    temperature: Temperature = 1.0
    top_k: TopK = None
    top_p: TopP = None
    stop: Annotated[list[str] | None, typer.Option(help="String that ends a text. It may be given several times.")] = (
        None
    )
    seed: Seed = 0
    opening: Annotated[dict[str, Any], opening_of()]
    device: Device = "auto"
    as_json: AsJson = False


@final
@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Write a model as a folder that transformers or diffusers opens.

    A model of text gets its tokenizer beside it, and its logits stay. A diffusion
    model of images must be trained by diffusion/ddpm or diffusion/ddpm-velocity,
    whose network diffusers has. Its pipeline draws all classes, or one (--given).
    """

    work = "fourfold_published.terminal:export"

    run: Folder
    folder: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)]
    given: Annotated[
        str | None,
        typer.Option(help="The class that a pipeline of images draws.", show_default="all classes", metavar="CLASS"),
    ] = None
