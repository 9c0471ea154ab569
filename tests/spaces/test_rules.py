"""Rules of tables: planted ones are found, chance ones are not, samples keep them, and masses still sum to 1."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.core import GenerativeModel
from fourfold.data.schema.rules import rules_of
from fourfold.metrics.rows import Columns
from fourfold.metrics.rule_search import find_rules
from fourfold.runs.blueprint import check_loadable
from fourfold.spaces import Categorical, Numeric, Table
from fourfold.spaces.columns import MISSING, UNSEEN
from fourfold.spaces.rules import AtLeast, Combinations, FreeRows, Total
from fourfold.tasks import complete, impute, log_prob_given, sample_given

PLANTED = {
    "city determines land",
    "exactly one of red, green, blue",
    "size and shape have only 5 of 9 pairs of values",
    "total = net + tax",
    "rest = a + b − c",
    "low ≤ high",
    "start ≤ end",
}


def planted(n: int, seed: int = 0) -> pd.DataFrame:
    """Rows that keep one rule of each kind, with gaps in ``low`` and ``tax``."""
    r = np.random.default_rng(seed)
    city, colour, pair = r.integers(0, 15, n), r.integers(0, 3, n), r.integers(0, 5, n)
    low, net, tax = r.integers(0, 300, n), r.gamma(2, 20, n).round(2), r.gamma(2, 9, n).round(2)
    a, b, c = (r.poisson(40, n) for _ in range(3))
    start = pd.Timestamp("2020-01-01") + pd.to_timedelta(r.integers(0, 900, n), unit="D")
    gap, no_tax = r.random(n) < 0.1, r.random(n) < 0.1
    return pd.DataFrame(
        {
            "city": [f"City {k}" for k in city],
            "land": [f"Land {k % 4}" for k in city],
            "low": np.where(gap, np.nan, low),
            "high": low + r.poisson(30, n),
            "net": net,
            "tax": np.where(no_tax, np.nan, tax),
            "total": np.where(no_tax, np.nan, (net + tax).round(2)),
            "start": start.strftime("%d/%m/%Y"),
            "end": (start + pd.to_timedelta(r.integers(0, 60, n), unit="D")).strftime("%d/%m/%Y"),
            **{name: (colour == k).astype(int) for k, name in enumerate(("red", "green", "blue"))},
            "size": np.array(["S", "S", "M", "M", "L"])[pair],
            "shape": np.array(["slim", "wide", "slim", "plain", "plain"])[pair],
            "a": a,
            "b": b,
            "c": c,
            "rest": a + b - c,
        }
    )


@pytest.fixture(scope="module")
def data() -> fourfold.Dataset:
    return fourfold.load(planted(3000))


def model_of(data: fourfold.Dataset, recipe: str) -> GenerativeModel:
    torch.manual_seed(0)
    model = fourfold.build(recipe, data.space, "xs")
    model.fit_statistics(data.train.x)
    return model


def test_rules_of_fine_times_can_be_saved_and_keep_their_reach():
    n = np.random.default_rng(0)
    days = pd.Timestamp("2023-01-01") + pd.to_timedelta(n.integers(0, 700, 300), unit="D")
    seconds = [days + pd.to_timedelta(n.integers(0, 86400 * (k + 1), 300), unit="s") for k in range(3)]
    frame = pd.DataFrame({"day": days, **{f"t{k}": np.maximum.reduce(seconds[: k + 1]) for k in range(3)}})
    space = fourfold.load(frame).space
    assert len(space.rules) > 1
    assert not space.outside(space.examples(64, torch.Generator().manual_seed(0))).any()
    assert check_loadable(fourfold.build("autoregressive", space, "xs")) == []


def test_planted_rules_are_all_found_and_hold_in_all_rows(data):
    assert {rule.text for rule in data.space.rules} == PLANTED
    every = torch.cat([data.train.x, data.validation.x, data.test.x])
    assert not data.space.broken(every)[~data.space.foreign(every).any(1)].any()
    free = data.space.free_rows
    assert torch.equal(free.expand(free.reduce(data.train.x)), data.train.x)
    assert fourfold.load(planted(3000), rules=False).space.rules == ()


def test_tables_of_independent_columns_have_no_rules():
    for seed in range(8):
        r = np.random.default_rng(seed)
        n = (120, 300, 1000, 3000)[seed % 4]
        columns = [r.integers(0, 2, n), r.integers(0, 9, n), r.poisson(9, n), r.gamma(2, 9, n), r.random(n) < 0.02]
        x = torch.stack([torch.tensor(r.permutation(columns[j % 5])).double() for j in range(25)], 1)
        flags = tuple(j % 5 in (0, 1, 4) for j in range(25))
        meaning = Columns(tuple(f"c{j}" for j in range(25)), flags, ("number",) * 25)
        assert find_rules(x, meaning) == []


def test_a_rule_that_is_only_nearly_true_or_rests_on_few_rows_is_none(data):
    frame = planted(3000)
    frame.loc[7, "land"] = "Land 3" if frame.loc[7, "land"] != "Land 3" else "Land 2"
    frame.loc[8, "high"] = 0
    space, x = data.space, fourfold.load(frame, rules=False)
    texts = {rule.text for rule in rules_of(x.space, torch.cat([x.train.x, x.validation.x, x.test.x]))}
    assert texts == PLANTED - {"city determines land", "low ≤ high"}
    assert {rule.text for rule in rules_of(space, data.train.x[:90])} == {"city determines land"}  # 50 rows are enough
    assert rules_of(space, data.train.x[:45]) == ()


def test_held_out_rows_confirm_rules(data):
    names = list(data.space.columns)
    x = data.validation.x.clone()
    x[0, names.index("land")] = (x[0, names.index("land")] + 1) % 4
    assert {rule.text for rule in data.space.confirmed(x).rules} == PLANTED - {"city determines land"}
    x = data.validation.x.clone()
    x[:, names.index("city")] = UNSEEN  # a new city contradicts nothing
    assert data.space.confirmed(x) == data.space


@pytest.mark.parametrize("recipe", ["autoregressive", "diffusion/joint", "flow"])
def test_samples_of_any_model_keep_every_rule(data, recipe):
    x = model_of(data, recipe).sample(200, seed=1)
    assert not data.space.broken(x)[~data.space.foreign(x).any(1)].any()
    table = data.space.table(x)
    assert (table["total"] - table["net"] - table["tax"]).abs().max() < 1e-9
    assert table["total"].isna().equals(table["tax"].isna())
    assert (table["red"] + table["green"] + table["blue"] == 1).all()
    assert not (table["low"] > table["high"]).any()


def small() -> Table:
    """A table of few rows, with a rule of each kind."""
    schema = (
        Categorical("a", categories=("p", "q", "r")),
        Categorical("b", categories=("0", "1"), missing=True),
        Numeric("low", high=2, missing=True),
        Numeric("high", high=3),
        Numeric("sum", high=4),
    )
    step = Numeric("high above low", high=1, beyond=(0.1, 0.0))
    rules = (
        Combinations(("a", "b"), ((0, 0), (1, 1), (2, MISSING)), "a determines b"),
        AtLeast("high", ("low",), step, "low ≤ high"),
        Total("sum", ("high", "low"), (1, 1), "sum = high + low"),
    )
    return Table((*schema[:4], Numeric("sum", high=4, missing=True)), rules=rules)


def test_masses_sum_to_one_and_rows_that_break_a_rule_have_none():
    space = small()
    torch.manual_seed(0)
    model = fourfold.build("autoregressive", space, "xs")
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    rows, _ = space.support(10_000, 0.0)
    nats = model.log_prob(rows).nats.double()
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(torch.isinf(nats), space.broken(rows))
    keep = ~space.broken(rows)
    assert (rows[keep, 0] == 2).eq(rows[keep, 1] == MISSING).all()
    assert keep.sum() == 3 * (3 * 2 + 2)
    assert torch.allclose(log_prob_given(model, rows[keep], torch.zeros(5, dtype=torch.bool)).nats.double(), nats[keep])


def test_conditions_on_computed_columns_draw_from_the_conditional_distribution():
    space = small()
    torch.manual_seed(1)
    model = fourfold.build("autoregressive", space, "xs")
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    rows, _ = space.support(10_000, 0.0)
    p = model.log_prob(rows).nats.double().exp()
    for place, code in ((1, 1), (3, 1), (4, 2)):  # of combinations, a distance and a total
        x = torch.zeros(600, 5, dtype=torch.int64)
        x[:, place] = code
        drawn = complete(model, x, torch.arange(5) == place, seed=3)
        assert (drawn[:, place] == code).all()
        assert not space.broken(drawn).any()
        share = torch.stack([(drawn == row).all(1).double().mean() for row in rows])
        exact = torch.where(rows[:, place] == code, p, 0) / p[rows[:, place] == code].sum()
        assert (share - exact).abs().max() < 4 * (0.25 / 600) ** 0.5


def test_gaps_and_given_values_are_filled_by_the_rules(data):
    model = model_of(data, "autoregressive")
    frame = planted(16)
    frame["low"] = frame["low"].fillna(frame["high"])
    holes = frame.astype({"total": float}).copy()
    holes.loc[:9, "land"], holes.loc[5:14, "net"] = None, np.nan
    table = impute(model, holes).table
    assert (table["land"] == frame["land"]).all()
    complete_rows = frame["total"].notna()
    assert np.allclose(table["net"][complete_rows], frame["net"][complete_rows])
    drawn = data.space.table(sample_given(model, 20, given={"land": "Land 2", "net": 10, "total": 30.25}).x)
    assert set(drawn["land"]) == {"Land 2"}
    assert (drawn["tax"] - 20.25).abs().max() < 1e-9


def test_a_row_with_contradicting_values_does_not_keep_others_from_being_filled(data):
    frame = planted(40, seed=7)
    frame["low"] = frame["low"].fillna(frame["high"])
    holes = frame.astype({"net": float}).copy()
    holes.loc[5:30, "net"] = np.nan
    holes.loc[9, "land"] = f"Land {(int(frame['land'][9][-1]) + 1) % 4}"
    holes.loc[12, "city"] = "Atlantis"
    filled = impute(model_of(data, "autoregressive"), holes)
    assert [row.row for row in filled.skipped] == [9]
    assert "city determines land" in filled.skipped[0].reason
    assert filled.table["net"].isna().sum() == 1
    assert filled.table["city"][12] == "Atlantis"


def test_a_gap_that_no_rule_has_beside_its_row_is_unknown():
    space = Table(
        (
            Categorical("named", "str", categories=("no", "yes")),
            Categorical("city", "str", missing=True, categories=("Oslo", "Rome")),
            Numeric("age", high=3),
        ),
        rules=(Combinations(("named", "city"), ((0, MISSING), (1, 0), (1, 1)), "named has a city"),),
    )
    model = fourfold.build("autoregressive", space, "xs")
    rows = pd.DataFrame({"named": ["yes", "no", "yes"], "city": ["Oslo", None, None], "age": [None] * 3})
    filled = impute(model, rows, columns=["age"])
    assert not filled.skipped
    assert filled.table["age"].notna().all()
    assert filled.table["city"].isna().tolist() == [False, True, True]


def test_a_run_is_saved_with_its_rules_and_loaded(tmp_path):
    run = fourfold.fit(
        "autoregressive", planted(600), budget="1 steps", size="xs", precision="float32", out=tmp_path / "run"
    )
    again = fourfold.Run.load(tmp_path / "run")
    assert {rule.text for rule in again.model.space.rules} == {rule.text for rule in run.model.space.rules}
    assert len(again.model.space.rules) > 3
    assert torch.equal(again.sample(5, seed=1), run.sample(5, seed=1))


def test_rules_that_cannot_stand_together_are_refused():
    schema = (Numeric("a", high=3), Numeric("b", high=3))
    step = Numeric("step", high=3)
    with pytest.raises(ValueError, match="'c'"):
        FreeRows(schema, [Total("c", ("a",), (1,), "")])
    with pytest.raises(ValueError, match="computed from itself"):
        FreeRows(schema, [AtLeast("a", ("b",), step, ""), AtLeast("b", ("a",), step, "")])
    with pytest.raises(ValueError, match="one rule"):
        FreeRows(schema, [AtLeast("a", ("b",), step, ""), Total("a", ("b",), (1,), "")])
