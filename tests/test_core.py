"""The nouns themselves: configuration, noise, views, typed likelihoods, the walk."""

import ast
import math
import platform
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fourfold import checks, paradigms
from fourfold.codecs import Dequantised, Standardised
from fourfold.core import (
    Batch,
    GenerativeModel,
    Likelihood,
    LogProb,
    Noise,
    Objective,
    Sampler,
    Term,
    Training,
    classes,
    configuration,
    construct,
    count_evaluations,
    no_likelihood,
    view,
)
from fourfold.core.evaluations import evaluating
from fourfold.estimands import Denoiser, Energy, Pushforward, Score, Velocity
from fourfold.maths.paths import EDM, VE, VP, Cosine, RectifiedFlow, SubVP
from fourfold.spaces import Images, Vectors
from fourfold.vocabulary import Kind, Paradigm, Principle


class Affine(Pushforward):
    """x = scale * z + shift."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.event = self.latent = (dim,)
        self.net = torch.nn.Linear(dim, dim)

    def forward(self, z: Tensor, cond: Tensor | None = None) -> Tensor:
        return self.net(z)


class Moments(Term):
    def __init__(self, g: Pushforward) -> None:
        super().__init__([g])
        self.g = g

    def forward(self, batch: Batch) -> Tensor:
        return (self.g(torch.randn_like(batch.x)) - batch.x).square().sum(1)


class MatchMoments(Objective):
    learns = Pushforward
    principle = Principle.ADVERSARIAL

    def terms(self, estimand: Pushforward) -> dict[str, Term]:
        return {"moments": Moments(estimand)}


@dataclass(frozen=True)
class Push(Sampler):
    needs = Pushforward

    def __call__(self, estimand: Pushforward, noise: Noise, cond: Tensor | None = None) -> Tensor:
        return estimand(noise.normal(*estimand.latent), cond)


@dataclass(frozen=True)
class NoDensity(Likelihood):
    needs = Pushforward

    def __call__(self, estimand: Pushforward, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        return no_likelihood(len(batch.x), "no density")


@dataclass(frozen=True)
class StandardNormal(Likelihood):
    """A known density of the code, to test what the codec adds."""

    needs = Pushforward

    def __call__(self, estimand: Pushforward, batch: Batch, noise: Noise, objective: Objective) -> LogProb:
        log_p = torch.distributions.Normal(0.0, 1.0).log_prob(batch.x).flatten(1).sum(1)
        return LogProb(log_p, Kind.EXACT, note="standard normal")


@dataclass(frozen=True)
class NeedsEnergy(Sampler):
    needs = Energy

    def __call__(self, estimand: Energy, noise: Noise, cond: Tensor | None = None) -> Tensor:
        raise AssertionError("never reached")


def affine_model(sampler: Sampler | None = None, likelihood: Likelihood | None = None) -> GenerativeModel:
    space = Vectors(2)
    return GenerativeModel(
        space, Standardised(space), Affine(2), MatchMoments(), sampler or Push(), likelihood or NoDensity()
    )


def test_paradigm_follows_from_estimand_and_principle() -> None:
    assert affine_model().paradigm is Paradigm.ADVERSARIAL


def test_parts_that_do_not_fit_are_refused_with_both_names() -> None:
    with pytest.raises(TypeError, match=r"take a Pushforward, which .* learns.*got NeedsEnergy, which needs a Energy"):
        affine_model(sampler=NeedsEnergy())


def test_a_model_that_is_complete_passes_the_checks_that_need_no_files() -> None:
    model = affine_model()
    for check in (
        checks.check_loss,
        checks.check_gradients,
        checks.check_samples,
        checks.check_seeds,
        checks.check_cost,
    ):
        check(model)
    checks.check_batch_split(model)


def test_checks_can_fail() -> None:
    @dataclass(frozen=True)
    class Global(Push):
        def __call__(self, estimand: Pushforward, noise: Noise, cond: Tensor | None = None) -> Tensor:
            return estimand(torch.randn(len(noise), *estimand.latent))

    with pytest.raises(checks.CheckFailed, match="global generator"):
        checks.check_seeds(affine_model(sampler=Global()))
    with pytest.raises(checks.CheckFailed, match="other batches"):
        checks.check_batch_split(affine_model(sampler=Global()))


def test_standardised_density_is_the_raw_density() -> None:
    model = affine_model(likelihood=StandardNormal())
    raw = torch.randn(500, 2) * torch.tensor([3.0, 0.5]) + torch.tensor([1.0, -2.0])
    model.codec.fit(raw)
    exact = torch.distributions.Normal(raw.mean(0), raw.std(0)).log_prob(raw).sum(1)
    result = model.log_prob(raw)
    assert result.kind is Kind.EXACT
    torch.testing.assert_close(result.nats, exact, atol=1e-4, rtol=1e-4)


def test_dequantisation_turns_exact_into_a_bound() -> None:
    space = Images(1, 2, 2, n_values=4)
    g = Affine(4)
    g.event = (1, 2, 2)
    model = GenerativeModel(space, Dequantised(space), g, MatchMoments(), Push(), StandardNormal())
    x = torch.randint(4, (8, 1, 2, 2)).to(torch.uint8)
    result = model.log_prob(x)
    assert result.kind is Kind.LOWER_BOUND
    assert "dequantisation" in result.note
    edges = 2 * torch.arange(5) / 4 - 1  # the mass of each level under the density is what the bound may not exceed
    mass = torch.distributions.Normal(0.0, 1.0).cdf(edges).diff()
    truth = mass[x.long()].log().flatten(1).sum(1)
    draws = torch.stack([model.log_prob(x, seed=s).nats for s in range(200)])
    mean, error = draws.mean(0), draws.std(0) / math.sqrt(200)
    assert bool((mean <= truth + 4 * error).all())
    torch.testing.assert_close(mean, truth, atol=0.1, rtol=0)


def test_noise_depends_on_the_index_alone() -> None:
    whole = Noise(5, 0, 300)
    first, second = whole.normal(3), whole.uniform(2)
    for start, stop in ((0, 1), (63, 65), (130, 300)):
        part = Noise(5, start, stop)
        assert torch.equal(part.normal(3), first[start:stop])
        assert torch.equal(part.uniform(2), second[start:stop])
    assert not torch.equal(Noise(6, 0, 300).normal(3), first)
    assert not torch.equal(Noise(5, 0, 300, "score").normal(3), first)


def test_noise_is_standard_normal_and_uniform() -> None:
    noise = Noise(0, 0, 20_000)
    x, u = noise.normal(1), noise.uniform(1)
    assert abs(float(x.mean())) < 0.03
    assert abs(float(x.std()) - 1) < 0.03
    assert abs(float(u.mean()) - 0.5) < 0.01
    assert float(u.min()) >= 0
    assert float(u.max()) < 1


def test_units_are_conversions_of_nats() -> None:
    p = LogProb(torch.tensor([-math.log(8.0) * 4]), Kind.EXACT, dims=4)
    assert float(p.bits_per_dim) == pytest.approx(3.0)
    assert float(p.nats_per_token) == pytest.approx(math.log(8.0))
    assert float(p.in_unit("bits/byte")) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="unit must be one of"):
        p.in_unit("bits")


def test_kinds_are_never_joined() -> None:
    exact, bound = LogProb(torch.zeros(2), Kind.EXACT), LogProb(torch.zeros(2), Kind.LOWER_BOUND)
    with pytest.raises(ValueError, match="must be of one kind"):
        LogProb.cat([exact, bound])
    assert len(LogProb.cat([exact, exact])) == 4


def test_configuration_round_trip_and_what_it_refuses() -> None:
    codec = Standardised(Vectors(2, columns=("a", "b")))
    again = construct(configuration(codec))
    assert again.space == codec.space
    with pytest.raises(ValueError, match="belongs neither to fourfold nor to a package"):
        construct({"type": "os:system", "args": {"command": "true"}})
    with pytest.raises(ValueError, match="must be a Part or a dataclass"):
        construct({"type": "fourfold.paradigms:build", "args": {}})
    with pytest.raises(TypeError, match="must be a Part or a dataclass, got"):
        configuration(torch.zeros(1))


def test_evaluation_leaves_the_mode_of_every_part_as_it_was() -> None:
    parts = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout().eval())
    with evaluating(parts):
        assert not any(module.training for module in parts.modules())
    assert [module.training for module in parts.modules()] == [True, True, False]


def test_evaluations_are_counted_by_rows() -> None:
    model = affine_model()
    with count_evaluations(model.estimand) as count:
        model.sample(128, batch_size=64)
    assert (count.rows, count.calls) == (128, 2)


@pytest.mark.parametrize("path", [RectifiedFlow(), EDM(), VE(), VP(), SubVP(), Cosine()])
def test_views_commute(path: object) -> None:
    class Linear(Denoiser):
        def __init__(self) -> None:
            super().__init__()
            self.path, self.event = path, (3,)

        def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None = None) -> Tensor:
            return torch.tanh(x_t) * torch.cos(t)[:, None]

    checks.check_views(Linear(), (3,))
    assert isinstance(view(Linear(), Velocity), Velocity)
    assert isinstance(view(view(Linear(), Velocity), Score), Score)


def test_a_view_that_does_not_exist_names_both() -> None:
    with pytest.raises(TypeError, match="must be a Score or have a view as one, got Affine"):
        view(Affine(2), Score)


def test_schedule_rises_holds_and_falls() -> None:
    training = Training(warmup=0.1, cooldown=0.5, floor=0.1)
    assert training.schedule(0.05) == pytest.approx(0.5)
    assert training.schedule(0.3) == 1
    assert training.schedule(0.75) == pytest.approx(0.55)
    assert training.schedule(1.0) == pytest.approx(0.1)
    values = [Training().schedule(u / 100) for u in range(2, 101)]
    assert values == sorted(values, reverse=True)


PLUGIN = """
from fourfold.vocabulary import Card, Paradigm
def build(space, size):
    raise TypeError("models nothing")
CARD = Card(name="toy-plugin", paradigm=Paradigm.FLOW, recipes={"toy": build})
"""


def test_third_parties_join_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_plugin.py").write_text(PLUGIN)
    info = tmp_path / "toy_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fourfold.paradigms]\ntoy = toy_plugin\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    paradigms.cards.cache_clear()
    try:
        assert paradigms.cards()["toy-plugin"].paradigm is Paradigm.FLOW
        with pytest.raises(TypeError, match="models nothing"):
            paradigms.build("toy-plugin", Vectors(2))
    finally:
        paradigms.cards.cache_clear()


def test_the_classes_of_a_part_are_found_at_any_depth() -> None:
    @dataclass(frozen=True)
    class Inner:
        number: int = 1

    @dataclass(frozen=True)
    class Outer:
        inner: tuple[Inner, ...] = (Inner(),)
        named: dict[str, list[Inner]] | None = None

    assert classes(Outer(named={"a": [Inner()]})) == {Outer, Inner}


def test_no_two_public_classes_have_one_name():
    package = Path(paradigms.__file__).parent.parent
    places = defaultdict(set)
    for path in package.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(str(path.relative_to(package)))
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc is set")
def test_evaluation_keeps_the_memory_of_freed_tensors() -> None:
    program = """
import resource, torch
from fourfold.core.evaluations import evaluating
def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
with evaluating(torch.nn.Linear(2, 2)):
    torch.ones(2**24)
    before = faults()
    torch.ones(2**24)
    assert faults() - before < 1000, faults() - before  # 64 MiB are 16,384 pages
"""
    subprocess.run([sys.executable, "-c", program], check=True)
