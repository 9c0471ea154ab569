"""Generative adversarial networks."""

from fourfold.vocabulary import Card, Paradigm, Recipe

__all__ = ["CARD"]

CARD = Card(
    name="adversarial",
    paradigm=Paradigm.ADVERSARIAL,
    recipes=Recipe.of(
        "fourfold.recipes.adversarial",
        "wasserstein",
        "pairing",
        "non-saturating",
        "hinge",
        "conditional",
        "stylegan2",
        "stylegan2-ada",
    ),
    default=Recipe("fourfold.recipes.adversarial:default"),
    summary="A generator against a critic: samples in one network evaluation, without a likelihood.",
)
