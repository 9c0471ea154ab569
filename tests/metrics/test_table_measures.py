"""Measures of tables: each moves as it must when the samples are copied, shuffled, made independent or memorised."""

from __future__ import annotations

import importlib.util

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from fourfold.metrics import References, choose_draws
from fourfold.metrics.records import Records, membership
from fourfold.metrics.rows import Columns, Metric, byte_digests, digests
from fourfold.metrics.rule_search import find_rules
from fourfold.metrics.rules import AtMost, Determines, rare_categories, violations
from fourfold.metrics.shapes import Trends, shapes
from fourfold.metrics.tables import by_rows, gaps
from fourfold.metrics.twosample import area, two_sample_auc, utility
from fourfold.spaces import Categorical, Numeric, Table
from fourfold.spaces.columns import MISSING, UNSEEN

NAMES = ("low", "high", "city", "country", "class")
SDMETRICS = [
    (0, 0.9269791, 0.84166667),
    (1, 0.9336266, 0.90407921),
    (2, 0.82276276, 0.6796183),
    (3, 0.93479809, 0.89782568),
]
"""Seed of :func:`pair_of_frames`, and the scores of sdmetrics 0.32.0 for Column Shapes and Column Pair Trends."""
COLUMNS = Columns(NAMES, (False, False, True, True, True), ("m", "m", "", "", ""), target=4)


def rows(n: int, seed: int) -> Tensor:
    """``low <= high``; a city lies in one country; some cities are rare; the class follows from ``low``; gaps."""
    g = torch.Generator().manual_seed(seed)
    low = torch.randn(n, generator=g).exp().double()
    high = low + torch.randn(n, generator=g).abs()
    city = (torch.rand(n, generator=g) ** 4 * 40).floor().double()
    label = (low + 0.3 * torch.randn(n, generator=g) > 1).double()
    low[torch.rand(n, generator=g) < 0.1] = torch.nan
    return torch.stack([low, high, city, city.remainder(4), label], 1)


def shuffled(x: Tensor, seed: int = 9) -> Tensor:
    """The same columns without any relation between them."""
    g = torch.Generator().manual_seed(seed)
    return torch.stack([column[torch.randperm(len(x), generator=g)] for column in x.T], 1)


def references(n: int = 600) -> References:
    train = rows(4 * n, 0)
    return References(choose_draws(train, n), rows(n, 1), None, rows(n, 2), train)


def scores(x: Tensor, of: References) -> dict[str, float]:
    measurements = list(by_rows(x, of, COLUMNS))
    assert all(score.protocol and score.low <= score.value <= score.high for score in measurements)
    return {score.name.partition("[")[0]: score.value for score in measurements}


def of_records(x: Tensor, of: References) -> dict[str, float]:
    """The scores of copies and attacks by name. They need no trees, which take long to grow."""
    records = Records(x, of.all_train, of.test, of.fresh, COLUMNS)
    every = records.closer(), records.closest(), records.copies(), records.attack()
    return {score.name.partition("[")[0]: score.value for score in every}


def test_every_measure_moves_as_it_must():
    of = references()
    new, apart = scores(rows(600, 3), of), scores(shuffled(rows(600, 3)), of)
    repeated = of.all_train[:20].repeat(30, 1)
    copied, few = (of_records(x, of) for x in (of.all_train[:600], repeated))
    rare = rare_categories(repeated, of.test, COLUMNS, of.all_train)
    assert abs(new["two_sample_auc"] - 0.5) < 0.06
    assert min(apart["two_sample_auc"], two_sample_auc(repeated, of.test, COLUMNS).value) > 0.85
    assert new["shape"] > 0.9
    assert apart["shape"] == pytest.approx(new["shape"])
    assert new["trend"] > 0.85
    assert apart["trend"] < new["trend"] - 0.2
    assert new["train_on_synthetic"] > 0.9 > 0.7 > apart["train_on_synthetic"]
    assert new["coverage"] > 2 * rare.value
    assert new["missing"] < 0.05
    assert new["broken_rules"] == 0 < 0.5 < apart["broken_rules"]
    assert new["copies"] == 0
    assert copied["copies"] == 1 == few["copies"]
    assert abs(new["closest_record"] - 0.5) < 0.06
    assert copied["closest_record"] > 0.95
    assert copied["closer_to_training"] > new["closer_to_training"] + 0.05
    assert copied["membership"] > new["membership"] + 0.05


def test_half_a_memory_is_seen_as_half():
    of = references()
    x = torch.cat([rows(300, 3), of.all_train[:300]])
    records = Records(x, of.all_train, of.test, of.fresh, COLUMNS)
    copies = records.copies()
    assert copies.value == 0.5
    assert copies.low < 0.5 < copies.high
    assert copies.floor == 0
    places, sources = records.leaks(8)
    assert (places >= 300).all()
    assert torch.equal(x[places].nan_to_num(-9), of.all_train[sources].nan_to_num(-9))


def test_labels_are_one_more_column():
    of = references()
    train, test, fresh = (x[:, :4] for x in (of.all_train, of.test, of.fresh))
    cond = of.test[:, 4].long()
    of = References(choose_draws(train, 600, of.all_train[:, 4].long(), cond), test, cond, fresh, train)
    columns = Columns(NAMES[:4], COLUMNS.categorical[:4], COLUMNS.units[:4])
    scores_of_test = {score.name: score for score in by_rows(test, of, columns, "class")}
    assert scores_of_test["train_on_synthetic[AUC of class]"].value > 0.9
    other = rows(600, 3)[:, :4]  # of other labels
    mixed = {score.name: score for score in by_rows(other, of, columns, "class")}
    assert mixed["two_sample_auc[boosted trees]"].value > 0.6
    assert mixed["train_on_synthetic[AUC of class]"].value < 0.7
    assert scores_of_test["train_on_synthetic[AUC of class]"].floor > 0.9


def test_the_law_of_the_two_sample_test_holds_the_data_and_its_interval_holds_the_value():
    inside = [two_sample_auc(rows(200, 10 + s), rows(200, 50 + s), COLUMNS) for s in range(4)]
    assert sum(score.floor_low < score.value < score.floor_high for score in inside) >= 3
    assert two_sample_auc(rows(200, 1), rows(200, 2)[:10], COLUMNS).value != 1  # too few: no value
    assert np.isnan(two_sample_auc(rows(200, 1), rows(200, 2)[:10], COLUMNS).value)


def test_a_quantity_is_predicted_by_its_explained_variance():
    columns = Columns(NAMES, COLUMNS.categorical, COLUMNS.units, target=1)
    score = utility(rows(800, 1), rows(800, 2), columns)
    constant = utility(shuffled(rows(800, 1)), rows(800, 2), columns)
    assert score.name == "train_on_synthetic[R² of high]"
    assert score.value > 0.5 > 0.1 > constant.value


def test_an_area_is_the_share_of_ordered_pairs():
    a, b = np.array([0.3, 0.7, 0.7]), np.array([0.1, 0.7])
    pairs = np.mean([[(x > y) + 0.5 * (x == y) for y in b] for x in a])
    assert area(np.concatenate([a, b]), np.arange(5) < 3) == pytest.approx(pairs)
    score = membership(torch.arange(50.0), torch.arange(50.0) - 100, "likelihood", "log p(x)")
    assert score.name == "membership[likelihood]"
    assert score.value == 1


def test_distances_are_those_of_the_definition_and_gaps_are_values():
    x, y = rows(60, 1), rows(300, 2)
    metric = Metric(y, COLUMNS)
    distance, place = metric.nearest(metric.embed(x), metric.embed(y), 3)
    a, b = metric.embed(x).double(), metric.embed(y).double()
    every = torch.cdist(a, b)
    assert torch.allclose(distance, every.sort(1).values[:, :3], atol=1e-6)
    assert torch.allclose(every.gather(1, place), distance, atol=1e-6)
    assert metric.nearest(metric.embed(x), metric.embed(y[:2]), 3)[0][:, 2].isposinf().all()
    apart = torch.tensor(
        [[torch.nan, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 7, 0, 0], [1, 1, -1, 0, 0], [1, 1, 99, 0, 0]]
    )
    z = metric.embed(apart.double())
    squares = torch.cdist(z, z).square()
    assert 0.75 <= squares[0, 1] <= 1 + 1e-6
    assert squares[1, 2] == pytest.approx(1)
    assert squares[3, 4] == pytest.approx(0)
    assert squares[2, 3] == pytest.approx(1)


def test_digests_of_bytes_are_equal_exactly_where_examples_are():
    x = torch.randint(2, (300, 3, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    equal = (x[:, None] == x).flatten(2).all(2)
    codes = byte_digests(x)
    assert torch.equal(codes[:, None] == codes, equal)
    assert byte_digests(x[:0]).shape == (0,)


def test_digests_are_equal_exactly_where_rows_are():
    x = rows(2000, 0)[:, :3].nan_to_num(5).floor()
    x[::7, 0] = torch.nan
    same = digests(x)[:, None] == digests(x)[None]
    filled = x.nan_to_num(-1)
    assert np.array_equal(same, (filled[:, None] == filled[None]).all(2).numpy())
    assert digests(torch.zeros(1, 2)) == digests(-torch.zeros(1, 2))


def test_rules_are_found_and_no_others():
    rules = find_rules(rows(3000, 0), COLUMNS)
    assert [rule for rule in rules if isinstance(rule, AtMost)] == [AtMost(0, 1)]
    assert [(rule.a, rule.b) for rule in rules if isinstance(rule, Determines)] == [(2, 3)]
    assert find_rules(shuffled(rows(3000, 0)), COLUMNS) == []
    apart = Columns(NAMES, COLUMNS.categorical, ("m", "s", "", "", ""))
    assert not any(isinstance(rule, AtMost) for rule in find_rules(rows(3000, 0), apart))  # of two units
    score = violations(shuffled(rows(500, 1)), rows(500, 2), rules, COLUMNS)
    assert score.floor == 0
    assert "city determines country" in score.protocol
    assert "low ≤ high" in score.protocol


def test_rules_take_gaps_for_values_and_unknown_values_for_innocent():
    x = rows(3000, 0)
    x[x[:, 4] == 1, 2] = torch.nan  # whoever is of class 1 has no city
    x[:, 3] = x[:, 4]
    rule = next(r for r in find_rules(x, COLUMNS) if isinstance(r, Determines) and (r.a, r.b) == (2, 3))
    asked = torch.tensor([[1, 1, torch.nan, 1, 1], [1, 1, torch.nan, 0, 1], [1, 1, 77, 0, 0]]).double()
    assert rule.broken(asked).tolist() == [False, True, False]


def test_rare_categories_and_missing_patterns_count_what_they_say():
    columns = Columns(("a",), (True,), ("",))
    train = torch.cat([torch.zeros(990), torch.arange(1, 11)])[:, None].double()
    test = torch.tensor([[0.0], [1], [2], [3], [4]])
    assert rare_categories(torch.tensor([[0.0], [1], [2], [9]]), test, columns, train).value == 0.5
    assert rare_categories(test, test, columns, torch.zeros(9, 1)) is None
    none, half = torch.zeros(40, 2), torch.zeros(40, 2)
    half[::2, 1] = torch.nan
    assert gaps(half, none).value == pytest.approx(0.5)
    assert gaps(half, half).value == 0


def pair_of_frames(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two random tables with gaps; the last column is constant for one seed."""
    g = np.random.default_rng(seed)

    def frame(n: int) -> pd.DataFrame:
        a = g.normal(size=n) + g.integers(0, 2)
        table = pd.DataFrame({"a": a, "b": np.round(a**2 + g.gamma(1, size=n), 1), "c": g.integers(0, 3, n) * 1.0})
        table["d"] = g.choice(list("uvwxyz"), n, p=[0.5, 0.3, 0.1, 0.05, 0.04, 0.01])
        table["e"] = np.where(a > 0.5, "p", g.choice(["q", "r"], n))
        table["f"] = 3.0 if seed == 3 else g.poisson(2, n) * 1.0
        for name in "abd":
            table.loc[g.random(n) < 0.2, name] = np.nan
        return table

    return frame(300), frame(200)


def as_numbers(real: pd.DataFrame, synthetic: pd.DataFrame) -> tuple[Tensor, Tensor, Columns]:
    """Samples, references, and their columns."""
    codes = {n: {v: i for i, v in enumerate(sorted({*real[n].dropna(), *synthetic[n].dropna()}))} for n in "de"}
    y, x = (
        torch.tensor(np.stack([t[n].map(codes[n]) if n in "de" else t[n] for n in "abcdef"], 1).astype(float))
        for t in (real, synthetic)
    )
    return x, y, Columns(tuple("abcdef"), (False, False, False, True, True, False), ("",) * 6)


@pytest.mark.parametrize(("seed", "shape", "trend"), SDMETRICS)
def test_shape_and_trend_are_what_sdmetrics_gives(seed: int, shape: float, trend: float):
    x, y, columns = as_numbers(*pair_of_frames(seed))
    assert shapes(x, y, columns).nanmean() == pytest.approx(shape, abs=1e-6)
    assert Trends(y, columns)(x).nanmean() == pytest.approx(trend, abs=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.references
@pytest.mark.skipif(importlib.util.find_spec("sdmetrics") is None, reason="sdmetrics is not installed")
@pytest.mark.parametrize("seed", range(4))
def test_shape_and_trend_of_each_column_and_pair_are_those_of_sdmetrics(seed: int):
    from sdmetrics.reports.single_table import QualityReport

    real, synthetic = pair_of_frames(seed)
    x, y, columns = as_numbers(real, synthetic)
    kinds = {name: {"sdtype": "categorical" if name in "de" else "numerical"} for name in "abcdef"}
    report = QualityReport()
    report.generate(real, synthetic, {"columns": kinds}, verbose=False)
    reference = report.get_details("Column Shapes").set_index("Column")["Score"]
    assert np.allclose(shapes(x, y, columns), reference[list("abcdef")], atol=1e-6, equal_nan=True)
    trends = Trends(y, columns)
    own = {("abcdef"[i], "abcdef"[j]): s for (i, j), s in zip(trends.pairs, trends(x).tolist(), strict=True)}
    pairs = report.get_details("Column Pair Trends")
    counted = {(a, b): score for a, b, score in zip(pairs["Column 1"], pairs["Column 2"], pairs["Score"], strict=True)}
    counted = {pair: score for pair, score in counted.items() if not np.isnan(score)}
    assert own.keys() == counted.keys()
    assert np.allclose([own[pair] for pair in counted], list(counted.values()), atol=1e-6)


def test_a_table_is_measured_as_numbers():
    space = Table(
        (
            Numeric("price", "float64", resolution=0.01, low=0, high=500, decimals=2, missing=True),
            Numeric("count", "int64", low=0, high=9),
            Categorical("kind", categories=("a", "b", "c")),
        ),
        target="kind",
    )
    x = space.examples(3, torch.Generator().manual_seed(0))
    x[0, 0], x[1, 0], x[2, 2] = MISSING, 113, UNSEEN
    numbers = space.numbers(x)
    assert numbers[0, 0].isnan()
    assert numbers[1, 0] == 1.13
    assert numbers[2, 2] == -1
    assert space.meaning.target == 2
    assert space.meaning.categorical == (False, False, True)
    g = torch.Generator().manual_seed(1)
    train = space.examples(800, g)
    of = References(choose_draws(train, 200), space.examples(200, g), None, space.examples(100, g), train)
    measurements = list(space.measures(space.examples(200, g), of))
    assert measurements[0].name.startswith("two_sample_auc")
    assert abs(measurements[0].value - 0.5) < 0.12
    with pytest.raises(ValueError, match=r"target must be one of .* got 'colour'"):
        Table(space.schema, target="colour")


def test_copies_are_looked_for_among_all_rows_and_the_rest_is_measured_on_a_part(monkeypatch):
    """Every second training row is measured against; samples that copy the others are found all the same."""
    from fourfold.metrics import References, choose_draws
    from fourfold.spaces import Numeric, Table, table

    space = Table((Numeric("a", low=0, high=10**6), Numeric("b", low=0, high=10**6)))
    x = space.examples(400, torch.Generator().manual_seed(0))
    train, test, fresh = x[:200], x[200:300], x[300:]
    monkeypatch.setattr(table, "MEASURED", 100)
    seen = References(choose_draws(train, 100), test, None, fresh, train)
    copies = train[1::2]
    scores = {score.name.partition("[")[0]: score for score in space.measures(copies, seen)}
    assert scores["copies"].value == 1
    assert "200 training rows" in scores["copies"].protocol
    assert "100 training rows" in scores["closest_record"].protocol
    assert all(np.isfinite(score.value) for score in scores.values()), "what says nothing is left out"
    assert not {"coverage", "broken_rules", "missing", "trend"} & set(scores)


def test_pairs_of_very_many_columns_are_those_of_a_hundred():
    x = torch.randn(400, 140, generator=torch.Generator().manual_seed(0))
    x = torch.cat([x, x], 1)
    columns = Columns(tuple(f"c{i}" for i in range(280)), (False,) * 280, ("number",) * 280)
    trends = Trends(x, columns)
    assert len(trends.places) == 100
    assert trends.pairs
    assert all(j - i == 140 for i, j in trends.pairs), "the only pairs that belong together are of one column twice"
    assert trends(x).nanmean() == pytest.approx(1)


def test_a_table_of_its_target_alone_is_measured() -> None:
    """A regression has one column, and the others are its condition: nothing in it predicts the target."""
    space = Table((Numeric("price", high=99),), target="price")
    g = torch.Generator().manual_seed(0)
    train = space.examples(300, g)
    of = References(choose_draws(train, 60), space.examples(60, g), None, space.examples(60, g), train)
    scores = list(space.measures(space.examples(60, g), of))
    assert not [score for score in scores if score.name.startswith("train_on_synthetic")]
    assert abs(scores[0].value - 0.5) < 0.2
