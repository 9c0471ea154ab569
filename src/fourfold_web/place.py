"""Place what is pasted or dropped: the verdict, and the sentences that decided it by their place in the text."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from fourfold.vocabulary import FACTS

if TYPE_CHECKING:
    from fourfold_atlas.evidence import Evidence
    from fourfold_atlas.placement import Placement

__all__ = ["place_dropped", "place_pasted"]

FILES, FILE_BYTES, SHOWN = 2000, 8 << 20, 300_000
"""The most files of a folder, bytes of a file, and characters of a text that is shown."""
_LINE = re.compile(r"^(?P<file>.*?):(?P<line>\d+)$")
_OFFSET = re.compile(r"^offset (\d+)$")
_CELL = re.compile(r"^(?P<file>[^:]+\.\w+): ")
ROLES = {"for": 0, "against": 1, "part": 2, "wording": 3, "aside": 4}


def place_pasted(text: str) -> dict[str, Any]:
    """The verdict on a text: a name, a card, an abstract, code or a configuration.

    Raises:
        UnreadableError: for an empty text.
    """
    from fourfold_atlas.api import place_text

    return _verdict(place_text(text), {"": text})


def place_dropped(files: Mapping[str, str]) -> dict[str, Any]:
    """The verdict on a file or a folder, by the path and the text of each of its files.

    Raises:
        ValueError: for too many files, or a path that leads out of the folder.
        UnreadableError: for files that say nothing.
    """
    from fourfold_atlas.api import place

    if not 0 < len(files) <= FILES:
        raise ValueError(f"files must be 1 to {FILES:,}, got {len(files):,}; drop the folder of one model")
    with tempfile.TemporaryDirectory(prefix="fourfold-") as name:
        folder = Path(name).resolve() / "dropped"
        folder.mkdir()
        for path, text in files.items():
            target = folder / _inside(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text[:FILE_BYTES], encoding="utf-8", errors="replace")
        only = next(iter(files))
        placed = place(folder / _inside(only) if len(files) == 1 else folder)
    return _verdict(placed, files)


def _inside(path: str) -> PurePosixPath:
    """A relative path that stays below its folder.

    Raises:
        ValueError: for any other.
    """
    parts = PurePosixPath(path).parts
    plain = all(part not in ("..", "/", "//") and len(part.encode()) < 200 for part in parts)
    if not parts or not plain or len(parts) > 20 or re.search(r"[\x00-\x1f\\\\:]", path):
        raise ValueError(f"path must stay inside its folder, got {path[:80]!r}; rename the file")
    return PurePosixPath(*parts)


def _verdict(placed: Placement, texts: Mapping[str, str]) -> dict[str, Any]:
    """A placement as the page shows it."""
    rows = [_row(evidence, placed, texts) for evidence in placed.evidence]
    files = {row["file"] for row in rows}
    facts = placed.facts or (FACTS[placed.cell.paradigm] if placed.cell and placed.cell.paradigm else None)
    return {
        "subject": placed.subject,
        "reason": placed.reason and placed.reason.quote,
        "cell": placed.cell,
        "confidence": placed.confidence,
        "prior": placed.prior,
        "ranked": placed.ranked,
        "also": placed.also,
        "system": _system(placed.system),
        "variant": placed.variant,
        "likelihood": placed.likelihood.words,
        "likelihood_of": placed.likelihood_of,
        "cost": placed.cost_note,
        "missing": placed.missing,
        "would_change": placed.would_change,
        "notes": placed.notes,
        "parts": [asdict(part) for part in placed.parts],
        "failures": [{"name": mode.name, "meaning": mode.meaning} for mode in placed.failure_modes],
        "objective": facts.objective if facts else "",
        "sampling": facts.sampling if facts else "",
        "evidence": sorted(rows, key=lambda row: (ROLES[row["side"]], -row["weight"])),
        "texts": {file: text[:SHOWN] for file, text in texts.items() if file in files or len(texts) == 1},
    }


def _system(name: str) -> str:
    """The id of a system of the catalogue by its name."""
    from fourfold_atlas.catalogue import entries

    return next((entry.id for entry in entries() if name and name in entry.names), "")


def _row(evidence: Evidence, placed: Placement, texts: Mapping[str, str]) -> dict[str, Any]:
    """A piece of evidence with its side, and its place in a text: ``start`` and ``end``, or ``None``."""
    file = _file(evidence.where, texts)
    span = None if file is None else _span(evidence, texts[file][:SHOWN])
    cell = evidence.claim.cell
    return {
        "quote": evidence.quote,
        "where": evidence.where,
        "says": evidence.claim.says,
        "cell": cell,
        "aspect": evidence.claim.aspect,
        "weight": evidence.weight,
        "side": _side(evidence, placed),
        "file": file,
        "start": span and span[0],
        "end": span and span[1],
    }


def _side(evidence: Evidence, placed: Placement) -> str:
    """For the verdict, against it, set aside, a hint of wording, or a part or property that speaks for no cell."""
    if evidence.weight == 0:
        return "aside"
    if evidence.claim.aspect == "wording":
        return "wording"
    if evidence.claim.cell is None:
        return "part"
    return "for" if placed.cell in (None, evidence.claim.cell) else "against"


def _file(where: str, texts: Mapping[str, str]) -> str | None:
    """The text that a place lies in."""
    if len(texts) == 1:
        return next(iter(texts))
    match = _LINE.match(where) or _CELL.match(where)
    name = match["file"] if match else where
    return next((file for file in texts if file == name or file.endswith(f"/{name}")), None)


def _span(evidence: Evidence, text: str) -> tuple[int, int] | None:
    """Where a quote stands: the first place behind the one that it names, or the first of all."""
    words = evidence.quote.split()
    pattern = r"\W+".join(map(re.escape, words))
    start = _start(evidence.where, text)
    match = re.compile(pattern).search(text, start) or re.search(pattern, text)
    return (match.start(), match.end()) if match and words else None


def _start(where: str, text: str) -> int:
    """The offset of a place in its text."""
    if match := _OFFSET.match(where):
        return max(int(match[1]) - 1, 0)
    if match := _LINE.match(where):
        return sum(len(line) for line in text.splitlines(keepends=True)[: int(match["line"]) - 1])
    return 0
