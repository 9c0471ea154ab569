"""The reader of fourfold's own run folders: the card holds the facts of the model's parts at training."""

from __future__ import annotations

from pathlib import Path

from fourfold.vocabulary import recorded_facts
from fourfold_atlas.bounded import UnreadableError, load_json, read_text
from fourfold_atlas.decision import decide, stated
from fourfold_atlas.evidence import OBJECTIVE_OF, Cell, Claim, Evidence, Reader, shortened
from fourfold_atlas.placement import Placement

__all__ = ["PARTS", "place_run"]

#: by the name of a stage of training, the part that the finished model has from it
PARTS = {
    "autoencoder": Claim.PART_AUTOENCODER,
    "tokenizer": Claim.PART_TOKENIZER,
    "teacher": Claim.PART_TEACHER,
    "vocoder": Claim.PART_VOCODER,
}


def place_run(folder: Path) -> Placement | None:
    """Place a run folder by its card. ``None`` for any other folder, and for a card that states nothing."""
    try:
        card = load_json(read_text(folder / "card.json"), "card.json")
        record, facts = card["facts"], recorded_facts(card["facts"])
        cell = Cell(record["paradigm"])
    except (UnreadableError, ValueError, KeyError, TypeError):
        return None
    rows = [_row(f"{facts.objective}: {facts.objective_formula}", "objective", OBJECTIVE_OF[cell], 4.0)]
    rows += [_row(part, "parts", PARTS[part], 1.0) for part in facts.parts if part in PARTS]
    return stated(decide(folder.name, rows), facts)


def _row(quote: str, key: str, claim: Claim, weight: float) -> Evidence:
    return Evidence(shortened(quote), f"card.json: $.facts.{key}", claim, weight, Reader.FILES)
