"""The variant of its paradigm that a system is, by the votes."""

from __future__ import annotations

from collections.abc import Mapping

from fourfold.vocabulary import VARIANTS, Variant
from fourfold_atlas.evidence import Cell, Claim

__all__ = ["variant", "variant_of"]

#: the votes from which on a variant is named. A mere hint names none
NAMED = 1.5
#: a variant that stands once it is named: sources speak of noise and velocities of discrete states too
DECISIVE = "masked or discrete"
#: by cell and variant, the claims that name it. Of several the one with most votes counts
_CLAIMS: Mapping[Cell, Mapping[str, tuple[Claim, ...]]] = {
    Cell.AUTOREGRESSIVE: {
        "token by token": (Claim.NEXT_PIECE,),
        "an inner sampler for each token": (Claim.HEAD_PER_PIECE,),
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


def variant(cell: Cell, votes: Mapping[Claim, float]) -> str:
    """The name of the variant that the votes tell, or the empty string."""
    scores = {name: sum(votes.get(claim, 0.0) for claim in claims) for name, claims in _CLAIMS.get(cell, {}).items()}
    best = max(scores, key=lambda name: (name == DECISIVE and scores[name] >= NAMED, scores[name]), default="")
    return best if scores.get(best, 0.0) >= NAMED else ""


def variant_of(cell: Cell | None, name: str) -> Variant | None:
    """The facts of a variant by its name. ``None`` where the paradigm's own facts describe it."""
    return VARIANTS[cell.paradigm].get(name) if cell is not None and cell.paradigm else None
