"""Recipes: which one a paradigm's name means."""

import contextlib
import math
import re
from dataclasses import dataclass
from typing import final

import pytest
import torch

from every_space import OF_WINGS
from fourfold.core import Codec, GenerativeModel, Measure, Space, Training, configuration
from fourfold.likelihoods import ProbabilityFlow
from fourfold.nn.time_mlp import TimeMLP
from fourfold.paradigms import _reading, build, cards, recipes, resolve
from fourfold.recipes import diffusion, flow
from fourfold.spaces import Categorical, Categories, Images, Lines, Numeric, Table, Text, Vectors
from fourfold.vocabulary import Kind

COLUMNS = tuple(Numeric(f"x{i}", high=9) for i in range(42))


@pytest.mark.parametrize(
    ("name", "space", "recipe"),
    [
        ("energy", Vectors(2), "energy/noise-contrastive"),
        ("energy", Images(1, 8, 8), "energy/denoising"),
        ("energy/persistent", Images(1, 8, 8), "energy/persistent"),
        ("adversarial", Images(1, 8, 8), "adversarial/wasserstein"),
        ("adversarial", Vectors(2), "adversarial/pairing"),
        ("flow", Vectors(2), "flow/spline"),
        ("flow", Images(1, 8, 8), "flow/tarflow"),
        ("diffusion", Vectors(2), "diffusion/denoising"),
        ("autoregressive", Table(COLUMNS, observed=2000), "autoregressive/trees"),
        ("autoregressive", Table(COLUMNS, observed=5000), "autoregressive/any-order"),
        ("autoregressive", Table(COLUMNS[:3], observed=5000), "autoregressive/trees"),
        ("autoregressive", Table(COLUMNS[:3]), "autoregressive/any-order"),
        ("autoregressive", Text("ab", 4), "autoregressive/likelihood"),
        ("autoregressive", Text("ab", 4, observed=1000), "autoregressive/ngrams"),
        ("autoregressive", Text("ab", 4, observed=1 << 24), "autoregressive/likelihood"),
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


TABLE = Table((Categorical("kind", categories=("a", "b")), Numeric("size", "int64", low=0, high=9)))


SPACES = (
    Images(1, 8, 8, given=Categories.numbered(2)),
    Images(3, 8, 8, given=Lines.of_bytes(6)),
    Vectors(3),
    Vectors(3, given=Categories.numbered(2)),
    Text("ab", 4),
    TABLE,
    *OF_WINGS.values(),
)


def losses(value: object) -> set[str]:
    """The classes that make a loss, of an objective's configuration: its own, and those of games, penalties, paths."""
    if isinstance(value, list):
        return {name for part in value for name in losses(part)}
    if not isinstance(value, dict):
        return set()
    name = str(value.get("type", ""))
    return ({name} if MATHEMATICS.match(name) else set()) | losses([*value.values()])


MATHEMATICS = re.compile(r"fourfold\.(paradigms|maths)\.|fourfold_\w+\.(paradigm|vocoder):")
"""Where the parts of an objective that are not networks come from."""


@pytest.mark.parametrize("name", [f"{card.name}/{recipe}" for card in cards().values() for recipe in card.recipes])
def test_one_name_means_one_objective_for_every_space(name):
    """But for a card's bare name, which :func:`resolve` spells out."""
    objectives = set()
    for space in SPACES:
        with contextlib.suppress(TypeError):
            objectives.add(frozenset(losses(configuration(build(name, space, "xs").objective))))
    assert len(objectives) == 1, objectives


def test_a_space_that_no_recipe_models_is_refused_in_the_words_of_the_default():
    with pytest.raises(TypeError, match="must be Vectors or Table for this recipe, got Text"):
        build("energy", Text("ab", 4))
    with pytest.raises(TypeError, match="space must have classes"):
        build("energy/jem", Images(1, 8, 8, given=Vectors(2)))


def test_a_model_that_would_ignore_its_condition_is_refused():
    model = build("flow/maf", Vectors(2), "xs")
    deaf = GenerativeModel(**model.arguments() | {"space": Vectors(2, given=Vectors(3))})
    with pytest.raises(
        TypeError,
        match="left out for flow/maf, which does not read them, got real vectors of 3 columns beside real vectors of 2",
    ):
        _reading("flow/maf", deaf)


@dataclass(frozen=True)
class Angles(Space):
    """A space of a third party: ``dim`` angles."""

    dim: int
    classes: int | None = None

    @property
    def shape(self):
        return (self.dim,)

    @property
    def unit(self):
        return "nats"

    def check(self, x):
        self.check_shape(x)

    def examples(self, n, generator):
        return math.pi * (2 * torch.rand(n, self.dim, generator=generator) - 1)


@final
class Unrolled(Codec):
    """Angles as reals of standard deviation near one."""

    measure = Measure.LEBESGUE

    def __init__(self, space: Angles) -> None:
        super().__init__()
        self.space, self.event = space, space.shape

    def encode(self, x, noise=None):
        return x / math.pi, torch.full((len(x),), -self.space.dim * math.log(math.pi))

    def decode(self, z, noise=None):
        return (z * math.pi + math.pi) % (2 * math.pi) - math.pi

    def fit(self, x):
        """Nothing to fit."""


@pytest.mark.parametrize("name", recipes())
def test_a_space_that_nobody_registered_is_refused_by_its_name(name):
    with pytest.raises(TypeError, match="Angles"):
        build(name, Angles(2), "xs")


def test_a_space_of_a_third_party_registers_itself_with_recipes():
    """One function each for networks of noised examples and for columns brings most recipes of diffusion and of
    flows.
    """

    class Torus(Angles):
        """Of its own type, so that only it is registered."""

    @diffusion.parts.register(Torus)
    def _(space, size, times=1):
        net = TimeMLP(space.dim, 16, 1, space.given and space.given.count, times)
        return diffusion.Parts(net, Unrolled(space), ProbabilityFlow(4, None), Training(64))

    @flow.columns.register(Torus)
    def _(space, least=1):
        return Unrolled(space)

    torch.manual_seed(0)
    for name in (
        "diffusion",
        "diffusion/vp",
        "diffusion/optimal-transport",
        "few-step/mean-flow",
        "flow",
        "flow/coupling",
    ):
        model = build(name, Torus(2), "xs")
        x = model.sample(4)
        assert x.shape == (4, 2)
        assert (x.abs() <= math.pi).all()
        assert model.log_prob(x).nats.isfinite().all() or model.likelihood.kind is Kind.NONE
