"""Recipes: which one a paradigm's name means."""

import pytest
import torch

from fourfold.paradigms import build, cards, resolve
from fourfold.spaces import Images, Text, Vectors


@pytest.mark.parametrize(
    ("name", "space", "recipe"),
    [
        ("energy", Vectors(2), "energy/noise-contrastive"),
        ("energy", Images(1, 8, 8), "energy/denoising"),
        ("energy/persistent", Images(1, 8, 8), "energy/persistent"),
        ("flow", Vectors(2), "flow/spline"),
        ("flow", Images(1, 8, 8), "flow/tarflow"),
        ("diffusion", Vectors(2), "diffusion/denoising"),
        ("autoregressive", Text("ab", 4), "autoregressive/likelihood"),
    ],
)
def test_a_paradigm_means_its_first_recipe_that_models_the_space(name, space, recipe):
    assert resolve(name, space) == recipe
    parts = [type(getattr(build(n, space, "xs"), part)) for part in ("estimand", "objective") for n in (name, recipe)]
    assert parts[0] is parts[1]
    assert parts[2] is parts[3]


def test_resolving_draws_no_random_number():
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    resolve("energy", Images(1, 8, 8))
    assert torch.rand(()) == expected


@pytest.mark.parametrize("name", sorted(cards()))
def test_one_name_means_one_objective_for_every_space(name):
    """But for a card's bare name, which :func:`resolve` spells out."""
    for recipe in cards()[name].recipes:
        found = set()
        for space in (Images(1, 8, 8, classes=2), Vectors(3, classes=2), Text("ab", 4)):
            try:
                found.add(type(build(f"{name}/{recipe}", space, "xs").objective))
            except TypeError:
                continue
        assert len(found) == 1, f"{name}/{recipe} has {found}"


def test_a_space_that_no_recipe_models_is_refused_in_the_words_of_the_default():
    with pytest.raises(TypeError, match="noise-contrastive models vectors, not Text"):
        build("energy", Text("ab", 4))
    with pytest.raises(TypeError, match="models no images given captions: choose one of diffusion"):
        build("energy", Images(3, 8, 8, caption=8))
