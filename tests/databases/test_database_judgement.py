"""The judgement of a synthetic database notices what a table alone does not show."""

from __future__ import annotations

import numpy as np
import pytest
from test_database_models import clinic, shop

from fourfold_databases.database import read_database
from fourfold_databases.judging import judge_database, views
from fourfold_databases.plan import plans

TABLES = ("customers", "orders")


def tables(seed):
    data = shop(400, seed)
    return {table: data[table].drop(columns=["country_id"], errors="ignore") for table in TABLES}


@pytest.fixture(scope="module")
def honest():
    return judge_database(tables(0), tables(1), held_out=tables(2), n=300)


def auc(judgement, view):
    return next(s for s in judgement.views[view].scores if s.name.startswith("two_sample_auc["))


@pytest.mark.agreement
def test_another_draw_of_the_same_shop_is_like_real(honest):
    assert set(honest.views) == {
        "customers",
        "orders",
        "orders by customer_id",
        "numbers of orders",
        "siblings in orders",
    }
    assert all(auc(honest, view).value < 0.6 for view in honest.views)
    assert {check.broken for check in honest.checks} == {0}
    assert max(map(len, str(honest).splitlines())) <= 80


@pytest.mark.agreement
def test_orders_of_other_customers_are_noticed():
    """Every table is as in the data: only the links between them are wrong."""
    wrong = tables(1)
    generator = np.random.default_rng(0)
    wrong["orders"]["customer_id"] = generator.permutation(wrong["customers"]["customer_id"])[
        generator.integers(0, 400, len(wrong["orders"]))
    ]
    judgement = judge_database(tables(0), wrong, held_out=tables(2), n=300)
    assert auc(judgement, "orders").value < 0.6
    assert auc(judgement, "numbers of orders").value > 0.6
    assert auc(judgement, "siblings in orders").value < 0.65


def test_broken_links_are_counted():
    broken = tables(1)
    broken["orders"].loc[:9, "customer_id"] = 999_999
    broken["customers"].loc[1, "customer_id"] = broken["customers"].loc[0, "customer_id"]
    judgement = judge_database(tables(0), broken, n=100)
    counts = {check.name: check.broken for check in judgement.checks}
    assert counts["key customers.customer_id"] == 1
    assert counts["link orders.customer_id -> customers"] >= 10


def test_a_column_that_is_missing_is_named():
    wrong = tables(1)
    wrong["orders"] = wrong["orders"].drop(columns="gift")
    with pytest.raises(ValueError, match="table orders: must have the column 'gift'"):
        judge_database(tables(0), wrong)


def test_a_view_holds_two_tables_of_one_owner_beside_each_other():
    database = read_database(clinic(60))
    frames = views(database, plans(database))["bills beside visits"]
    high = frames["bills mean amount"] > 300
    assert len(frames) == 60
    assert (high == (frames["visits often ward"] == "ear")).all()
