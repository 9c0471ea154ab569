"""Trade-offs of a system: they follow from its cell, the variant of it, and the chain of its parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from fourfold.vocabulary import COSTS, FACTS, Cost, FailureMode, Kind
from fourfold_atlas.evidence import CLAIMS, DEFAULTS, Cell, Claim
from fourfold_atlas.parts import Part
from fourfold_atlas.rules import part_rules
from fourfold_atlas.variants import variant_of

__all__ = ["cost_note", "failures", "likelihood", "sampling", "variable"]

C = Claim
#: the evaluations of a part by the growth of its own cost. Parts that only change the network have none
_EVALUATIONS = {
    Cost.CONSTANT: "one of its {}",
    Cost.LENGTH: "one for each token of its {}",
    Cost.STEPS: "the solver steps of its {}",
    Cost.CHAIN: "the chain of its {}",
}
_WITHOUT = (C.PART_ADAPTER, C.PART_PREDICTOR, C.PART_HEAD)


def likelihood(cell: Cell, votes: Mapping[Claim, float], variant: str = "") -> Kind:
    """The kind of likelihood of the variable that the generative step models."""
    v = {claim: votes.get(claim, 0.0) for claim in Claim}
    if cell is Cell.DIFFUSION:
        return _of_diffusion(v, variant)
    if cell is Cell.LATENT_VARIABLE:
        if v[C.CODE_GAME] >= 2 and v[C.BOUND] < v[C.CODE_GAME]:
            return Kind.NONE
        if v[C.EXACT_LATENT] > v[C.BOUND] + v[C.CALLED_LATENT]:
            return Kind.EXACT
    if cell is Cell.AUTOREGRESSIVE and (v[C.HEAD_PER_PIECE] >= 2 or v[C.PART_HEAD] >= 1):
        return Kind.ESTIMATE
    return DEFAULTS[cell][0]


def _of_diffusion(v: Mapping[Claim, float], variant: str) -> Kind:
    """None behind a map of few steps, a bound over discrete states, else an estimate."""
    discrete = variant == "masked or discrete"
    if not discrete and (
        v[C.CONSISTENCY] >= 2
        or v[C.DISTILLED] >= 4
        or (v[C.DISTILLED] >= 2 and v[C.PART_TEACHER] > 0)
        or (v[C.ONE_STEP] >= 2 and v[C.DISTILLED] + v[C.VELOCITY] >= 2)
    ):
        return Kind.NONE
    bound = v[C.MASKED_BOUND] + v[C.FILL_MASKS] >= 2 or (v[C.BITS] >= 2 and v[C.VELOCITY] < 2) or v[C.DISCRETE] >= 2
    return Kind.LOWER_BOUND if bound or discrete else Kind.ESTIMATE


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
        (Cell.ADVERSARIAL, v[C.CALLED_DIFFUSION] + v[C.DENOISE] >= 4, Cost.STEPS),
        (Cell.ADVERSARIAL, v[C.ONE_BY_ONE] >= 2.4, Cost.LENGTH),
    )
    return next((cost for owner, holds, cost in exceptions if owner is cell and holds), DEFAULTS[cell][1])


def cost_note(cost: Cost | None, parts: Iterable[Part] = ()) -> str:
    """The growth of the evaluations per sample, in words: of the generative step, then of each part of the chain."""
    if cost is None:
        return "not applicable: nothing is drawn"
    parts = tuple(parts)
    counts = Counter(evaluations for part in parts if (evaluations := _evaluations(part)))
    added = [row if n == 1 else f"{row}, {n} times" for row, n in counts.items()]
    choice = next((part for part in parts if part.stage == "choice"), None)
    note = COSTS[cost] + (f". Added to these: {', '.join(added)}" if added else "")
    return note + (f". All that for each candidate of its {choice.role}, and one to score it" if choice else "")


def _evaluations(part: Part) -> str:
    if part.role == "head" and part.cell is Cell.DIFFUSION:
        return "the solver steps of its head for each token"
    if part.stage in ("", "training", "choice") or CLAIMS.get(part.role) in _WITHOUT:
        return ""
    own = FACTS[part.cell.paradigm].cost if part.cell and part.cell.paradigm and part.stage != "condition" else None
    return _EVALUATIONS[own or Cost.CONSTANT].format(part.role.replace("_", " "))


def variable(cell: Cell, parts: Iterable[Part]) -> str:
    """The variable that a likelihood is of, and what holds of the data behind it."""
    by = {part.role: part for part in parts}
    if cell is Cell.NOT_GENERATIVE:
        return ""
    condition = ", given the condition" if {"text_encoder", "language_model"} & by.keys() else ""
    last = next((role for role in ("vocoder", "upsampler", "decoder") if role in by), "")
    critic = "a decoder that a critic trained" if "critic" in by and cell is not Cell.ADVERSARIAL else ""
    hidden = f"its {last}" if last else critic
    if "tokenizer" in by:
        behind = f"; the data behind {hidden} has none" if hidden else ", not the raw data behind the tokenizer"
        return f"the tokens{behind}{condition}"
    if "autoencoder" in by and cell is not Cell.LATENT_VARIABLE:
        behind = f"; the data behind {hidden} has none" if hidden else ", so a bound for the raw data"
        return f"the autoencoder's latents{behind}{condition}"
    if last:
        return f"what goes into its {last}; the data behind has none{condition}"
    beside = "; its critic is no part of the bound" if critic and cell is Cell.LATENT_VARIABLE else ""
    return f"the data{beside}{condition}"


def failures(cell: Cell, variant: str, parts: Iterable[Part]) -> tuple[FailureMode, ...]:
    """The failure modes to watch for: those of the variant, then those of each part, each once."""
    paradigm = cell.paradigm
    if paradigm is None:
        return ()
    facts = variant_of(cell, variant)
    modes = {mode.name: mode for mode in (facts.failure_modes if facts else FACTS[paradigm].failure_modes)}
    for part in parts:
        failure = part_rules()[CLAIMS[part.role]].failure if part.role in CLAIMS else None
        within = part.role == "autoencoder" and cell is Cell.LATENT_VARIABLE
        if failure and not within and not any(failure[0].startswith(name) for name in modes):
            modes.setdefault(failure[0], FailureMode(*failure))
    return tuple(modes.values())
