"""Every check on every paradigm and space that the walk finds: a class is tested by existing."""

import copy
import dataclasses
import functools
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import pytest
import torch

import every_space
from fourfold import checks
from fourfold.core import Codec, GenerativeModel, Objective, Reading, Space, classes
from fourfold.nn.text_encoder import TextEncoder
from fourfold.paradigms import build, cards, recipes
from fourfold.spaces import Vectors
from fourfold.vocabulary import Paradigm
from shorter import shorter

Features: TypeAlias = Callable[[tuple[str, str]], set[object]]

SPACES = {
    name: space
    for name, space in every_space.SPACES.items()
    if name in every_space.APART or name not in every_space.OF_WINGS
}


@dataclasses.dataclass(frozen=True)
class Built:
    """A model that a recipe builds: its configuration, the classes of its parts, and its paradigm."""

    recipe: str
    configuration: str
    objective: frozenset[type]
    codec: frozenset[type]
    sampler: type
    networks: frozenset[type]
    likelihood: type
    paradigm: Paradigm

    @property
    def parts(self) -> tuple[object, ...]:
        """All but the likelihood, which goes with the sampler."""
        return self.objective, self.codec, self.sampler, self.networks


def classes_of(part: Objective | Codec) -> frozenset[type]:
    """The classes of a part and of those inside it, but for those that read a condition."""
    return frozenset(kind for kind in classes(part) if not issubclass(kind, Reading | TextEncoder | Space))


def described(name: str, space: str, model: GenerativeModel) -> Built:
    settings = space, model.configuration(), dataclasses.asdict(model.training_defaults)
    objective, codec = classes_of(model.objective), classes_of(model.codec)
    networks = frozenset(map(type, model.estimand.children()))
    ends = type(model.sampler), networks, type(model.likelihood)
    return Built(name, json.dumps(settings), objective, codec, *ends, model.paradigm)


def models() -> dict[tuple[str, str], Built]:
    """Every (recipe, space) for which the recipe builds a model."""
    every = every_space.models()
    return {pair: described(*pair, model) for pair, model in every.items() if pair[1] in SPACES}


def of_conditions(built: Mapping[tuple[str, str], Built]) -> Iterator[tuple[str, str]]:
    """Every model without a condition, and one with a condition for each recipe: kinds of conditions take turns."""
    several = defaultdict[tuple[str, type, bool], list[tuple[str, str]]](list)
    for name, space in built:
        several[name, type(SPACES[space]), SPACES[space].conditional].append((name, space))
    for (name, _, conditional), pairs in several.items():
        yield from pairs if not conditional else [pairs[list(recipes()).index(name) % len(pairs)]]


MODELS = models()
CHOSEN = [pair for pair in MODELS if pair in set(of_conditions(MODELS))]
DISTINCT = list({MODELS[pair].configuration: pair for pair in reversed(CHOSEN)}.values())[::-1]
"""The first (recipe, space) of each model: a recipe under a second name is the same."""
OF_PARTS = list({MODELS[pair].parts: pair for pair in DISTINCT}.values())
"""The last (recipe, space) of each kind of objective, codec, sampler and networks: with conditions, if any."""
OF_RECIPES = list(dict.fromkeys([*OF_PARTS, *{MODELS[pair].recipe: pair for pair in DISTINCT}.values()]))
"""These, and a space for each recipe that shares all its parts with another one."""

TRAINING = ("resume", "watching")
"""Checks that train the model that they are given."""
OF_ANY_STEPS = ("samples", "seeds", "batch_split", "likelihood", "saved")
"""Checks of promises that do not depend on the number of steps: few are enough; ``cost`` counts the recipe's own."""


def trained_parts(pair: tuple[str, str]) -> set[object]:
    """The parts that training may break, each by itself: the space, the objective, the codec and the networks."""
    built = MODELS[pair]
    return {pair[1], ("objective", built.objective), ("codec", built.codec), *built.networks}


def sampled_parts(pair: tuple[str, str]) -> set[object]:
    """Parts that sampling and scoring may break: the space, the codec, the networks, the sampler and the likelihood."""
    built = MODELS[pair]
    return {pair[1], ("codec", built.codec), *built.networks, built.sampler, built.likelihood}


def with_recipe(features: Features) -> Features:
    """These, and the recipe, for checks of what a setting may break."""
    return lambda pair: features(pair) | {MODELS[pair].recipe}


def covering(features: Features) -> set[tuple[str, str]]:
    """Few models that have every feature."""
    return set(every_space.covering(OF_RECIPES, features))


def cases() -> list[tuple[str, str, str]]:
    """Every model with its configuration, and a covering with each other check, one model after the other."""
    pairs = dict.fromkeys(checks.MODEL_CHECKS, covering(sampled_parts)) | {"configuration": set(DISTINCT)}
    pairs |= dict.fromkeys(TRAINING, covering(trained_parts))
    pairs |= dict.fromkeys(("loss", "gradients"), covering(with_recipe(trained_parts)))
    pairs |= dict.fromkeys(("samples", "cost", "likelihood"), covering(with_recipe(sampled_parts)))
    return [(*pair, check) for pair in DISTINCT for check in checks.MODEL_CHECKS if pair in pairs[check]]


@functools.lru_cache(maxsize=1)
def built_model(name: str, space: str) -> GenerativeModel:
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
    model = built_model(name, space)
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
    space = next(every_space.SPACES[s] for n, s in every_space.models() if n == name)
    with torch.device("meta"):  # weights have shapes, and no values are drawn
        models = [build(name, space, size) for size in ("s/8", "xs", "s", "m")]
    narrow, xs, s, m = (sum(p.numel() for p in model.estimand.parameters()) for model in models)
    assert xs < min(s, m)
    assert narrow < 0.7 * s or name.endswith("/trees")  # those have no width


@pytest.mark.parametrize(("name", "space", "check"), cases())
def test_contract(name: str, space: str, check: str) -> None:
    if check in TRAINING:
        checks.MODEL_CHECKS[check](copy.deepcopy(built_model(name, space)))
        return
    with borrowed(name, space) as model:
        checks.MODEL_CHECKS[check](shorter(model) if check in OF_ANY_STEPS else model)


def test_paradigm_follows_from_the_parts() -> None:
    expected = {pair: cards()[pair[0].partition("/")[0]].paradigm for pair in MODELS}
    assert {pair: model.paradigm for pair, model in MODELS.items()} == expected


@pytest.mark.parametrize(("name", "space"), sorted(covering(with_recipe(trained_parts))))
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
    with pytest.raises(ValueError, match="paradigm must be one of"):
        build("gan", Vectors(2))
    with pytest.raises(ValueError, match="size must be xs, s, m"):
        build("diffusion", Vectors(2), "xxl")
    with pytest.raises(ValueError, match="size of this recipe must be one of xs, s, m, got 'xl'"):
        build("diffusion", Vectors(2), "xl")
