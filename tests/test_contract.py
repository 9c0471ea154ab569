"""Every check on every paradigm and space that the walk finds: a class is tested by existing."""

import copy
import dataclasses
import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from fourfold import checks
from fourfold.core import GenerativeModel
from fourfold.paradigms import build, cards, recipes
from fourfold.spaces import Audio, Categorical, DateTime, Identifier, Images, Numeric, Sequences, Table, Text, Vectors
from shorter import shorter

SPACES = {
    "vectors": Vectors(3),
    "vectors-by-class": Vectors(2, classes=3),
    "images": Images(1, 4, 4, levels=17),
    "images-by-class": Images(3, 5, 10, levels=256, classes=4),
    "images-by-caption": Images(3, 4, 6, levels=256, caption=12),
    "text": Text("abcdef", length=24),
    "sound": Audio(512, 8000, classes=2),
    "table": Table((Categorical("kind", levels=("a", "b", "c"), missing=True), Numeric("price", low=0, high=999))),
    "sequences": Sequences(
        (
            Identifier("user"),
            Numeric("when", low=0, high=50),
            Categorical("kind", levels=("a", "b", "c"), missing=True),
            Numeric("price", low=0, high=999),
        ),
        "when",
        (0, 9),
        6,
        "user",
    ),
    "windows": Sequences((DateTime("day", resolution=86400, high=90), Numeric("price", high=99)), "day", (1, 3), 5),
}


def models() -> dict[tuple[str, str], str]:
    """Every (recipe, space) for which the recipe builds a model, with the configuration of the model."""
    found = {}
    for name in recipes():
        for space, value in SPACES.items():
            try:
                model = build(name, value, "xs")
            except TypeError:
                continue
            settings = space, model.configuration(), dataclasses.asdict(model.training_defaults)
            found[name, space] = json.dumps(settings)
    return found


MODELS = models()
DISTINCT = list({model: where for where, model in reversed(MODELS.items())}.values())[::-1]
"""The first (recipe, space) of each model: a recipe under a second name is the same."""

OF_ANY_STEPS = ("seeds", "batch_split", "likelihood", "saved")
"""Checks of promises that do not depend on the number of steps: few are enough; the others see the recipe's own."""
TRAINING = ("resume", "watching")
"""Checks that train the model that they are given."""


@functools.lru_cache(maxsize=1)
def made(name: str, space: str) -> GenerativeModel:
    """The model of the next checks: they come one after the other for one recipe and space."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(name, SPACES[space], "xs")
        torch.manual_seed(0)
        for p in model.parameters():  # away from zero-initialised layers, which would hide a dependence
            p.data.add_(0.02 * torch.randn_like(p))
    return model


@contextmanager
def borrowed(name: str, space: str) -> Iterator[GenerativeModel]:
    """The model of :func:`made`, whose buffers and gradients are afterwards as before."""
    model = made(name, space)
    before = [b.clone() for b in model.buffers()]
    yield model
    model.zero_grad()
    for b, value in zip(model.buffers(), before, strict=True):
        b.copy_(value)


def test_the_four_paradigms_model_vectors_and_images() -> None:
    assert {"autoregressive", "latent-variable", "adversarial", "diffusion"} <= set(cards())
    for card in ("autoregressive", "latent-variable", "adversarial", "diffusion"):
        assert {space for name, space in MODELS if name == card} >= set(SPACES) - {
            "text",
            "images-by-caption",
            "sequences",
            "windows",
        }
    assert {(card, space) for card in ("autoregressive", "diffusion") for space in ("sequences", "windows")} < set(
        MODELS
    )
    assert ("autoregressive", "text") in MODELS
    assert ("diffusion", "images-by-caption") in MODELS


@pytest.mark.parametrize("name", recipes())
def test_every_size_builds_and_grows(name: str) -> None:
    space = next(SPACES[s] for n, s in MODELS if n == name)
    with torch.device("meta"):  # weights have shapes, and no values are drawn
        xs, s, m = (sum(p.numel() for p in build(name, space, size).estimand.parameters()) for size in ("xs", "s", "m"))
    assert xs < min(s, m)


@pytest.mark.parametrize("check", checks.MODEL_CHECKS)
@pytest.mark.parametrize(("name", "space"), DISTINCT)
def test_contract(name: str, space: str, check: str) -> None:
    if check in TRAINING:
        checks.MODEL_CHECKS[check](copy.deepcopy(made(name, space)))
        return
    with borrowed(name, space) as model:
        checks.MODEL_CHECKS[check](shorter(model) if check in OF_ANY_STEPS else model)


@pytest.mark.parametrize(("name", "space"), MODELS)
def test_paradigm_follows_from_the_parts(name: str, space: str) -> None:
    model = build(name, SPACES[space], "xs")
    assert model.paradigm is cards()[name.partition("/")[0]].paradigm


@pytest.mark.parametrize(("name", "space"), DISTINCT)
def test_every_monitor_a_card_names_is_watched(name: str, space: str) -> None:
    """But ``gap``, which the engine measures because it needs held-out data."""
    with borrowed(name, space) as model:
        terms = model.terms().values()
        for term in terms:
            term(model.encode(*checks.raw_examples(model, 4)))
        watched = {key for term in terms for key in term.watched}
    named = {mode.monitor for mode in model.facts.failure_modes} - {"", "gap"}
    assert named <= watched


def test_unknown_names_are_refused_with_the_choice() -> None:
    with pytest.raises(ValueError, match="choose one of"):
        build("gan", Vectors(2))
    with pytest.raises(ValueError, match="choose xs, s, m"):
        build("diffusion", Vectors(2), "xxl")
    with pytest.raises(ValueError, match="this recipe has no size xl: its largest is m"):
        build("diffusion", Vectors(2), "xl")
