"""A ``model.json`` that was written before classes moved and arguments were renamed still opens, as today's recipe."""

import json
from pathlib import Path

import pytest
import torch

from fourfold.core import GenerativeModel
from fourfold.likelihoods import NoDensity
from fourfold.paradigms import build, cards
from fourfold.spaces import Images, Text, Vectors

SPACES = {
    "images": Images(1, 8, 8, levels=17),
    "by class": Images(1, 8, 8, levels=17, classes=2),
    "vectors": Vectors(2),
    "text": Text("ab", 8),
}
BEFORE = json.loads(Path(__file__).with_name("before.json").read_text(encoding="utf-8"))
"""Of every recipe at size xs, as version 0.2.0 wrote it before its classes had rooms of their own."""


@pytest.mark.parametrize("key", BEFORE)
def test_what_was_written_earlier_opens_as_todays_recipe(key):
    name, _, space = key.partition(" ")
    with torch.random.fork_rng(devices=[]):
        opened, built = GenerativeModel.from_configuration(BEFORE[key]), build(name, SPACES[space], "xs")
    found, expected = opened.configuration(), built.configuration()
    if isinstance(built.likelihood, NoDensity):  # three classes without arguments were it, each with its own reason
        assert isinstance(opened.likelihood, NoDensity)
        del found["likelihood"], expected["likelihood"]
    if name in ("flow/tarflow", "flow/glow"):  # the codec of a run stays what it was, though new ones have another
        assert found.pop("codec")["type"] == "fourfold.codecs.images:Dequantised"
        assert expected.pop("codec")["type"] == "fourfold.codecs.images:GaussianPixels"
        return
    if key == "adversarial/wasserstein images":  # so do the rates, though the generators of new runs learn faster
        configurations = [(c["objective"]["args"], c["training"]["args"]) for c in (found, expected)]
        rates = [(game.pop("critic_rate"), training.pop("learning_rate")) for game, training in configurations]
        assert rates == [(3.0, 4e-4), (1.0, pytest.approx(1.2e-3))]
    if key == "autoregressive/likelihood images":
        rates = [c["training"]["args"].pop("learning_rate") for c in (found, expected)]
        assert rates == [pytest.approx(2e-3), pytest.approx(6e-3)]
    if key == "latent-variable/convolutional images":  # a run keeps its flow, though new ones fit a mixture
        priors = [c["estimand"]["args"].pop("prior")["type"] for c in (found, expected)]
        assert priors == ["fourfold.nn.coupling:Couplings", "fourfold.nn.prior:CodeMixture"]
        assert found == expected
        return
    assert found == expected
    shapes = [{key: tuple(value.shape) for key, value in model.state_dict().items()} for model in (opened, built)]
    assert shapes[0] == shapes[1]


NEW = {
    *(
        "autoregressive/any-order",
        "autoregressive/ngrams",
        "diffusion/masked",
        "latent-diffusion/perceptron",
        "diffusion/joint",
    ),
    *("adversarial/conditional", "adversarial/suited", "latent-autoregressive/multimodal"),
    *("diffusion/ddpm", "diffusion/ddpm-velocity", "diffusion/blocks", "latent-diffusion/vocoder"),
}
"""Recipes that version 0.2.0 began with, after that."""


def test_every_recipe_is_among_them():
    recipes = {f"{card.name}/{recipe}" for card in cards().values() for recipe in card.recipes}
    assert recipes - NEW == {key.partition(" ")[0] for key in BEFORE}
