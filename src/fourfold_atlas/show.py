"""Placements as text of 80 columns: one in full, several side by side, many in a table, and as HTML for notebooks."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable

from fourfold.output.printable import printable
from fourfold.vocabulary import Cost, Facts, Variant
from fourfold_atlas.placement import WIDTH, Placement, facts_of, html, promises_of, text
from fourfold_atlas.variants import sampling_of, variant_of

__all__ = ["html", "side_by_side", "table", "text"]

SHORT_COST = {
    Cost.CONSTANT: "one pass",
    Cost.LENGTH: "sequential",
    Cost.STEPS: "many steps",
    Cost.CHAIN: "Markov chain",
    None: "nothing drawn",
}


def side_by_side(placed: list[Placement]) -> str:
    """Two to four systems in columns, with their trade-offs."""
    width = max(16, (WIDTH - 12) // len(placed) - 2)
    rows = [
        ("", [row.subject for row in placed]),
        ("paradigm", [row.cell.value if row.cell else f"not decided: {row.missing}" for row in placed]),
        ("objective", [_own(row, 0) or _objective(row) for row in placed]),
        ("sampling", [_own(row, 1) or _sampling(row) for row in placed]),
        ("likelihood", [_kind(row) for row in placed]),
        ("cost", [SHORT_COST[row.cost] if row.cell else "?" for row in placed]),
        ("parts", [_parts(row) for row in placed]),
        ("gives", [_fact(row, "gives") for row in placed]),
        ("drawbacks", [_fact(row, "drawbacks") for row in placed]),
        ("watch", [", ".join(mode.name for mode in row.failure_modes) or "-" for row in placed]),
    ]
    claims = ["; ".join(claim for _, claim in promises_of(row)) or "-" for row in placed]
    rows += [("it claims", claims)] if {*claims} != {"-"} else []
    return "\n".join([*(_columns(label, cells, width) for label, cells in rows), "", *_differences(placed, rows)])


def _differences(placed: list[Placement], rows: list[tuple[str, list[str]]]) -> list[str]:
    """The answers in which systems differ, those that are of one kind and differ in detail, and those that agree."""
    if any(row.cell is None for row in placed):
        return []
    answers = ("objective", "sampling", "likelihood", "cost", "parts")
    cells_of = {label: cells for label, cells in rows if label in answers and set(cells) != {"-"}}
    kinds = {"objective": [*map(_objective, placed)], "sampling": [*map(_sampling, placed)]}
    differ = [label for label, cells in cells_of.items() if len(set(kinds.get(label, cells))) > 1]
    agree = [label for label, cells in cells_of.items() if len(set(cells)) == 1 and label not in differ]
    detail = [label for label in cells_of if label not in (*differ, *agree)]
    lines = [f"They differ in {_listed(differ)}." if differ else "" if detail else "They differ in no answer."]
    if detail:
        verb = "is" if len(detail) == 1 else "are"
        lines.append(
            f"Their {_listed(detail)} {verb} of one kind and {'differs' if verb == 'is' else 'differ'} in detail."
        )
    if agree:
        lines.append(f"{'Both' if len(placed) == 2 else 'All'} have the same {_listed(agree)}.")
    return textwrap.wrap(" ".join(filter(None, lines)), WIDTH)


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _own(row: Placement, at: int) -> str:
    """The objective (0) or the sampling (1) of a system that is known by its name, in the catalogue's words."""
    return row.evidence[at].quote.rstrip(".") if row.prior and len(row.evidence) == 2 else ""


def _objective(row: Placement) -> str:
    """The kind of objective, by the variant of the paradigm."""
    facts = _facts(row)
    return facts.objective if facts else "-"


def _sampling(row: Placement) -> str:
    """The kind of sampling, by the variant of the paradigm and the growth of its cost."""
    facts = _facts(row)
    return sampling_of(row.cell, row.variant, None if row.facts else row.cost, facts)[0] if facts and row.cell else "-"


def _facts(row: Placement) -> Variant | Facts | None:
    """The facts of the variant, or those of the paradigm. ``None`` where it is not decided."""
    paradigm = row.cell.paradigm if row.cell else None
    return (None if row.facts else variant_of(row.cell, row.variant)) or facts_of(row, paradigm) if paradigm else None


def _parts(row: Placement) -> str:
    """The roles of the parts, each once with its number."""
    roles = Counter(part.role.replace("_", " ") for part in row.parts)
    return ", ".join(role if n == 1 else f"{n} {role}s" for role, n in roles.items()) or "-"


def _kind(row: Placement) -> str:
    return row.likelihood.value.replace("_", " ") if row.cell else "?"


def _fact(row: Placement, name: str) -> str:
    paradigm = row.cell.paradigm if row.cell else None
    return str(getattr(facts_of(row, paradigm), name)) if paradigm else "-"


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
