"""Keys and links that no name shows: codes and texts that another table repeats, and what repeats by chance alone."""

from __future__ import annotations

import sqlite3
import string

import numpy as np
import pandas as pd
import pytest

from fourfold.data import DataError
from fourfold_databases.database import read_database
from fourfold_databases.judging import judge_database
from fourfold_databases.repeats import columns_of, names_by_codes
from fourfold_databases.schema import Schema

CITIES = ["Rome", "Oslo", "Bern", "Paris", "Vienna", "Prague", "Lisbon", "Athens", "Madrid", "Berlin", "Dublin", "Riga"]


def random():
    return np.random.default_rng(0)


def codes(n, length=3):
    rng, letters = random(), [*string.ascii_uppercase]
    texts = dict.fromkeys("".join(rng.choice(letters, length)) for _ in range(3 * n))
    return [text for text in texts if text != "NA"][:n]  # which is a gap


def flights(rng):
    """A part of the flights of a city, with the names of columns that airlines and airports have."""
    airports = pd.DataFrame({"faa": codes(400), "name": [f"Field {i}" for i in range(400)], "alt": np.arange(400)})
    airlines = pd.DataFrame({"carrier": codes(16, 2), "name": [f"Air {i}" for i in range(16)]})
    planes = pd.DataFrame({"tailnum": [f"N{100 + i}AA" for i in range(200)], "seats": rng.integers(50, 300, 200)})
    rows = pd.DataFrame({"year": 2013, "month": rng.integers(1, 13, 900), "carrier": rng.choice(airlines.carrier, 900)})
    rows["tailnum"] = [*rng.choice(planes.tailnum, 750), *[f"N{i}XX" for i in range(150)]]
    rows["origin"] = rng.choice(airports.faa[:3], 900)
    rows["dest"] = [*rng.choice(airports.faa[3:100], 880), *["0Q9"] * 20]
    return {"airlines": airlines, "airports": airports, "flights": rows, "planes": planes}


def schema_of(frames, **options):
    return read_database(frames, **options).schema


def links(frames, **options):
    return {str(link) for link in schema_of(frames, **options).links}


@pytest.mark.parametrize("as_files", [False, True])
def test_codes_without_the_names_of_keys_link_tables(tmp_path, as_files):
    frames = flights(random())
    if as_files:
        for table, frame in frames.items():
            frame.to_csv(tmp_path / f"{table}.csv", index=False)
    database = read_database(tmp_path if as_files else frames)
    assert database.schema.keys == {"airlines": "carrier", "airports": "faa", "flights": None, "planes": "tailnum"}
    assert {*map(str, database.schema.links)} == {"flights.carrier -> airlines", "flights.origin -> airports"}
    assert any("tailnum" in note and "83% of its values are keys of planes" in note for note in database.notes)
    assert any("dest" in note and "97.8%" in note and "20 rows" in note for note in database.notes)
    assert len(database.frames["flights"]) == 900


def test_codes_that_are_nearly_all_keys_are_a_link_where_bad_rows_are_left_out():
    database = read_database(flights(random()), skip_bad=True)
    assert "flights.dest -> airports" in {*map(str, database.schema.links)}
    assert len(database.frames["flights"]) == 880


def test_a_judge_breaks_no_link_that_a_model_did_not_learn():
    """Rows that name no airport leave a link in doubt, so models have a column there, and so has the judge."""
    real = flights(random())
    real["airports"]["alt"] %= 97
    checks = judge_database(real, real, n=50).checks
    assert "link flights.origin -> airports" in {check.name for check in checks}
    assert not any("flights.dest" in check.name or check.broken for check in checks)


def test_names_of_tables_and_first_columns_name_rows():
    rng = random()
    people = [f"person.{i}@mail.example" for i in range(60)]
    frames = {
        "customers": pd.DataFrame({"email": people, "city": rng.choice(CITIES, 60)}),
        "orders": pd.DataFrame({"order": np.arange(100) + 5000, "email": rng.choice(people, 100)}),
        "lines": pd.DataFrame({"order": rng.integers(5000, 5100, 300), "n": rng.integers(1, 9, 300)}),
        "artists": pd.DataFrame({"name": [f"Band {i}" for i in range(30)], "born": rng.integers(1950, 2000, 30)}),
        "songs": pd.DataFrame(
            {"title": [f"Song {i}" for i in range(90)], "artist": [f"Band {i % 25}" for i in range(90)]}
        ),
    }
    assert links(frames) == {"orders.email -> customers", "lines.order -> orders", "songs.artist -> artists"}


def test_of_two_tables_with_the_same_texts_the_larger_names_the_rows():
    frames = {
        "crime": pd.DataFrame({"state": CITIES[:9], "murder": range(9)}),
        "people": pd.DataFrame({"state": CITIES, "count": range(12)}),
    }
    assert links(frames) == {"crime.state -> people"}


TRAPS = {
    "numbers of rows": (
        {"n": np.arange(1, 201), "height": np.arange(200) / 7},
        {"n": random().integers(1, 150, 400), "weight": random().integers(1, 90, 400)},
    ),
    "years": (
        {"year": np.arange(1990, 2024), "rain": random().integers(300, 900, 34)},
        {"year": random().integers(2000, 2020, 400), "total": random().integers(1, 99, 400)},
    ),
    "dates": (
        {"day": pd.date_range("2024-01-01", periods=300).strftime("%Y-%m-%d"), "rain": np.arange(300) % 7},
        {"day": [f"2024-0{month}-11" for month in random().integers(1, 9, 400)], "total": np.arange(400) % 11},
    ),
    "measurements": (
        {"price": random().permutation(np.arange(100, 300)), "colour": random().choice(["red", "blue"], 200)},
        {"price": random().integers(100, 300, 400), "colour": random().choice(["red", "blue"], 400)},
    ),
    "cities of shops": (
        {"shop": [f"Shop {i}" for i in range(12)], "city": CITIES},
        {"name": [f"Person {i}" for i in range(400)], "city": random().choice(CITIES, 400)},
    ),
    "some of the cities": (
        {"city": CITIES, "rain": range(12)},
        {"city": random().choice([*CITIES[:6], "Lima", "Cairo"], 400), "total": np.arange(400) % 11},
    ),
    "codes of two lists": (
        {"nation": codes(250, 2), "people": np.arange(250)},
        {"state": random().choice(codes(250, 2)[:3], 400), "total": np.arange(400) % 11},
    ),
    "letters": (
        {"band": [*"ABCDEF"], "least": range(6)},
        {"quality": random().choice([*"ABCD"], 400), "total": np.arange(400) % 11},
    ),
}


@pytest.mark.parametrize("name", TRAPS)
@pytest.mark.parametrize("as_files", [False, True])
def test_values_that_repeat_by_chance_are_no_link(tmp_path, name, as_files):
    frames = dict(zip(("first", "second"), map(pd.DataFrame, TRAPS[name]), strict=True))
    if as_files:
        for table, frame in frames.items():
            frame.to_csv(tmp_path / f"{table}.csv", index=False)
    schema = schema_of(tmp_path if as_files else frames)
    assert {*schema.keys.values()} == {None}
    assert not schema.links


@pytest.mark.parametrize("distinct", [2, 8])
def test_chance_is_the_density_of_keys_to_the_power_of_the_codes(distinct):
    """A quarter of all pairs of letters are keys: 2 codes are such by chance in 1 of 16 cases, 8 in 1 of 65,536."""
    keys = codes(169, 2)
    frames = {"a": pd.DataFrame({"k": keys}), "b": pd.DataFrame({"c": keys[:distinct] * 5})}
    key, column = columns_of(frames)
    assert names_by_codes(column, key) == (1.0 if 0.25**distinct < 1e-3 else None)


def test_a_database_that_declares_links_has_no_others_by_its_values(tmp_path):
    frames = flights(random())
    with sqlite3.connect(tmp_path / "f.db") as base:
        base.execute("create table planes (tailnum text primary key, seats int)")
        base.execute("create table seats (tailnum text references planes, seat int)")
        for table, frame in frames.items():
            frame.to_sql(table, base, if_exists="append", index=False)
        pd.DataFrame({"tailnum": ["N100AA"] * 5, "seat": range(5)}).to_sql(
            "seats", base, if_exists="append", index=False
        )
    assert links(tmp_path / "f.db") == {"seats.tailnum -> planes"}


def test_a_key_with_a_gap_is_none(tmp_path):
    pd.DataFrame({"iso_code": [*"abcdefgh", ""], "n": range(9)}).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"m": [0.5, 1.5]}).to_csv(tmp_path / "b.csv", index=False)
    assert schema_of(tmp_path).keys["a"] is None


def test_texts_that_show_a_circle_are_no_fault():
    frames = {
        "players": pd.DataFrame({"player": [f"P{i}XX" for i in range(40)], "team": codes(8) * 5}),
        "teams": pd.DataFrame({"team": codes(8), "captain": [f"P{i // 2}XX" for i in range(8)]}),
    }
    database = read_database(frames)
    assert {str(link) for link in database.schema.links} == {"players.team -> teams"}
    assert "teams: captain is a column like any other, since a link to players would close a circle" in database.notes


def crowd(owners, rows):
    """Codes of places, and the events at some of them, with a person each."""
    rng = random()
    frames = {"places": pd.DataFrame({"place": codes(60), "height": rng.normal(size=60)})}
    frames["events"] = pd.DataFrame({"place": rng.choice(codes(60)[:owners], rows), "mass": rng.normal(size=rows)})
    return frames


@pytest.mark.parametrize(("owners", "rows", "owned"), [(40, 400, True), (3, 400, False), (25, 40_000, False)])
def test_rows_have_an_owner_where_owners_are_many_and_their_rows_are_not(tmp_path, owners, rows, owned):
    database = read_database(crowd(owners, rows))
    schema = database.schema
    assert (schema.owner("events") is not None) == owned
    assert len(schema.references("events")) == 1 - owned
    assert any(f"{owners} of them have all {rows:,}" in note for note in database.notes) != owned
    path = tmp_path / "schema.toml"
    path.write_text(schema.toml)
    again = read_database(crowd(owners, rows), path).schema
    assert (again.owner("events") is not None) == owned
    path.write_text(schema.toml.replace("owner = false\n", ""))  # a file has the last word
    assert read_database(crowd(owners, rows), path).schema.owner("events") is not None


def test_the_owner_is_the_first_link_that_fits():
    rng, people = random(), [f"person.{i}@mail.example" for i in range(60)]
    frames = crowd(3, 400)
    frames["people"] = pd.DataFrame({"email": people, "age": rng.integers(20, 70, 60)})
    frames["events"]["email"] = rng.choice(people, 400)
    schema = schema_of(frames)
    assert str(schema.owner("events")) == "events.email -> people"
    assert [str(link) for link in schema.references("events")] == ["events.place -> places"]


def test_the_owner_of_a_file_is_false_or_left_out():
    with pytest.raises(DataError, match="owner must be false or left out, got 'b'"):
        Schema.of_toml("s.toml", '[a]\nowner = "b"\n')
