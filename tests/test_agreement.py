"""Samplers agree: whatever a model accepts tells of one distribution, and a view that lies is found out."""

import functools
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, final

import pytest
import torch
from torch import Tensor

from every_space import OF_WINGS
from fourfold import checks, core
from fourfold.checks import agreement
from fourfold.core import Batch, GenerativeModel, Likelihood, LogProb, Noise, Objective, edges
from fourfold.data.oracles import GaussianFlow, GaussianTransport
from fourfold.engine import fit
from fourfold.estimands import Bijection, VectorField, Velocity
from fourfold.paradigms import build, recipes
from fourfold.paradigms.adversarial import OnePass
from fourfold.paradigms.flow import ExactDensity, NoiseThenMap
from fourfold.samplers.langevin import HMC, MALA, Annealed, Langevin
from fourfold.samplers.ode import Euler, Heun
from fourfold.samplers.sde import EulerMaruyama
from fourfold.spaces import Categorical, Categories, Images, Lines, Numeric, Table, Text, Vectors
from fourfold.vocabulary import Kind

HEIGHT = Numeric("height", "float64", resolution=0.5, high=40, decimals=1)
SPACES = (
    Vectors(2),
    Images(1, 8, 8, n_values=17),
    Images(1, 8, 8, n_values=17, given=Categories.numbered(3)),
    Images(3, 8, 8, given=Lines.of_bytes(6)),
    Text("abcdef", length=24),
    Table((HEIGHT, Categorical("colour", categories=("a", "b")))),
)
WINGS = tuple(space.conditioned_on(None) for space in OF_WINGS.values())


def model_of(name: str, spaces: tuple[core.Space, ...] = (*SPACES, *WINGS)) -> GenerativeModel:
    """A recipe's model of the first space that it models."""
    for space in spaces:
        try:
            return build(name, space, "xs")
        except TypeError:
            continue
    raise AssertionError(f"{name} models none of {spaces}")


def gaussian(n: int = 3000) -> Tensor:
    z = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return GaussianFlow((0.5, -0.3), ((1.0, 0.6), (0.6, 0.8)))(z)


STEPS = {
    "few-step": 600,  # a teacher comes first
    "few-step/mean-flow": 400,  # its target moves
    "diffusion/optimal-transport": 250,
    "flow/maf": 250,
}
"""Steps of training of the recipes that need more than 120, or serve several tests."""


@functools.cache
def trained(name: str) -> GenerativeModel:
    """A model of small batches, but for students, whose samplers differ more the noisier their training was."""
    budget, batch_size = f"{STEPS.get(name, 120)} steps", None if name.startswith("few-step") else 128
    return fit(
        name, gaussian(), budget=budget, size="xs", precision="float32", choose=False, batch_size=batch_size
    ).model


def accepted(model: GenerativeModel) -> tuple[set[str], set[str]]:
    """Names of the samplers and of the likelihoods that the check finds."""
    parts_by_kind = agreement._accepted(model, model.sampler), agreement._accepted(model, model.likelihood)
    return tuple({type(part).__name__ for part in parts} for parts in parts_by_kind)


def compares(model: GenerativeModel) -> bool:
    """Whether there is anything to compare but what an oracle tells."""
    if not isinstance(model.space, Vectors):
        return False
    samplers, likelihoods = accepted(model)
    return len(samplers) > 1 or likelihoods != {"NoDensity"}


def seat(model: GenerativeModel) -> tuple[object, ...]:
    """What of a model an oracle in its network's seat depends on."""
    names = tuple(tuple(sorted(kinds)) for kinds in accepted(model))
    return type(agreement._oracle(model.estimand)).__name__, getattr(model.estimand, "path", None), *names


@functools.cache
def distinct() -> dict[str, bool]:
    """Every recipe that can be trained on vectors, and one of the others for each seat that none of those has.

    The value says whether it is trained: the last of each kind of estimand and codec is, if there is something to
    compare.
    """
    models = {name: model_of(name) for name in recipes()}
    comparing = {name: model for name, model in models.items() if compares(model)}
    last = {(type(model.estimand), type(model.codec)): name for name, model in comparing.items()}
    first = {seat(model): name for name, model in reversed(models.items())}
    first |= {seat(model): name for name, model in comparing.items()}
    return {name: name in last.values() for name in models if name in comparing or name in first.values()}


@pytest.mark.agreement
@pytest.mark.parametrize("name", distinct())
def test_samplers_and_likelihoods_of_every_recipe_agree(name: str) -> None:
    """Without a training, the oracle in the network's seat alone: the model has more columns than are integrated."""
    others = (Vectors(5), *SPACES[1:], *WINGS)
    checks.check_samplers_agree(trained(name) if distinct()[name] else model_of(name, others), n=500)


def of_wings() -> list[str]:
    """The recipes that model spaces of wings, such as sounds."""
    names = []
    for name in recipes():
        with suppress(AssertionError):
            model_of(name, WINGS)
            names.append(name)
    return names


@functools.cache
def checked() -> set[tuple[object, ...]]:
    """Each seat that an oracle takes above, with each likelihood that is checked there."""
    return {(*where, part) for name in distinct() for *where, parts in [seat(model_of(name))] for part in parts}


@pytest.mark.parametrize("name", of_wings())
def test_whatever_a_model_of_a_wing_accepts_is_checked_above(name: str) -> None:
    """Their codes are points or tokens as others are: with an oracle in the network's seat nothing else differs."""
    *where, likelihoods = seat(model_of(name, WINGS))
    assert {(*where, part) for part in likelihoods if part != "NoDensity"} <= checked()


def test_the_walk_finds_all_that_a_type_allows() -> None:
    samplers, likelihoods = accepted(build("diffusion/velocity", Vectors(2), "xs"))
    assert {"Euler", "Heun", "DDIM", "DPMSolver", "UniPC", "DDPM", "EulerMaruyama", "AnnealedLangevin"} <= samplers
    assert likelihoods == {"ProbabilityFlow", "DiffusionBound"}
    for name in ("flow/continuous", "diffusion/optimal-transport"):
        assert accepted(build(name, Vectors(2), "xs")) == ({"Euler", "Heun"}, {"ProbabilityFlow"})
    assert accepted(model_of("energy/rbm")) == ({"BlockGibbs"}, {"Unnormalised"})
    assert accepted(build("energy/denoising", Vectors(2), "xs"))[0].isdisjoint({"MALA", "HMC", "Langevin", "Annealed"})


@pytest.mark.parametrize("chain", [MALA(), HMC(), Langevin(), Annealed()], ids=lambda c: type(c).__name__)
def test_a_chain_along_a_gradient_is_refused_by_an_energy_of_bits(chain: core.Sampler) -> None:
    """It would leave the bits and come back rounded, with samples of nothing."""
    with pytest.raises(TypeError, match="which needs a ContinuousEnergy"):
        model_of("energy/rbm").with_parts(sampler=chain)


def test_one_pass_of_a_decoder_draws_from_what_it_decodes() -> None:
    model = build("latent-variable", Vectors(2), "xs")
    x = model.with_parts(sampler=OnePass()).sample(500)
    assert x.shape == (500, 2)
    assert torch.allclose(x.std(0), model.sample(500).std(0), rtol=0.2)


# --- the check can fail -----------------------------------------------------------------------------------------------


@final
class Pretended(Velocity):
    """Any vector field, said to be a velocity."""

    def __init__(self, field: VectorField) -> None:
        super().__init__()
        self.field, self.path, self.event = field, field.path, field.event

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.field(x_t, t, cond)


@pytest.mark.agreement
def test_a_field_that_is_seen_as_a_velocity_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the oracle, and on the trained model: noisy samplers leave a spread of their own, and the bound says
    nothing.
    """
    model = trained("diffusion/optimal-transport")
    monkeypatch.setitem(edges.VIEWS, (VectorField, Velocity), Pretended)
    with pytest.raises(checks.CheckFailed, match="GaussianTransport: mean or covariance is off by"):
        checks.check_samplers_agree(model)
    oracle = GaussianTransport(model.estimand.path, agreement._MEAN, agreement._COVARIANCE)
    for solver in (Euler(), Heun()):
        agreement._check_sampler(solver, oracle, 1000)
    with pytest.raises(checks.CheckFailed, match="EulerMaruyama and Heun leave different samples"):
        agreement._check_own(model, [Heun(), EulerMaruyama()], [], 4000)
    with pytest.raises(checks.CheckFailed, match="lower_bound is off by -"):
        agreement._check_nats(agreement._accepted(model, model.likelihood)[1], oracle, 1000)


@final
@dataclass(frozen=True)
class Optimistic(Likelihood):
    """A density, shifted or squared, under a kind of one's choice."""

    needs: ClassVar[type[core.Estimand]] = Bijection
    kind: Kind = Kind.EXACT
    shift: float = 0.0
    power: float = 1.0

    def __call__(self, estimand: Bijection, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        return LogProb(self.power * ExactDensity()(estimand, batch, noise, objective).nats + self.shift, self.kind)


@pytest.mark.parametrize(
    ("wrong", "on_oracle", "on_model"),
    [
        (Optimistic(Kind.LOWER_BOUND, 0.5), "lower_bound is off by 0.5", "not a bound: its mass is 1.6"),
        (Optimistic(Kind.EXACT, -0.7), "exact is off by -0.7", "not a density: its mass is 0.5"),
        (Optimistic(Kind.UNNORMALISED, 3.0, 2.0), "more than a constant", ""),
        (Optimistic(Kind.EXACT, 0.0, 3.0), "exact is off by", "is not a density"),
    ],
)
def test_a_likelihood_that_is_none_is_found_out(wrong: Likelihood, on_oracle: str, on_model: str) -> None:
    model = trained("flow/maf")
    oracle = agreement._oracle(model.estimand)
    with pytest.raises(checks.CheckFailed, match=on_oracle):
        agreement._check_nats(wrong, oracle, 1000)
    if on_model:
        with pytest.raises(checks.CheckFailed, match=on_model):
            agreement._check_own(model, [NoiseThenMap()], [wrong], 2000)
