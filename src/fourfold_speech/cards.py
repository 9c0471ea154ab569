"""Recipes of sounds that join cards of fourfold. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping

from fourfold.vocabulary import Recipe

__all__ = ["RECIPES_OF"]

RECIPES_OF: Mapping[str, Mapping[str, Recipe]] = {
    "autoregressive": Recipe.of(
        "fourfold_speech.recipes",
        "predicted",
        reasons={
            "predicted": "a network beside linear prediction is ahead of either; autoregressive/likelihood trains a "
            "network alone"
        },
    ),
    "latent-diffusion": Recipe.of("fourfold_speech.recipes", "vocoder"),
}
