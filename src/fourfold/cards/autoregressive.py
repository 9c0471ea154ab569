"""Autoregressive models."""

from fourfold.vocabulary import Card, Paradigm, Recipe

__all__ = ["CARD"]

CARD = Card(
    name="autoregressive",
    paradigm=Paradigm.AUTOREGRESSIVE,
    recipes=Recipe.of("fourfold.recipes.autoregressive", "likelihood", "any-order", "trees", "ngrams"),
    summary="Predicts each token from the earlier ones: an exact likelihood, and samples one token at a time.",
)
