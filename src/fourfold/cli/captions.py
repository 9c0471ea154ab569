"""The work of ``caption``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fourfold import tasks
from fourfold.cli.commands.captions import CaptionImages
from fourfold.cli.printing import print_line, say
from fourfold.engine import Run

__all__ = ["caption"]


def caption(command: CaptionImages) -> None:
    """Print a caption of each picture, or the probabilities of captions."""
    run = Run.load(command.run, command.device)
    part, notes = run.examples(command.data, limit=command.n)
    for note in notes:
        say(note)
    records: list[Mapping[str, object]]
    if command.among:
        probabilities = tasks.caption_nats(run.model, part.x, command.among).softmax(1).tolist()
        rows = [dict(zip(command.among, row, strict=True)) for row in probabilities]
        records, lines = [*rows], ["  ".join(f"{text} {p:.0%}" for text, p in row.items()) for row in rows]
    else:
        captions = tasks.caption(run.model, part.x, command.draws, command.temperature, command.seed)
        records = [{"caption": item.text, "nats": item.nats} for item in captions]
        lines = [f"{item.text}  ({item.nats:.1f} nats)" for item in captions]
    for i, (record, line) in enumerate(zip(records, lines, strict=True)):
        print_line(json.dumps(record, ensure_ascii=False) if command.as_json else f"{i}: {line}")
