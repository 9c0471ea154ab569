"""Mixtures of Gaussians and categories: masses and densities against sums, integrals and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import sklearn.covariance
import sklearn.neighbors
import torch
from torch import Tensor

from fourfold.baselines import Baseline, ClassGaussians, KernelDensity, MixedGaussians, ProductMixture
from fourfold.baselines.mixtures import between, log_between
from fourfold.spaces import Categorical, Numeric, Table, Vectors
from fourfold.spaces.columns import MISSING, UNSEEN
from fourfold.vocabulary import Kind

ALL = [ClassGaussians, MixedGaussians, ProductMixture, KernelDensity]
TABLE = Table(
    (
        Categorical("kind", categories=("a", "b", "c"), missing=True),
        Numeric("count", "int64", low=-2, high=9, missing=True),
        Numeric("more", "int64", low=0, high=11, missing=True),
        Categorical("size", categories=("s", "m", "never")),
    ),
    target="size",
)


def rows(n: int, seed: int = 0) -> Tensor:
    """Both counts grow together and with the kind; each column but the last has gaps."""
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(3, (n,), generator=g)
    count = (3 * kind + torch.randint(4, (n,), generator=g) - 2).clamp(max=9)
    more = (count + 2 + torch.randint(2, (n,), generator=g)).clamp(max=11)
    gaps = [torch.rand(n, generator=g) < 0.1 for _ in range(3)]
    columns = [part.masked_fill(gap, MISSING) for part, gap in zip((kind, count, more), gaps, strict=True)]
    return torch.stack([*columns, (count > 3).long()], 1)


def blobs(n: int, seed: int = 0) -> Tensor:
    """Three Gaussians in the plane, each with a correlation of its own."""
    g = torch.Generator().manual_seed(seed)
    root = torch.tensor([[[1.0, 0], [0.9, 0.3]], [[1.0, 0], [-0.9, 0.3]], [[0.3, 0], [0, 0.3]]])
    k = torch.randint(3, (n,), generator=g)
    mean = 6 * torch.tensor([[0.0, 0], [1, 1], [2, 0]])[k]
    return mean + (root[k] @ torch.randn(n, 2, 1, generator=g)).squeeze(2)


@pytest.fixture(scope="module", params=ALL, ids=lambda kind: kind.__name__)
def model(request: pytest.FixtureRequest) -> Baseline:
    """A baseline of the table."""
    fitted: Baseline = request.param.fit(TABLE, rows(150))
    return fitted


def test_masses_of_rows_with_gaps_add_up_to_one(model: Baseline) -> None:
    every, _ = TABLE.support(9, 3.0)
    scored = model.log_prob(every)
    assert scored.kind is Kind.EXACT
    assert float(scored.nats.exp().sum()) == pytest.approx(1, abs=1e-9)


def test_samples_follow_the_masses(model: Baseline) -> None:
    drawn = model.sample(20_000)
    TABLE.check(drawn)
    assert not TABLE.outside(drawn).any()
    assert torch.equal(model.sample(50), drawn[:50])
    every, _ = TABLE.support(9, 3.0)
    masses = model.log_prob(every).nats.exp()
    place = {tuple(row): i for i, row in enumerate(every.tolist())}
    counts = torch.bincount(torch.tensor([place[tuple(row)] for row in drawn.tolist()]), minlength=len(every))
    often = masses * len(drawn) > 10
    chi2 = float(((counts - masses * len(drawn)).square() / (masses * len(drawn)))[often].sum())
    assert chi2 < int(often.sum()) + 4 * math.sqrt(2 * int(often.sum()))


@pytest.mark.parametrize("kind", ALL)
def test_densities_integrate_to_one_and_samples_have_their_moments(kind: type) -> None:
    space, x = Vectors(2), blobs(60)
    model = kind.fit(space, x)
    grid, volume = space.support(131, 30.0)
    density = model.log_prob(grid).nats.exp()
    assert float(density.sum() * volume) == pytest.approx(1, abs=1e-3)
    mean = (density[:, None] * grid).sum(0) * volume
    drawn = model.sample(20_000).double()
    assert torch.allclose(drawn.mean(0), mean, atol=4 * float(drawn.std()) / 20_000**0.5)
    square = (density[:, None] * grid.double().square()).sum(0) * volume
    assert torch.allclose(drawn.square().mean(0), square, rtol=0.05)


def test_one_gaussian_has_the_covariance_of_ledoit_and_wolf() -> None:
    x = blobs(60)[:, :2] @ torch.tensor([[1.0, 100.0], [0.0, 100.0]])
    z = ((x - x.mean(0)) / x.std(0, correction=0)).double().numpy()
    covariance = sklearn.covariance.LedoitWolf(assume_centered=True).fit(z).covariance_
    expected = scipy.stats.multivariate_normal(np.zeros(2), covariance).logpdf(z)
    expected -= np.log(x.std(0, correction=0).numpy()).sum()
    nats = ClassGaussians.fit(Vectors(2), x).log_prob(x).nats
    assert np.allclose(nats, expected, atol=2e-3)


def test_kernels_are_those_of_scikit_learn() -> None:
    x, test = blobs(200), blobs(50, 1)
    model = KernelDensity.fit(Vectors(2), x)
    scale = x.std(0, correction=0).double().numpy()
    theirs = sklearn.neighbors.KernelDensity(bandwidth=float(model.components.spread.scales[0, 0]))
    expected = theirs.fit(x.numpy() / scale).score_samples(test.numpy() / scale) - np.log(scale).sum()
    assert np.allclose(model.log_prob(test).nats, expected, atol=1e-3)


def test_held_out_rows_choose_the_number_of_components() -> None:
    x, test = blobs(500), blobs(500, 1)
    gaussian, mixture, products, kernels = (kind.fit(Vectors(2), x).log_prob(test).nats.mean() for kind in ALL)
    parts = [scipy.stats.multivariate_normal(m, np.array(c)) for m, c in _true()]
    true = np.log(np.mean([part.pdf(test.numpy()) for part in parts], 0)).mean()
    assert mixture > true - 0.05
    assert mixture > max(products, kernels) > gaussian + 0.5
    noise = torch.randn(800, 2, generator=torch.Generator().manual_seed(0))
    plain, several = (kind.fit(Vectors(2), noise[:300]).log_prob(noise[300:]).nats for kind in ALL[:2])
    assert several.mean() > plain.mean() - 0.03


def _true() -> list[tuple[list[float], list[list[float]]]]:
    return [
        ([0, 0], [[1, 0.9], [0.9, 0.9]]),
        ([6, 6], [[1, -0.9], [-0.9, 0.9]]),
        ([12, 0], [[0.09, 0], [0, 0.09]]),
    ]


def test_classes_are_drawn_with_their_own_gaussians() -> None:
    model = ClassGaussians.fit(TABLE, rows(300))
    drawn = model.sample(5000)
    small = drawn[drawn[:, 3] == 0, 1]
    assert (small[small != MISSING] <= 5).float().mean() > 0.95
    assert (drawn[:, 3] == 2).float().mean() < 0.01


@pytest.mark.parametrize("kind", ALL)
def test_gaps_do_not_narrow_a_column(kind: type) -> None:
    space = Table(tuple(Numeric(name, "int64", low=-900, high=900, missing=name == "a") for name in "ab"))
    x = (100 * torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))).round().long()
    x[:700, 0] = MISSING
    drawn = kind.fit(space, x).sample(8000)
    for i in range(2):
        true, ours = (rows[rows[:, i] != MISSING, i].double().std() for rows in (x, drawn))
        assert float(ours / true) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("kind", ALL)
def test_a_column_that_a_class_lacks_has_the_scale_of_all(kind: type) -> None:
    columns = (Numeric("a", "int64", low=-900, high=900, missing=True), Categorical("k", categories=("x", "y")))
    a = (100 * torch.randn(400, generator=torch.Generator().manual_seed(0))).round().long()
    k = torch.arange(400) % 2
    model = kind.fit(Table(columns, target="k"), torch.stack([a.masked_fill(k == 1, MISSING), k], 1))
    nats = model.log_prob(torch.stack([a, k], 1)[1::2]).nats.mean()
    rare = math.log(0.5) + math.log(0.5 / 201)  # about the mass of the class, and of a value in it that is there
    assert float(nats) > rare - math.log(100 * math.sqrt(2 * math.pi * math.e)) - 1


@pytest.mark.parametrize("kind", ALL)
def test_rows_that_are_few_equal_or_empty_have_a_model(kind: type) -> None:
    every, _ = TABLE.support(9, 3.0)
    empty = rows(30)
    empty[:, 1] = MISSING
    few, equal = rows(3), rows(1).expand(40, -1)
    rare = torch.cat([rows(60)[rows(60)[:, 3] == 0], torch.tensor([[2, 7, 9, 1]] * 3)])
    for x in (few, few[:1], equal, empty, rare):
        model = kind.fit(TABLE, x)
        assert float(model.log_prob(every).nats.exp().sum()) == pytest.approx(1, abs=1e-9)
        TABLE.check(model.sample(20))


def test_impossible_values_have_no_mass() -> None:
    model = ClassGaussians.fit(TABLE, rows(100))
    for wrong in ([UNSEEN, 0, 0, 0], [0, 10, 0, 0], [0, 0, -1, 0], [0, 0, 0, MISSING]):
        assert float(model.log_prob(torch.tensor([wrong])).nats) == -math.inf


def test_the_mass_of_an_interval_is_right_in_the_tails() -> None:
    for low, width in [(-60.0, 0.5), (-8.0, 1e-6), (-0.3, 0.6), (5.0, 3.0), (45.0, 0.2), (-200.0, 300.0)]:
        a, b = (torch.tensor([end], dtype=torch.float64) for end in (low, low + width))
        tail = scipy.stats.norm.logsf if low + width / 2 > 0 else scipy.stats.norm.logcdf
        ends = sorted([float(tail(low)), float(tail(low + width))])
        expected = ends[1] + math.log(-math.expm1(ends[0] - ends[1]))
        assert float(log_between(a, b)) == pytest.approx(expected, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("low", [-70.0, -9.0, -1.0, 0.5, 8.0, 60.0])
def test_draws_between_two_ends_have_the_shares_of_their_masses(low: float) -> None:
    u = torch.linspace(0.01, 0.99, 25, dtype=torch.float64)
    a, b = torch.full_like(u, low), torch.full_like(u, low + 2)
    z = between(a, b, u)
    assert torch.allclose((log_between(a, z) - log_between(a, b)).exp(), u, atol=1e-3)
