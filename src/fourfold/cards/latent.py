"""Latent-variable models."""

from fourfold.vocabulary import Card, Paradigm, Recipe

__all__ = ["CARD"]

CARD = Card(
    name="latent-variable",
    paradigm=Paradigm.LATENT_VARIABLE,
    recipes=Recipe.of(
        "fourfold.recipes.latent",
        "convolutional",
        "mixture",
        "ladder",
        "kl",
        "vq",
        "fsq",
        leads={"Images": 0},
    ),
    summary="An encoder and a decoder trained by a lower bound; a learned prior draws the codes.",
)
