"""The variant of its paradigm that a system is, by the votes."""

from __future__ import annotations

from collections.abc import Mapping

from fourfold.vocabulary import VARIANTS, Cost, Facts, Variant
from fourfold_atlas.evidence import Cell, Claim

__all__ = ["sampling_of", "variant", "variant_of", "variants_of"]

#: the votes from which on a variant is named. A mere hint names none
NAMED = 1.5
#: a variant that stands once it is named: sources speak of noise and velocities of discrete states too
DECISIVE = "masked or discrete"
#: how far a velocity outweighs the noise and data that it runs between, which sources name as well
ABOVE_NOISE = 1.5
#: a variant that a critic excludes, by whatever score it is trained
NO_CRITIC = "a scoring rule, no critic"
#: by cell and variant, the claims that name it. Of several the one with most votes counts
_CLAIMS: Mapping[Cell, Mapping[str, tuple[Claim, ...]]] = {
    Cell.AUTOREGRESSIVE: {
        "token by token": (Claim.NEXT_PIECE,),
        "an inner sampler for each token": (Claim.HEAD_PER_PIECE,),
        # told by the catalogue's entries alone
        "any order": (),
    },
    Cell.LATENT_VARIABLE: {
        "evidence lower bound": (Claim.BOUND,),
        "latents summed out": (Claim.EXACT_LATENT,),
        "codes matched to the prior": (Claim.CODE_GAME,),
    },
    Cell.ADVERSARIAL: {
        "Wasserstein": (Claim.WASSERSTEIN,),
        "hinge": (Claim.HINGE,),
        "least squares": (Claim.LEAST_SQUARES,),
        NO_CRITIC: (Claim.DISCREPANCY,),
    },
    Cell.DIFFUSION: {
        "Gaussian noise": (Claim.DENOISE,),
        "velocity": (Claim.VELOCITY,),
        "masked or discrete": (Claim.MASKED_BOUND, Claim.FILL_MASKS, Claim.DISCRETE),
        "consistency or distilled": (Claim.CONSISTENCY, Claim.DISTILLED),
    },
    Cell.FLOW: {"continuous": (Claim.SOLVES_ODE,), "autoregressive map": (Claim.SEQUENTIAL_INVERSE,)},
    Cell.ENERGY: {"Gibbs sampling": (Claim.GIBBS,), "noise contrast": (Claim.NOISE_CONTRAST,)},
}
#: what sampling is, and its formula, where the evaluations of a sample grow otherwise than the usual ones of the cell
_BY_COST: Mapping[tuple[Cell, Cost], tuple[str, str]] = {
    (Cell.LATENT_VARIABLE, Cost.LENGTH): (
        "draw a code from the prior, or one for each step, and decode it step after step",
        "z ~ p(z),  x_i ~ p_θ(· | z, x_<i)",
    ),
    (Cell.ADVERSARIAL, Cost.LENGTH): (
        "draw the example piece after piece, each given the earlier ones",
        "x_i = G(z_i, x_<i)",
    ),
    (Cell.ADVERSARIAL, Cost.STEPS): (
        "draw noise and map it to an example in several steps",
        "x_s = G(x_t, z_t, t)  for t > s from 1 to 0",
    ),
    (Cell.FLOW, Cost.LENGTH): (
        "draw noise and apply the inverse map, one part of the example after the other",
        "z ~ N(0, I),  x_i = f_θ⁻¹(z_i; x_<i)",
    ),
    (Cell.FLOW, Cost.STEPS): (
        "draw noise and apply the inverse map, which is solved in steps",
        "z ~ N(0, I),  x = f_θ⁻¹(z)",
    ),
}
#: variants whose facts speak of the steps of sampling already
_OF_STEPS = ("continuous", "autoregressive map", "latents summed out", "consistency or distilled", "masked or discrete")


def sampling_of(cell: Cell, name: str, cost: Cost | None, facts: Variant | Facts) -> tuple[str, str]:
    """How a system draws an example, and the formula of that.

    The growth of its cost decides where that is unusual for the paradigm. Else the facts of its variant do.
    """
    by_cost = None if name in _OF_STEPS or cost is None else _BY_COST.get((cell, cost))
    return by_cost or (facts.sampling, facts.sampling_formula)


def variant(cell: Cell, votes: Mapping[Claim, float], cost: Cost | None) -> str:
    """The name of the variant that the votes and the growth of the cost tell, or the empty string.

    Diffusion in one evaluation maps points of a trajectory to its end, whatever its loss is called.
    """
    if cell is Cell.DIFFUSION and cost is Cost.CONSTANT:
        return "consistency or distilled"
    scores = {name: sum(votes.get(claim, 0.0) for claim in claims) for name, claims in _CLAIMS.get(cell, {}).items()}
    if "velocity" in scores:
        scores["velocity"] *= ABOVE_NOISE
    if NO_CRITIC in scores:
        scores[NO_CRITIC] -= votes.get(Claim.GAME, 0.0)
    best = max(scores, key=lambda name: (name == DECISIVE and scores[name] >= NAMED, scores[name]), default="")
    return best if scores.get(best, 0.0) >= NAMED else ""


def variant_of(cell: Cell | None, name: str) -> Variant | None:
    """The facts of a variant by its name. ``None`` where the paradigm's own facts describe it."""
    return VARIANTS[cell.paradigm].get(name) if cell is not None and cell.paradigm else None


def variants_of(claim: Claim) -> set[str]:
    """The names of the variants that a claim speaks for."""
    return {name for names in _CLAIMS.values() for name, claims in names.items() if claim in claims}
