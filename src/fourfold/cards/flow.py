"""Normalizing flows."""

from fourfold.vocabulary import Card, Paradigm, Recipe

__all__ = ["CARD"]

CARD = Card(
    name="flow",
    paradigm=Paradigm.FLOW,
    recipes=Recipe.of(
        "fourfold.recipes.flow",
        "spline",
        "tarflow",
        "mixture",
        "maf",
        "coupling",
        "realnvp",
        "continuous",
        "tarflow-noised",
        "variational",
        "glow",
        leads={"Vectors": 0},
    ),
    summary="An invertible map between noise and data, trained by its own likelihood.",
)
