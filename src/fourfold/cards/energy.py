"""Energy-based models."""

from fourfold.vocabulary import Card, Paradigm, Recipe

__all__ = ["CARD"]

CARD = Card(
    name="energy",
    paradigm=Paradigm.ENERGY,
    recipes=Recipe.of("fourfold.recipes.energy", "noise-contrastive", "denoising", "persistent", "jem", "rbm"),
    summary="An unnormalised log-density: by noise contrast for vectors, by denoising for images.",
)
