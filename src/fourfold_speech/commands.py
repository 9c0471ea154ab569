"""The command for speech recognition: ``transcribe``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fourfold.cli.options import AsJson, Device
from fourfold.cli.printing import print_line, say
from fourfold.machine.threads import set_threads

if TYPE_CHECKING:
    from fourfold_speech.transcription import Segment

__all__ = ["transcribe"]


def transcribe(
    run: Annotated[
        Path, typer.Argument(help="The folder of a run, or of a published Whisper model.", show_default=False)
    ],
    sounds: Annotated[
        list[Path], typer.Argument(help="WAV, FLAC, OGG or MP3 files, of any length.", show_default=False)
    ],
    beams: Annotated[int, typer.Option(help="Number of texts that the search keeps.", min=1, metavar="N")] = 5,
    penalty: Annotated[
        float,
        typer.Option(
            help="Rank texts by log p / tokens^X: with 0 by their probability, with 1 by its mean over tokens.",
            min=0,
            metavar="X",
        ),
    ] = 0.0,
    alignment: Annotated[
        float | None,
        typer.Option(help="Weight of the alignment of frames in the ranking.", show_default="as trained", metavar="X"),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            help="Language of the sound, for a Whisper model that knows several.", show_default="en", metavar="NAME"
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="float32 or int8, for a Whisper model.",
            show_default="int8 where CTranslate2 is installed",
            metavar="NAME",
        ),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Transcribe sounds, with times and log p(text | sound).

    A long sound is cut where it is quiet, and each part is printed as soon as it
    is known. The log-probability of a part is exact, in nats.
    """
    set_threads()
    from fourfold.adapters import adapter_of, open_published
    from fourfold.engine import Run
    from fourfold.machine.hardware import find_device
    from fourfold_speech.transcription import alignment_of, segments, transcript_parts

    options = {name: value for name, value in (("language", language), ("weights", weights)) if value is not None}
    if options and adapter_of(run) is None:
        raise ValueError(f"{run}: is a run, not a published model: leave --{next(iter(options))} out")
    model = open_published(run, options).to(find_device(device)) if options else Run.load(run, device).model
    transcript_parts(model)
    alignment_of(model, alignment)
    if remark := transcript_parts(model)[-1].net.remark:
        say(remark)
    for path in sounds:
        if len(sounds) > 1 and not as_json:
            print_line(f"{path}:")
        for segment in segments(model, path, beams=beams, penalty=penalty, alignment=alignment):
            print_line(json.dumps({"file": str(path), **dataclasses.asdict(segment)}) if as_json else _line(segment))


def _line(segment: Segment) -> str:
    times = f"{segment.start:8.2f} - {segment.end:7.2f} s"
    return f"{times}  {segment.text.strip()}\n{'':21}log p = {segment.log_prob:.2f} nats"
