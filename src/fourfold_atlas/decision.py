"""From evidence to a place on the map: votes, weighed together with the wording, or the missing fact."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fourfold.vocabulary import COSTS, FACTS, Cost, Facts, FailureMode, Kind
from fourfold_atlas.evidence import DEFAULTS, LEANS, OBJECTIVE_OF, Aspect, Cell, Claim, Evidence, Form, Reader
from fourfold_atlas.placement import Inherited, Placement
from fourfold_atlas.variants import variant
from fourfold_atlas.votes import by_claim, by_rule, weigh
from fourfold_atlas.wording import CARD, CODE, LINE, TextKind, mechanism, probabilities

__all__ = ["decide", "describe", "stated", "states", "surely"]

C = Claim
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
        ranked, missing = _by_wording(leant, ranked, missing, voice)
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
        inherited=_inherited(rows, None),
        evidence=tuple(rows),
        missing=missing,
        would_change=_would_change(None, ranked),
        notes=notes,
    )


def stated(placed: Placement, facts: Facts | None) -> Placement:
    """The placement with the model's own facts in place of those of its cell."""
    if facts is None or placed.cell is None:
        return placed
    condition = ", given the condition" if any(part.part == "text_encoder" for part in placed.inherited) else ""
    return replace(
        placed,
        likelihood=facts.likelihood,
        likelihood_of=f"the data{condition}",
        cost=facts.cost,
        cost_note=facts.cost_note,
        facts=facts,
    )


def _stands(answer: Cell, rows: list[Evidence], leant: Mapping[Cell, float]) -> bool:
    """True if votes decide against the wording.

    A mechanism that is stated outright does not yield to a cell for which nothing (but comments beside code) is stated:
    wording alone never overrules. Cards and code also speak of labels and features, so there a refusal yields. A line
    has no room for that.
    """
    rival = max(leant, key=lambda cell: leant[cell])
    firm = answer is not Cell.NOT_GENERATIVE or _spoken(rows) is LINE
    mechanism = sum(max(row.weight, 0.0) for row in rows if row.claim.cell is answer and _of_mechanism(row.claim))
    statements = weigh(by_claim([row for row in rows if row.form is not Form.COMMENT]))
    return rival is not answer and firm and mechanism >= STATED and statements[rival] < UNSTATED


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
    undecided = _open(placed.subject, placed.ranked, list(placed.evidence), missing, placed.notes)
    return replace(undecided, inherited=placed.inherited, prior=placed.prior, system=placed.system)


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
    """The kind of text whose wording counts: a card before a line before code."""
    names = {row.rule for row in rows if row.claim.aspect is Aspect.WORDING}
    return next((kind for kind in (CARD, LINE, CODE) if kind.name in names), None)


def _by_wording(
    leant: Mapping[Cell, float], ranked: tuple[tuple[Cell, float], ...], missing: str, voice: str
) -> tuple[tuple[tuple[Cell, float], ...], str]:
    """The cell that votes and wording together give enough, else the missing fact."""
    by = tuple(sorted(((cell, round(p, 3)) for cell, p in leant.items() if p >= SHOWN), key=lambda row: -row[1]))
    if by[0][1] >= LEANT:
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
    kind, cost = likelihood(cell, votes), sampling(cell, votes)
    inherited = _inherited(rows, cell)
    return Placement(
        subject=subject,
        cell=cell,
        confidence=ranked[0][1] if ranked else 0.0,
        ranked=ranked,
        also=_also(cell, votes),
        inherited=inherited,
        likelihood=kind,
        likelihood_of=_variable(cell, inherited),
        cost=cost,
        cost_note=cost_note(cost),
        failure_modes=_failures(cell, inherited, votes),
        evidence=tuple(rows),
        would_change=_would_change(cell, ranked),
        notes=notes,
        variant=variant(cell, votes),
    )


def cost_note(cost: Cost | None) -> str:
    """The growth of the evaluations per sample, in words."""
    return COSTS[cost] if cost else "not applicable: nothing is drawn"


def likelihood(cell: Cell, votes: Mapping[Claim, float]) -> Kind:
    """The kind of likelihood of the variable that the generative step models."""
    v = {claim: votes.get(claim, 0.0) for claim in Claim}
    if cell is Cell.DIFFUSION:
        if (
            v[C.CONSISTENCY] >= 2
            or v[C.DISTILLED] >= 4
            or (v[C.DISTILLED] >= 2 and v[C.PART_TEACHER] > 0)
            or (v[C.ONE_STEP] >= 2 and v[C.DISTILLED] + v[C.VELOCITY] >= 2)
        ):
            return Kind.NONE
        if v[C.MASKED_BOUND] + v[C.FILL_MASKS] >= 2 or (v[C.BITS] >= 2 and v[C.VELOCITY] < 2) or (v[C.DISCRETE] >= 2):
            return Kind.LOWER_BOUND
    if cell is Cell.LATENT_VARIABLE:
        if v[C.CODE_GAME] >= 2 and v[C.BOUND] < v[C.CODE_GAME]:
            return Kind.NONE
        if v[C.EXACT_LATENT] > v[C.BOUND] + v[C.CALLED_LATENT]:
            return Kind.EXACT
    if cell is Cell.AUTOREGRESSIVE and v[C.HEAD_PER_PIECE] >= 2:
        return Kind.ESTIMATE
    return DEFAULTS[cell][0]


def sampling(cell: Cell, votes: Mapping[Claim, float]) -> Cost | None:
    """The growth of the number of network evaluations of one sample."""
    v = {claim: votes.get(claim, 0.0) for claim in Claim}
    pieces = max(v[C.SEQUENTIAL_DECODER], v[C.ONE_BY_ONE] - 0.9)
    few = v[C.CONSISTENCY] + v[C.DISTILLED] + v[C.VELOCITY]
    exceptions: tuple[tuple[Cell, bool, Cost], ...] = (
        (Cell.FLOW, v[C.SOLVES_ODE] >= 2, Cost.STEPS),
        (Cell.FLOW, max(v[C.SEQUENTIAL_INVERSE], v[C.ONE_BY_ONE], v[C.NEXT_PIECE]) >= 2, Cost.LENGTH),
        (Cell.DIFFUSION, v[C.ONE_STEP] >= 2 and few >= 2, Cost.CONSTANT),
        (Cell.LATENT_VARIABLE, pieces >= 1.5, Cost.LENGTH),
        (Cell.AUTOREGRESSIVE, v[C.HEAD_PER_PIECE] >= 2, Cost.STEPS),
        (Cell.ADVERSARIAL, v[C.CALLED_DIFFUSION] + v[C.DENOISE] >= 4, Cost.STEPS),
        (Cell.ADVERSARIAL, v[C.ONE_BY_ONE] >= 2.4, Cost.LENGTH),
    )
    return next((cost for owner, holds, cost in exceptions if owner is cell and holds), DEFAULTS[cell][1])


def _also(cell: Cell, votes: Mapping[Claim, float]) -> Cell | None:
    """The cell that the sampling procedure alone points to, when it is another one."""
    by: dict[Cell, float] = {}
    for claim, vote in votes.items():
        if claim.aspect is Aspect.SAMPLING and claim.cell is not None:
            by[claim.cell] = by.get(claim.cell, 0.0) + vote
    best = max(by, key=lambda key: by[key], default=None)
    return best if best not in (None, cell, Cell.NOT_GENERATIVE) and by[best] >= 2.5 else None


def _inherited(rows: list[Evidence], cell: Cell | None) -> tuple[Inherited, ...]:
    parts: dict[str, Inherited] = {}
    for row in rows:
        part = row.claim.aspect is Aspect.PART and row.claim is not C.PART_NETWORK and row.weight >= 0.25
        if part or (cell is Cell.LATENT_VARIABLE and row.claim is C.SEQUENTIAL_DECODER and row.weight > 0):
            parts.setdefault(row.claim.value, Inherited(row.claim.value, row.claim.says, row.quote, row.where))
    return () if cell is Cell.NOT_GENERATIVE else tuple(parts.values())


def _variable(cell: Cell, inherited: tuple[Inherited, ...]) -> str:
    parts = {part.part for part in inherited}
    if cell is Cell.NOT_GENERATIVE:
        return ""
    condition = ", given the condition" if "text_encoder" in parts else ""
    if "tokenizer" in parts:
        return f"the tokens, not the raw data behind the tokenizer{condition}"
    if "autoencoder" in parts and cell is not Cell.LATENT_VARIABLE:
        return f"the autoencoder's latents, so a bound for the raw data{condition}"
    return f"the data{condition}"


_CEILING = FailureMode(
    "reconstruction ceiling",
    "no sample is better than what the frozen autoencoder or tokenizer can rebuild",
    "reconstruction error of held-out data",
)
_NARROW = FailureMode(
    "loss of diversity against the teacher",
    "a student of few steps covers less than its teacher",
    "recall of student against teacher samples",
)


def _failures(cell: Cell, inherited: tuple[Inherited, ...], votes: Mapping[Claim, float]) -> tuple[FailureMode, ...]:
    paradigm = cell.paradigm
    if paradigm is None:
        return ()
    parts = {part.part for part in inherited}
    extra = [_CEILING] if parts & {"autoencoder", "tokenizer"} and cell is not Cell.LATENT_VARIABLE else []
    if "teacher" in parts or (cell is Cell.DIFFUSION and votes.get(C.CONSISTENCY, 0.0) >= 2):
        extra.append(_NARROW)
    return (*FACTS[paradigm].failure_modes, *extra)


def _would_change(cell: Cell | None, ranked: tuple[tuple[Cell, float], ...]) -> tuple[str, ...]:
    rivals = [rival for rival, _ in ranked if rival is not cell][:2]
    if not rivals:
        rivals = [Cell.AUTOREGRESSIVE if cell is Cell.NOT_GENERATIVE else Cell.NOT_GENERATIVE]
    return tuple(f"{rival.value}: {_evidence_for(rival)}" for rival in rivals)


def _evidence_for(cell: Cell) -> str:
    """The evidence that would speak for a cell."""
    if cell.paradigm is None:
        return "if only labels, vectors or one best answer came out, and nothing were drawn"
    facts = FACTS[cell.paradigm]
    return f"if its training were to {facts.objective}, and its sampling to {facts.sampling}"
