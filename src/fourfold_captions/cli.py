"""The work of ``caption``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch import Tensor

from fourfold.cli.printing import print_line, say
from fourfold.data import read_conditions
from fourfold.engine import Run
from fourfold_captions import captioning
from fourfold_captions.commands import CaptionImages

__all__ = ["caption"]


def caption(command: CaptionImages) -> None:
    """Print a caption of each picture, or the probabilities of captions."""
    run = Run.load(command.run, command.device)
    x = _described(run, command)
    records: list[Mapping[str, object]]
    if command.among:
        probabilities = captioning.caption_nats(run.model, x, command.among, command.seed).softmax(1).tolist()
        rows = [dict(zip(command.among, row, strict=True)) for row in probabilities]
        records, lines = [*rows], ["  ".join(f"{text} {p:.0%}" for text, p in row.items()) for row in rows]
    else:
        captions = captioning.caption(run.model, x, command.draws, command.temperature, command.seed)
        records = [{"caption": item.text, "nats": item.nats} for item in captions]
        lines = [f"{item.text}  ({item.nats:.1f} nats)" for item in captions]
    for i, (record, line) in enumerate(zip(records, lines, strict=True)):
        print_line(json.dumps(record, ensure_ascii=False) if command.as_json else f"{i}: {line}")


def _described(run: Run, command: CaptionImages) -> Tensor:
    """The examples to describe: those of the model, or the conditions of a model of texts."""
    space, _ = captioning.captioned(run.model.space)
    if space is run.model.space or command.data is None:
        part, notes = run.examples(command.data, limit=command.n)
        x = part.x if space is run.model.space or part.cond is None else part.cond
    else:
        x, notes = read_conditions(command.data, space)
    for note in notes:
        say(note)
    return x[: command.n]
