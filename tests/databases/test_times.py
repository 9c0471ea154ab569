"""Times of tables that write them in different ways."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from fourfold_databases.bounds import Bound
from fourfold_databases.database import read_database
from fourfold_databases.derived import Tally, of_record
from fourfold_databases.fitting import fit_database
from fourfold_databases.plan import Plan, plans
from fourfold_databases.schema import Link, Schema
from fourfold_databases.times import TimeFormat

SECONDS = TimeFormat(("%Y-%m-%d %H:%M:%S",), 3600.0)
DAYS = TimeFormat(("%d/%m/%Y",), 86400.0)


def library(members=60, seed=0):
    """Members who joined on days written day first, and loans with hours, none before its member."""
    rng = np.random.default_rng(seed)
    joined = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 700, members), "D")
    owner = np.repeat(np.arange(members), 1 + rng.integers(0, 4, members))
    lent = joined[owner] + pd.to_timedelta(rng.integers(0, 2000, len(owner)), "h")
    people = pd.DataFrame({"member_id": [f"m{i}" for i in range(members)], "joined": joined.strftime("%d/%m/%Y")})
    people["last"] = pd.Series(lent).groupby(owner).max().dt.strftime("%Y-%m-%d %H:%M:%S")
    people["opens"] = pd.to_timedelta(rng.integers(7, 11, members), "h").map(lambda time: str(time)[-8:])
    loans = pd.DataFrame({"member_id": people["member_id"].to_numpy()[owner]})
    loans["lent"] = lent.strftime("%Y-%m-%d %H:%M:%S")
    return {"members": people, "loans": loans}


def test_rows_beyond_a_bound_get_it_in_their_own_format():
    rows = pd.DataFrame({"lent": ["2021-05-03 00:00:00", "2021-05-03 07:00:00", "2020-01-01 00:00:00"]})
    owners = pd.DataFrame({"joined": ["05/03/2021", "09/10/2021", ""]})
    bound = Bound("lent", "joined", times=(SECONDS, DAYS))
    np.testing.assert_allclose(bound.excess(rows, owners)[:2] * 24, [-59 * 24, 159 * 24 - 7])
    after = bound.clamped(rows, owners, as_text=True)["lent"].tolist()
    assert after == ["2021-05-03 00:00:00", "2021-10-09 00:00:00", "2020-01-01 00:00:00"]


@pytest.mark.parametrize("most", [False, True])
def test_a_day_that_an_hour_bounds_is_the_next_one_or_the_one_before(most):
    bound = Bound("joined", "lent", most, times=(DAYS, SECONDS))
    rows = pd.DataFrame({"joined": ["31/12/2021" if most else "01/01/2021"]})
    owners = pd.DataFrame({"lent": ["2021-10-09 13:00:00"]})
    after = bound.clamped(rows, owners, as_text=True)
    assert after["joined"].tolist() == ["09/10/2021" if most else "10/10/2021"]
    assert not (bound.excess(after, owners) > 0).any()


def test_values_that_are_no_texts_keep_their_type():
    bound = Bound("lent", "joined", times=(TimeFormat(("%Y-%m-%d %H:%M:%S",), 60.0, "datetime64[us]"), DAYS))
    rows = pd.DataFrame({"lent": pd.to_datetime(["2021-01-01 10:30"])})
    after = bound.clamped(rows, pd.DataFrame({"joined": ["02/01/2021"]}), as_text=False)["lent"]
    assert after.dtype.kind == "M"
    assert after[0] == pd.Timestamp("2021-01-02")


def test_rules_hold_between_days_first_and_hours_but_not_with_times_of_a_day():
    plan = plans(read_database(library()))
    assert [(bound.column, bound.above) for bound in plan["loans"].bounds] == [("lent", "joined")]
    assert [(item.column, item.function) for item in plan["members"].derived] == [("last", "max")]
    again = {table: Plan.of_record(json.loads(json.dumps(own.record()))) for table, own in plan.items()}
    assert again == plan
    assert again["loans"].bounds[0].times == plan["loans"].bounds[0].times


def test_records_of_earlier_versions_are_read():
    tally = {**asdict(Tally("last", "loans", "member_id", "max", "lent")), "time": True}
    del tally["times"]
    assert of_record(tally).times == TimeFormat()
    record = plans(read_database(library()))["loans"].record()
    record["times"], old = list(record["times"]), {"column": "lent", "above": "joined", "most": False, "form": None}
    again = Plan.of_record({**record, "bounds": [old]})
    assert again.times == {"lent": TimeFormat()}
    assert again.bounds == (Bound("lent", "joined"),)


def test_texts_around_numbers_are_one_column_of_their_table():
    frames = library()
    fees = ["12.50", "free", "7.25", "none of 1.50"]
    frames["loans"]["fee"] = [fees[i % 4] for i in range(len(frames["loans"]))]
    assert plans(read_database(frames))["loans"].own == ("lent", "fee")


def test_given_rows_may_refer_to_others_of_their_table():
    """Whether a row owns others is drawn given the row that it refers to."""
    frames = library()
    people = frames["members"]
    people["friend_id"] = [None if i < 5 else f"m{i // 2}" for i in range(len(people))]
    people["age"] = [20 + i % 40 for i in range(len(people))]
    frames["loans"] = frames["loans"][frames["loans"]["member_id"].str[1:].astype(int) % 3 > 0]
    schema = Schema(
        {"members": "member_id", "loans": None},
        (Link("members", "friend_id", "members"), Link("loans", "member_id", "members")),
    )
    run = fit_database("autoregressive", frames, schema=schema, budget="2 steps", size="xs", precision="float32")
    given = people[:30].copy()
    drawn = run.sample(given={"members": given})
    assert drawn["members"]["friend_id"].isna().equals(given["friend_id"].isna())
    assert 0 < drawn["loans"]["member_id"].nunique() < 30
