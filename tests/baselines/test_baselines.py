"""Baselines: masses that add up to 1, samples that follow them, and a copula that knows what belongs together."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fourfold.baselines import (
    ClassGaussians,
    GaussianCopula,
    IndependentColumns,
    KernelDensity,
    MixedGaussians,
    ProductMixture,
    baselines_of,
    fit_baseline,
)
from fourfold.baselines.codes import Marginal
from fourfold.data.schema.tails import ends_of
from fourfold.paradigms import build
from fourfold.spaces import Categorical, Numeric, Table, Vectors
from fourfold.spaces.columns import MISSING, UNSEEN
from fourfold.tasks.completing import log_prob_given
from fourfold.vocabulary import Kind

TABLE = Table(
    (
        Categorical("kind", categories=("a", "b", "c"), missing=True),
        Numeric("count", "int64", low=0, high=12, missing=True),
        Categorical("size", categories=("s", "m")),
    )
)


def data(n: int, seed: int = 0) -> Tensor:
    """The count grows with the kind, and the size follows from the count; gaps in both."""
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(3, (n,), generator=g)
    count = (4 * kind + torch.randint(5, (n,), generator=g)).clamp(max=12)
    size = (count > 5).long()
    return torch.stack(
        [
            kind.where(torch.rand(n, generator=g) > 0.1, MISSING),
            count.where(torch.rand(n, generator=g) > 0.1, MISSING),
            size,
        ],
        1,
    )


@pytest.mark.parametrize("values", ["coarse", "fine", "zero-inflated", "one", "none", "category", "tails"])
def test_masses_add_up_and_quantiles_invert_them(values: str):
    g = np.random.default_rng(0)
    codes = {
        "coarse": g.poisson(3, 500),
        "fine": np.round(1000 * g.standard_normal(500)).astype(np.int64),
        "zero-inflated": np.where(g.random(500) < 0.7, 0, g.integers(1, 3000, 500)),
        "one": np.full(500, 7),
        "none": np.full(500, MISSING),
        "category": g.integers(0, 3, 500),
        "tails": g.geometric(0.05, 500) + 50,
    }[values]
    codes = np.where(g.random(500) < 0.2, MISSING, codes)
    modelled_codes = codes[codes != MISSING]
    low, high = (int(modelled_codes.min()), int(modelled_codes.max())) if len(modelled_codes) else (0, 5)
    category = Categorical("x", categories=tuple("abcdef"), missing=True)
    column = category if values == "category" else Numeric("x", low=low, high=high, missing=True)
    if values == "tails":
        ends = ends_of(np.sort(modelled_codes), np.ones(len(modelled_codes), dtype=np.int64), 5)
        column = Numeric("x", "uint8", missing=True, **ends)
    m = Marginal.fit(column, codes)
    reach = 40 * (high - low + 1)
    every = np.concatenate([[MISSING], np.arange(low - reach, high + reach + 1)])
    mass = m.mass(every)
    assert mass.sum() == pytest.approx(1, abs=1e-9)
    assert np.allclose(m.below(every), np.cumsum(mass) - mass, atol=1e-9)
    u = g.random(20_000)
    drawn = m.quantile(u)
    assert (m.below(drawn) <= u).all()
    assert (u < m.below(drawn) + m.mass(drawn) + 1e-12).all()
    assert mass[0] == pytest.approx(np.mean(codes == MISSING), abs=0.01)
    if values in ("coarse", "zero-inflated"):
        truth = 0.8 * {"coarse": math.exp(-3), "zero-inflated": 0.7}[values]
        assert m.mass(np.array([0]))[0] == pytest.approx(truth, abs=0.035)


@pytest.mark.parametrize("law", ["smooth", "skewed", "counted"])
def test_a_quantity_is_as_likely_as_its_law_allows(law: str):
    """Accidental ties of a rounded measurement are no peaks, and prices that repeat stay exact."""
    g, column = np.random.default_rng(0), Numeric("x", low=-500, high=100_000)
    prices = g.integers(0, 100_000, 60)
    draw = {
        "smooth": lambda n: np.round(80 * g.standard_normal(n)).astype(np.int64),
        "skewed": lambda n: np.round(100 * np.exp(1.2 * g.standard_normal(n))).astype(np.int64),
        "counted": lambda n: g.choice(prices, n),
    }[law]
    training, test = draw(300), draw(20_000)
    values, counts = np.unique(draw(2_000_000), return_counts=True)
    truth = np.log(np.maximum(counts[np.searchsorted(values, test).clip(max=len(values) - 1)], 1) / 2_000_000)
    nats = np.log(Marginal.fit(column, training).mass(test)).mean()
    assert truth.mean() - nats < 0.2
    if law != "counted":
        _, repeats = np.unique(training, return_counts=True)
        assert (repeats > 1).sum() > 20, "the sample has accidental ties"


def test_impossible_codes_have_no_mass():
    m = Marginal.fit(Categorical("x", categories=("a", "b")), np.array([0, 1, 1]))
    assert m.mass(np.array([UNSEEN, MISSING, 2])).tolist() == [0, 0, 0]
    assert Marginal.fit(Numeric("x", low=0, high=9), np.arange(10)).mass(np.array([MISSING]))[0] == 0


def test_vectors_and_tables_have_the_classics():
    classics = (ClassGaussians, MixedGaussians, ProductMixture, KernelDensity)
    assert baselines_of(TABLE) == (IndependentColumns, GaussianCopula, *classics)
    assert baselines_of(Vectors(2)) == classics
    assert baselines_of(Vectors(500)) == (ClassGaussians,)
    assert baselines_of(Vectors(3000)) == ()


def test_masses_of_rows_add_up_to_one():
    x, (every, _) = data(2000), TABLE.support(9, 3.0)
    independent = IndependentColumns.fit(TABLE, x).log_prob(every)
    assert independent.kind is Kind.EXACT
    assert independent.nats.exp().sum() == pytest.approx(1, abs=1e-3)  # the tails of the count are missing
    copula = GaussianCopula.fit(TABLE, x)
    scored = [copula.log_prob(every, seed) for seed in range(20)]
    assert scored[0].kind is Kind.LOWER_BOUND
    sums = torch.stack([score.nats.exp().sum() for score in scored])  # in expectation, the mean of the draws is a mass
    assert sums.mean() == pytest.approx(1, abs=4 * sums.std().item() / 20**0.5)
    assert sums.std() < 0.1


def test_the_copula_knows_what_belongs_together_and_its_samples_follow_its_masses():
    x, test = data(4000), data(1000, 1)
    independent, copula = (kind.fit(TABLE, x) for kind in (IndependentColumns, GaussianCopula))
    assert copula.log_prob(test).nats.mean() > independent.log_prob(test).nats.mean() + 0.3
    for model in (independent, copula):
        drawn = model.sample(20_000)
        TABLE.check(drawn)
        assert torch.equal(model.sample(50), drawn[:50])
        rows, counts = torch.unique(drawn, dim=0, return_counts=True)
        often = counts > 200
        shares = torch.stack([model.log_prob(rows[often], seed).nats.exp() for seed in range(30)]).mean(0)
        assert torch.allclose(shares, counts[often].double() / len(drawn), rtol=0.25), model.name
    assert torch.equal(copula.log_prob(test, 3).nats, copula.log_prob(test, 3).nats)


def test_nats_of_columns_add_up_to_those_of_rows():
    x = data(300)
    scored = IndependentColumns.fit(TABLE, x).log_prob(x)
    assert torch.allclose(scored.terms.sum(1), scored.nats)
    alone = Marginal.fit(TABLE.modelled[2], x[:, 2].numpy()).mass(x[:, 2].numpy())
    assert torch.allclose(scored.terms[:, 2].exp(), torch.from_numpy(alone))
    cond = x[:, 2]
    given = fit_baseline(IndependentColumns, TABLE, x, cond).log_prob(x, cond)
    assert torch.allclose(given.terms.sum(1), given.nats)
    model = build("autoregressive", TABLE, "xs")
    model.codec.fit(x)
    scores = log_prob_given(model, x, torch.zeros_like(x, dtype=torch.bool))
    assert scores.terms.shape == x.shape
    assert torch.allclose(scores.terms.sum(1).float(), scores.nats, atol=1e-4)
    assert torch.allclose(scores.nats, model.log_prob(x).nats, atol=1e-3)


def test_labels_have_models_of_their_own():
    x = data(3000)
    cond = x[:, 2]
    fitted = fit_baseline(IndependentColumns, TABLE, x, cond)
    drawn = fitted.sample(400, torch.tensor([0, 1] * 200), seed=1)
    assert (drawn[:, 2] == torch.tensor([0, 1] * 200)).float().mean() > 0.99
    given = fitted.log_prob(x[:300], cond[:300]).nats
    row_by_row = torch.stack([fitted.log_prob(x[i : i + 1], cond[i : i + 1]).nats[0] for i in range(20)])
    assert torch.allclose(given[:20], row_by_row)
    assert given.mean() > fit_baseline(IndependentColumns, TABLE, x).log_prob(x[:300]).nats.mean() + 0.5
    rare = fit_baseline(IndependentColumns, TABLE, x, torch.tensor([7] * 20 + [8] * 2980))
    assert list(rare.of_label) == [8]
    assert len(rare.sample(3, torch.tensor([7, 8, 7]))) == 3
