"""From evidence to a place on the map: votes, weighed together with the wording, or the missing fact."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fourfold.vocabulary import FACTS, Facts
from fourfold_atlas.evidence import LEANS, OBJECTIVE_OF, Aspect, Cell, Claim, Evidence, Form, Reader
from fourfold_atlas.parts import chain, ordered
from fourfold_atlas.placement import Placement
from fourfold_atlas.tradeoffs import cost_note, failures, likelihood, sampling, variable
from fourfold_atlas.variants import variant
from fourfold_atlas.votes import by_claim, by_rule, weigh
from fourfold_atlas.wording import CARD, CODE, LINE, SETTINGS, TextKind, mechanism, probabilities

__all__ = ["decide", "describe", "left_open", "stated", "states", "surely", "with_parts"]

#: below so many votes nothing is decided. A refusal needs more, since texts that say little of a mechanism speak of
#: benchmarks and features all the same. The runner-up must stay below this share of the winner
ENOUGH, ENOUGH_TO_REFUSE, CONTESTED = 1.6, 2.0, 0.97
#: votes and wording weighed together answer from this probability on
LEANT = 0.4
#: votes of an objective that is stated outright, and below which nothing is stated for a cell
STATED, UNSTATED = 3.0, 1.5
SHOWN = 0.05
_SETTLE = "its loss or its sampling loop would settle it"
AGAINST_VOTES = f"{{}} alone would say {{}}; weighed with the wording as a whole they do not: {_SETTLE}"
BY_WORDING = f"no stated mechanism decides: it is worded as such systems usually are; {_SETTLE}"


def decide(subject: str, evidence: Iterable[Evidence], notes: tuple[str, ...] = ()) -> Placement:
    """Place a system by its evidence alone.

    Raises:
        ValueError: evidence from a name is mixed in.
    """
    rows = sorted(evidence, key=lambda row: (row.claim.aspect is Aspect.WORDING, -row.weight))
    if any(row.kind is Reader.NAME for row in rows):
        raise ValueError("evidence must come from a text, files or code, got some from a name: place it by itself")
    votes = by_claim(rows)
    scores = weigh(votes)
    ranked = _shares(scores)
    missing = _missing(scores) or _lone(rows, ranked)
    leant = lean(rows, scores)
    answer = None if missing else ranked[0][0]
    if leant and (answer is None or not _stands(answer, rows, leant)):
        voice = "statements" if all(row.kind is Reader.CODE for row in rows) else "phrases"
        agreed = answer is not None and _states(answer, rows) and answer is max(leant, key=lambda cell: leant[cell])
        ranked, missing = _by_wording(leant, ranked, missing, voice, 0.0 if agreed else LEANT)
        if not missing and answer is not ranked[0][0]:
            rows.sort(key=lambda row: row.claim is not LEANS[ranked[0][0]])
            notes = (*notes, AGAINST_VOTES.format(voice, answer.value) if answer else BY_WORDING)
    if missing:
        return _open(subject, ranked, rows, missing, notes)
    return describe(subject, ranked[0][0], ranked, votes, rows, notes)


def _open(
    subject: str, ranked: tuple[tuple[Cell, float], ...], rows: list[Evidence], missing: str, notes: tuple[str, ...]
) -> Placement:
    """A placement that leaves the question open, with the fact that is missing."""
    return Placement(
        subject,
        None,
        0.0,
        ranked,
        parts=chain(rows, None),
        evidence=tuple(rows),
        missing=missing,
        would_change=_would_change(None, ranked),
        notes=notes,
    )


def stated(placed: Placement, facts: Facts | None) -> Placement:
    """The placement with the model's own facts in place of those of its cell."""
    if facts is None or placed.cell is None:
        return placed
    condition = ", given the condition" if any(part.role == "text_encoder" for part in placed.parts) else ""
    return replace(
        placed,
        likelihood=facts.likelihood,
        likelihood_of=f"the data{condition}",
        cost=facts.cost,
        cost_note=facts.cost_note,
        facts=facts,
    )


def with_parts(placed: Placement, rows: Iterable[Evidence]) -> Placement:
    """The placement with the parts that further evidence tells of, and what follows from the longer chain."""
    if placed.cell is None or placed.cell is Cell.NOT_GENERATIVE:
        return placed
    roles = {part.role for part in placed.parts}
    parts = ordered((*placed.parts, *(part for part in chain(rows, placed.cell) if part.role not in roles)))
    return replace(
        placed,
        parts=parts,
        likelihood_of=variable(placed.cell, parts),
        cost_note=cost_note(placed.cost, parts),
        failure_modes=failures(placed.cell, placed.variant, parts),
    )


def _stands(answer: Cell, rows: list[Evidence], leant: Mapping[Cell, float]) -> bool:
    """True if votes decide against the wording.

    A mechanism that is stated outright does not yield to a cell for which nothing (but comments beside code) is stated:
    wording alone never overrules. Cards and code also speak of labels and features, so there a refusal yields. A line
    has no room for that.
    """
    rival = max(leant, key=lambda cell: leant[cell])
    statements = weigh(by_claim([row for row in rows if row.form is not Form.COMMENT]))
    return rival is not answer and _states(answer, rows) and statements[rival] < UNSTATED


def _states(answer: Cell, rows: list[Evidence]) -> bool:
    """True if the mechanism of an answer is stated outright. A refusal is stated by a line alone."""
    firm = answer is not Cell.NOT_GENERATIVE or _spoken(rows) is LINE
    return (
        firm
        and sum(max(row.weight, 0.0) for row in rows if row.claim.cell is answer and _of_mechanism(row.claim)) >= STATED
    )


def _of_mechanism(claim: Claim) -> bool:
    return claim.aspect in (Aspect.OBJECTIVE, Aspect.SAMPLING)


def states(placed: Placement) -> bool:
    """True if the evidence states the objective or the sampling of the answer. Wording like it is not enough."""
    claims = (row.claim for row in placed.evidence if row.weight >= UNSTATED and row.claim.cell is placed.cell)
    return any(_of_mechanism(claim) for claim in claims)


def surely(placed: Placement, least: float) -> Placement:
    """The placement, or the missing fact where its confidence is below ``least``."""
    if placed.cell is None or placed.confidence >= least:
        return placed
    rival = next((cell for cell, _ in placed.ranked if cell is not placed.cell), None)
    question = _question(placed.cell, rival) if rival else "what its training loss compares"
    missing = f"{question}; {placed.cell.value} has {placed.confidence:.2f} only"
    if placed.prior:
        version = f"it is a version of {placed.system}, which answers with {placed.confidence:.2f} only"
        missing = f"which system the name means: {version}"
    return left_open(placed, missing)


def left_open(placed: Placement, missing: str) -> Placement:
    """The placement without an answer, for want of a fact."""
    undecided = _open(placed.subject, placed.ranked, list(placed.evidence), missing, placed.notes)
    return replace(undecided, parts=placed.parts, prior=placed.prior, system=placed.system)


def lean(rows: Iterable[Evidence], scores: Mapping[Cell, float]) -> dict[Cell, float]:
    """The probability of each cell by wording and votes together. Empty where no wording was read.

    Several texts of one system count as their mean: they repeat each other, and are not independent witnesses.
    """
    rows = list(rows)
    kind = _spoken(rows)
    if kind is None:
        return {}
    weights: dict[Claim, list[float]] = {}
    for row in rows:
        if row.rule == kind.name:
            weights.setdefault(row.claim, []).append(row.weight)
    words = {cell: sum(weights[claim]) / len(weights[claim]) for cell, claim in LEANS.items()}
    return probabilities(words, mechanism(by_rule(rows), scores), kind)


def _spoken(rows: Iterable[Evidence]) -> TextKind | None:
    """The kind of text whose wording counts: a card before a line before code before settings."""
    names = {row.rule for row in rows if row.claim.aspect is Aspect.WORDING}
    return next((kind for kind in (CARD, LINE, CODE, SETTINGS) if kind.name in names), None)


def _by_wording(
    leant: Mapping[Cell, float], ranked: tuple[tuple[Cell, float], ...], missing: str, voice: str, least: float
) -> tuple[tuple[tuple[Cell, float], ...], str]:
    """The cell to which votes and wording together give at least so much, else the missing fact."""
    by = tuple(sorted(((cell, round(p, 3)) for cell, p in leant.items() if p >= SHOWN), key=lambda row: -row[1]))
    if by[0][1] >= least:
        return by, ""
    doubt = f"{voice} say {ranked[0][0].value}, the wording as a whole does not" if ranked else "neither is said"
    return by, missing or f"what its training loss compares: {doubt}"


def _shares(scores: Mapping[Cell, float]) -> tuple[tuple[Cell, float], ...]:
    top = max(scores.values())
    if top <= 0:
        return ()
    weight = {cell: math.expm1(3.0 * score / top) * min(top, 4.0) for cell, score in scores.items() if score > 0}
    total = sum(weight.values()) + 2.0
    return tuple(sorted(((cell, round(w / total, 3)) for cell, w in weight.items()), key=lambda row: -row[1]))


def _missing(scores: Mapping[Cell, float]) -> str:
    order = sorted(scores.values(), reverse=True)
    best = max(scores, key=lambda cell: scores[cell])
    if order[0] == 0:
        return "what its training loss compares, and how an example is drawn: neither is said"
    if order[0] < (ENOUGH_TO_REFUSE if best is Cell.NOT_GENERATIVE else ENOUGH):
        return f"what its training loss compares: only a hint of {best.value} was found"
    if order[1] > CONTESTED * order[0]:
        second = sorted(scores, key=lambda cell: -scores[cell])[1]
        return _question(best, second)
    return ""


def _lone(rows: list[Evidence], ranked: tuple[tuple[Cell, float], ...]) -> str:
    """The missing fact where code offers one line like a sampler's, or one comment. Every program has loops."""
    of = [row for row in rows if row.claim.cell is ranked[0][0] and row.weight >= 0.7]
    if len(of) != 1 or of[0].kind is not Reader.CODE:
        return ""
    if of[0].claim.aspect is Aspect.SAMPLING and of[0].form is not Form.LOOP:
        return "what its training loss compares: one line of a sampler was found, and nothing else"
    if of[0].form is Form.COMMENT:
        return "what its training loss compares: one comment hints at it, and no statement does"
    return ""


def _question(first: Cell, second: Cell) -> str:
    """The fact that decides between two cells: for which of two objectives it is trained."""
    first_words, second_words = (OBJECTIVE_OF[cell].says for cell in Cell if cell in (first, second))
    return f"whether it is {first_words}, or {second_words.removeprefix('trained ')}"


def describe(
    subject: str,
    cell: Cell,
    ranked: tuple[tuple[Cell, float], ...],
    votes: Mapping[Claim, float],
    rows: list[Evidence],
    notes: tuple[str, ...] = (),
) -> Placement:
    """Everything that follows from a cell and the properties found."""
    parts, cost = chain(rows, cell), sampling(cell, votes)
    name = variant(cell, votes, cost)
    return Placement(
        subject=subject,
        cell=cell,
        confidence=ranked[0][1] if ranked else 0.0,
        ranked=ranked,
        also=_also(cell, votes),
        parts=parts,
        likelihood=likelihood(cell, votes, name),
        likelihood_of=variable(cell, parts),
        cost=cost,
        cost_note=cost_note(cost, parts),
        failure_modes=failures(cell, name, parts),
        evidence=tuple(rows),
        would_change=_would_change(cell, ranked),
        notes=notes,
        variant=name,
        promises=_promises(rows),
    )


def _also(cell: Cell, votes: Mapping[Claim, float]) -> Cell | None:
    """The cell that the sampling procedure alone points to, when it is another one."""
    by: dict[Cell, float] = {}
    for claim, vote in votes.items():
        if claim.aspect is Aspect.SAMPLING and claim.cell is not None:
            by[claim.cell] = by.get(claim.cell, 0.0) + vote
    best = max(by, key=lambda key: by[key], default=None)
    return best if best not in (None, cell, Cell.NOT_GENERATIVE) and by[best] >= 2.5 else None


def _promises(rows: list[Evidence]) -> tuple[Evidence, ...]:
    """The claims of the text that contradict the textbook, each once."""
    return tuple({row.claim: row for row in reversed(rows) if row.claim.aspect is Aspect.PROMISE}.values())


def _would_change(cell: Cell | None, ranked: tuple[tuple[Cell, float], ...]) -> tuple[str, ...]:
    """For each likely rival, the evidence that would speak for it."""
    rivals = [rival for rival, share in ranked if rival is not cell and share >= SHOWN][:2]
    return tuple(f"{rival.value}: {_evidence_for(rival)}" for rival in rivals)


def _evidence_for(cell: Cell) -> str:
    """The evidence that would speak for a cell."""
    if cell.paradigm is None:
        return "if only labels, vectors or one best answer came out, and nothing were drawn"
    facts = FACTS[cell.paradigm]
    return f"if its training were to {facts.objective}, and its sampling to {facts.sampling}"
