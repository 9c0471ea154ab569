"""The judgement of a synthetic database notices what a table alone does not show."""

from __future__ import annotations

import numpy as np
import pytest
from test_database_models import clinic, shop

from fourfold_databases.database import read_database
from fourfold_databases.findings import findings
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


def damaged(**changes):
    """The tables of another shop, some of them changed."""
    data = tables(1)
    return data | {table: change(data[table].copy()) for table, change in changes.items()}


def with_words(orders):
    """The first nine years are words, as where another system pools rare years."""
    orders["year"] = orders["year"].astype(object)
    orders.loc[:8, "year"] = "(other)"
    return orders


def without_owners(orders):
    return orders.assign(customer_id=orders["customer_id"] + 10**6)


def of_mixed_keys(customers):
    customers["customer_id"] = customers["customer_id"].astype(object)
    customers.loc[4, "customer_id"] = "four"
    return customers


@pytest.mark.parametrize(
    ("samples", "measured", "broken"),
    [
        (damaged(orders=with_words), {"orders", "siblings in orders"}, set()),
        (damaged(orders=lambda rows: rows.assign(year="never")), {"orders", "siblings in orders"}, set()),
        (damaged(orders=lambda rows: rows[:0]), {"customers", "numbers of orders"}, set()),
        (damaged(customers=lambda rows: rows[:0]), {"orders"}, {"link orders.customer_id -> customers"}),
        (damaged(orders=without_owners), {*TABLES, "numbers of orders"}, {"link orders.customer_id -> customers"}),
        (damaged(customers=lambda rows: rows.assign(customer_id=1)), {*TABLES}, {"key customers.customer_id"}),
        (damaged(customers=of_mixed_keys), {*TABLES}, {"link orders.customer_id -> customers"}),
    ],
)
def test_any_samples_are_judged_as_far_as_they_go(samples, measured, broken):
    judgement = judge_database(tables(0), samples, n=60)
    assert measured <= set(judgement.views)
    assert broken <= {check.name for check in judgement.checks if check.broken}
    assert len(judgement.views) + len(judgement.short) == 5
    assert max(map(len, str(judgement).splitlines())) <= 80


def test_values_of_another_kind_are_counted_for_each_column():
    judgement = judge_database(tables(0), damaged(orders=with_words), n=60)
    count = len(tables(1)["orders"])
    line = f"orders, row 1, column year: '(other)' is not a number: 9 of {count} values are judged as wrong ones"
    assert judgement.wrong == (line,)
    item = next(item for item in findings(judgement, read_database(tables(0)).schema) if item.subject == "values")
    assert item.bad
    assert line in item.text


def test_tables_that_the_real_database_has_no_rows_of_are_not_judged():
    said = []
    real = {**tables(0), "orders": tables(0)["orders"][:0]}
    judgement = judge_database(real, tables(1), n=60, say=said.append)
    assert set(judgement.views) == {"customers"}
    assert any("not judged: orders" in line for line in said)
    with pytest.raises(ValueError, match="must have the table 'orders' of the schema, has customers; add it"):
        judge_database(tables(0), {"customers": tables(1)["customers"]})
