"""Commands for databases, as a user types them."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3

import numpy as np
import pandas as pd
import pytest
from test_keys_and_links import SHOP

from fourfold.main import run
from fourfold_databases.run import DatabaseRun, table_folder


@pytest.fixture
def shop(tmp_path):
    base = sqlite3.connect(tmp_path / "shop.db")
    base.executescript(SHOP)
    base.close()
    return tmp_path / "shop.db"


def test_data_names_keys_and_links_and_writes_a_schema(shop, capsys):
    schema = shop.parent / "shop.toml"
    assert run(["data", str(shop), "--schema", str(schema)]) == 0
    text = capsys.readouterr().out
    assert "customer owned by customers (declared by the database)" in text
    assert max(map(len, text.replace(str(shop), "shop.db").splitlines())) <= 80
    schema.write_text(schema.read_text().replace('"sku" = "products"\n', ""))
    assert run(["data", str(shop), "--schema", str(schema), "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)["tables"]
    assert tables["items"] == {
        "rows": 3,
        "columns": ["nr", "sku", "n"],
        "key": ["nr", "sku"],
        "links": {"nr": "orders"},
    }


def test_one_table_of_a_database_is_read_by_the_core(shop, capsys):
    assert run(["data", str(shop), "--query", "select n from items"]) == 2
    assert "20" in capsys.readouterr().err  # too few rows, as any table of three


def test_a_schema_of_other_tables_is_one_line(shop, capsys):
    schema = shop.parent / "other.toml"
    schema.write_text('[customers]\nkey = "name"\n')
    assert run(["data", str(shop), "--schema", str(schema)]) == 2
    assert "table customers: must have the column 'name'" in capsys.readouterr().err


def test_options_that_a_database_does_not_read_are_refused(shop, capsys):
    assert run(["data", str(shop), "--limit", "5"]) == 2
    assert "--limit" in capsys.readouterr().err


def people_and_pets(folder, seed, **changes):
    """A folder of two linked tables of 60 rows. A change replaces a column of a table."""
    rng = np.random.default_rng(seed)
    people = pd.DataFrame({"person_id": range(60), "age": rng.integers(18, 90, 60)})
    pets = pd.DataFrame({"person_id": rng.integers(0, 60, 60), "weight": rng.integers(1, 40, 60)})
    folder.mkdir()
    for name, frame in (("people", people), ("pets", pets)):
        change = changes.get(name, lambda rows: rows)
        change(frame.astype(object)).to_csv(folder / f"{name}.csv", index=False)
    return folder


def changed(column, row, value):
    def change(frame):
        frame.loc[row, column] = value
        return frame

    return change


FAULTS = {
    "orphan": (
        {"pets": changed("person_id", 3, 999)},
        "table pets, row 4, column person_id: must name a row of people",
    ),
    "double": ({"people": changed("person_id", 3, 2)}, "table people, row 4, column person_id: must differ"),
    "gap": ({"people": changed("person_id", 3, None)}, "table people, row 4, column person_id: must name the row"),
    "mixed": ({"pets": changed("person_id", 3, "x")}, "table pets, row 4, column person_id: must name a row of people"),
    "empty": ({"pets": lambda frame: frame[:0]}, "table pets: must have rows"),
    "circle": (
        {"people": lambda frame: frame.assign(pet_id=range(60)), "pets": lambda frame: frame.assign(pet_id=range(60))},
        "links must not run in a circle",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_database_is_one_line_and_the_option_that_goes_on(fault, tmp_path, capsys):
    changes, line = FAULTS[fault]
    bad, good = people_and_pets(tmp_path / "bad", 0, **changes), people_and_pets(tmp_path / "good", 1)
    options = ["--budget", "1 steps", "--size", "xs", "--precision", "float32", "--out", str(tmp_path / "run")]
    fit = ["fit", "autoregressive", str(bad), *options]
    assert run(fit) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert "--skip-bad" in error
    assert run([*fit, "--skip-bad"]) == 0
    assert run(["judge", str(good), str(bad), "-n", "50", "--out", str(tmp_path / "judged.html")]) == 0
    if fault == "circle":
        return
    assert run(["fit", "autoregressive", str(good), *options[:-1], str(tmp_path / "sound")]) == 0
    given = [word for table in ("people", "pets") for word in ("--given", str(bad / f"{table}.csv"))]
    draw = ["sample", str(tmp_path / "sound"), *given, "--out", str(tmp_path / "new")]
    capsys.readouterr()
    assert run(draw) == 2
    error = capsys.readouterr().err
    assert line in error
    assert "--skip-bad" in error
    assert run([*draw, "--skip-bad"]) == 0
    new = {table: pd.read_csv(tmp_path / "new" / f"{table}.csv") for table in ("people", "pets")}
    assert set(new["pets"]["person_id"]) <= set(new["people"]["person_id"])


def test_bad_rows_are_those_of_databases(tmp_path, capsys):
    people_and_pets(tmp_path / "data", 0)
    options = ["--budget", "1 steps", "--size", "xs", "--precision", "float32", "--out", str(tmp_path / "run")]
    assert run(["fit", "autoregressive", str(tmp_path / "data" / "people.csv"), *options]) == 0
    assert run(["sample", str(tmp_path / "run"), "--skip-bad"]) == 2
    assert "--skip-bad must be left out" in capsys.readouterr().err


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """A folder of two tables, other rows of them, and a run of the first."""
    folder = tmp_path_factory.mktemp("pets")
    people_and_pets(folder / "data", 0)
    people_and_pets(folder / "other", 1)
    options = ["--budget", "1 steps", "--size", "xs", "--precision", "float32", "--out", str(folder / "run")]
    assert run(["fit", "autoregressive", str(folder / "data"), *options]) == 0
    return folder


def test_evaluate_judges_and_scores_the_database_of_a_run(pets, capsys):
    capsys.readouterr()
    assert run(["evaluate", str(pets / "run"), "-n", "50", "--json"]) == 0
    own = json.loads(capsys.readouterr().out)
    assert {"people", "pets", "pets by person_id", "numbers of pets"} <= own["views"].keys()
    assert not any(check["broken"] for check in own["checks"])
    out = pets / "scores.json"
    assert run(["evaluate", str(pets / "run"), str(pets / "other"), "-n", "50", "--out", str(out)]) == 0
    text, messages = capsys.readouterr()
    assert "(scale 1)" in messages
    assert "in all" in text
    assert "fourfold judge" in text
    assert run(["score", str(pets / "run"), str(pets / "other"), "--json"]) == 0
    assert json.loads(out.read_text())["log-probability"] == json.loads(capsys.readouterr().out)


def test_evaluate_draws_as_many_rows_as_asked(pets, capsys):
    assert run(["evaluate", str(pets / "run"), "-n", "50", "--scale", "2"]) == 0
    messages = capsys.readouterr().err
    assert "2 times the size of the one that the run learned from (scale 2)" in messages
    assert "people: 120 rows beside 60" in messages
    for scale in ("0", "-1", "nan", "inf"):
        assert run(["evaluate", str(pets / "run"), "--scale", scale]) == 2
        assert "scale must be positive" in capsys.readouterr().err
    assert run(["evaluate", str(pets / "run" / "tables" / "people"), "--scale", "2"]) == 2
    assert "--scale must be left out" in capsys.readouterr().err


def test_evaluate_needs_data_that_is_there(pets, capsys):
    copy = pets / "elsewhere"
    shutil.copytree(pets / "run", copy)
    record = json.loads((copy / "database.json").read_text())
    record["training"]["data"] = str(pets / "gone")
    (copy / "database.json").write_text(json.dumps(record))
    assert run(["evaluate", str(copy)]) == 2
    assert "DATA must name a database" in capsys.readouterr().err
    assert run(["evaluate", str(copy), str(pets / "other"), "-n", "50"]) == 0
    assert run(["evaluate", str(copy), str(pets / "other" / "pets.csv")]) == 2
    assert "must be a database" in capsys.readouterr().err


def test_info_shows_the_run_of_a_database(pets, capsys):
    assert run(["info", str(pets / "run")]) == 0
    text = capsys.readouterr().out
    assert "person_id owned by people" in text
    assert "60 rows" in text
    assert "budget          1 steps" in text
    assert "{" not in text
    assert run(["info", str(pets / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"]["people"]["rows"] == 60


def test_impute_fills_the_gaps_of_rows_that_stand_alone(pets, tmp_path, capsys):
    shutil.copytree(pets / "data", tmp_path / "gaps")
    table = tmp_path / "gaps" / "people.csv"
    people = pd.read_csv(table, dtype=str)
    name = next(str(column) for column in people if column != "person_id")
    people.loc[[3, 7], name] = ""
    people.to_csv(table, index=False)
    words = ["impute", str(pets / "run"), str(tmp_path / "gaps"), "--out", str(tmp_path / "new")]
    assert run(words[:3]) == 2
    assert "--out must name a new database" in capsys.readouterr().err
    assert run([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["filled"] == {"people": {name: 2}}
    new = pd.read_csv(tmp_path / "new" / "people.csv", dtype=str, keep_default_na=False)
    assert (new[name] != "").all()
    assert new.drop(index=[3, 7]).equals(people.drop(index=[3, 7]))
    for other in ("pets.csv",):
        before, after = (pd.read_csv(folder / other, dtype=str) for folder in (tmp_path / "gaps", tmp_path / "new"))
        assert before.equals(after)


def test_impute_of_one_table_asks_for_no_column_that_its_file_has_not(pets, tmp_path, capsys):
    """The model of people also holds whether a person has pets, which their file does not say."""
    people = pd.read_csv(pets / "data" / "people.csv", dtype=str)
    name = next(str(column) for column in people if column != "person_id")
    people.loc[[3, 7], name] = ""
    people.to_csv(tmp_path / "people.csv", index=False)
    words = ["impute", str(pets / "run" / "tables" / "people"), str(tmp_path / "people.csv"), "--json"]
    assert run([*words, "--out", str(tmp_path / "new.csv")]) == 0
    assert json.loads(capsys.readouterr().out)["filled"] == {name: 2}
    new = pd.read_csv(tmp_path / "new.csv", dtype=str, keep_default_na=False)
    assert (new[name] != "").all()
    assert new.drop(index=[3, 7]).equals(people.drop(index=[3, 7])), "the columns of the file, and no others"
    people.drop(columns=name).to_csv(tmp_path / "people.csv", index=False)
    assert run([*words, "--out", str(tmp_path / "other.csv")]) == 2
    assert f"must have the column '{name}'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["classify", "RUN", "x.csv"]])
def test_commands_of_one_table_refuse_the_run_of_a_database(words, pets, capsys):
    assert run([str(pets / "run") if word == "RUN" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert "sample, score, evaluate and impute take it" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "towns"),
    [
        ([], {"Rome", "Bern"}),
        (["--keep-rare"], {"Rome", "Bern", "Ulm", "Nice"}),
        (["--rare", "3"], {"Rome", "Bern", "Nice"}),
    ],
)
def test_rare_categories_of_all_tables_are_pooled_or_kept(options, towns, tmp_path, capsys):
    """Of 60 rows, two live in Ulm and four in Nice. A resumed run reads as before."""
    towns_of_rows = (["Rome", "Bern"] * 27 + ["Ulm"] * 2 + ["Nice"] * 4)[:60]
    folder = people_and_pets(tmp_path / "data", 0, people=lambda rows: rows.assign(town=towns_of_rows))
    settings = ["--budget", "1 steps", "--size", "xs", "--precision", "float32", "--out", str(tmp_path / "run")]
    assert run(["fit", "autoregressive", str(folder), *settings, *options]) == 0
    shutil.rmtree(table_folder(tmp_path / "run", "people"))
    assert run(["fit", "--resume", str(tmp_path / "run")]) == 0
    (column,) = [c for c in DatabaseRun.load(tmp_path / "run").runs["people"].model.space.modelled if c.name == "town"]
    assert {*column.categories} == towns


def test_rare_categories_are_not_counted_under_a_guarantee(pets, capsys):
    command = [
        "fit",
        "autoregressive",
        str(pets / "data"),
        "--private",
        "epsilon=4",
        "--budget",
        "1 steps",
        "--keep-rare",
    ]
    assert run(command) == 2
    assert "keep_rare must be left out with private" in capsys.readouterr().err


def test_a_race_of_paradigms_is_for_one_table(pets, capsys):
    assert run(["fit", "best", str(pets / "data"), "--budget", "1s"]) == 2
    assert "must have one table" in capsys.readouterr().err


ODD = """
create table "Kunden Länder" ("Länder""code" text, nr integer, aktiv boolean, plz text, foto blob,
                              primary key ("Länder""code", nr)) without rowid;
create table "order" (id blob primary key, land text, nr integer, "total, net" real,
                      foreign key (land, nr) references "Kunden Länder");
create table staff (id integer primary key, boss_id integer references staff, pay real);
create table details (order_id blob primary key references "order", gift boolean);
create table weather (day text, temp real);
create view large as select * from "order";
"""


def test_an_odd_database_keeps_its_keys_types_and_nulls(tmp_path, capsys):
    path, rng = tmp_path / "odd.db", np.random.default_rng(0)
    base = sqlite3.connect(path)
    base.executescript(ODD)
    for i in range(60):
        customer = ("ÄB"[i % 2], i, i % 2, f"0{1000 + i % 3}", bytes([i]))
        base.execute('insert into "Kunden Länder" values (?, ?, ?, ?, ?)', customer)
        base.execute("insert into staff values (?, ?, ?)", (i, None if i < 9 else int(rng.integers(i)), rng.normal()))
        base.execute("insert into weather values (?, ?)", (f"{1 + i % 28}.02.2020", None if i % 3 else rng.normal()))
        for j in (2 * i, 2 * i + 1):
            owner = (None, None) if j % 5 == 0 else customer[:2]
            base.execute('insert into "order" values (?, ?, ?, ?)', (bytes([j, 0]), *owner, rng.gamma(2)))
            if j % 3:
                base.execute("insert into details values (?, ?)", (bytes([j, 0]), j % 2))
    base.commit()
    types = base.execute("select m.name, t.name, t.type from sqlite_master m, pragma_table_info(m.name) t").fetchall()
    base.close()
    options = ["--budget", "1 steps", "--size", "xs", "--precision", "float32", "--out", str(tmp_path / "run")]
    assert run(["fit", "autoregressive", str(path), *options]) == 0
    assert "Kunden Länder: foto is left out, since it holds bytes" in capsys.readouterr().err
    assert run(["sample", str(tmp_path / "run"), "--scale", "2", "--out", str(tmp_path / "new.db")]) == 0
    new = sqlite3.connect(tmp_path / "new.db")
    assert new.execute("pragma foreign_key_check").fetchall() == []
    assert new.execute("select count(*) from staff where boss_id not in (select id from staff)").fetchone() == (0,)
    rows = new.execute("select m.name, t.name, t.type from sqlite_master m, pragma_table_info(m.name) t").fetchall()
    assert {row for row in types if row[0] != "large" and row[1] != "foto"} == {*rows}
    kinds = new.execute('select distinct typeof(temp) from weather union select typeof(nr) from "Kunden Länder"')
    assert {kind for (kind,) in kinds} == {"real", "null", "integer"}
    new.close()
    assert run(["judge", str(path), str(tmp_path / "new.db"), "-n", "50", "--out", str(tmp_path / "judged.html")]) == 0
    assert "broken" not in capsys.readouterr().out


def test_a_database_of_duckdb_goes_all_the_way(tmp_path, capsys):
    duckdb, rng = pytest.importorskip("duckdb"), np.random.default_rng(0)
    path, new = tmp_path / "shop.duckdb", tmp_path / "new.duckdb"
    with contextlib.closing(duckdb.connect(str(path))) as base:
        base.execute("create table customers (id bigint primary key, city varchar, born date, member boolean)")
        base.execute(
            "create table orders (nr integer, customer bigint references customers(id), total decimal(8, 2), "
            "placed timestamp, note varchar, primary key (customer, nr))"
        )
        for i in range(80):
            base.execute(
                "insert into customers values (?, ?, ?, ?)",
                (10**12 + i, ["Rome", "Oslo"][i % 2], f"19{50 + i % 50}-03-0{1 + i % 9}", bool(i % 3)),
            )
            for j in range(int(rng.poisson(3))):
                row = (j + 1, 10**12 + i, round(float(rng.gamma(3, 10)), 2), f"2024-01-{1 + j:02d} 10:00:00")
                base.execute("insert into orders values (?, ?, ?, ?, ?)", (*row, None if j % 2 else "gift"))
        columns = "select table_name, column_name, data_type from duckdb_columns() where not internal order by all"
        types = base.execute(columns).fetchall()
    assert run(["data", str(path), "--json"]) == 0
    orders = json.loads(capsys.readouterr().out)["tables"]["orders"]
    assert (orders["key"], orders["links"]) == (["customer", "nr"], {"customer": "customers"})
    options = ["--budget", "2 steps", "--size", "xs", "--precision", "float32", "--out", str(tmp_path / "run")]
    assert run(["fit", "autoregressive", str(path), *options]) == 0
    assert run(["sample", str(tmp_path / "run"), "--scale", "2", "--out", str(new)]) == 0
    with contextlib.closing(duckdb.connect(str(new), read_only=True)) as base:
        assert base.execute(columns).fetchall() == types
        assert base.execute("select count(*), count(distinct id) from customers").fetchone() == (160, 160)
        lost = base.execute("select count(*) from orders where customer not in (select id from customers)").fetchone()
        assert lost == (0,)
        assert base.execute("select count(*) from orders group by customer, nr having count(*) > 1").fetchall() == []
        assert base.execute("select count(*) from orders where note not in ('gift')").fetchone() == (0,)
        keys = base.execute("select constraint_type from duckdb_constraints() where constraint_type like '% KEY'")
        assert sorted(kind for (kind,) in keys.fetchall()) == ["FOREIGN KEY", "PRIMARY KEY", "PRIMARY KEY"]
    capsys.readouterr()
    assert run(["score", str(tmp_path / "run"), str(new), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["orders"]["kind"] == "exact"
    assert run(["judge", str(path), str(new), "-n", "50", "--out", str(tmp_path / "judged.html")]) == 0
    assert "broken" not in capsys.readouterr().out


def test_scores_say_which_rows_they_leave_out(pets, capsys):
    other = people_and_pets(pets / "many", 2, pets=lambda frame: frame.assign(person_id=0))
    assert run(["score", str(pets / "run"), str(other)]) == 0
    said = capsys.readouterr().err
    assert "pets: 1 of 1 sequences have more than" in said
    assert "known by their first ones" in said
