"""A place on the map with its reasons, and how one is shown in full: in 80 columns, and as HTML for notebooks."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import TypeAlias

from fourfold.output import notebook
from fourfold.output.printable import printable
from fourfold.vocabulary import FACTS, Cost, Facts, FailureMode, Kind, Paradigm
from fourfold_atlas.evidence import Aspect, Cell, Claim, Evidence, Form, Reader
from fourfold_atlas.parts import Part
from fourfold_atlas.rules import finder, promise_rules, reason
from fourfold_atlas.variants import sampling_of, variant_of, variants_of

__all__ = ["WIDTH", "Placement", "facts_of", "html", "promises_of", "text"]

WIDTH = 80
#: a name of so many characters is never cut for a long verdict
SUBJECT = 40
#: evidence that weighs less only hints at a mechanism
HINT = 1.5
#: a setting that weighs less is shared by many kinds of systems
FIRM = 2.0
#: a clause of fewer words says little by itself
FEW_WORDS = 5
#: the share of the votes in how clear a clause is: a title, or a sentence about the system itself, has more of them
CLEARER = 2.5
#: a clause that begins so has lost its subject
_CUT_OFF = re.compile(r"(?:can|could|is|are|was|were|has|have|be|to|of|by|with|for|in|on|from|than|that|which)\b")
_COMPUTES, _ASKS = finder("code", "computes"), reason("code", "asks")
_BONUS = {Aspect.OBJECTIVE: 1.5, Aspect.SAMPLING: 0.5, Aspect.NAMED: 0.0}
KIND_WORDS = {
    Kind.EXACT: "exact",
    Kind.LOWER_BOUND: "a lower bound",
    Kind.ESTIMATE: "indirect: a bound or an ODE estimate exists, but is not the objective",
    Kind.ESTIMATED_BOUND: "an estimate of a lower bound",
    Kind.UNNORMALISED: "unnormalised",
    Kind.NONE: "none",
}


@dataclass(frozen=True)
class Placement:
    """The place of a system on the map, and the reasons.

    Attributes:
        subject: the name of the system.
        cell: its place, or ``None`` when a fact is missing.
        confidence: between 0 and 1, the share of ``cell`` among the ranked.
        ranked: every cell with any support, and its share.
        also: the second cell, where objective and sampling point to different ones.
        parts: the parts beside its generative step, in the order in which an example passes them.
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
        promises: what the text claims of itself against the textbook.
        caveat: how a name is related to the catalogue's entry, where it is not that entry's own.
        sampling: how an example is drawn, and the formula, where that is not usual for its kind.
    """

    subject: str
    cell: Cell | None
    confidence: float
    ranked: tuple[tuple[Cell, float], ...]
    also: Cell | None = None
    parts: tuple[Part, ...] = ()
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
    promises: tuple[Evidence, ...] = ()
    caveat: str = ""
    sampling: tuple[str, str] | None = None

    @property
    def reason(self) -> Evidence | None:
        """The clause of prose, or the line of code, that states its answer best. ``None`` where none does."""
        return _best(self)

    def _repr_html_(self) -> str:
        return html(self)

    def to_json(self) -> str:
        """The placement as JSON. Every enum by its value."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


def _wrap(label: str, body: str) -> str:
    return textwrap.fill(body, WIDTH, initial_indent=f"{label:<14}", subsequent_indent=" " * 14) if body else ""


def text(placed: Placement) -> str:
    """A placement in full: answer and best quote in three lines, consequences, more evidence, doubts."""
    best, verdict = placed.reason, _verdict(placed)
    subject = _shortened(printable(placed.subject), max(SUBJECT, WIDTH - 2 - len(verdict)))
    title = textwrap.wrap(f"{subject}: {verdict}", WIDTH, subsequent_indent="  ")
    below = (_wrap(label, body) for label, body in _rows(placed, best))
    return "\n".join([*title, *_opening(placed, best), "", *filter(None, below)])


def html(placed: Placement) -> str:
    """A placement in full, for notebooks."""
    best = placed.reason
    opening = " ".join(line.strip() for line in _opening(placed, best))
    rows = [("", opening), *((label, printable(body)) for label, body in _rows(placed, best))]
    return notebook.block(f"{printable(placed.subject)}: {_verdict(placed)}", notebook.facts(rows))


_Row: TypeAlias = tuple[str, str]
"""A label, empty where it is that of the row above, and words."""


def _rows(placed: Placement, best: Evidence | None) -> list[_Row]:
    """The rows below the answer and its best quote."""
    return [
        *_follows(placed),
        *_evidence(placed, best),
        *_labelled("would change", placed.would_change),
        *_labelled("note", placed.notes[:6]),
    ]


def _verdict(placed: Placement) -> str:
    if placed.cell is None:
        caveat = f" ({placed.caveat})" if placed.caveat else ""
        return f"not published{caveat}" if placed.prior and placed.system else "not decided"
    by = "by the catalogue alone" if placed.prior else f"confidence {placed.confidence:.0%}"
    return f"{placed.cell.value} ({placed.caveat or by})"


def _shortened(line: str, most: int) -> str:
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _best(placed: Placement) -> Evidence | None:
    """The clause that states objective or sampling best, rather a whole one, and rather the objective."""
    rows = [row for row in placed.evidence if row.weight > 0 and row.claim.cell is placed.cell and _states(row)]
    return max(rows, key=_clearness, default=None) if placed.cell is not None else None


def _clearness(row: Evidence) -> float:
    fragment = row.kind is Reader.WORDS and (len(row.quote.split()) < FEW_WORDS or bool(_CUT_OFF.match(row.quote)))
    clear = _ASKS if row.claim.aspect is Aspect.SAMPLING else _COMPUTES
    computes = row.kind is Reader.CODE and bool(clear.search(row.quote))
    return CLEARER * row.weight + _BONUS[row.claim.aspect] - 3 * (row.form is Form.COMMENT) - 3 * fragment + computes


def _states(row: Evidence) -> bool:
    """True for a reason. A setting is one that speaks of a mechanism firmly, and what a name tells always is."""
    if row.kind in (Reader.WORDS, Reader.CODE):
        return row.form in (Form.REASON, Form.LOOP)
    firm = row.weight >= FIRM or row.kind is not Reader.FILES or row.rule.startswith("files/declared.")
    return row.claim.speaks and row.form is Form.PASSAGE and firm


def _opening(placed: Placement, best: Evidence | None) -> list[str]:
    """Below the verdict: the best quote with its place, or the words that it rests on, or the missing fact."""
    if placed.cell is None:
        return _indented(placed.missing)
    if best is None:
        return _indented(_nearness(placed))
    place = _shortened(printable(f"[{best.where}]"), WIDTH - 4)
    return _indented(f"“{printable(best.quote)}” {place}")


def _nearness(placed: Placement) -> str:
    """The reason of an answer that no clause states: a name, a mention, or words that only tilt the balance."""
    near = f"no clause states it; its wording is near to that of {placed.cell} systems"
    rows = [row for row in placed.evidence if row.weight > 0 and row.claim.cell is placed.cell]
    spoken = (row for row in rows if row.form is not Form.SCRAP and row.claim.speaks)
    row = max(spoken, key=lambda row: (not _hints(row), _clearness(row)), default=None)
    if row is not None and row.claim.aspect is Aspect.NAMED and not _hints(row):
        return f"no clause states its training or sampling; it is {row.claim.says} [{printable(row.where)}]"
    if row is not None:
        return f"{near}: {row.claim.says} [{printable(row.where)}]"
    words = next((row.quote for row in rows if row.claim.aspect is Aspect.WORDING and row.quote), "")
    return f"{near}, by words such as {printable(words)}" if words else near


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _follows(placed: Placement) -> list[_Row]:
    paradigm = placed.cell.paradigm if placed.cell else None
    if placed.cell is None:
        ranked = ", ".join(f"{cell.value} {share:.0%}" for cell, share in placed.ranked[:3])
        return [("possible", ranked)]
    if paradigm is None:
        return [("refused", "nothing is drawn from a modelled distribution" + _because(placed))]
    facts = facts_of(placed, paradigm)
    answers = facts if placed.facts else variant_of(placed.cell, placed.variant) or facts
    of = f" (of {placed.likelihood_of})" if placed.likelihood_of and placed.likelihood is not Kind.NONE else ""
    kind = KIND_WORDS[placed.likelihood] + of
    if placed.facts is not None:
        kind = f"{placed.likelihood.words}{of}: {facts.likelihood_note}"
    sampling, formula = placed.sampling or sampling_of(
        placed.cell, placed.variant, None if placed.facts else placed.cost, answers
    )
    also = f"{placed.also.value}, by its sampling procedure; the objective decides" if placed.also else ""
    return [
        ("also", also),
        ("variant", "" if placed.facts else placed.variant),
        ("objective", answers.objective),
        ("", answers.objective_formula),
        ("sampling", sampling),
        ("", formula),
        *_chain(placed),
        ("likelihood", kind),
        ("cost", placed.cost_note),
        ("gives", facts.gives),
        ("drawbacks", facts.drawbacks),
        *_labelled("watch", (f"{mode.name}: {mode.measurement}" for mode in placed.failure_modes)),
        *_labelled("it claims", (f"{claim}: “{row.quote}” [{row.where}]" for row, claim in promises_of(placed))),
    ]


def _labelled(label: str, bodies: Iterable[str]) -> list[_Row]:
    return [(label if i == 0 else "", body) for i, body in enumerate(bodies)]


def _chain(placed: Placement) -> list[_Row]:
    """The parts in the order in which an example passes them, then each with its two answers and its quote."""
    if not placed.parts:
        return []
    before, after = ("condition", "before"), ("within", "after", "choice")
    names = [_name(part) for part in placed.parts if part.stage in before]
    names += [f"the {placed.cell} step", *(_name(part) for part in placed.parts if part.stage in after)]
    training = ", ".join(_name(part) for part in placed.parts if part.stage == "training")
    line = " → ".join(names) + (f"; in training alone: {training}" if training else "")
    return [("chain", line), *_labelled("parts", (_answers(part) for part in placed.parts))]


def _name(part: Part) -> str:
    return part.role.replace("_", " ")


def _answers(part: Part) -> str:
    own = f" ({part.cell})" if part.cell else ""
    answers = "; ".join(filter(None, (part.objective, part.sampling)))
    return f"{_name(part)}{own}: {answers}. “{part.quote}” [{part.where}]"


#: claims by which a text says that its examples are drawn piece after piece
_PIECES = (Claim.ONE_BY_ONE, Claim.NEXT_PIECE, Claim.CALLED_AUTOREGRESSIVE, Claim.BLOCKS)


def promises_of(placed: Placement) -> Iterator[tuple[Evidence, str]]:
    """The claims of the text that contradict the likelihood, the cost or the failure modes of its kind, in words."""
    for row in placed.promises:
        if textbook := _textbook(placed, row.claim):
            yield row, f"{row.claim.says}, where {textbook}"


def _textbook(placed: Placement, claim: Claim) -> str:
    """What the map answers to a claim of the text, or the empty string where it does not contradict it."""
    if claim is Claim.EXACT:
        kind = KIND_WORDS[placed.likelihood].partition(":")[0]
        return "" if placed.likelihood is Kind.EXACT else f"the map's answer is {kind}"
    if claim is Claim.FEW_STEPS and placed.cost is not Cost.CONSTANT:
        return f"the map counts {placed.cost_note.partition(';')[0].partition(',')[0]}"
    modes = [mode.name for mode in placed.failure_modes if mode.name in promise_rules()[claim].denies]
    if not modes and claim is Claim.NO_DRIFT and any(row.claim in _PIECES for row in placed.evidence if row.weight > 0):
        return "what is drawn piece after piece usually drifts"
    return f"{', '.join(modes)} {'are' if len(modes) > 1 else 'is'} usual" if modes else ""


#: parts that no sample can be better than
_LIMITING = ("autoencoder", "tokenizer", "vocoder")


def facts_of(placed: Placement, paradigm: Paradigm) -> Facts:
    """The facts that the system states of itself, or those of its paradigm with the likelihood and cost found."""
    if placed.facts is not None:
        return placed.facts
    common = FACTS[paradigm]
    own = variant_of(placed.cell, placed.variant) or common
    return replace(
        common,
        likelihood=placed.likelihood,
        cost=placed.cost or common.cost,
        strengths=own.strengths,
        weaknesses=own.weaknesses,
        parts=tuple(dict.fromkeys(part.role for part in placed.parts if part.role in _LIMITING)),
    )


def _because(placed: Placement) -> str:
    first = next((row for row in placed.evidence if row.weight > 0 and row.claim.cell is placed.cell), None)
    return f": {first.claim.says}" if first else ""


def _evidence(placed: Placement, best: Evidence | None) -> list[_Row]:
    """One row of each claim and quote: first the evidence for the answer, then that against it, and no parts."""
    parts = {part.cell for part in placed.parts} - {placed.cell, None}
    first_rows: dict[Claim, Evidence] = {}
    for row in placed.evidence:
        if _tells(row, placed) and row.claim.cell not in parts and (best is None or row.claim is not best.claim):
            first_rows.setdefault(row.claim, row)
    first_of_quotes = {row.quote: row for row in reversed(first_rows.values())}
    rows = sorted(list(reversed(first_of_quotes.values()))[:6], key=lambda row: _against(row, placed))
    lines = [_quoted("evidence" if i == 0 else "", row, placed) for i, row in enumerate(rows)]
    foils = (row for row in placed.evidence if row.weight == 0 and row.claim.speaks)
    aside = next((row for row in foils if row.form in (Form.REASON, Form.PASSAGE)), None)
    return [*lines, _quoted("set aside", aside, placed)] if aside else lines


def _tells(row: Evidence, placed: Placement) -> bool:
    """True for what speaks for a cell, if against the answer then not by a hint, and for what makes its variant."""
    if row.weight <= 0 or row.form is Form.SCRAP:
        return False
    if not row.claim.speaks:
        return placed.variant in variants_of(row.claim)
    return not (_against(row, placed) and _hints(row))


def _hints(row: Evidence) -> bool:
    return row.weight < HINT or row.form is Form.HINT


def _against(row: Evidence, placed: Placement) -> bool:
    return placed.cell is not None and row.claim.cell not in (None, placed.cell)


def _quoted(label: str, row: Evidence, placed: Placement) -> _Row:
    """A quote with its place, marked for or against the answer, and as a hint where it weighs little.

    What the catalogue says of a name's sampling stands for itself.
    """
    if row.kind is Reader.NAME:
        return label, f"“{row.quote}” [{row.where}]"
    speaks = row.claim.cell is not None and row.weight > 0 and placed.cell is not None
    side = ("against: " if _against(row, placed) else "for: ") if speaks else ""
    hint = "a hint: " if speaks and _hints(row) else ""
    return label, f"“{row.quote}” [{row.where}] {side}{hint}{row.claim.says}"
