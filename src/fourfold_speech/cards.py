"""A recipe of sounds that joins a card of fourfold. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping

from fourfold.vocabulary import Recipe

__all__ = ["RECIPES_OF"]

RECIPES_OF: Mapping[str, Mapping[str, Recipe]] = {"latent-diffusion": Recipe.of("fourfold_speech.recipes", "vocoder")}
