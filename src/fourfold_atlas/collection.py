"""Repositories that hold several systems of several paradigms: they have no place of their own, but each system has."""

from __future__ import annotations

from collections.abc import Mapping

from fourfold_atlas.evidence import Cell
from fourfold_atlas.placement import Placement
from fourfold_atlas.rules import reason

__all__ = ["MAX_MEMBERS", "collection_of", "says_several"]

#: files that are placed by themselves, the first characters of a card, and the files of a paradigm that are named
MAX_MEMBERS, OPENING, NAMED = 60, 700, 3
#: a paradigm with fewer of the files is one of the other's parts, or misread
SHARE = 0.15
_SEVERAL = reason("folders", "several")


def says_several(card: str) -> bool:
    """True if a card opens with words of several systems, such as a collection of models."""
    return bool(_SEVERAL.search(card[:OPENING]))


def collection_of(subject: str, members: Mapping[str, Placement], least: int = 2) -> Placement | None:
    """The placement of a collection, which is open and names its systems. ``None`` where one paradigm dominates.

    Args:
        subject: the name of the folder.
        members: the placement of each file by itself.
        least: so many paradigms make a collection.
    """
    files: dict[Cell, list[str]] = {}
    for name, placed in members.items():
        if placed.cell is not None and placed.cell.paradigm and placed.reason is not None:
            files.setdefault(placed.cell, []).append(name)
    total = sum(map(len, files.values()))
    files = {cell: names for cell, names in files.items() if len(names) >= SHARE * total}
    if len(files) < least:
        return None
    rows = sorted(files.items(), key=lambda row: -len(row[1]))
    ranked = tuple((cell, round(len(names) / total, 3)) for cell, names in rows)
    kinds = ", ".join(f"{cell} ({len(names)})" for cell, names in rows)
    missing = f"which system is meant: this is a collection, by its files {kinds}; place one of them"
    notes = tuple(f"{cell}: {_listed(names)}" for cell, names in rows)
    reasons = (members[names[0]].reason for _, names in rows)
    evidence = tuple(row for row in reasons if row is not None)
    return Placement(subject, None, 0.0, ranked, evidence=evidence, missing=missing, notes=notes)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
