"""Trees of rows over time: masses that add up to 1, chains and walks of known laws, and gates that are shut."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

import fourfold
from fourfold.baselines import FirstOrderRows
from fourfold.codecs.table import ColumnTokens
from fourfold.core import GenerativeModel
from fourfold.nn.row_regression import SCALES, RowRegression
from fourfold.nn.trees import ColumnTrees
from fourfold.paradigms import build, resolve
from fourfold.spaces import Categorical, Categories, Identifier, Numeric, Sequences, Table
from fourfold.spaces.columns import MISSING
from fourfold.spaces.sequences import ABSENT
from fourfold.tasks.forecasting import Prefixes, forecast_prefixes

KINDS = Categorical("kind", categories=("a", "b"), missing=True)
WINDOWS = Sequences(
    (Numeric("when", low=0, high=9), KINDS, Numeric("level", "int64", low=-1, high=2, missing=True)),
    "when",
    (1, 2),
    3,
    observed=500,
)


KEYED = Sequences(
    (
        KINDS,
        Numeric("when", low=0, high=3),
        Numeric("level", "int64", low=-1, high=1, missing=True),
        Identifier("who"),
    ),
    "when",
    (1, 2),
    3,
    key="who",
    observed=200,
)


SEASONAL = Sequences(
    (Numeric("when", low=0, high=9), Numeric("level", "int64", low=0, high=2, missing=True)),
    "when",
    (1, 1),
    5,
    season=3,
    observed=300,
)


def series(n: int = 500, seed: int = 0) -> Tensor:
    """Steps of one or two, a kind that tends to stay, and a level that walks by one within its limits."""
    g = torch.Generator().manual_seed(seed)
    rows = [[1, 0, 0]]
    for change, step, move in torch.rand(n - 1, 3, generator=g).tolist():
        _, kind, level = rows[-1]
        up = 1 if move < 0.4 else -1 if move > 0.7 else 0
        rows.append([1 + (step < 0.3), kind ^ (change < 0.1), min(max(level + up, -1), 2)])
    x = torch.tensor(rows)
    x[torch.rand(n, generator=g) < 0.1, 2] = MISSING
    x[torch.rand(n, generator=g) < 0.05, 1] = MISSING
    return x


def fitted(space: Sequences = WINDOWS, x: Tensor | None = None) -> GenerativeModel:
    """A model with parameters that no step has trained but that differ, and with shares of all laws."""
    torch.manual_seed(0)
    model = build("autoregressive/trees", space, "xs")
    model.fit_statistics(series() if x is None else x)
    with torch.no_grad():
        for parameter in model.estimand.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        numbers = list(model.estimand.recent.tokens.graded)
        for part in (model.estimand.recent, model.estimand.seasonal):
            if part is not None:
                shares = torch.rand(len(numbers), part.shares.shape[1], dtype=torch.float64)
                part.shares[numbers] = shares / shares.sum(1, keepdim=True)
    return model.eval()


def sequences(n: int = 100) -> Tensor:
    """Keyed sequences of one to three rows, at random."""
    return KEYED.examples(n, torch.Generator().manual_seed(0))


def seasons(n: int = 300) -> Tensor:
    """Levels that are mostly those of three rows before."""
    g = torch.Generator().manual_seed(0)
    levels = [0, 1, 2]
    for u, other in torch.rand(n - 3, 2, generator=g).tolist():
        levels.append(levels[-3] if u < 0.8 else MISSING if u > 0.95 else int(3 * other))
    return torch.stack([torch.ones(n, dtype=torch.long), torch.tensor(levels)], 1)


@pytest.fixture(scope="module")
def model() -> GenerativeModel:
    return fitted()


@pytest.fixture(scope="module")
def seasonal() -> GenerativeModel:
    return fitted(SEASONAL, seasons())


@pytest.fixture(scope="module")
def keyed() -> GenerativeModel:
    return fitted(KEYED, sequences())


def test_masses_of_all_windows_and_sequences_add_up_to_one(
    model: GenerativeModel, keyed: GenerativeModel, seasonal: GenerativeModel
) -> None:
    assert seasonal.estimand.seasonal is not None
    for space, fit in ((WINDOWS, model), (KEYED, keyed), (SEASONAL, seasonal)):
        every, _ = space.support(9, 3.0)
        for each in (fit, build("autoregressive/trees", space, "xs").eval()):
            assert float(each.log_prob(every).nats.double().exp().sum()) == pytest.approx(1, abs=1e-5)


def _z_scores(drawn: Tensor, every: Tensor, p: Tensor) -> Tensor:
    """Standardised counts of windows that are often expected."""
    place = {tuple(row): i for i, row in enumerate(every.flatten(1).tolist())}
    counts = torch.bincount(
        torch.tensor([place[tuple(row)] for row in drawn.flatten(1).tolist()]), minlength=len(every)
    )
    n = len(drawn)
    return ((counts / n - p) / (p * (1 - p) / n).sqrt())[p * n > 20]


@pytest.mark.parametrize(("name", "whole", "later"), [("model", 100, 50), ("keyed", 50, 20), ("seasonal", 100, 20)])
def test_samples_and_continuations_follow_the_masses(
    name: str, whole: int, later: int, request: pytest.FixtureRequest
) -> None:
    model: GenerativeModel = request.getfixturevalue(name)
    space = model.space
    assert isinstance(space, Sequences)
    every, _ = space.support(9, 3.0)
    p = model.log_prob(every).nats.double().exp()
    z = _z_scores(model.sample(20_000), every, p)
    assert len(z) > whole
    assert float(z.square().mean()) == pytest.approx(1, abs=4 * math.sqrt(2 / len(z)))
    start = every[int(p.argmax()), 0]
    x = torch.full((10_048, *space.shape), ABSENT)
    x[:, 0] = start
    begun = Prefixes(x, torch.ones(len(x), dtype=torch.long), space)
    own = (every[:, 0] == start).all(1)
    z = _z_scores(forecast_prefixes(model, begun, batch_size=10_048).x, every[own], p[own] / p[own].sum())
    assert len(z) > later
    assert float(z.square().mean()) == pytest.approx(1, abs=4 * math.sqrt(2 / len(z)))


def test_a_law_of_numbers_is_the_gaussian_of_its_definition() -> None:
    """Written out for one number: scores by counted distributions, a regression, and the mass within the limits."""
    x = series()[:, 2:]
    x = x[x[:, 0] != MISSING].unfold(0, 3, 1).transpose(1, 2)
    value, step = (Numeric("y", "int64", low=low, high=high) for low, high in ((-1, 2), (-3, 3)))
    regression = RowRegression(*(ColumnTokens(Table((column,)), 1, 1000) for column in (value, step)))
    regression.fit(x)
    counted = {v: codec._marginals()[0] for v, codec in enumerate((regression.values, regression.steps))}

    def score(v: int, y: int, part: float) -> float:
        at = np.array([y])
        return float(norm.ppf(counted[v].below(at)[0] + part * counted[v].mass(at)[0]))

    first, before = 0, 1
    features = [score(0, before, 0.5), score(1, before - first, 0.5), 0, 0, 1]
    for now in (-1, 0, 1, 2):
        nats = regression(torch.tensor([[[first], [before], [now]]]))[:, 0, 0]
        for v, y, low, high in ((0, now, -1, 2), (1, now - before, -1 - before, 2 - before)):
            mean = float(regression.weight[v, 0] @ torch.tensor(features, dtype=torch.float64))
            for k, factor in enumerate(SCALES):
                scale = factor * float(regression.error[v, 0])
                a, b, least, most = (
                    norm.cdf((score(v, *at) - mean) / scale) for at in ((y, 0), (y, 1), (low, 0), (high, 1))
                )
                assert float(nats[v * len(SCALES) + k]) == pytest.approx(math.log((b - a) / (most - least)), abs=1e-9)


def test_shares_of_trees_alone_give_the_trees(model: GenerativeModel) -> None:
    """Where the gates are shut, rows have the masses of the trees of all rows of their run."""
    x, estimand = series(60, 1).unfold(0, 3, 3).transpose(1, 2), model.estimand
    shares = estimand.recent.shares.clone()
    estimand.recent.shares[:] = torch.eye(1, shares.shape[1])
    nats = model.log_prob(x).nats
    estimand.recent.shares.copy_(shares)
    tokens, log_mass = estimand.recent.tokens.tokenize(x.flatten(0, 1))
    with torch.no_grad():
        trees = estimand.recent.net(tokens.view(len(x), -1)).sum(1)
    assert torch.allclose(nats, trees + log_mass.view(len(x), -1).sum(1), atol=1e-4)


def test_a_chain_of_two_rows_is_learned() -> None:
    """A category that follows from two rows before: the entropy of its law is known."""
    g, n = torch.Generator().manual_seed(0), 3000
    kinds = [0, 0]
    for u in torch.rand(n, generator=g).tolist():
        kinds.append((kinds[-1] ^ kinds[-2]) if u < 0.9 else 1 - (kinds[-1] ^ kinds[-2]))
    space = Sequences((Numeric("t", high=n), Categorical("kind", categories=("a", "b"))), "t", (1, 1), 8, observed=n)
    x = torch.stack([torch.ones(n, dtype=torch.long), torch.tensor(kinds[2:])], 1)
    model = build("autoregressive/trees", space, "s")
    model.fit_statistics(x[:2000])
    test = x[2000:].unfold(0, 8, 8).transpose(1, 2)
    nats = model.eval().log_prob(test).nats.double() / 8
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    first = 2 * (math.log(2) - entropy) / 8  # two rows of a window have no two before
    assert float(nats.mean()) == pytest.approx(-entropy - first, abs=0.05)


def test_a_season_is_learned_where_a_window_reaches_it() -> None:
    """A category that is that of five rows before: the entropy of its law is known, behind the first six rows."""
    g, n = torch.Generator().manual_seed(0), 3000
    kinds = [0, 1, 1, 0, 1]
    for u in torch.rand(n, generator=g).tolist():
        kinds.append(kinds[-5] if u < 0.9 else 1 - kinds[-5])
    schema = (Numeric("t", high=n), Categorical("kind", categories=("a", "b")))
    space = Sequences(schema, "t", (1, 1), 12, season=5, observed=n)
    x = torch.stack([torch.ones(n, dtype=torch.long), torch.tensor(kinds[5:])], 1)
    model = build("autoregressive/trees", space, "s")
    model.fit_statistics(x[:2000])
    test = x[2000:2996].unfold(0, 12, 12).transpose(1, 2)
    with torch.no_grad():
        nats = model.eval().estimand(test.flatten(1)).view(test.shape)[:, :, 1].double()
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert float(nats[:, 6:].mean()) == pytest.approx(-entropy, abs=0.05)
    assert float(nats[:, :5].mean()) == pytest.approx(-math.log(2), abs=0.05)


def test_a_walk_beyond_the_training_rows_has_nearly_the_nats_of_its_law() -> None:
    """Independent normal steps: trees and vector autoregressions of values know no values beyond."""
    random = np.random.default_rng(0)
    walk = np.cumsum(random.normal(0.3, 1.0, 1200)).round(2)
    frame = pd.DataFrame({"t": np.arange(1200), "y": walk})
    data = fourfold.load(frame, order="t", length=8)
    model = build("autoregressive/trees", data.space, "s")
    model.fit_statistics(data.train.x)
    test = data.space.rows(data.test.x)
    model.eval()
    x = model.codec.encode(test)[0]
    with torch.no_grad():
        nats = model.estimand(x).view(len(test), 8, 2)[:, 1:, 1].double()
    assert float(test[:, :, 1].min()) > float(data.train.x[:, 1].max())
    entropy = 0.5 * math.log(2 * math.pi * math.e) - math.log(0.01)
    assert float(nats.mean()) == pytest.approx(-entropy, abs=0.25)
    baseline = FirstOrderRows.fit(data.space, data.train.x).log_prob(test).nats.mean()
    assert float(model.log_prob(test).nats.mean()) > float(baseline) + 1


def test_a_window_stays_in_its_series() -> None:
    """All rows of a window have the name of its first row, both in masses and in draws."""
    names, n = Categorical("shop", categories=("a", "b", "c")), 60
    space = dataclasses.replace(WINDOWS, schema=(*WINDOWS.schema[:2], names), series="shop")
    shops = [torch.cat([series(n, k)[:, :2], torch.full((n, 1), k)], 1) for k in range(3)]
    model = fitted(space, torch.cat(shops))
    every, _ = space.support(0, 0)
    p = model.log_prob(every).nats.double().exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)
    assert float(p[(every[:, :, 2] != every[:, :1, 2]).any(1)].sum()) == 0
    drawn = model.sample(500)[:, :, 2]
    assert torch.equal(drawn, drawn[:, :1].expand_as(drawn))
    assert len(drawn.unique()) == 3


def test_first_rows_lengths_and_places_are_learned() -> None:
    """Sequences of one or three rows, whose level is 1 at the start and -1 later, whatever came before."""
    n, g = 400, torch.Generator().manual_seed(0)
    x = torch.full((n, 3, 3), ABSENT)
    x[:, :, 0], x[:, :, 1] = torch.randint(0, 2, (n, 3), generator=g), 1
    x[:, 0, 1] = torch.randint(0, 4, (n,), generator=g)
    x[:, :, 2] = torch.tensor([1, -1, -1])
    x[torch.arange(n) % 4 == 0, 1:] = ABSENT
    model = build("autoregressive/trees", KEYED, "s")
    model.fit_statistics(x[:300])
    rows = KEYED.row_counts(x[300:])
    length = torch.where(rows == 1, math.log(0.25), math.log(0.75))
    truth = length - math.log(4) - rows * math.log(2)
    assert float((model.eval().log_prob(x[300:]).nats - truth).mean()) == pytest.approx(0, abs=0.1)


def test_few_rows_choose_trees_and_others_a_network() -> None:
    many = Sequences(WINDOWS.schema, "when", (1, 2), 3, observed=5001)
    given = WINDOWS.conditioned_on(Categories.numbered(2))
    names = [resolve("autoregressive", space).partition("/")[2] for space in (WINDOWS, KEYED, many, given)]
    assert names == ["trees", "trees", "likelihood", "likelihood"]
    with pytest.raises(TypeError, match="conditions must be left out for trees of rows over time, got"):
        build("autoregressive/trees", given)


@pytest.mark.parametrize("count", [3, 12, 40])
def test_few_rows_have_a_model(count: int) -> None:
    for space, x in ((WINDOWS, series(count)), (KEYED, sequences(count))):
        every, _ = space.support(9, 3.0)
        each = fitted(space, x)
        assert float(each.log_prob(every).nats.double().exp().sum()) == pytest.approx(1, abs=1e-5)


def test_nothing_grows_for_the_rows_before_a_keyed_row_and_the_last_one_loses_nothing(keyed: GenerativeModel) -> None:
    net, block = keyed.estimand.recent.net, 3
    assert net.context == (net.columns // block - 1) * block
    growing = (net.child[:, 0, 0] >= 0).view(net.columns, net.trees)
    assert not growing[: net.context].any()
    assert growing[net.context :].any()
    whole = ColumnTrees(**{**net.arguments(), "context": 0})
    tokens = torch.stack(
        [torch.randint(size, (100,), generator=torch.Generator().manual_seed(0)) for size in net.sizes], 1
    )
    place = torch.zeros(100, 2)
    part = ColumnTrees(**net.arguments())
    for trees in (whole, part):
        torch.manual_seed(0)  # of the trees that predict a row in training
        trees.fit(tokens, place)
        trees.eval()
    a, b = (trees(tokens, place)[:, net.context :] for trees in (whole, part))
    assert torch.equal(a, b)
