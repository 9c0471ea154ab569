"""A place on the map with its reasons, and how one is shown in full: in 80 columns, and as HTML for notebooks."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict, dataclass, field, replace
from typing import TypeAlias

from fourfold.output import notebook
from fourfold.output.printable import printable
from fourfold.vocabulary import FACTS, Cost, Facts, FailureMode, Kind, Paradigm
from fourfold_atlas.evidence import Aspect, Cell, Claim, Evidence, Reader, shortened
from fourfold_atlas.variants import variant_of

__all__ = ["WIDTH", "Inherited", "Placement", "facts_of", "html", "text"]

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


@dataclass(frozen=True)
class Inherited:
    """A part that comes from elsewhere, and the words or keys that say so."""

    part: str
    says: str
    quote: str
    where: str


@dataclass(frozen=True)
class Placement:
    """The place of a system on the map, and the reasons.

    Attributes:
        subject: the name of the system.
        cell: its place, or ``None`` when a fact is missing.
        confidence: between 0 and 1, the share of ``cell`` among the ranked.
        ranked: every cell with any support, and its share.
        also: the second cell, where objective and sampling point to different ones.
        inherited: the parts from elsewhere.
        likelihood: the kind of likelihood.
        likelihood_of: its variable.
        cost: how the evaluations per sample grow, ``None`` when nothing is drawn.
        cost_note: the same in words.
        failure_modes: those to watch for.
        evidence: all that was read, strongest first. Evidence of weight zero was set aside.
        missing: the fact whose absence prevents a (safer) answer.
        would_change: observations that would change the answer.
        prior: true when the answer comes from the name alone.
        facts: the facts that a model of this library states.
        variant: the variant of the paradigm (``masked or discrete``), or the empty string.
    """

    subject: str
    cell: Cell | None
    confidence: float
    ranked: tuple[tuple[Cell, float], ...]
    also: Cell | None = None
    inherited: tuple[Inherited, ...] = ()
    likelihood: Kind = Kind.NONE
    likelihood_of: str = ""
    cost: Cost | None = None
    cost_note: str = ""
    failure_modes: tuple[FailureMode, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    missing: str = ""
    would_change: tuple[str, ...] = ()
    prior: bool = False
    system: str = ""
    notes: tuple[str, ...] = field(default=())
    facts: Facts | None = None
    variant: str = ""

    def _repr_html_(self) -> str:
        return html(self)

    def to_json(self) -> str:
        """The placement as JSON. Every enum by its value."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


def _wrap(label: str, body: str) -> str:
    return textwrap.fill(body, WIDTH, initial_indent=f"{label:<14}", subsequent_indent=" " * 14) if body else ""


def text(placed: Placement) -> str:
    """A placement in full: answer and best quote in three lines, consequences, more evidence, doubts."""
    best, verdict = _best(placed), _verdict(placed)
    title = f"{_shortened(printable(placed.subject), WIDTH - 2 - len(verdict))}: {verdict}"
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


def _shortened(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _best(placed: Placement) -> Evidence | None:
    """The row that speaks most clearly for the answer: for its objective, else its sampling, its name, its wording."""
    order = (Aspect.OBJECTIVE, Aspect.SAMPLING, Aspect.NAMED, Aspect.WORDING)
    rows = [row for row in placed.evidence if row.weight > 0 and row.claim.cell is placed.cell is not None]
    return min(rows, key=lambda row: (order.index(row.claim.aspect), -row.weight), default=None)


def _opening(placed: Placement, best: Evidence | None) -> list[str]:
    """Below the verdict: the best quote with its place, in two lines, or the missing fact."""
    if best is None:
        return _indented(placed.missing)
    place = _shortened(printable(f"[{best.where}]"), WIDTH - 4)
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
    facts = facts_of(placed, paradigm)
    answers = facts if placed.facts else variant_of(placed.cell, placed.variant) or facts
    of = f" (of {placed.likelihood_of})" if placed.likelihood_of and placed.likelihood is not Kind.NONE else ""
    kind = KIND_WORDS[placed.likelihood] + of
    if placed.facts is not None:
        kind = f"{placed.likelihood.words}{of}: {facts.likelihood_note}"
    also = f"{placed.also.value}, by its sampling procedure; the objective decides" if placed.also else ""
    return [
        ("also", also),
        ("variant", "" if placed.facts else placed.variant),
        ("objective", answers.objective),
        ("", answers.objective_formula),
        ("sampling", answers.sampling),
        ("", answers.sampling_formula),
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


def facts_of(placed: Placement, paradigm: Paradigm) -> Facts:
    """The facts that the system states of itself, or those of its paradigm with the likelihood and cost found."""
    if placed.facts is not None:
        return placed.facts
    common = FACTS[paradigm]
    return replace(common, likelihood=placed.likelihood, cost=placed.cost or common.cost)


def _because(placed: Placement) -> str:
    first = next((row for row in placed.evidence if row.weight > 0 and row.claim.cell is placed.cell), None)
    return f": {first.claim.says}" if first else ""


def _evidence(placed: Placement, best: Evidence | None) -> list[_Row]:
    """One row of each claim: first the evidence for the answer, then that against it."""
    likeliest = placed.cell or next((cell for cell, _ in placed.ranked), None)
    first_rows: dict[Claim, Evidence] = {}
    for row in placed.evidence:
        elsewhere = row.claim.aspect is Aspect.WORDING and row.claim.cell is not likeliest
        if row.weight > 0 and not elsewhere and (best is None or row.claim is not best.claim):
            first_rows.setdefault(row.claim, row)
    rows = sorted(list(first_rows.values())[:6], key=lambda row: _against(row, placed))
    lines = [_quoted("evidence" if i == 0 else "", row, placed) for i, row in enumerate(rows)]
    aside = next((row for row in placed.evidence if row.weight == 0 and row.claim.speaks), None)
    return [*lines, _quoted("set aside", aside, placed)] if aside else lines


def _against(row: Evidence, placed: Placement) -> bool:
    return placed.cell is not None and row.claim.cell not in (None, placed.cell)


def _quoted(label: str, row: Evidence, placed: Placement) -> _Row:
    """A quote with its place, marked for or against the answer, and as a hint where it weighs little."""
    speaks = row.claim.cell is not None and row.weight > 0 and placed.cell is not None
    side = ("against: " if _against(row, placed) else "for: ") if speaks else ""
    hint = "a hint: " if speaks and row.weight < HINT and row.kind is not Reader.NAME else ""
    return label, f"“{row.quote}” [{row.where}] {side}{hint}{row.claim.says}"
