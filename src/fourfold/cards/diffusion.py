"""Diffusion models."""

from fourfold.vocabulary import Card, Paradigm, Recipe

__all__ = ["CARD"]

CARD = Card(
    name="diffusion",
    paradigm=Paradigm.DIFFUSION,
    recipes=Recipe.of(
        "fourfold.recipes.diffusion",
        "denoising",
        "velocity",
        "optimal-transport",
        "dit",
        "vp",
        "ve",
        "subvp",
        "sliced",
        "masked",
        "blocks",
        "joint",
        "trees",
        "ddpm",
        "ddpm-velocity",
        leads={"Images": 400},
    ),
    summary="A network that removes noise at every level, sampled by a solver from noise to data.",
)
