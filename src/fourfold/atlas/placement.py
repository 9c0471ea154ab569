"""From evidence to a place on the map: the gate, the generative step, objective times sampling, or the missing fact."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

from fourfold.atlas.evidence import DEFAULTS, LEANS, MEANING, Aspect, Cell, Claim, Evidence, Form, Reader
from fourfold.atlas.wording import CODE, FADE, PHRASE, PROSE, Table, mechanism, probabilities
from fourfold.vocabulary import FACTS, Cost, Facts, FailureMode, Kind

__all__ = ["Inherited", "Placement", "decide", "stated", "states", "surely"]

C = Claim
#: below this many votes nothing is decided; the runner-up must stay below this share of the winner. A refusal needs more: texts that
#: say little of a mechanism speak of benchmarks and features all the same
ENOUGH = 1.6
ENOUGH_TO_REFUSE = 2.0
CONTESTED = 0.97
#: phrases and wording weighed together answer from this probability on: below it more answers on blanked cards were wrong than right
LEANT = 0.4
#: the share that statements keep for themselves beside the sum of both, and the probability from which that answers. Held-out code and phrases
#: show statements right against words that are unsure; on cards nothing is gained. Code is right more often than its shares say
APART = {PHRASE: (0.1, LEANT), CODE: (0.1, 0.35)}
#: words contradict the files beside them only when they give what those say less than that
CONTRADICTED = 0.2
#: votes of an objective that is stated outright, and below which nothing is stated for a cell
STATED, UNSTATED = 3.0, 1.5
SHOWN = 0.05
AGAINST_PHRASES = "{} alone would say {}; weighed with the wording as a whole they do not: its loss or its sampling loop would settle it"
BY_WORDING = "no stated mechanism decides: it is worded as such systems usually are; its loss or its sampling loop would settle it"


@dataclass(frozen=True)
class Inherited:
    """A part that comes from elsewhere: what it is, and the words or keys that say so."""

    part: str
    says: str
    quote: str
    where: str


@dataclass(frozen=True)
class Placement:
    """Where a system stands on the map, and why.

    Attributes:
        subject: what was placed.
        cell: its place, or ``None`` when a fact is missing.
        confidence: between 0 and 1, the share of ``cell`` among the ranked.
        ranked: every cell with any support, and its share.
        also: the second cell, where objective and sampling point to different ones.
        inherited: the parts from elsewhere.
        likelihood: the kind of likelihood.
        likelihood_of: of which variable.
        cost: how the evaluations per sample grow, ``None`` when nothing is drawn.
        cost_note: the same in words.
        failure_modes: what to watch.
        evidence: all that was read, strongest first; weight zero was seen and set aside.
        missing: the fact whose absence prevents a (safer) answer.
        would_change: what would change the answer.
        prior: true when the answer comes from the name alone.
        facts: what a model of this library states of itself.
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

    def _repr_html_(self) -> str:
        from fourfold.atlas.show import html

        return html(self)

    def to_json(self) -> str:
        """The placement as JSON; every enum by its value."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


def decide(subject: str, evidence: Iterable[Evidence], notes: tuple[str, ...] = ()) -> Placement:
    """Place a system by its evidence alone.

    Raises:
        ValueError: evidence from a name is mixed in.
    """
    rows = sorted(evidence, key=lambda row: (MEANING[row.claim].aspect is Aspect.WORDING, -row.weight))
    if any(row.kind is Reader.NAME for row in rows):
        raise ValueError("evidence from a name never mixes with what was read; place the name by itself")
    votes = tally(rows)
    scores = weigh(votes)
    ranked = _shares(scores)
    missing = _missing(scores, votes) or _lone(rows, ranked)
    leant = lean(rows, votes, scores)
    readers = {row.kind for row in rows}
    stated = None if missing else ranked[0][0]
    if leant and (stated is None or _yields(stated, rows, leant, scores)):
        least = APART.get(_speaking(rows) or PROSE, (0.0, LEANT))[1]
        ranked, missing = _by_wording(leant, ranked, missing, least, _voice(readers))
        if not missing and stated is not ranked[0][0]:
            rows.sort(key=lambda row: row.claim is not LEANS[ranked[0][0]])
            notes = (*notes, AGAINST_PHRASES.format(_voice(readers), stated.value) if stated else BY_WORDING)
    if missing:
        return Placement(
            subject, None, 0.0, ranked, inherited=_inherited(rows, None), evidence=tuple(rows), missing=missing,
            would_change=_would_change(None, ranked), notes=notes,
        )  # fmt: skip
    return describe(subject, ranked[0][0], ranked, votes, rows, notes)


def stated(placed: Placement, facts: Facts | None) -> Placement:
    """The placement with what a model states of itself in place of what follows from its cell alone."""
    if facts is None or placed.cell is None:
        return placed
    given = ", given the condition" if any(part.part == "text_encoder" for part in placed.inherited) else ""
    return replace(
        placed,
        likelihood=facts.likelihood,
        likelihood_of=f"the data{given}",
        cost=facts.cost,
        cost_note=facts.cost_note,
        facts=facts,
    )


def _yields(stated: Cell, rows: list[Evidence], leant: Mapping[Cell, float], scores: Mapping[Cell, float]) -> bool:
    """Whether what phrases or statements say is weighed together with the wording as a whole.

    An objective that is stated outright does not yield to a cell for which nothing is stated: wording alone never overrules.
    """
    other = max(leant, key=lambda cell: leant[cell])
    objective = sum(
        row.weight
        for row in rows
        if row.weight > 0 and (MEANING[row.claim].cell, MEANING[row.claim].aspect) == (stated, Aspect.OBJECTIVE)
    )
    if other is not stated is not Cell.NOT_GENERATIVE and objective >= STATED and scores[other] < UNSTATED:
        return False
    readers = {row.kind for row in rows}
    return _weighed(rows, readers) or _contradicted(leant, stated, readers)


def states(placed: Placement) -> bool:
    """Whether what was read states the objective or the sampling of the answer: that it is worded so is not enough."""
    told = (row for row in placed.evidence if row.weight >= UNSTATED and MEANING[row.claim].cell is placed.cell)
    return any(MEANING[row.claim].aspect in (Aspect.OBJECTIVE, Aspect.SAMPLING) for row in told)


def surely(placed: Placement, least: float) -> Placement:
    """The placement, or the missing fact where its confidence is below ``least``: for whom a wrong answer costs more than none."""
    if placed.cell is None or placed.confidence >= least:
        return placed
    question = _QUESTION.get(frozenset(cell for cell, _ in placed.ranked[:2]), "what its training loss compares")
    missing = f"{question}: {placed.cell.value} with {placed.confidence:.2f} only"
    if placed.prior:
        missing = f"which system the name means: it is a version of {placed.system}, which answers with {placed.confidence:.2f} only"
    return Placement(
        placed.subject, None, 0.0, placed.ranked, inherited=placed.inherited, evidence=placed.evidence,
        missing=missing, would_change=_would_change(None, placed.ranked), notes=placed.notes, prior=placed.prior, system=placed.system,
    )  # fmt: skip


def lean(rows: Iterable[Evidence], votes: Mapping[Claim, float], scores: Mapping[Cell, float]) -> dict[Cell, float]:
    """The probability of each cell by wording and mechanism together; empty where no wording was read.

    Several texts of one system count as their mean: they repeat each other, and are no independent witnesses. A card speaks before code.
    """
    rows = list(rows)
    table = _speaking(rows)
    if table is None:
        return {}
    weights: dict[Claim, list[float]] = {}
    for row in rows:
        if row.rule == table.name:
            weights.setdefault(row.claim, []).append(row.weight)
    words = {cell: sum(weights[claim]) / len(weights[claim]) for cell, claim in LEANS.items()}
    both = probabilities(words, mechanism(rows, votes, scores, ENOUGH), table)
    kept, stated = APART.get(table, (0.0, LEANT))[0], dict(_shares(scores))
    return {cell: (1 - kept) * p + kept * stated.get(cell, 0.0) for cell, p in both.items()}


def _speaking(rows: Iterable[Evidence]) -> Table | None:
    """The table whose wording counts: a card's before a phrase's before code's."""
    names = {row.rule for row in rows if MEANING[row.claim].aspect is Aspect.WORDING}
    return next((table for table in (PROSE, PHRASE, CODE) if table.name in names), None)


def _weighed(rows: Iterable[Evidence], readers: set[Reader]) -> bool:
    """Whether phrases or statements and wording are weighed together: prose always, code where it is one source.

    Of several sources most hold no model, and their wording says nothing of it.
    """
    one_source = sum(row.claim is C.LEANS_DIFFUSION for row in rows) == 1
    return readers == {Reader.WORDS} or (readers == {Reader.CODE} and one_source)


def _contradicted(leant: Mapping[Cell, float], cell: Cell, readers: set[Reader]) -> bool:
    """Whether a card all but excludes what the files beside it say; it never excludes what code does."""
    return leant[cell] < CONTRADICTED and Reader.CODE not in readers


def _by_wording(
    leant: Mapping[Cell, float], ranked: tuple[tuple[Cell, float], ...], missing: str, least: float, voice: str
) -> tuple[tuple[tuple[Cell, float], ...], str]:
    """The cell that phrases and wording together give enough, else the missing fact."""
    by = tuple(sorted(((cell, round(p, 3)) for cell, p in leant.items() if p >= SHOWN), key=lambda row: -row[1]))
    if by[0][1] >= least:
        return by, ""
    stated = (
        f"what its training loss compares: {voice} say {ranked[0][0].value}, the wording as a whole does not"
        if ranked
        else ""
    )
    return by, missing or stated


def _voice(readers: set[Reader]) -> str:
    return "statements" if readers == {Reader.CODE} else "phrases"


def tally(rows: list[Evidence]) -> dict[Claim, float]:
    """Votes per claim; each repetition counts ``FADE`` of the one before."""
    votes: dict[Claim, float] = {}
    times: dict[Claim, int] = {}
    for row in sorted(rows, key=lambda row: -row.weight):
        if row.weight < 0:
            votes[row.claim] = max(votes.get(row.claim, 0.0) + row.weight, -3.0)
            continue
        k = times.get(row.claim, 0)
        votes[row.claim] = votes.get(row.claim, 0.0) + row.weight * FADE**k
        times[row.claim] = k + 1
    return votes


def weigh(votes: Mapping[Claim, float]) -> dict[Cell, float]:
    """Votes per cell, after the rules of the generative step."""
    v = {claim: votes.get(claim, 0.0) for claim in Claim}
    if (
        v[C.PART_TOKENIZER] >= 0.5
        and v[C.GENERATES] >= 0.8
        and v[C.DENOISE] + v[C.CALLED_DIFFUSION] + v[C.VELOCITY] < 1.5
    ):
        v[C.NEXT_PIECE] += 1.2
    if v[C.PART_CLASSIFIER] >= 1:
        v[C.DENOISE] += 2.0
    for condition, claims, factor in _rules(v):
        if condition:
            for claim in claims:
                v[claim] *= factor
    _objective_decides(v)
    scores = dict.fromkeys(Cell, 0.0)
    for claim, meaning in MEANING.items():
        if meaning.cell not in (None, Cell.NOT_GENERATIVE) and meaning.aspect is not Aspect.WORDING:
            scores[meaning.cell] += v[claim]
    scores = {cell: max(score, 0.0) for cell, score in scores.items()}
    nothing = sorted((v[claim] for claim in _NOTHING), reverse=True)
    scores[Cell.NOT_GENERATIVE] = nothing[0] + 0.4 * sum(nothing[1:])
    if v[C.CODE_GAME] >= 2:
        scores[Cell.LATENT_VARIABLE] += scores[Cell.ADVERSARIAL] * 0.6 + v[C.CODE_GAME]
        scores[Cell.ADVERSARIAL] *= 0.4
    return scores


def _objective_decides(v: dict[Claim, float]) -> None:
    """How a sample is drawn says little for a cell whose objective was not seen, once another's was."""
    seen = dict.fromkeys(Cell, 0.0)
    for claim, meaning in MEANING.items():
        if meaning.cell is not None and meaning.aspect in (Aspect.OBJECTIVE, Aspect.NAMED):
            seen[meaning.cell] += v[claim]
    strongest = max(seen[cell] for cell in Cell if cell is not Cell.NOT_GENERATIVE)
    for claim, meaning in MEANING.items():
        if (
            meaning.aspect is Aspect.SAMPLING
            and meaning.cell not in (None, Cell.NOT_GENERATIVE)
            and strongest >= 2.4
            and seen[meaning.cell] < 0.4 * strongest
        ):
            v[claim] *= 0.4


_LATENT = (C.BOUND, C.EXACT_LATENT, C.DECODE_LATENT, C.CALLED_LATENT)
_PIECES = (C.NEXT_PIECE, C.ONE_BY_ONE, C.CALLED_AUTOREGRESSIVE)
_STEPS = (C.DENOISE, C.VELOCITY, C.CONSISTENCY, C.ITERATE, C.CALLED_DIFFUSION, C.MASKED_BOUND, C.FILL_MASKS)
_GAMES = (C.GAME, C.MAP_NOISE, C.CALLED_ADVERSARIAL)
_FLOWS = (C.CHANGE_OF_VARIABLES, C.INVERT, C.CALLED_FLOW)
_CHAINS = (C.ENERGY_CONTRAST, C.CHAIN, C.CALLED_ENERGY)
_NOTHING = (C.LABELS, C.FEATURES, C.REBUILD, C.REGRESSION, C.REWARD, C.NOTHING_DRAWN)


_Rules = tuple[tuple[bool, tuple[Claim, ...], float], ...]


def _total(v: Mapping[Claim, float], group: tuple[Claim, ...]) -> float:
    return sum(v[claim] for claim in group)


def _rules(v: Mapping[Claim, float]) -> _Rules:
    """When a claim belongs to a part rather than to the generative step, and how much of it remains."""
    steps = v[C.DENOISE] + v[C.VELOCITY] + v[C.CONSISTENCY] + v[C.CALLED_DIFFUSION] + v[C.MASKED_BOUND]
    return (
        *_beside_steps(v, steps),
        *_beside_pieces(v),
        *_beside_latents(v, steps),
        *_beside_games(v, steps),
        *_beside_densities(v, steps),
        *_beside_nothing(v),
    )


def _beside_steps(v: Mapping[Claim, float], steps: float) -> _Rules:
    """What remains of the others where noise is removed in steps, and of steps where little speaks for them."""
    called = v[C.CALLED_DIFFUSION] + v[C.ITERATE]
    return (
        (steps >= 3, (C.CALLED_LATENT, C.BOUND, C.DECODE_LATENT, C.EXACT_LATENT), 0.5),
        (steps >= 3, (C.CALLED_FLOW, C.CHANGE_OF_VARIABLES, C.INVERT), 0.5 if v[C.CHANGE_OF_VARIABLES] < 3 else 1.0),
        (steps >= 3 and v[C.DISTILLED] + v[C.CONSISTENCY] >= 2, _GAMES, 0.5),
        (steps >= 3 and v[C.ENERGY_CONTRAST] + v[C.CALLED_ENERGY] < 2, (C.CHAIN,), 0.3),
        (
            steps >= 2.5 and v[C.ITERATE] >= 1.2 and v[C.HEAD_PER_PIECE] < 2,
            (C.NEXT_PIECE, C.ONE_BY_ONE, C.REGRESSION),
            0.5,
        ),
        (
            v[C.DENOISE] >= 4 and v[C.HEAD_PER_PIECE] < 2 and _total(v, _PIECES) < 9,
            (C.NEXT_PIECE, C.ONE_BY_ONE),
            0.6,
        ),
        (v[C.CONSISTENCY] >= 3, (C.DISTILLED,), 1.5),
        (v[C.DENOISE] + v[C.VELOCITY] + called < 1.5 and v[C.ONE_STEP] < 1, (C.CONSISTENCY,), 0.5),
        (v[C.MASKED_BOUND] + v[C.FILL_MASKS] >= 4, (*_PIECES, C.FEATURES), 0.5),
        (v[C.FEATURES] >= 4 and called < 1, (C.MASKED_BOUND, C.FILL_MASKS, C.DENOISE), 0.4),
        (v[C.REWARD] >= 6 and v[C.DENOISE] + v[C.CALLED_DIFFUSION] < 1.5, _STEPS, 0.3),
        (v[C.REGRESSION] >= 3 and called + v[C.VELOCITY] < 1, (C.DENOISE,), 0.3),
        (v[C.BOUND] + v[C.EXACT_LATENT] >= 5 and called + v[C.VELOCITY] < 1, (C.DENOISE,), 0.4),
    )


def _beside_pieces(v: Mapping[Claim, float]) -> _Rules:
    """What remains of the others where pieces are drawn in sequence."""
    pieces = _total(v, _PIECES)
    return (
        (pieces >= 4, (C.CALLED_LATENT, C.CALLED_ADVERSARIAL, C.GAME), 0.6),
        (pieces >= 4 and v[C.REBUILD] < 4, (C.REBUILD,), 0.6),
        (v[C.PART_TOKENIZER] >= 1 and v[C.GENERATES] >= 0.8 and v[C.REBUILD] < 5, (C.REBUILD,), 0.5),
    )


def _beside_latents(v: Mapping[Claim, float], steps: float) -> _Rules:
    """What remains of the others where a latent is bounded or summed out."""
    return (
        (v[C.BOUND] >= 3.5 and v[C.BOUND] >= 0.8 * v[C.CHANGE_OF_VARIABLES], (C.CHANGE_OF_VARIABLES, C.INVERT), 0.5),
        (v[C.BOUND] >= 2.5 and steps < 2 and v[C.PART_TOKENIZER] < 1, _PIECES, 0.5),
        (v[C.BOUND] >= 2.5 and steps >= 2 and v[C.ITERATE] >= 1.2, (C.BOUND, C.ONE_BY_ONE), 0.5),
        (v[C.BOUND] >= 3 and v[C.SEQUENTIAL_DECODER] >= 2, _PIECES, 0.5),
        (v[C.CODE_GAME] >= 2 and v[C.DECODE_LATENT] + v[C.BOUND] >= 2, (C.REBUILD, C.FEATURES), 0.2),
        (v[C.EXACT_LATENT] >= 5, _PIECES, 0.5),
        (v[C.EXACT_LATENT] >= 4, (C.LABELS,), 0.6),
        (v[C.EXACT_LATENT] >= 2.5 and v[C.CALLED_FLOW] + v[C.INVERT] < 1, (C.CHANGE_OF_VARIABLES,), 0.5),
    )


def _beside_games(v: Mapping[Claim, float], steps: float) -> _Rules:
    """What remains of the others where a critic trains, and of the critic where something is only rebuilt."""
    rebuilt = v[C.REBUILD] >= 3 and v[C.GAME] < 2 * v[C.REBUILD]
    latent = v[C.CALLED_LATENT] + v[C.DECODE_LATENT] >= 2 or v[C.BOUND] >= 5
    return (
        (rebuilt and v[C.MAP_NOISE] + v[C.CALLED_ADVERSARIAL] < 1.5 and v[C.CODE_GAME] < 2, (C.GAME,), 0.4),
        (v[C.GAME] >= 4 and v[C.CHANGE_OF_VARIABLES] < 3, (C.INVERT, C.ONE_BY_ONE), 0.4),
        (v[C.GAME] >= 4 and steps < 3, _PIECES, 0.6),
        (v[C.GAME] >= 4.4 and not latent and v[C.CODE_GAME] < 2, (C.BOUND,), 0.4),
        (v[C.GAME] >= 4, (C.LABELS, C.FEATURES), 0.5),
    )


def _beside_densities(v: Mapping[Claim, float], steps: float) -> _Rules:
    """What remains of the others beside an invertible map or an energy."""
    contrast = v[C.ENERGY_CONTRAST] + v[C.CALLED_ENERGY]
    return (
        (v[C.CHANGE_OF_VARIABLES] >= 3, _PIECES, 0.5),
        (v[C.CHANGE_OF_VARIABLES] >= 3 and steps < 4 and v[C.BOUND] < 5, (C.BOUND, C.DENOISE), 0.6),
        (_total(v, _FLOWS) >= 3 and v[C.SOLVES_ODE] >= 2, (C.ITERATE,), 0.4),
        (v[C.CALLED_FLOW] >= 2.4 and v[C.CHANGE_OF_VARIABLES] >= 1 and steps < 3, (C.EXACT_LATENT, *_PIECES), 0.5),
        (v[C.CALLED_FLOW] >= 2 and v[C.BOUND] >= 1.5 and v[C.CHANGE_OF_VARIABLES] < 2, (C.CALLED_FLOW,), 0.4),
        (contrast >= 3, _PIECES, 0.6),
        (contrast + v[C.CODE_GAME] < 0.8 and v[C.CHAIN] < 6, (C.CHAIN,), 0.5),
        (v[C.CHAIN] >= 6 and v[C.DENOISE] < 4 and v[C.CALLED_ADVERSARIAL] < 2, _GAMES, 0.4),
        (_total(v, _CHAINS) >= 4, (C.DENOISE, C.ITERATE, C.FEATURES), 0.6),
        (v[C.ENERGY_CONTRAST] >= 2 and v[C.LABELS] >= 2, (C.LABELS,), 0.5),
    )


def _beside_nothing(v: Mapping[Claim, float]) -> _Rules:
    """What remains of labels, features and rebuilding where something is made, and of making where nothing is drawn."""
    made = max(_total(v, group) for group in (_LATENT, _PIECES, _STEPS, _GAMES, _FLOWS, _CHAINS))
    called = (C.CALLED_DIFFUSION, C.CALLED_ADVERSARIAL, C.CALLED_FLOW, C.CALLED_ENERGY, C.CALLED_LATENT)
    return (
        (max(v[claim] for claim in called) >= 2.4, _NOTHING[:4], 0.6),
        (v[C.REBUILD] >= 5, (C.CALLED_AUTOREGRESSIVE, *_GAMES), 0.6),
        (v[C.REBUILD] >= 5 and made < 9, (C.REBUILD,), 2.2),
        (v[C.NOTHING_DRAWN] >= 3, (*_PIECES, *_GAMES, *_LATENT, *_STEPS), 0.5),
        (v[C.GENERATES] >= 1 and v[C.REWARD] < 4, (C.REWARD,), 0.5),
        (v[C.GENERATES] >= 1 and made < 4, _NOTHING, 0.3),
        (v[C.LABELS] + v[C.FEATURES] >= 9 and made < 5.5, (C.LABELS, C.FEATURES), 1.6),
        (made >= 4, _NOTHING, 0.6),
        (made >= 8, _NOTHING, 0.7),
    )


def _shares(scores: Mapping[Cell, float]) -> tuple[tuple[Cell, float], ...]:
    top = max(scores.values())
    if top <= 0:
        return ()
    weight = {cell: math.expm1(3.0 * score / top) * min(top, 4.0) for cell, score in scores.items() if score > 0}
    total = sum(weight.values()) + 2.0
    return tuple(sorted(((cell, round(w / total, 3)) for cell, w in weight.items()), key=lambda row: -row[1]))


def _missing(scores: Mapping[Cell, float], votes: Mapping[Claim, float]) -> str:
    order = sorted(scores.values(), reverse=True)
    best = max(scores, key=lambda cell: scores[cell])
    if order[0] == 0:
        return "what its training loss compares, and how an example is drawn: neither is said"
    if order[0] < (ENOUGH_TO_REFUSE if best is Cell.NOT_GENERATIVE else ENOUGH):
        return f"what its training loss compares: only a hint of {best.value} was found"
    if order[1] > CONTESTED * order[0]:
        second = sorted(scores, key=lambda cell: -scores[cell])[1]
        return _QUESTION.get(
            frozenset((best, second)),
            f"its training loss: the evidence is split between {best.value} and {second.value}",
        )
    return ""


def _lone(rows: list[Evidence], ranked: tuple[tuple[Cell, float], ...]) -> str:
    """One line of code that looks like a sampler is not enough, nor is one comment: loops and draws occur in every kind of program."""
    of = [row for row in rows if MEANING[row.claim].cell is ranked[0][0] and row.weight >= 0.7]
    if len(of) != 1 or of[0].kind is not Reader.CODE:
        return ""
    if MEANING[of[0].claim].aspect is Aspect.SAMPLING and of[0].form is not Form.LOOP:
        return "what its training loss compares: one line of a sampler was found, and nothing else"
    if of[0].form is Form.COMMENT:
        return "what its training loss compares: one comment hints at it, and no statement does"
    return ""


_QUESTION: Mapping[frozenset[Cell], str] = {
    frozenset((Cell.AUTOREGRESSIVE, Cell.DIFFUSION)): "whether pieces are drawn one after the other or all are refined together",
    frozenset((Cell.AUTOREGRESSIVE, Cell.NOT_GENERATIVE)): "whether anything is drawn piece by piece, or only a label or a vector comes out",
    frozenset((Cell.DIFFUSION, Cell.NOT_GENERATIVE)): "whether noise is turned into examples, or one best answer is regressed",
    frozenset((Cell.DIFFUSION, Cell.ENERGY)): "whether the loss regresses a score or contrasts energies of data and samples",
    frozenset((Cell.DIFFUSION, Cell.FLOW)): "whether the loss is a regression of a velocity or a likelihood with a log-determinant",
    frozenset((Cell.LATENT_VARIABLE, Cell.NOT_GENERATIVE)): "whether the code has a prior that is drawn from",
    frozenset((Cell.ADVERSARIAL, Cell.NOT_GENERATIVE)): "whether the training loss has a discriminator",
    frozenset((Cell.ADVERSARIAL, Cell.LATENT_VARIABLE)): "whether a bound or a discriminator trains the decoder",
    frozenset((Cell.ADVERSARIAL, Cell.DIFFUSION)): "whether noise is mapped once by a generator or removed in steps",
}  # fmt: skip


def describe(
    subject: str, cell: Cell, ranked: tuple[tuple[Cell, float], ...], votes: Mapping[Claim, float], rows: list[Evidence], notes: tuple[str, ...] = ()
) -> Placement:  # fmt: skip
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
        cost_note=_COST[cost],
        failure_modes=_failures(cell, inherited, votes),
        evidence=tuple(rows),
        would_change=_would_change(cell, ranked),
        notes=notes,
    )


_COST: Mapping[Cost | None, str] = {
    Cost.CONSTANT: "one network evaluation per sample",
    Cost.LENGTH: "one network evaluation per piece: grows with the length",
    Cost.STEPS: "one network evaluation per solver step: set by the number of steps",
    Cost.CHAIN: "one evaluation per step of a Markov chain of unknown length",
    None: "not applicable: nothing is drawn",
}


def likelihood(cell: Cell, votes: Mapping[Claim, float]) -> Kind:
    """The kind of likelihood of what the generative step models."""
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
    """How the number of network evaluations of one sample grows."""
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
        meaning = MEANING[claim]
        if meaning.aspect is Aspect.SAMPLING and meaning.cell is not None:
            by[meaning.cell] = by.get(meaning.cell, 0.0) + vote
    best = max(by, key=lambda key: by[key], default=None)
    return best if best not in (None, cell, Cell.NOT_GENERATIVE) and by[best] >= 2.5 else None


def _inherited(rows: list[Evidence], cell: Cell | None) -> tuple[Inherited, ...]:
    found: dict[str, Inherited] = {}
    for row in rows:
        meaning = MEANING[row.claim]
        if meaning.aspect is Aspect.PART and row.claim is not C.PART_NETWORK and row.weight >= 0.25:
            found.setdefault(row.claim.value, Inherited(row.claim.value, meaning.says, row.quote, row.where))
        if cell is Cell.LATENT_VARIABLE and row.claim is C.SEQUENTIAL_DECODER and row.weight > 0:
            found.setdefault("sequential_decoder", Inherited("sequential_decoder", meaning.says, row.quote, row.where))
    return () if cell is Cell.NOT_GENERATIVE else tuple(found.values())


def _variable(cell: Cell, inherited: tuple[Inherited, ...]) -> str:
    parts = {part.part for part in inherited}
    if cell is Cell.NOT_GENERATIVE:
        return ""
    given = ", given the condition" if "text_encoder" in parts else ""
    if "tokenizer" in parts:
        return f"the tokens, not the raw data behind the tokenizer{given}"
    if "autoencoder" in parts and cell is not Cell.LATENT_VARIABLE:
        return f"the autoencoder's latents, not the raw data{given}"
    return f"the data{given}"


_CEILING = FailureMode(
    "reconstruction ceiling",
    "no sample is better than what the frozen autoencoder or tokenizer can rebuild",
    "reconstruction error of held-out data",
)
_NARROW = FailureMode("loss of diversity against the teacher", "a student of few steps covers less than its teacher", "recall of student against teacher samples")  # fmt: skip


def _failures(cell: Cell, inherited: tuple[Inherited, ...], votes: Mapping[Claim, float]) -> tuple[FailureMode, ...]:
    paradigm = cell.paradigm
    if paradigm is None:
        return ()
    parts = {part.part for part in inherited}
    extra = [_CEILING] if parts & {"autoencoder", "tokenizer"} and cell is not Cell.LATENT_VARIABLE else []
    if "teacher" in parts or (cell is Cell.DIFFUSION and votes.get(C.CONSISTENCY, 0.0) >= 2):
        extra.append(_NARROW)
    return (*FACTS[paradigm].failure_modes, *extra)


_CHANGE: Mapping[Cell, str] = {
    Cell.AUTOREGRESSIVE: "a loss on the next piece given the earlier ones, and a loop that appends pieces",
    Cell.LATENT_VARIABLE: "a bound with a KL to a prior (or EM), and samples decoded from prior draws",
    Cell.ADVERSARIAL: "a discriminator in the training loss, and one pass from noise to sample",
    Cell.DIFFUSION: "a loss that regresses noise, score or velocity at random noise levels, and sampling in steps",
    Cell.FLOW: "a log-determinant in the training loss, and samples by the inverse map",
    Cell.ENERGY: "a contrast of energies in the loss, and samples by a Markov chain",
    Cell.NOT_GENERATIVE: "that only labels, vectors or one best answer come out, and nothing is drawn",
}


def _would_change(cell: Cell | None, ranked: tuple[tuple[Cell, float], ...]) -> tuple[str, ...]:
    others = [other for other, _ in ranked if other is not cell][:2]
    if not others:
        others = [Cell.AUTOREGRESSIVE if cell is Cell.NOT_GENERATIVE else Cell.NOT_GENERATIVE]
    return tuple(f"{other.value}: {_CHANGE[other]}" for other in others)
