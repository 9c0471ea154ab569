"""Keys of several columns, columns that other tables decide, bounds and rules within child tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_keys_and_links import links, shop

from fourfold.data import DataError
from fourfold_databases.database import read_database
from fourfold_databases.derived import Copy, Tally
from fourfold_databases.fitting import fit_database
from fourfold_databases.inference import inferred_schema
from fourfold_databases.judging import checks_of
from fourfold_databases.plan import plans
from fourfold_databases.reading import frames_of
from fourfold_databases.rules import rule_checks, rules_of
from fourfold_databases.run import DatabaseRun
from fourfold_databases.schema import Schema

KEY = ["player_id", "year", "stint"]


def league(players=130, seed=0):
    """Players with seasons of one or two stints. Games name a season by three columns, awards a player and a cup."""
    rng = np.random.default_rng(seed)
    people = pd.DataFrame(
        {"player_id": [f"pl{i:03d}" for i in range(players)], "height": rng.integers(60, 80, players)}
    )
    seasons = pd.DataFrame(
        [
            (key, year, stint)
            for key in people["player_id"]
            for year in range(1990, 1991 + rng.integers(1, 4))
            for stint in range(1, 2 + rng.integers(0, 2))
        ],
        columns=KEY,
    )
    count = len(seasons)
    tall = seasons["player_id"].map(people.set_index("player_id")["height"])
    seasons["bats"], seasons["height"] = rng.integers(0, 100, count), tall
    seasons["hits"] = (seasons["bats"] * (1 + rng.random(count)) / 2).astype(int)
    seasons["reach"] = tall - rng.integers(0, 4, count)
    since = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, players), "D")
    first = since[seasons["player_id"].str[2:].astype(int)] + pd.to_timedelta(rng.integers(0, 100, count), "D")
    people["since"], seasons["first"] = since.strftime("%Y-%m-%d"), first.strftime("%Y-%m-%d")
    games = seasons[KEY].loc[np.repeat(seasons.index, rng.integers(0, 3, count))].reset_index(drop=True)
    games["number"] = games.groupby(KEY).cumcount() + 1
    games["runs"] = rng.integers(0, 5, len(games))
    owned = seasons.groupby("player_id")
    people["seasons"] = people["player_id"].map(owned.size())
    people["bats"] = people["player_id"].map(owned["bats"].sum())
    people["fee"] = rng.integers(1, 50, players)
    people["due"] = people["bats"] + people["fee"]
    cups = pd.DataFrame({"cup_id": [f"c{i}" for i in range(25)], "level": rng.integers(1, 4, 25)})
    awards = pd.DataFrame(
        [(key, cup) for key in people["player_id"] for cup in rng.choice(25, rng.integers(1, 5), replace=False)],
        columns=["player_id", "cup_id"],
    )
    awards["cup_id"] = "c" + awards["cup_id"].astype(str)
    return {"players": people, "seasons": seasons, "games": games, "cups": cups, "awards": awards}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("league") / "run"
    fit_database("autoregressive", league(), out=folder, budget="3 steps", size="xs", precision="float32")
    return DatabaseRun.load(folder)


@pytest.fixture(scope="module")
def drawn(trained):
    return trained.sample(1.5)


def test_several_columns_are_a_key_where_chance_hardly_makes_them_one():
    schema = inferred_schema(*frames_of(league()))[0]
    assert schema.key_columns("seasons") == tuple(KEY)
    assert schema.keys["awards"] == "player_id, cup_id"
    assert "games.player_id, year, stint -> seasons" in links(schema)
    assert "games.player_id -> players" not in links(schema)  # a season names its player
    assert inferred_schema(*frames_of(shop()))[0].keys["order_items"] is None  # three rows show nothing


def test_a_file_names_keys_of_several_columns():
    schema = inferred_schema(*frames_of(league()))[0]
    again = Schema.of_toml("s.toml", schema.toml)
    assert (again.keys, again.parts, links(again)) == (schema.keys, schema.parts, links(schema))
    with pytest.raises(DataError, match="3 columns of the key"):
        Schema.of_toml("s.toml", '[a]\nkey = ["x", "y", "z"]\n[b.links]\n"x, y" = "a"\n')
    with pytest.raises(DataError, match="key must be a column or a list"):
        Schema.of_toml("s.toml", "[a]\nkey = 3\n")


def test_a_broken_key_of_several_columns_is_named():
    data = league()
    schema = inferred_schema(*frames_of(data))[0]
    data["games"].loc[4, "year"] = 1900
    with pytest.raises(DataError, match=r"games, row 5, column player_id, year, stint: .* got 'pl\d+, 1900, \d'"):
        read_database(data, schema)
    assert len(read_database(data, schema, skip_bad=True).frames["games"]) == len(data["games"]) - 1


def test_keys_of_several_columns_differ_and_exist_in_samples(drawn):
    data = league()
    assert all(list(drawn[table].columns) == list(data[table].columns) for table in data)
    assert not drawn["seasons"].duplicated(KEY).any()
    assert not drawn["awards"].duplicated(["player_id", "cup_id"]).any()
    seasons = pd.MultiIndex.from_frame(drawn["seasons"][KEY])
    assert pd.MultiIndex.from_frame(drawn["games"][KEY]).isin(seasons).all()
    assert drawn["games"]["year"].dtype == data["games"]["year"].dtype


def test_columns_that_other_tables_decide_agree_with_them(trained, drawn):
    plan = trained.plans
    kinds = {item.column: type(item).__name__ for table in plan for item in plan[table].derived}
    assert kinds == {"seasons": "Tally", "bats": "Tally", "due": "Balance", "height": "Copy"}
    people, seasons = drawn["players"].set_index("player_id"), drawn["seasons"]
    owned = seasons.groupby("player_id")
    assert (people["seasons"] == owned.size().reindex(people.index, fill_value=0)).all()
    assert (people["bats"] == owned["bats"].sum().reindex(people.index, fill_value=0)).all()
    assert (people["due"] == people["bats"] + people["fee"]).all()
    height = people["height"].reindex(seasons["player_id"]).to_numpy()
    assert (seasons["height"] == height).all()
    assert [bound.words("s", "p") for bound in plan["seasons"].bounds] == [
        "s.first not before p.since",
        "s.reach at most p.height",
    ]
    assert (seasons["reach"] <= height).all()
    assert (seasons["first"].to_numpy() >= people["since"].reindex(seasons["player_id"]).to_numpy()).all()


def test_rules_within_the_rows_of_a_child_hold(trained, drawn):
    assert [rule.text for rule in trained.runs["seasons"].model.space.rules] == ["hits ≤ bats"]
    assert (drawn["seasons"]["hits"] <= drawn["seasons"]["bats"]).all()
    place = drawn["games"].groupby(KEY).cumcount() + 1
    assert (drawn["games"]["number"] == place).all()


def test_likelihoods_of_units_leave_out_what_others_decide(trained):
    scores = trained.log_prob(read_database(league(20, seed=5), trained.schema))
    assert {str(score.kind) for score in scores.values()} == {"exact"}
    assert all(np.isfinite(score.nats.numpy()).any() for score in scores.values())


def test_rules_are_listed_between_tables_and_within_each():
    rows = rules_of(read_database(league()))
    assert {
        "players.bats = sum of seasons.bats",
        "seasons.height = players.height",
        "seasons.reach at most players.height",
        "games.number numbers the rows of one seasons",
        "seasons: hits ≤ bats",
    } <= {row.rule for row in rows}
    assert all(row.always and row.share == 1 for row in rows)


def test_shares_of_rules_tell_which_rows_break_them():
    real, wrong = league(), league(seed=1)
    wrong["players"].loc[:64, "bats"] += 1
    wrong["seasons"]["height"] = 0
    shares = {r.name: (r.real, r.synthetic) for r in rule_checks(read_database(real), read_database(wrong))}
    assert shares["players.seasons = count of seasons"] == (1, 1)
    assert shares["players.bats = sum of seasons.bats"] == (1, 0.5)
    assert shares["seasons.height = players.height"] == (1, 0)
    assert shares["seasons.reach at most players.height"] == (1, 1)


def test_broken_keys_of_several_columns_are_counted():
    wrong = league()
    wrong["games"].loc[:2, "year"] = 1900
    schema = inferred_schema(*frames_of(league()))[0]
    counts = {check.name: check.broken for check in checks_of("new", wrong, schema)}
    assert counts["link games.player_id, year, stint -> seasons"] == 3
    assert counts["key seasons.player_id, year, stint"] == 0


def test_independent_tables_have_no_rules():
    data = league()
    rng = np.random.default_rng(3)
    for table, names in {"players": ["seasons", "bats", "due"], "seasons": ["height", "reach", "first"]}.items():
        for name in names:
            data[table][name] = rng.permutation(data[table][name])
    assert not any(plan.derived or plan.bounds for plan in plans(read_database(data)).values())


def test_a_parent_that_no_child_names_has_the_value_of_the_data():
    data = league()
    data["players"] = pd.concat([data["players"], data["players"][:5].assign(player_id=list("abcde"))])
    for name, value in {"seasons": 0, "bats": np.nan, "due": np.nan}.items():
        data["players"].loc[data["players"]["player_id"].isin([*"abcde"]), name] = value
    tallies = {item.column: item for item in plans(read_database(data))["players"].derived if isinstance(item, Tally)}
    assert tallies["seasons"].empty == 0
    assert tallies["bats"].empty is None


def test_a_total_that_its_own_rows_repeat_is_found_once():
    data = league()
    data["seasons"]["total"] = data["seasons"]["player_id"].map(data["players"].set_index("player_id")["bats"])
    plan = plans(read_database(data))
    assert Copy("total", "player_id", "players", "bats") in plan["seasons"].derived
    assert [item.column for item in plan["players"].derived] == ["seasons", "bats", "due"]
