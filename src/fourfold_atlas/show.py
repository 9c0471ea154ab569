"""Placements as text of 80 columns: one in full, several side by side, many in a table; and as HTML for notebooks."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from fourfold.output import notebook
from fourfold.output.printable import printable
from fourfold.vocabulary import FACTS, Cost, Facts, Kind, Paradigm
from fourfold_atlas.evidence import Aspect, Claim, Evidence, Reader, shortened
from fourfold_atlas.placement import Placement
from fourfold_atlas.variants import variant_of

__all__ = ["html", "side_by_side", "table", "text"]

WIDTH = 80
#: evidence that weighs less only hints at a mechanism
HINT = 1.5
KIND_WORDS = {
    Kind.EXACT: "exact",
    Kind.LOWER_BOUND: "a lower bound",
    Kind.ESTIMATE: "indirect: a bound or an ODE estimate exists, but is not the objective",
    Kind.ESTIMATED_BOUND: "an estimate of a lower bound",
    Kind.UNNORMALISED: "unnormalised",
    Kind.NONE: "none",
}
SHORT_COST = {
    Cost.CONSTANT: "one pass",
    Cost.LENGTH: "sequential",
    Cost.STEPS: "many steps",
    Cost.CHAIN: "Markov chain",
    None: "nothing drawn",
}


def _wrap(label: str, body: str) -> str:
    return textwrap.fill(body, WIDTH, initial_indent=f"{label:<14}", subsequent_indent=" " * 14) if body else ""


def text(placed: Placement) -> str:
    """A placement in full: answer and best quote in three lines, what follows, more evidence, what would change it."""
    best, verdict = _best(placed), _verdict(placed)
    title = f"{_cut(printable(placed.subject), WIDTH - 2 - len(verdict))}: {verdict}"
    below = (_wrap(label, body) for label, body in _rows(placed, best))
    return "\n".join([title, *_opening(placed, best), "", *filter(None, below)])


def html(placed: Placement) -> str:
    """A placement in full, for notebooks."""
    best = _best(placed)
    opening = f"“{printable(best.quote)}” [{printable(best.where)}]" if best else placed.missing
    rows = [("", opening), *((label, printable(body)) for label, body in _rows(placed, best))]
    return notebook.block(f"{printable(placed.subject)}: {_verdict(placed)}", notebook.facts(rows))


_Row: TypeAlias = tuple[str, str]
"""A label, empty where it is that of the row above, and words."""


def _rows(placed: Placement, best: Evidence | None) -> list[_Row]:
    """The rows below the answer and its best quote."""
    return [
        *_follows(placed),
        *_evidence(placed, best),
        *(("would change" if i == 0 else "", change) for i, change in enumerate(placed.would_change)),
        *(("note" if i == 0 else "", note) for i, note in enumerate(placed.notes[:6])),
    ]


def _verdict(placed: Placement) -> str:
    if placed.cell is None:
        return "not decided"
    return (
        f"{placed.cell.value} ({'by the catalogue alone' if placed.prior else f'confidence {placed.confidence:.0%}'})"
    )


def _cut(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _best(placed: Placement) -> Evidence | None:
    """The row that speaks most clearly for the answer: for its objective, else its sampling, its name, its wording."""
    order = (Aspect.OBJECTIVE, Aspect.SAMPLING, Aspect.NAMED, Aspect.WORDING)
    rows = [row for row in placed.evidence if row.weight > 0 and row.claim.cell is placed.cell is not None]
    return min(rows, key=lambda row: (order.index(row.claim.aspect), -row.weight), default=None)


def _opening(placed: Placement, best: Evidence | None) -> list[str]:
    """Below the verdict: the best quote with its place, in two lines; or what is missing."""
    if best is None:
        return _indented(placed.missing)
    place = _cut(printable(f"[{best.where}]"), WIDTH - 4)
    lines: list[str] = []
    for most in range(2 * (WIDTH - 2) - len(place), 0, -8):
        lines = _indented(f"“{shortened(printable(best.quote), most)}” {place}")
        if len(lines) <= 2:
            break
    return lines


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _follows(placed: Placement) -> list[_Row]:
    paradigm = placed.cell.paradigm if placed.cell else None
    if placed.cell is None:
        ranked = ", ".join(f"{cell.value} {share:.0%}" for cell, share in placed.ranked[:3])
        return [("possible", ranked or "nothing speaks for any paradigm")]
    if paradigm is None:
        return [("refused", "nothing is drawn from a modelled distribution" + _because(placed))]
    facts = _facts(placed, paradigm)
    told = facts if placed.facts else variant_of(placed.cell, placed.variant) or facts
    of = f" (of {placed.likelihood_of})" if placed.likelihood_of and placed.likelihood is not Kind.NONE else ""
    kind = KIND_WORDS[placed.likelihood] + of
    if placed.facts is not None:
        kind = f"{placed.likelihood.words}{of}: {facts.likelihood_note}"
    also = f"{placed.also.value}, by its sampling procedure; the objective decides" if placed.also else ""
    return [
        ("also", also),
        ("variant", "" if placed.facts else placed.variant),
        ("objective", told.objective),
        ("", told.objective_formula),
        ("sampling", told.sampling),
        ("", told.sampling_formula),
        ("likelihood", kind),
        ("cost", placed.cost_note),
        ("inherited", "; ".join(part.part.replace("_", " ") for part in placed.inherited)),
        ("gives", facts.gives),
        ("drawbacks", facts.drawbacks),
        *(
            ("watch" if i == 0 else "", f"{mode.name}: {mode.measurement}")
            for i, mode in enumerate(placed.failure_modes)
        ),
    ]


def _facts(placed: Placement, paradigm: Paradigm) -> Facts:
    """The facts that the system states of itself, or those of its paradigm with the likelihood and cost found."""
    if placed.facts is not None:
        return placed.facts
    common = FACTS[paradigm]
    return replace(common, likelihood=placed.likelihood, cost=placed.cost or common.cost)


def _because(placed: Placement) -> str:
    first = next((row for row in placed.evidence if row.weight > 0 and row.claim.cell is placed.cell), None)
    return f": {first.claim.says}" if first else ""


def _evidence(placed: Placement, best: Evidence | None) -> list[_Row]:
    """One row of each claim: first what speaks for the answer, then what speaks against it."""
    likeliest = placed.cell or next((cell for cell, _ in placed.ranked), None)
    told: dict[Claim, Evidence] = {}
    for row in placed.evidence:
        elsewhere = row.claim.aspect is Aspect.WORDING and row.claim.cell is not likeliest
        if row.weight > 0 and not elsewhere and (best is None or row.claim is not best.claim):
            told.setdefault(row.claim, row)
    rows = sorted(list(told.values())[:6], key=lambda row: _against(row, placed))
    lines = [_quoted("evidence" if i == 0 else "", row, placed) for i, row in enumerate(rows)]
    aside = next((row for row in placed.evidence if row.weight == 0 and row.claim.speaks), None)
    return [*lines, _quoted("set aside", aside, placed)] if aside else lines


def _against(row: Evidence, placed: Placement) -> bool:
    return placed.cell is not None and row.claim.cell not in (None, placed.cell)


def _quoted(label: str, row: Evidence, placed: Placement) -> _Row:
    """A quote with its place, marked for or against the answer, and as a hint where it weighs little."""
    told = row.claim.cell is not None and row.weight > 0 and placed.cell is not None
    side = ("against: " if _against(row, placed) else "for: ") if told else ""
    hint = "a hint: " if told and row.weight < HINT and row.kind is not Reader.NAME else ""
    return label, f"“{row.quote}” [{row.where}] {side}{hint}{row.claim.says}"


def side_by_side(placed: list[Placement]) -> str:
    """Two to four systems in columns, with their trade-offs."""
    width = max(16, (WIDTH - 12) // len(placed) - 2)
    rows = [
        ("", [row.subject for row in placed]),
        ("paradigm", [row.cell.value if row.cell else f"not decided: {row.missing}" for row in placed]),
        ("likelihood", [_kind(row) for row in placed]),
        ("cost", [SHORT_COST[row.cost] if row.cell else "?" for row in placed]),
        ("inherited", [", ".join(part.part.replace("_", " ") for part in row.inherited) or "-" for row in placed]),
        ("gives", [_fact(row, "gives") for row in placed]),
        ("drawbacks", [_fact(row, "drawbacks") for row in placed]),
        ("watch", [", ".join(mode.name for mode in row.failure_modes) or "-" for row in placed]),
    ]
    return "\n".join(_columns(label, cells, width) for label, cells in rows)


def _kind(row: Placement) -> str:
    return row.likelihood.value.replace("_", " ") if row.cell else "?"


def _fact(row: Placement, name: str) -> str:
    paradigm = row.cell.paradigm if row.cell else None
    return str(getattr(_facts(row, paradigm), name)) if paradigm else "-"


def _columns(label: str, cells: list[str], width: int) -> str:
    wrapped = [textwrap.wrap(printable(cell), width) or [""] for cell in cells]
    lines = []
    for i in range(max(len(column) for column in wrapped)):
        parts = [(column[i] if i < len(column) else "").ljust(width) for column in wrapped]
        lines.append(f"{label if i == 0 else '':<12}" + "  ".join(parts).rstrip())
    return "\n".join(lines)


def table(placed: Iterable[Placement]) -> str:
    """Many systems, a line each."""
    lines = [f"{'system':<28} {'paradigm':<16} {'likelihood':<13} {'sampling':<13} sure"]
    for row in placed:
        name = printable(row.subject)
        name = name if len(name) <= 28 else f"{name[:25]}..."
        cell = row.cell.value if row.cell else "not decided"
        sure = "prior" if row.prior else f"{row.confidence:.0%}" if row.cell else "-"
        lines.append(f"{name:<28} {cell:<16} {_kind(row):<13} {SHORT_COST[row.cost] if row.cell else '?':<13} {sure}")
    return "\n".join(lines)
