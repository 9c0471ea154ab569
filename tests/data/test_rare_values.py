"""Rare values of a table: pooled, replaced or smoothed before a model sees them, and switched off by one setting."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import fourfold
from fourfold.baselines import IndependentColumns, baselines_of, fit_baseline
from fourfold.codecs import ColumnTokens
from fourfold.core import Noise
from fourfold.data import DataError, load, read_all
from fourfold.data.schema.tails import ends_of
from fourfold.settings.data import DataOptions
from fourfold.spaces.columns import Categorical, Numeric

rng = np.random.default_rng(0)
N = 600


def frame(n=N):
    town = rng.choice(["Bern", "Oslo", "Rome"], n)
    rooms = rng.choice([2, 3, 4, 6], n)
    income = np.exp(rng.normal(10, 0.4, n)).round(-1).astype(int)
    return pd.DataFrame({"town": town, "country": town, "rooms": rooms, "income": income})


def column(data, name):
    return next(c for c in data.space.modelled if c.name == name)


def every(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


def test_rare_words_are_pooled_rare_numbers_become_the_nearest_and_both_are_said():
    rows = frame()
    rows.loc[:5, "town"] = ["Vaduz", "Pisa", "Nice", "Vaduz", "Pisa", "Bonn"]
    rows.loc[:2, "rooms"] = [5, 9, 1]
    data = load(rows, fractions=(0.96, 0.02, 0.02), rules=False)
    town, rooms = column(data, "town"), column(data, "rooms")
    assert isinstance(town, Categorical)
    assert (town.categories, town.other) == (("Bern", "Oslo", "Rome", "other"), "other")
    assert (rooms.categories, rooms.nearest, rooms.dtype) == (("2", "3", "4", "6"), True, "int64")
    assert rooms.values(rooms.codes(pd.Series([5, 9, 1, 3]))).tolist() == [4, 6, 2, 3]
    assert any("7 categories are pooled or replaced, in fewer than 5 rows each: town, rooms" in n for n in data.notes)
    whole = load(rows, keep_rare=True, fractions=(0.96, 0.02, 0.02), rules=False)
    assert {"Vaduz", "Pisa"} <= set(whole.space.table(whole.train.x)["town"])
    assert not any("pooled" in note for note in whole.notes)


def test_a_new_value_of_a_column_that_pools_has_the_mass_of_the_pool_and_a_note_says_so():
    rows = frame()
    rows.loc[:5, "town"], rows.loc[:2, "rooms"] = ["Vaduz", "Pisa", "Nice", "Vaduz", "Pisa", "Bonn"], [5, 9, 1]
    data = load(rows, fractions=(0.96, 0.02, 0.02), rules=False)
    model = fourfold.fit("autoregressive", data, budget="2 steps", size="xs").model
    cells = {"new": ("Ulm", 5), "pool": ("other", 4), "listed": ("Oslo", 4)}
    read = {key: read_all(rows[-1:].assign(town=word, rooms=n), data.space) for key, (word, n) in cells.items()}
    scores = {key: model.log_prob(split.x) for key, (split, _) in read.items()}
    assert scores["new"].nats == scores["pool"].nats != scores["listed"].nats
    assert torch.isfinite(scores["new"].nats).all()
    assert scores["new"].inside.all()
    notes = read["new"][1]
    assert any("row 1, column town: 'Ulm' is in few training rows or none: it counts as 'other'" in n for n in notes)
    assert any("column rooms: '5' is in few training rows or none: it counts as the nearest" in n for n in notes)
    assert not any("it counts as" in note for note in read["listed"][1])


def test_a_pool_that_would_be_rare_itself_joins_the_most_frequent_word():
    rows = frame()
    rows.loc[:400, "town"] = "Oslo"
    rows.loc[0, "town"] = "Vaduz"
    data = load(rows, fractions=(0.96, 0.02, 0.02))
    assert column(data, "town").categories == ("Bern", "Oslo", "Rome")
    assert column(data, "town").values(column(data, "town").codes(pd.Series(["Vaduz"]))).tolist() == ["Oslo"]


def test_a_frequent_word_that_stands_for_rare_ones_keeps_its_name():
    rows = pd.DataFrame({"work": ["home"] * 300 + ["full"] * 150 + ["part"] * 147 + ["odd"] * 3})
    rows["year"] = [k % 3 for k in range(300)] + [3] * 300
    rows["year"] = rows["year"].map(dict(enumerate("abcd")))
    data = load(rows, fractions=(0.96, 0.02, 0.02))
    assert column(data, "work").other == "home"
    assert set(data.space.table(every(data))["work"]) == {"home", "full", "part"}


@pytest.mark.parametrize("values", [["yes"] * 3 + ["no"] * 597, [True] * 3 + [False] * 597, [1] * 3 + [0] * 597])
def test_truth_values_keep_both_levels_and_two_words_do_not(values):
    data = load(frame().assign(flag=values), fractions=(0.98, 0.01, 0.01))
    assert len(column(data, "flag").categories) == (1 if values[0] == "yes" else 2)


def test_a_schema_that_names_categories_keeps_them(tmp_path):
    rows = frame()
    rows.loc[0, "town"] = "Vaduz"
    (tmp_path / "s.toml").write_text('[town]\nkind = "category"\n')
    assert "Vaduz" in column(load(rows, schema=tmp_path / "s.toml", fractions=(0.98, 0.01, 0.01)), "town").categories


def test_a_town_determines_its_country_in_a_small_table():
    """120 training rows, of which independent columns would break the rule in about 80."""
    rng = np.random.default_rng(0)
    country = {"Rome": "IT", "Pisa": "IT", "Bern": "CH", "Paris": "FR", "Lyon": "FR", "Wien": "AT"}
    town = rng.choice([*country], 150)
    frame = pd.DataFrame({"town": town, "country": [country[name] for name in town], "age": rng.integers(18, 90, 150)})
    assert [rule.text for rule in load(frame).space.rules] == ["town determines country"]
    assert load(frame.assign(country=rng.permutation(frame["country"]))).space.rules == ()


def test_a_town_still_determines_its_country_where_rare_towns_are_pooled():
    rows = frame(2000)
    rows["country"] = rows["town"].map({"Bern": "CH", "Oslo": "NO", "Rome": "IT"})
    rows.loc[:7, "town"] = [f"village {k}" for k in range(8)]
    data = load(rows, fractions=(0.9, 0.05, 0.05))
    assert [rule.text for rule in data.space.rules] == ["town determines country"]
    drawn = data.space.table(data.space.examples(500, torch.Generator().manual_seed(0)))
    pairs = drawn[drawn["town"] != "other"].drop_duplicates(["town", "country"])
    assert len(pairs) == 3


def shops(seed=0):
    """A shop's town determines its country, and this its region. Many towns and some countries are rare."""
    places = {"CH": ["Bern", "Uster"], "NO": ["Oslo", "Bodo", "Moss"], "IT": ["Rome", "Pisa", "Lodi"], "LI": ["Vaduz"]}
    region = {"CH": "Alps", "LI": "Alps", "NO": "North", "IT": "South"}
    pairs = [(town, land, region[land]) for land, towns in places.items() for town in towns]
    drawn = np.repeat(np.arange(len(pairs)), [900, 3, 700, 6, 6, 1000, 6, 6, 2])
    generator = np.random.default_rng(seed)
    rows = pd.DataFrame([pairs[k] for k in generator.permutation(drawn)], columns=["town", "land", "region"])
    return rows.assign(size=generator.integers(1, 400, len(rows)))


RULES = (("town", "land"), ("land", "region"), ("town", "region"))


@pytest.mark.parametrize("dtype", ["str", "category"])
def test_pools_of_rare_categories_keep_the_rules_of_the_rows(dtype):
    """All samples keep what all rows keep: read as they stand, and by the partners that the real rows have."""
    rows = shops()
    rows = rows.astype(dict.fromkeys(["town", "land", "region"], dtype))
    data = load(rows, fractions=(0.9, 0.05, 0.05), rare=9)
    run = fourfold.fit("autoregressive", data, budget="3 steps", size="xs", progress=False)
    drawn = run.table(4000, seed=0)
    assert {"Bodo", "Moss", "Pisa", "Lodi", "Vaduz"}.isdisjoint(drawn["town"])
    for a, b in RULES:
        assert (drawn.groupby(a, observed=True)[b].nunique() == 1).all(), (a, b)
        partner = dict(zip(rows[a].astype(str), rows[b].astype(str), strict=True))
        real = drawn[drawn[a].isin(rows[a])]
        assert (real[a].astype(str).map(partner) == real[b].astype(str)).all(), (a, b)
    assert {"other", "other 2"} <= set(drawn["town"]), "one pool for each land with rare towns in enough rows"
    names = set(drawn["town"].astype(str))
    assert {name for name in names if name.startswith("other")} <= {"other", "other 2"}
    every_row = run.log_prob(run.model.space.codes(rows))
    assert every_row.inside.all(), "rows with rare values have a mass"


def test_the_mass_of_a_pool_is_that_of_its_combination():
    data = load(shops(), fractions=(0.9, 0.05, 0.05), rare=9)
    space = data.space
    drawn = space.examples(300, torch.Generator().manual_seed(1))
    assert torch.equal(space.codes(space.table(drawn)), drawn), "pools with numbers are read back"
    assert torch.equal(space.expand(space.reduce(drawn)), drawn)


def test_a_row_whose_rare_value_stands_beside_a_wrong_one_takes_the_nearest_combination():
    space = load(shops(), fractions=(0.9, 0.05, 0.05), rare=9).space
    row = pd.DataFrame({"town": ["Ulm", "Oslo"], "land": ["CH", "CH"], "region": ["Alps", "Alps"], "size": [7, 7]})
    codes = space.codes(row)
    assert space.table(codes[:1])["town"].item() == "Bern", "the only town of that land with enough rows"
    assert not space.outside(codes[:1]).any()
    assert space.outside(codes[1:]).all(), "listed values that contradict each other have no mass"


def test_rows_of_one_owner_keep_the_rules_beside_pools():
    rows = shops()
    rows = rows.assign(person=np.arange(len(rows)) // 6, day=np.arange(len(rows)) % 6)
    data = load(rows, group="person", order="day", rare=9)
    run = fourfold.fit("autoregressive", data, budget="3 steps", size="xs", progress=False)
    drawn = run.table(400, seed=0)
    for a, b in RULES:
        assert (drawn.groupby(a)[b].nunique() == 1).all(), (a, b)


# --- ends -------------------------------------------------------------------------------------------------------------


def test_an_end_is_the_value_of_the_rank_and_what_lies_beyond_has_the_share_of_exchangeable_values():
    values = np.arange(100, dtype=np.int64) ** 2
    ends = ends_of(values, np.ones(100, dtype=np.int64), 5)
    assert (ends["low"], ends["high"]) == (16, 95**2)
    assert ends["beyond"] == pytest.approx((5 / 101, 5 / 101))
    shared = ends_of(np.array([0, 1, 9]), np.array([50, 40, 10]), 5)
    assert (shared["low"], shared["high"], shared["beyond"]) == (0, 9, pytest.approx((1 / 50 / 101, 1 / 10 / 101)))
    signs = ends_of(np.array([-7, 0, 3]), np.array([2, 90, 2]), 5)
    assert (signs["low"], signs["high"]) == (-1, 1), "values of both signs keep a mass"


def test_samples_hold_the_share_beyond_the_ends_and_no_extreme_value_itself():
    """The codec alone: codes of training rows, drawn again. The mass of all values stays 1."""
    x = torch.arange(1, 401)[:, None] ** 2 + 10**6
    ends = ends_of(x[:, 0].numpy(), np.ones(400, dtype=np.int64), 5)
    table = fourfold.spaces.Table((Numeric("income", **ends),))
    codec = ColumnTokens(table, 40)
    codec.fit(x)
    z, log_mass = codec.encode(x)
    assert torch.isfinite(log_mass).all()
    drawn = codec.decode(z.repeat(50, 1), Noise(0, 0, 20_000))[:, 0]
    above = (drawn > ends["high"]).double().mean()
    assert float(above) == pytest.approx(4 / 400, rel=0.25)
    assert torch.isin(drawn[drawn > ends["high"]], x).double().mean() < 0.02


@pytest.mark.parametrize("paradigm", ["autoregressive", "diffusion/joint"])
def test_likelihoods_of_rare_values_are_finite_and_samples_do_not_repeat_them(paradigm):
    rows = frame().drop(columns="country").assign(wealth=np.exp(rng.normal(12, 2, N)).round().astype(int))
    rows.loc[:7, "town"] = [f"village {k}" for k in range(8)]
    run = fourfold.fit(paradigm, rows, budget="3 steps", size="xs", progress=False)
    assert torch.isfinite(run.log_prob(run.model.space.codes(rows.head(60))).nats).all()
    drawn = run.table(800, seed=1)
    assert not drawn["town"].str.startswith("village").any()
    extremes = set(rows["wealth"].nlargest(4)) | set(rows["wealth"].nsmallest(4))
    assert not set(drawn["wealth"]) & {value for value in extremes if value > 10_000}


def rare_rows():
    """Incomes of which some repeat, wealth that differs from row to row, and towns of one row each."""
    rows = frame().drop(columns="country").assign(wealth=np.exp(rng.normal(12, 2, N)).round().astype(int))
    rows["fee"] = rng.choice([4_990, 9_900, 19_995], N) + (rng.random(N) < 0.3) * rng.integers(0, 90_000, N)
    rows.loc[:7, "town"] = [f"village {k}" for k in range(8)]
    return rows


def repeats(drawn, values, span):
    """Draws of some values, and how many there are at most by chance, as the neighbours of these values have it."""
    near = {v + d for v in values for d in range(-span, span + 1)}
    chance = drawn.isin(near).sum() * len(values) / len(near)
    return drawn.isin(values).sum(), chance + 5 * chance**0.5


@pytest.mark.parametrize("kind", baselines_of(fourfold.spaces.Table((Numeric("x", high=9),))), ids=lambda k: k.name)
def test_baselines_repeat_no_value_that_few_rows_have(kind):
    rows = rare_rows()
    data = load(rows, fractions=(0.9, 0.05, 0.05))
    fitted = fit_baseline(kind, data.space, data.train.x)
    drawn = data.space.table(fitted.sample(100_000))
    assert not drawn["town"].str.startswith("village").any()
    train = data.space.table(data.train.x)
    for name in ("wealth", "fee"):
        counts = train[name].value_counts()
        once = counts.index[(counts == 1) & (counts.index > 5_000)]
        times, most = repeats(drawn[name], set(once), 20)
        assert times <= most, name
    extremes = train["wealth"].nlargest(4)
    assert not drawn["wealth"].isin(extremes).any()
    assert drawn["wealth"].gt(2 * extremes.max()).mean() < 0.02
    if kind is IndependentColumns:
        assert drawn["fee"].isin([4_990, 9_900, 19_995]).mean() == pytest.approx(0.7, abs=0.08)


def test_trees_keep_no_value_that_few_rows_have(tmp_path):
    rows = rare_rows()
    run = fourfold.fit("autoregressive/trees", rows, budget="2 steps", size="xs", progress=False, out=tmp_path / "run")
    places = {name: i for i, name in enumerate(run.model.space.columns)}
    codes = run.model.space.codes(rows)
    tensors = {k: v for k, v in load_file(tmp_path / "run" / "weights.safetensors").items() if v.dtype == torch.int64}
    held = torch.cat([v.flatten() for v in tensors.values()]).unique()
    for name in ("wealth", "fee"):
        values, counts = codes[:, places[name]].unique(return_counts=True)
        once = values[(counts == 1) & (values > 5_000)]
        near = torch.isin(held, torch.cat([once + d for d in range(-20, 21)]).unique())
        assert torch.isin(held, once).sum() <= 2 + near.sum() / 5, name


def test_a_number_of_rows_below_one_is_refused():
    with pytest.raises(ValueError, match="rare must be at least 1 row, got 0"):
        DataOptions(rare=0)


@pytest.mark.parametrize("form", ["file", "frame"])
def test_how_many_rows_a_category_needs_is_a_setting_of_tables(tmp_path, form):
    rows = pd.DataFrame({"a": np.arange(270) % 90, "b": ["x"] * 263 + ["seven"] * 7})
    rows.to_csv(tmp_path / "t.csv", index=False)
    data = tmp_path / "t.csv" if form == "file" else rows
    levels = {rare: load(data, rare=rare, space="table", fractions=(0.98, 0.01, 0.01)).notes for rare in (2, 20)}
    assert not any("pooled" in note for note in levels[2])
    assert any("pooled" in note and "fewer than 20 rows" in note for note in levels[20])
    with pytest.raises(DataError, match="rare must be left out"):
        load(torch.zeros(30, 1, 8, 8, dtype=torch.uint8), rare=7)


def test_rare_numbers_that_a_frame_holds_as_texts_are_the_nearest_frequent_ones():
    """A pooled word among them, such as "other", would be no number."""
    stock = [*["0", "10", "20"] * 60, "70", "90", "15", "35", "3"]
    frame = pd.DataFrame({"stock": stock, "x": np.random.default_rng(0).normal(size=len(stock)).round(2)})
    frame["stock"] = frame["stock"].astype("str")
    data = load(frame)
    column = data.space.schema[0]
    assert column.categories == ("0", "10", "20")
    assert column.codes_of(np.arange(5), pd.Series(["70", "16", "3", "4", "-8"])).tolist() == [2, 2, 0, 0, 0]
    drawn = data.space.table(data.train.x)["stock"]
    assert set(drawn) == {"0", "10", "20"}
    assert drawn.dtype == frame["stock"].dtype
