"""Autoregressive models."""

from fourfold.vocabulary import Card, Paradigm, Recipe

__all__ = ["CARD"]

CARD = Card(
    name="autoregressive",
    paradigm=Paradigm.AUTOREGRESSIVE,
    recipes=Recipe.of(
        "fourfold.recipes.autoregressive",
        "likelihood",
        "any-order",
        "trees",
        "ngrams",
        "gaussians",
        reasons={
            "trees": "trees are ahead of networks on few rows; autoregressive/any-order of tables and "
            "autoregressive/likelihood of series train a network",
            "ngrams": "counts beside a network are ahead of either, and the run keeps the text; "
            "autoregressive/likelihood trains a network alone",
            "gaussians": "mixtures beside a network are ahead of either on few rows; autoregressive/likelihood "
            "trains a network alone",
        },
        leads={"Vectors": 0, "Table": 0, "Text": 0, "Sequences": 0},
    ),
    default=Recipe("fourfold.recipes.autoregressive:default"),
    summary="Predicts each token from the earlier ones: an exact likelihood, and samples one token at a time.",
)
