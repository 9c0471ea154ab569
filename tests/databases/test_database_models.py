"""Models of a database: keys and links of samples, likelihoods of units, and the dependence between tables."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest
import torch

from fourfold.data import DataError
from fourfold.main import run as command
from fourfold.runs.budget import parse_budget
from fourfold_databases.database import read_database
from fourfold_databases.fitting import _part, fit_database
from fourfold_databases.judging import judge_database
from fourfold_databases.matching import matches, role_places
from fourfold_databases.plan import Plan
from fourfold_databases.run import DatabaseRun
from fourfold_databases.schema import Link, Schema
from fourfold_databases.summaries import summary


def shop(customers=150, seed=0):
    """Customers who order, more in Oslo; items that name products by their kind; staff with managers; 4 countries."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["Rome", "Oslo"], customers)
    people = pd.DataFrame(
        {
            "customer_id": 1000 + np.arange(customers),
            "country_id": rng.choice(["it", "no", "se"], customers),
            "city": city,
        }
    )
    countries = pd.DataFrame({"country_id": ["it", "no", "se"], "name": ["Italy", "Norway", "Sweden"]})
    products = pd.DataFrame({"product_id": [f"p{i:02d}" for i in range(40)], "kind": ["book", "toy"] * 20})
    counts = np.where(city == "Oslo", rng.integers(2, 5, customers), rng.integers(0, 2, customers))
    owner = np.repeat(people["customer_id"].to_numpy(), counts)
    year = np.concatenate([2000 + np.sort(rng.integers(0, 20, k)) for k in counts])
    orders = pd.DataFrame({"customer_id": owner, "year": year})
    orders = orders.sample(frac=1, random_state=0).reset_index(drop=True)  # a file in no order
    orders.insert(0, "order_id", np.arange(len(orders)))
    orders["gift"] = rng.choice(["no", "yes"], len(orders))
    number = np.repeat(np.arange(len(orders)), rng.integers(1, 3, len(orders)))
    gifts = orders["gift"].to_numpy()[number] == "yes"
    item = np.where(gifts, 2 * rng.integers(0, 20, len(number)) + 1, 2 * rng.integers(0, 20, len(number)))
    items = pd.DataFrame({"order_id": number, "product_id": products["product_id"].to_numpy()[item]})
    staff = pd.DataFrame({"staff_id": range(60), "manager_id": [None, *(i // 3 for i in range(1, 60))]})
    staff["level"] = np.minimum(np.log2(1 + np.arange(60)).astype(int), 3)
    tables = {"customers": people, "countries": countries, "products": products, "orders": orders}
    return {**tables, "order_items": items, "staff": staff}


@pytest.fixture(scope="module")
def database_run(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("database") / "run"
    fit_database("autoregressive", shop(), out=folder, budget="60 steps", size="xs", precision="float32")
    return DatabaseRun.load(folder)


@pytest.fixture(scope="module")
def samples(database_run):
    return database_run.sample(2.0, seed=1)


def test_keys_differ_and_every_link_leads_to_a_row(database_run, samples):
    data = shop()
    for table, frame in samples.items():
        assert list(frame.columns) == list(data[table].columns)
        key = database_run.schema.keys[table]
        assert key is None or frame[key].is_unique
        for link in database_run.schema.links_of(table):
            parents = samples[link.parent][database_run.schema.keys[link.parent]]
            assert frame[link.column].dropna().isin(parents).all(), link
    assert len(samples["customers"]) == 300
    assert samples["countries"].astype(str).equals(data["countries"].astype(str))
    assert samples["orders"]["customer_id"].dtype == data["orders"]["customer_id"].dtype


def test_nobody_is_above_himself(samples):
    staff = samples["staff"]
    place = dict(zip(staff["staff_id"], range(len(staff)), strict=True))
    named = staff.dropna(subset="manager_id")
    assert len(named) > len(staff) / 2
    assert all(place[above] < place[own] for own, above in zip(named["staff_id"], named["manager_id"], strict=True))


def test_children_follow_their_parents(samples):
    people, orders = samples["customers"], samples["orders"]
    counts = orders["customer_id"].value_counts().reindex(people["customer_id"], fill_value=0).to_numpy()
    oslo = (people["city"] == "Oslo").to_numpy()
    assert counts[oslo].mean() > 2 > 1 > counts[~oslo].mean()  # 3 and 0.5 in the data
    assert (orders.groupby("customer_id")["year"].diff().dropna() >= 0).all()
    items = samples["order_items"].merge(orders, on="order_id").merge(samples["products"], on="product_id")
    agrees = (items["gift"] == "yes") == (items["kind"] == "toy")
    assert agrees.mean() > 0.8  # 0.5 if items did not follow their orders, 1 in the data


def test_the_likelihood_of_a_unit_is_the_product_of_its_tables(database_run):
    data = read_database(shop(20, seed=5))
    whole = database_run.log_prob(data)
    assert {str(result.kind) for result in whole.values()} == {"exact"}
    assert len(whole["customers"].nats) == 20
    parts = [0.0, 0.0]
    owners = data.frames["customers"]["customer_id"]
    for i, keys in enumerate((owners[:10], owners[10:])):  # two halves of the customers with all that they own
        frames = shop(20, seed=5)
        frames["customers"] = frames["customers"][frames["customers"]["customer_id"].astype(str).isin(keys)]
        frames["orders"] = frames["orders"][frames["orders"]["customer_id"].astype(str).isin(keys)]
        frames["order_items"] = frames["order_items"][
            frames["order_items"]["order_id"].isin(frames["orders"]["order_id"])
        ]
        scores = database_run.log_prob(read_database(frames, database_run.schema))
        parts[i] = sum(float(scores[table].nats.sum()) for table in ("customers", "orders", "order_items"))
    total = sum(float(whole[table].nats.sum()) for table in ("customers", "orders", "order_items"))
    assert sum(parts) == pytest.approx(total, rel=1e-5)


def test_given_parents_stay_and_get_the_children_that_theirs_have(database_run):
    parents = pd.DataFrame({"customer_id": range(200), "country_id": "no", "city": ["Oslo", "Rome"] * 100})
    samples = database_run.sample(given={"customers": parents})
    assert samples["customers"].equals(parents)
    counts = samples["orders"]["customer_id"].value_counts().reindex(range(200), fill_value=0).to_numpy()
    assert counts.sum() == len(samples["orders"])
    assert counts[::2].mean() > 2  # 3 in the data
    assert 0.25 < (counts[1::2] == 0).mean() < 0.75  # half of the customers in Rome order nothing
    assert set(samples["order_items"]["order_id"]) <= set(samples["orders"]["order_id"])


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("customers", "customer_id", 7, "row 2, column customer_id: must differ in every row, got '7'"),
        ("customers", "customer_id", [1, None, 3, 4, 5], "row 2, column customer_id: must name the row, got None"),
        (
            "customers",
            "customer_id",
            [1, "b", 3, 3, 5],
            "column customer_id, row 2: a key must be of one kind, got a text",
        ),
        ("orders", "customer_id", [1, 0, 0, 0, 0], "row 1, column customer_id: must name a row of customers, got '1'"),
        ("orders", "year", ["2004", "x", "", "x", 2005], "row 2, column year: must be a number, got 'x'"),
    ],
)
def test_given_rows_that_are_bad_are_refused_or_left_out(database_run, table, column, value, message):
    given = {name: shop(5)[name][:5] for name in ("customers", "orders")}
    owner = given["customers"]["customer_id"].iloc[0]
    given["orders"] = given["orders"].assign(customer_id=owner)
    values = [owner if item == 0 else item for item in value] if isinstance(value, list) else value
    given[table] = given[table].assign(**{column: pd.Series(values, index=given[table].index, dtype=object)})
    if table == "customers":
        del given["orders"]
    with pytest.raises(ValueError, match=f"given, table {table}, {message}.*skip_bad=True"):
        database_run.sample(given=given)
    said = []
    samples = database_run.sample(given=given, skip_bad=True, say=said.append)
    left = len(given[table]) - len(samples[table])
    assert left > 0
    assert [line for line in said if line.startswith(f"{table}: {left} row")]
    assert samples[table][column].notna().all() or column == "year"
    assert set(samples["orders"]["customer_id"].astype(str)) <= set(samples["customers"]["customer_id"].astype(str))


def test_given_tables_without_rows_or_columns_are_refused_or_drawn(database_run):
    rows = shop(5)["customers"]
    with pytest.raises(ValueError, match=r"given, table customers: must have the columns .* got none called 'city'"):
        database_run.sample(given={"customers": rows.drop(columns="city")})
    with pytest.raises(ValueError, match="given, table customers: must have rows, got none; draw its rows too with"):
        database_run.sample(given={"customers": rows[:0]})
    drawn, plain = (database_run.sample(0.1, given=given, skip_bad=True) for given in ({"customers": rows[:0]}, None))
    assert drawn["customers"].equals(plain["customers"])


def test_a_training_goes_on_by_its_folder_alone(tmp_path, capsys):
    """Tables that are trained are not trained again."""
    for table in ("customers", "orders"):
        frame = shop()[table].drop(columns="country_id", errors="ignore")
        frame.to_csv(tmp_path / f"{table}.csv", index=False)
    run = tmp_path / "runs" / "shop"
    settings = {"budget": "4 steps", "size": "xs", "precision": "float32"}
    first = fit_database("autoregressive", tmp_path, out=run, **settings)
    weights = {table: part.model.state_dict() for table, part in first.runs.items()}
    shutil.rmtree(run / "tables" / "orders")  # as if the process had died before it
    assert command(["fit", "--resume", str(run)]) == 0
    for table, part in DatabaseRun.load(run).runs.items():
        assert part.card["steps"] == 4
        assert all(torch.equal(value, weights[table][name]) for name, value in part.model.state_dict().items())
    capsys.readouterr()


def test_seconds_that_a_table_leaves_are_the_next_ones():
    budget = parse_budget("100s")
    assert _part(budget, 0.4, 1.0, 0.0).seconds == pytest.approx(40)
    assert _part(budget, 0.3, 0.6, 10.0).seconds == pytest.approx(45)  # 30 without the 30 that the first left
    assert _part(budget, 0.3, 0.3, 100.0).seconds == pytest.approx(10)  # a tenth, where others took too long
    assert str(_part(parse_budget("7 steps"), 0.3, 0.3, 50.0)) == "7 steps"


def test_samples_of_a_seed_repeat(database_run, samples):
    again = database_run.sample(2.0, seed=1)
    assert all(again[table].equals(samples[table]) for table in samples)


def test_a_drawn_reference_names_the_row_that_is_most_alike():
    parents = pd.DataFrame({"kind": ["a", "b", "a", "b"], "price": ["1", "1", "9", "9"]})
    samples = pd.DataFrame({"kind": ["b", "a", "a"], "price": ["8.5", "2", "9"]})
    assert matches(samples, parents, np.random.default_rng(0)).tolist() == [3, 0, 2]


def test_rows_that_are_alike_are_named_equally_often():
    parents = pd.DataFrame({"kind": ["a"] * 10 + ["b"] * 10})
    samples = pd.DataFrame({"kind": ["a"] * 2000})
    counts = np.bincount(matches(samples, parents, np.random.default_rng(0)), minlength=20)
    assert counts[10:].sum() == 0
    assert counts[:10].min() > 0


def test_the_command_line_draws_a_database_with_its_keys(database_run, tmp_path, capsys):
    out = tmp_path / "new.db"
    assert command(["sample", str(database_run.folder), "--scale", "0.5", "--out", str(out)]) == 0
    with sqlite3.connect(out) as base:
        assert base.execute("pragma foreign_key_check").fetchall() == []
        assert base.execute("select count(*) from customers").fetchone() == (75,)
    assert read_database(out).schema.links_of("order_items")[0].parent == "orders"
    capsys.readouterr()
    assert command(["sample", str(database_run.folder), "--steps", "5", "--out", str(tmp_path / "x.db")]) == 2
    assert "--steps" in capsys.readouterr().err
    assert command(["score", str(database_run.folder), str(out)]) == 0
    assert "in all" in capsys.readouterr().out


def test_rows_with_new_categories_are_counted_and_left_out_of_sums(database_run, tmp_path, capsys):
    data, folder = shop(20, seed=5), tmp_path / "held"
    data["customers"].loc[[2, 4], "city"] = "Paris"
    data["orders"].loc[[0], "gift"] = "perhaps"
    folder.mkdir()
    for table, frame in data.items():
        frame.to_csv(folder / f"{table}.csv", index=False)
    scores = database_run.log_prob(read_database(data, database_run.schema))
    assert scores["customers"].outside.nonzero().flatten().tolist() == [2, 4]
    assert scores["orders"].outside.sum() == 1
    assert all(np.isfinite(score.mean()[0]) for score in scores.values())
    assert command(["score", str(database_run.folder), str(folder)]) == 0
    printed = capsys.readouterr()
    assert "18 of 20 rows" in printed.out
    assert "2 of 20 rows have values that the model cannot draw: probability 0, left out of the mean" in printed.out
    assert "inf" not in printed.out
    assert "customers: row 3, column city: 'Paris' is a value that the model never saw" in printed.err
    assert f"orders: 1 of {len(data['orders'])} rows, column gift: 'perhaps' is a value that" in printed.err
    assert command(["score", str(database_run.folder), str(folder), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["customers"]["examples"], record["customers"]["scored"]) == (20, 18)


def test_new_categories_of_given_rows_are_said_with_what_is_taken_instead(database_run):
    notes: list[str] = []
    people = shop(12, seed=3)["customers"].assign(city=["Paris", "Kiel", *["Oslo"] * 10])
    drawn = database_run.sample(given={"customers": people}, say=notes.append)
    assert notes == ["customers: 2 rows, column city: 'Paris', 'Kiel' taken as unknown"]
    assert drawn["customers"]["city"].tolist() == people["city"].tolist()


def test_a_short_table_that_names_others_is_refused():
    data = shop()
    data["order_items"] = data["order_items"][:5]
    with pytest.raises(ValueError, match="table order_items: must have at least 20 rows"):
        fit_database("autoregressive", data, budget="1 steps", size="xs")


def test_tables_of_keys_alone_need_no_model_and_a_key_may_be_a_link(tmp_path):
    tables = {
        "customers": pd.DataFrame({"customer_id": range(60), "city": ["Rome", "Oslo"] * 30}),
        "tags": pd.DataFrame({"tag_id": range(30)}),
        "vips": pd.DataFrame({"customer_id": range(0, 60, 2)}),
    }
    fit_database("autoregressive", tables, out=tmp_path / "run", budget="1 steps", size="xs", precision="float32")
    run = DatabaseRun.load(tmp_path / "run")
    assert [*run.runs] == ["customers"] == [*run.log_prob(read_database(tables))]
    samples = run.sample(2.0)
    assert samples["tags"]["tag_id"].tolist() == [*range(30, 90)]
    assert samples["vips"]["customer_id"].is_unique
    assert 0 < len(samples["vips"]) < 120 == len(samples["customers"])
    assert samples["vips"]["customer_id"].isin(samples["customers"]["customer_id"]).all()
    with pytest.raises(ValueError, match="paradigm must be one of"):
        fit_database("autoregresive", tables, out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_links_may_be_empty():
    data = shop(60)
    data["orders"]["customer_id"] = data["orders"]["customer_id"].astype("Int64")
    data["orders"].loc[::3, "customer_id"] = pd.NA
    run = fit_database("autoregressive", data, budget="10 steps", size="xs", precision="float32")
    orders = run.sample(1.0)["orders"]
    assert 0.1 < orders["customer_id"].isna().mean() < 0.7  # a third in the data


def clinic(patients=200, seed=0):
    """Patients whose visits and bills share a kind that no column of the patient tells."""
    rng = np.random.default_rng(seed)
    key = np.arange(patients)
    kind, owner = rng.choice(["eye", "ear"], patients), np.repeat(key, 2)
    visits = pd.DataFrame({"patient_id": owner, "year": np.tile([2001, 2002], patients), "ward": kind[owner]})
    amount = np.where(kind[owner] == "eye", 100, 500) + rng.integers(0, 50, len(owner))
    bills = pd.DataFrame({"patient_id": owner, "year": np.tile([2003, 2004], patients), "amount": amount})
    people = pd.DataFrame({"patient_id": key, "age": rng.integers(20, 80, patients)})
    return {"patients": people, "visits": visits, "bills": bills}


@pytest.mark.agreement
def test_tables_of_one_owner_depend_on_each_other_as_in_the_data():
    torch.manual_seed(0)
    run = fit_database("autoregressive", clinic(), budget="40 steps", size="xs", precision="float32")
    assert [run.plans[table].siblings for table in ("visits", "bills")] == [(), ("visits",)]
    samples = run.sample(1.0, seed=3)
    ward = samples["visits"].groupby("patient_id")["ward"].first()
    bills = samples["bills"].assign(ward=samples["bills"]["patient_id"].map(ward)).dropna(subset="ward")
    assert len(bills) > 300
    agrees = (bills["amount"].astype(float) < 300) == (bills["ward"] == "eye")
    assert agrees.mean() > 0.9  # 0.5 if bills were drawn given the patient alone, 1 in the data


def test_a_summary_tells_of_the_rows_of_each_owner():
    child = pd.DataFrame({"o": ["b", "a", "b", None, "b"], "t": ["3", "1", "1", "1", "2"], "k": list("xyzxz")})
    plan = Plan(tuple("otk"), tuple("tk"), tuple("tk"), quantities=("t",), categories=("k",), order="t", longest=3)
    table = summary(child, Link("c", "o", "p"), plan, pd.Series(["a", "b", "z"]))
    assert table["c rows"].tolist() == [1, 3, 0]
    assert table["c mean t"].tolist()[:2] == [1.0, 2.0]
    assert table["c first k"].tolist()[:2] == ["y", "z"]
    assert table["c last k"].tolist()[:2] == ["y", "x"]
    assert table["c often k"].tolist()[:2] == ["y", "z"]
    assert table.iloc[2, 1:].isna().all()


def test_the_few_rows_that_a_reference_names_keep_their_shares():
    """Events at three of sixty places, which lie close together: each new place of them has the events of one."""
    rng, n = np.random.default_rng(0), 600
    places = pd.DataFrame({"place_id": range(60), "height": rng.normal(size=60) * 100})
    places.loc[:2, "height"] = [1.0, 1.1, 1.2]
    events = pd.DataFrame({"place_id": rng.choice(3, n, p=[0.6, 0.3, 0.1])})
    events["mass"] = events["place_id"] * 50 + rng.normal(size=n)
    run = fit_database(
        "autoregressive", {"places": places, "events": events}, budget="150 steps", size="xs", precision="float32"
    )
    assert run.plans["events"].roles == ("place_id",)
    new = run.sample()["events"]
    shares = new["place_id"].value_counts(normalize=True)
    assert shares.tolist() == pytest.approx([0.6, 0.3, 0.1], abs=0.08)
    mass = new.groupby("place_id")["mass"].median()[shares.index]
    assert mass.tolist() == pytest.approx([0, 50, 100], abs=10)


def test_a_role_gets_the_nearest_row_and_no_other_role_has_it():
    parents = pd.DataFrame({"x": [0.0, 1.0, 5.0], "kind": ["a", "a", "b"]})
    drawn = pd.DataFrame({"x": [0.1, 0.2, 0.1, 0.15, 0.3, 4.0], "kind": ["a", "a", "a", "a", "a", "b"]})
    roles = pd.Series(["1", "1", "1", "2", "2", "3"])
    assert role_places(roles, drawn, parents, np.random.default_rng(0)).tolist() == [0, 0, 0, 1, 1, 2]
    few = role_places(roles, drawn, parents[:1], np.random.default_rng(0))
    assert few.tolist() == [0] * 6


@pytest.mark.parametrize("owners", [60, 40], ids=["all own albums", "some own none"])
def test_a_table_of_names_alone_gets_new_names(tmp_path, owners):
    """Names and addresses of pages need no model. Whether a row owns others does."""
    rng = np.random.default_rng(0)
    names = pd.Series([f"{letter}{letter.upper()} {k:04}" for k, letter in enumerate("abcdef" * 10)])
    artists = pd.DataFrame({"artist_id": range(60), "name": names, "page": [f"page/{k}" for k in range(60)]})
    albums = pd.DataFrame(
        {"artist_id": rng.permutation(np.arange(200) % owners), "year": rng.integers(1990, 2020, 200)}
    )
    mails = pd.DataFrame({"artist_id": range(60), "mail": [f"m{k}@mail.com" for k in range(60)]})
    data = {"artists": artists, "albums": albums, "mails": mails}
    fit_database("autoregressive", data, budget="9 steps", size="xs", precision="float32", out=tmp_path / "run")
    run = DatabaseRun.load(tmp_path / "run")
    assert ("artists" in run.runs) == (owners < 60)
    new = run.sample(2.0, 1)
    assert len(new["artists"]) == 120
    assert new["artists"]["name"].str.fullmatch(r"[a-f][A-F] \d{4}").all()
    assert new["artists"]["page"].tolist() == [f"page/{k}" for k in range(60, 180)]
    assert new["mails"]["mail"].tolist() == [f"m{k}@mail.com" for k in range(60, 60 + len(new["mails"]))]
    assert set(new["albums"]["artist_id"]) <= set(new["artists"]["artist_id"])
    assert run.log_prob(read_database(data)).keys() == run.runs.keys()
    judgement = judge_database(data, new, n=60)
    assert "albums" in judgement.views
    assert not any(check.broken for check in judgement.checks)


def test_rows_of_a_short_table_that_few_rows_name_are_named_by_key():
    """The fewer than five rows that name a key are pooled where a column is modelled, and no key is "other"."""
    staff = pd.DataFrame({"staff_id": [f"s{k}" for k in range(9)], "title": [*"abcdefghi"]})
    rng = np.random.default_rng(0)
    names = np.repeat(staff["staff_id"].to_numpy(), [40, 40, 40, 4, 4, 2, 1, 1, 0])
    visits = pd.DataFrame({"staff_id": rng.permutation(names), "minutes": rng.integers(5, 60, len(names))})
    visits["stock"] = np.where(rng.random(len(names)) < 0.95, "0", rng.integers(10, 99, len(names)).astype(str))
    run = fit_database(
        "autoregressive", {"staff": staff, "visits": visits}, budget="20 steps", size="xs", precision="float32"
    )
    drawn = run.sample(12)["visits"]
    few = drawn["staff_id"].value_counts().reindex(staff["staff_id"][3:]).fillna(0)
    assert set(drawn["staff_id"]) <= set(staff["staff_id"])
    assert few.sum() == pytest.approx(12 / 132 * len(drawn), rel=0.4)
    assert (few / few.sum()).to_numpy() == pytest.approx(np.array([5, 5, 3, 2, 2, 1]) / 18, abs=0.1)
    assert few.iloc[-1] > 0
    assert drawn["stock"].str.fullmatch(r"\d+").all()


def test_a_short_table_that_names_itself_stays_as_it_is():
    staff = pd.DataFrame({"staff_id": range(8), "manager_id": [None, *[0] * 7], "title": [*"abcdefgh"]})
    staff["manager_id"] = staff["manager_id"].astype("Int64")
    rng = np.random.default_rng(0)
    visits = pd.DataFrame({"staff_id": rng.integers(0, 8, 200), "minutes": rng.integers(5, 60, 200)})
    options = {"budget": "3 steps", "size": "xs", "precision": "float32"}
    run = fit_database("autoregressive", {"staff": staff, "visits": visits}, **options)
    new = run.sample(0.5)
    assert new["staff"]["title"].tolist() == staff["title"].tolist()
    assert set(new["visits"]["staff_id"].astype(str)) <= set(new["staff"]["staff_id"].astype(str))
    visits["visit_id"], staff["last_visit_id"] = range(200), range(8)
    schema = Schema({"staff": "staff_id", "visits": "visit_id"}, (Link("staff", "last_visit_id", "visits"),))
    with pytest.raises(DataError, match="table staff: must have at least 20 rows"):
        fit_database("autoregressive", {"staff": staff, "visits": visits}, schema=schema, **options)


def test_a_reference_table_stays_as_it_is_and_samples_name_its_rows(tmp_path):
    tables, path = shop(), tmp_path / "shop.toml"
    path.write_text(read_database(tables).schema.toml.replace('["products"]', '["products"]\nreference = true'))
    schema = read_database(tables, path).schema
    assert schema.real == ("products",) == Schema.of_toml("again", schema.toml).real
    run = fit_database("autoregressive", tables, schema=path, budget="60 steps", size="xs", out=tmp_path / "run")
    for part in (run, DatabaseRun.load(tmp_path / "run")):
        frames = part.sample()
        pd.testing.assert_frame_equal(frames["products"], tables["products"], check_dtype=False)
        assert frames["order_items"]["product_id"].isin(tables["products"]["product_id"]).all()
    orders = frames["order_items"].merge(frames["orders"], on="order_id").merge(frames["products"], on="product_id")
    toys = (orders["kind"] == "toy").groupby(orders["gift"]).mean()  # gifts are toys, and toys alone
    assert toys["yes"] > 0.7
    assert toys["no"] < 0.3
    with pytest.raises(DataError, match="products: a reference table must be public with private"):
        fit_database("autoregressive", tables, schema=path, budget="2 steps", private="epsilon=4")


def test_a_reference_table_names_no_drawn_rows(tmp_path):
    path = tmp_path / "shop.toml"
    path.write_text(read_database(shop()).schema.toml.replace('["orders"]', '["orders"]\nreference = true'))
    with pytest.raises(DataError, match="make customers a reference table, too"):
        fit_database("autoregressive", shop(), schema=path, budget="2 steps")


def test_a_flag_that_few_rows_have_is_kept():
    """Three of 90 customers own refunds. Were "yes" pooled as a rare word, no sample would have a refund."""
    rng = np.random.default_rng(0)
    customers = pd.DataFrame({"customer_id": range(90), "age": rng.integers(18, 80, 90)})
    refunds = pd.DataFrame({"customer_id": np.repeat([3, 40, 77], 8), "total": rng.integers(1, 99, 24)})
    frames = {"customers": customers, "refunds": refunds}
    run = fit_database("autoregressive", frames, budget="5 steps", size="xs", precision="float32")
    drawn = run.sample(20)["refunds"]
    assert 0.005 < drawn["customer_id"].nunique() / 1800 < 0.12


def a_clinic(visits):
    """60 doctors, and visits without a key of their own, each to another doctor."""
    rng = np.random.default_rng(0)
    doctors = pd.DataFrame({"doctor_id": np.arange(60), "field": rng.choice([*"abc"], 60)})
    patients = pd.DataFrame({"patient_id": 100 + np.arange(80), "age": rng.integers(1, 90, 80)})
    rows = {"patient_id": rng.integers(100, 180, visits), "doctor_id": rng.permutation(60)[:visits]}
    rows = pd.DataFrame({**rows, "cost": rng.integers(20, 90, visits)})
    return {"doctors": doctors, "patients": patients, "visits": rows}


@pytest.mark.parametrize("case", ["owner", "reference", "real rows"])
def test_a_key_that_is_a_link_too_leads_to_another_row_each_time(case, tmp_path):
    frames = a_clinic(40)
    schema = read_database(frames).schema
    if case == "reference":
        links = tuple(sorted(schema.links, key=lambda link: link.parent != "patients"))
        schema = dataclasses.replace(schema, links=links)
        schema = Schema.of_toml("clinic.toml", schema.toml)
    elif case == "real rows":
        schema = dataclasses.replace(schema, real=("doctors",))
    settings = {"budget": "3 steps", "size": "xs", "precision": "float32"}
    run = fit_database("autoregressive", frames, schema=schema, out=tmp_path / "run", **settings)
    for drawn in (run.sample(1.2), DatabaseRun.load(tmp_path / "run").sample(1.2)):
        assert {*drawn["visits"]["doctor_id"]} <= {*drawn["doctors"]["doctor_id"]}
        assert drawn["visits"]["doctor_id"].is_unique
        assert {*drawn["visits"]["patient_id"]} <= {*drawn["patients"]["patient_id"]}
        assert len(drawn["visits"]) > 10


@pytest.mark.parametrize("kind", ["int64", "str"])
def test_keys_below_zero_count_on_as_numbers(kind):
    rng = np.random.default_rng(0)
    accounts = pd.DataFrame({"account_id": np.arange(-30, 30), "kind": rng.choice([*"xy"], 60)})
    bookings = pd.DataFrame({"account_id": rng.integers(-30, 30, 90), "sum": rng.integers(1, 90, 90)})
    frames = {"accounts": accounts, "bookings": bookings}
    frames = {name: frame.astype({"account_id": kind}) for name, frame in frames.items()}
    drawn = fit_database("autoregressive", frames, budget="2 steps", size="xs", precision="float32").sample()
    assert drawn["accounts"]["account_id"].dtype == kind
    assert drawn["accounts"]["account_id"].astype(int).tolist() == [*range(30, 90)]
    assert {*drawn["bookings"]["account_id"]} <= {*drawn["accounts"]["account_id"]}
