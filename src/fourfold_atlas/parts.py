"""The parts of a system beside its generative step, as a chain: each with its two answers and its quote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from fourfold.vocabulary import FACTS
from fourfold_atlas.evidence import Aspect, Cell, Claim, Evidence, Form, Reader
from fourfold_atlas.rules import OF, PartRule, mechanism_part, part_rules
from fourfold_atlas.votes import by_claim, weigh

__all__ = ["Part", "catalogued", "chain", "ordered", "part_of"]

#: evidence of a part counts from this weight on: below it stands in a section about something else
SAID = 0.25
#: a mechanism of another cell is stated from so many votes on, one of its rows with so many
STATED, FIRM = 3.0, 1.5
#: the paradigm of a part is named within so many characters of its name
REACH = 40
#: how a part was trained, between the commas that part its name from its verb
_INSERT = re.compile(r",\s(?:\w+ly\s|itself\s)?(?:trained|learned|fitted|fine-?tuned|taught|distilled)\b[^,;.]*,")
#: parts that a cell has within itself
_OWN = {
    Cell.ADVERSARIAL: {Claim.PART_CRITIC},
    Cell.FLOW: {Claim.PART_PRIOR},
    Cell.LATENT_VARIABLE: {Claim.PART_AUTOENCODER},
}
#: names of a paradigm that are names of a part too: "a variational autoencoder", "a normalizing flow"
_NOUNS = (Claim.CALLED_LATENT, Claim.CALLED_FLOW)
#: words of a clause that name the paradigm of the part in it, the first that it holds
_NAMES = {
    Cell.DIFFUSION: re.compile(r"diffusion|flow[- ]match|rectified[- ]flow|score-based|denois|DDPM|\bCFM", re.I),
    Cell.AUTOREGRESSIVE: re.compile(r"auto-?regress|token by token|next[- ]token|wavenet", re.I),
    Cell.FLOW: re.compile(r"\bflows?\b|coupling|invertible", re.I),
    Cell.ENERGY: re.compile(r"\benergy\b(?![- ](?:distance|score))|boltzmann|\bRBM", re.I),
    Cell.ADVERSARIAL: re.compile(r"adversarial|GANs?\d*\b|discriminator|energy[- ](?:distance|score)|\bCRPS\b", re.I),
}


#: encoders of conditions other than text, and what a language model is trained for
_ENCODERS = tuple(f"{kind}_encoder" for kind in ("vision", "image", "audio", "speech", "protein"))
_ENCODER = re.compile("|".join(_ENCODERS))
_TOKENS = "trained before, on the next token of text"


@dataclass(frozen=True)
class Part:
    """A part beside the generative step.

    Attributes:
        role: its role, such as ``autoencoder``.
        says: the same in words.
        stage: where it stands in the chain, such as ``after`` the generative step or in ``training`` alone.
        cell: its own paradigm, if it has one.
        objective: what it is trained for.
        sampling: what it does when an example is drawn.
        quote: the words, key or line that say so.
        where: their place.
    """

    role: str
    says: str
    stage: str
    cell: Cell | None
    objective: str
    sampling: str
    quote: str
    where: str


def part_of(claim: Claim, quote: str, where: str, cell: Cell | None = None) -> Part:
    """A part by the claim that there is one. Its paradigm is the given one, or the one that its clause names."""
    rule = part_rules()[claim]
    own = cell or _cell_of(rule, quote)
    facts = FACTS[own.paradigm] if own and own.paradigm else None
    objective, sampling = (facts.objective, facts.sampling) if facts else (rule.objective, rule.sampling)
    if rule.stage in ("training", "choice"):
        objective, sampling = rule.objective, rule.sampling
    return Part(claim.value, claim.says, rule.stage, own, objective, sampling, quote, where)


def _cell_of(rule: PartRule, quote: str) -> Cell | None:
    """The paradigm that the words around a part's name give it, else the one that such a part usually has."""
    near = _near(rule, quote) if rule.mixes else ""
    cells = (cell for cell, words in _NAMES.items() if words.search(near))
    return next(cells, Cell(rule.mechanism) if rule.mechanism else None)


def _near(rule: PartRule, quote: str) -> str:
    """The words around the name of a part, up to a comma or an "and" and no further than ``REACH``."""
    finds = (match for pattern in (rule.told, rule.name) if pattern and (match := pattern.search(quote)))
    match = next(finds, None)
    if match is None:
        return quote
    if any(words.search(match.group()) for words in _NAMES.values()):
        return match.group()
    before = re.split(r"[,;.(]|\band\b", _joined(quote[: match.start()]))[-1][-REACH:]
    after = re.split(r"[,;.(]|\band\b", quote[match.end() :])[0][:REACH]
    return f"{before}{match.group()}{after}"


def _joined(text: str) -> str:
    """Text in which an insert on how a part was trained is left out, but for the paradigm that it names."""
    return _INSERT.sub(lambda insert: f" {_paradigm_word(insert.group())} ", text)


def _paradigm_word(text: str) -> str:
    finds = (words.search(text) for words in _NAMES.values())
    return next((find.group() for find in finds if find), "")


def catalogued(name: str, where: str) -> Part:
    """A part by its name in the catalogue, such as ``kl_autoencoder``."""
    words = name.replace("_", " ")
    claim = next((rule.claim for rule in part_rules().values() if rule.catalogue.search(name)), None)
    if claim is None:
        return Part(words, words, "", None, "named by the catalogue", "", words, where)
    part = part_of(claim, words, where)
    if name == "pretrained_language_model":
        return replace(part, stage="training", cell=None, objective=_TOKENS, sampling="starts the network that draws")
    if encoder := _ENCODER.search(name):
        return replace(part, role=encoder[0], objective="trained before, to represent its input")
    return part


def chain(rows: Iterable[Evidence], cell: Cell | None) -> tuple[Part, ...]:
    """The parts that the evidence tells of, in the order in which an example passes them."""
    if cell is Cell.NOT_GENERATIVE:
        return ()
    rows = list(rows)
    own = _OWN.get(cell, set()) if cell else set()
    if cell is Cell.DIFFUSION and weigh(by_claim(rows))[Cell.AUTOREGRESSIVE] < FIRM:
        own = {Claim.PART_HEAD}  # what predicts the noise is its network, unless there are tokens
    parts = {row.claim: row for row in reversed(rows) if _is_part(row, cell) and row.claim not in own}
    drawn = {claim: part_of(claim, row.quote, row.where) for claim, row in parts.items()}
    mechanisms = {part.cell for part in drawn.values()}
    for other, row in _stated(rows, cell):
        claim = mechanism_part(cell.value, other.value) if cell else None
        if claim and claim not in drawn and other not in mechanisms:
            drawn[claim] = part_of(claim, row.quote, row.where, other)
    return ordered(drawn.values())


def ordered(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Parts in the order in which a chain names them."""
    order = {claim.value: i for i, claim in enumerate(part_rules())}
    encoders = dict.fromkeys(_ENCODERS, order[Claim.PART_TEXT_ENCODER.value])
    return tuple(sorted(parts, key=lambda part: (order | encoders).get(part.role, len(order))))


def _is_part(row: Evidence, cell: Cell | None) -> bool:
    """True for a firm find of a part that systems of the cell may have."""
    said = row.weight >= SAID and row.form is not Form.SCRAP
    return said and _may_be_in(row, cell) and row.claim.aspect is Aspect.PART and row.claim in part_rules()


def _may_be_in(row: Evidence, cell: Cell | None) -> bool:
    """False where a find tells of a part in systems of other cells alone."""
    return not row.rule.startswith(OF) or (cell is not None and cell.value in row.rule.removeprefix(OF).split("|"))


def _stated(rows: list[Evidence], cell: Cell | None) -> Iterator[tuple[Cell, Evidence]]:
    """Mechanisms of other cells that are stated outright, each by its firmest row.

    A clause that states the mechanism of the cell itself tells of no other: "a generator maps noise to images, and a
    discriminator tells them from real ones".
    """
    own = {row.quote for row in rows if row.claim.cell is cell and _of_mechanism(row) and row.weight >= FIRM}
    for other in Cell:
        of = [row for row in rows if row.claim.cell is other and _of_mechanism(row) and row.quote not in own]
        if other is cell or not of or sum(by_claim(of).values()) < STATED:
            continue
        first = max(of, key=lambda row: row.weight)
        if first.weight >= FIRM:
            yield other, first


def _of_mechanism(row: Evidence) -> bool:
    firm = row.form in (Form.REASON, Form.PASSAGE, Form.LOOP) and row.weight > 0
    if row.claim is Claim.EXACT_LATENT:  # a mixture of Gaussians is data, or a base, as often as a part
        return False
    if row.kind is Reader.CODE:  # every program has loops that look like a sampler's
        return firm and row.claim.aspect is Aspect.OBJECTIVE
    return firm and (row.claim.aspect in (Aspect.OBJECTIVE, Aspect.SAMPLING) or row.claim in _NOUNS)
