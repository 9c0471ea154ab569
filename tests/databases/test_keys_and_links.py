"""Keys and links: as databases declare them, as names and values show them, as a file fixes them."""

from __future__ import annotations

import sqlite3

import numpy as np
import pandas as pd
import pytest

from fourfold.data import DataError
from fourfold_databases.database import read_database
from fourfold_databases.inference import inferred_schema
from fourfold_databases.integrity import sound_frames
from fourfold_databases.reading import frames_of, holds_tables, keys_in, places_in
from fourfold_databases.schema import Link, Schema

SHOP = """
create table customers (id integer primary key, city text);
create table products (sku text primary key, price real);
create table orders (nr integer primary key, customer integer references customers, day text);
create table items (nr integer references orders(nr), sku text references products(sku), n integer,
                    primary key (nr, sku));
insert into customers values (1, 'Rome'), (2, 'Bern');
insert into products values ('a', 1.5), ('b', 2.5);
insert into orders values (7, 1, '2024-01-01'), (8, 1, '2024-01-02'), (9, null, '2024-01-03');
insert into items values (7, 'a', 1), (7, 'b', 2), (9, 'a', 3);
"""


def shop():
    return {
        "customers": pd.DataFrame({"customer_id": [1, 2, 3], "city": ["Rome", "Bern", "Rome"]}),
        "products": pd.DataFrame({"id": ["a", "b"], "price": [1.5, 2.5]}),
        "orders": pd.DataFrame({"order_id": [7, 8, 9], "customer_id": [1, 1, 3], "total": [1, 2, 3]}),
        "order_items": pd.DataFrame({"order_id": [7, 7, 9], "product_id": ["a", "b", "a"], "n": [1, 2, 3]}),
        "staff": pd.DataFrame({"staffId": [1, 2, 3], "managerId": [None, 1.0, 1.0]}),
    }


def links(schema):
    return {str(link) for link in schema.links}


@pytest.mark.parametrize("suffix", [".db", ".duckdb"])
def test_a_database_declares_its_keys(tmp_path, suffix):
    path = tmp_path / f"shop{suffix}"
    if suffix == ".duckdb":
        base = pytest.importorskip("duckdb").connect(str(path))
        for statement in SHOP.split(";")[:-1]:
            base.execute(statement)
    else:
        base = sqlite3.connect(path)
        base.executescript(SHOP)
        base.commit()
    base.close()
    assert holds_tables(path)
    frames, declared = frames_of(path)
    schema = inferred_schema(frames, declared)[0]
    assert schema.keys == {"customers": "id", "products": "sku", "orders": "nr", "items": "nr, sku"}
    assert links(schema) == {
        "orders.customer -> customers",
        "items.nr -> orders",
        "items.sku -> products",
    }
    assert {link.reason for link in schema.links} == {"declared by the database"}
    assert str(schema.owner("items")) == "items.nr -> orders"
    assert [str(link) for link in schema.references("items")] == ["items.sku -> products"]
    assert sound_frames("shop", frames, schema)[0]["items"]["sku"].tolist() == ["a", "b", "a"]


def test_names_and_values_show_keys_and_links(tmp_path):
    schema = inferred_schema(*frames_of(shop()))[0]
    assert schema.keys["order_items"] is None
    assert links(schema) == {
        "orders.customer_id -> customers",
        "order_items.order_id -> orders",
        "order_items.product_id -> products",
        "staff.managerId -> staff",
    }
    assert schema.owner("staff") is None
    assert [str(link) for link in schema.children("customers")] == ["orders.customer_id -> customers"]
    for name, frame in shop().items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "README.md").write_text("The tables of a shop.")
    assert holds_tables(tmp_path)
    again = inferred_schema(*frames_of(tmp_path))[0]
    assert (again.keys, links(again)) == (schema.keys, links(schema))


def test_a_column_that_only_looks_like_numbers_of_rows_is_no_link():
    frames = shop()
    frames["orders"]["total"] = [1, 2, 3]  # values that are all keys of customers
    frames["orders"]["rank_no"] = [3, 2, 1]
    assert links(inferred_schema(*frames_of(frames))[0]) == links(inferred_schema(*frames_of(shop()))[0])


def test_a_file_fixes_the_schema():
    schema = inferred_schema(*frames_of(shop()))[0]
    again = Schema.of_toml("schema.toml", schema.toml)
    assert (again.keys, links(again)) == (schema.keys, links(schema))
    swapped = Schema.of_toml("s.toml", '[a]\nkey = "id"\n[b]\nkey = "id"\n[c.links]\ny = "b"\nx = "a"\n')
    assert str(swapped.owner("c")) == "c.y -> b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a\n", "TOML"),
        ("a = 1\n", "section"),
        ('[a]\nkeys = "id"\n', "keys"),
        ('[a.links]\nb_id = "b"\n', "primary key"),
        ('[a]\nkey="id"\n[a.links]\nb="b"\n[b]\nkey="id"\n[b.links]\na="a"\n', "a -> b -> a|b -> a -> b"),
    ],
)
def test_a_bad_file_is_one_line(text, message):
    with pytest.raises(DataError, match=message):
        Schema.of_toml("s.toml", text)


@pytest.mark.parametrize(
    ("table", "row", "column", "value", "message"),
    [
        ("customers", 1, "customer_id", 1, "customers, row 2, column customer_id: must differ"),
        ("orders", 2, "customer_id", 99, "orders, row 3, column customer_id: must name a row of customers, got '99'"),
        ("orders", 0, "order_id", None, "orders, row 1, column order_id: must name the row"),
        ("order_items", 1, "product_id", "z", "order_items, row 2, column product_id"),
        ("staff", 2, "managerId", 8.0, "staff, row 3, column managerId: must name a row of staff, got '8'"),
    ],
)
def test_broken_keys_are_named_or_left_out(table, row, column, value, message):
    frames = shop()
    schema = inferred_schema(*frames_of(frames))[0]
    frames[table][column] = frames[table][column].astype(object)
    frames[table].loc[row, column] = value
    with pytest.raises(DataError, match=message):
        sound_frames("shop", frames, schema)
    sound, notes = sound_frames("shop", frames, schema, skip_bad=True)
    assert len(sound[table]) == len(frames[table]) - 1
    assert any(column in note for note in notes)
    for link in schema.links:
        parents = set(sound[link.parent][schema.keys[link.parent]])
        assert set(sound[link.child][link.column].dropna()) <= parents


def test_rows_that_name_a_row_that_was_left_out_go_too():
    frames = shop()
    frames["orders"].loc[0, "customer_id"] = 99
    sound, _ = sound_frames("shop", frames, inferred_schema(*frames_of(shop()))[0], skip_bad=True)
    assert sound["orders"]["order_id"].tolist() == ["8", "9"]
    assert sound["order_items"]["order_id"].tolist() == ["9"]


def test_numbers_and_words_in_one_key_are_refused():
    frames = shop()
    frames["products"]["id"] = ["a", 2]
    with pytest.raises(DataError, match="products, column id, row 2: a key must be of one kind"):
        inferred_schema(*frames_of(frames))


def test_a_key_of_numbers_and_words_is_read_as_texts_where_bad_rows_are_left_out():
    people = pd.DataFrame({"person_id": pd.Series([1, "1", "a", 2.0, 3, *range(10, 40)], dtype=object)})
    people["age"] = range(len(people))
    visits = pd.DataFrame({"person_id": pd.Series(["a", 1, "1", 2, "2.5", 3, 3, *range(10, 40)], dtype=object)})
    frames = {"people": people, "visits": visits}
    with pytest.raises(DataError, match=r"person_id, row 2: a key must be of one kind.*skip_bad=True"):
        read_database(frames)
    database = read_database(frames, skip_bad=True)
    keys, named = (database.frames[table]["person_id"].tolist() for table in frames)
    assert keys == ["1", "a", "2", "3", *map(str, range(10, 40))]  # "1" is there already
    assert database.frames["people"]["age"].tolist()[:3] == [0, 2, 3]
    assert named == ["a", "1", "1", "2", "3", "3", *map(str, range(10, 40))]  # nobody is 2.5
    assert "people: 1 row is left out: person_id must differ in every row" in database.notes
    assert "visits: 1 row is left out: person_id must name a row of people" in database.notes


def test_a_doubled_key_is_a_fault_and_not_the_lack_of_a_key():
    frames = {"customers": pd.DataFrame({"customer_id": [*range(30), 4]}), "orders": shop()["orders"]}
    with pytest.raises(DataError, match="customers, row 31, column customer_id: must differ in every row, got '4'"):
        read_database(frames)
    database = read_database(frames, skip_bad=True)
    assert len(database.frames["customers"]) == 30
    assert links(database.schema) == {"orders.customer_id -> customers"}
    frames["customers"] = pd.DataFrame({"customer_id": [*range(30)] * 2})
    assert read_database(frames).schema.keys["customers"] is None


def test_a_link_that_closes_a_circle_is_refused_or_left_out():
    frames = {
        "staff": pd.DataFrame({"staff_id": range(30), "shop_id": [i % 20 for i in range(30)]}),
        "shops": pd.DataFrame({"shop_id": range(20), "staff_id": range(20)}),
    }
    with pytest.raises(DataError, match="table shops, column staff_id: links must not run in a circle"):
        read_database(frames)
    database = read_database(frames, skip_bad=True)
    assert links(database.schema) == {"staff.shop_id -> shops"}
    assert "staff_id" in database.notes[0]


def test_of_a_circle_the_link_named_after_the_key_stays():
    frames = {
        "customers": pd.DataFrame({"customer_id": range(30), "first_order_id": range(30)}),
        "orders": pd.DataFrame({"order_id": range(60), "customer_id": [i % 30 for i in range(60)]}),
    }
    database = read_database(frames, skip_bad=True)
    assert links(database.schema) == {"orders.customer_id -> customers"}


def test_a_column_that_is_nearly_a_link_is_said():
    owners = [i if i % 5 else i + 1000 for i in range(100)]
    frames = {
        "customers": pd.DataFrame({"customer_id": range(100)}),
        "orders": pd.DataFrame({"customer_id": owners, "total": range(100)}),
    }
    database = read_database(frames)
    assert not database.schema.links
    assert "80% of its values are keys of customers" in database.notes[0]


def test_an_empty_table_of_a_file_is_refused_or_left_out(tmp_path):
    path = tmp_path / "shop.db"
    base = sqlite3.connect(path)
    base.executescript(SHOP + "delete from items; delete from products;")
    base.close()
    with pytest.raises(DataError, match="table products: must have rows"):
        read_database(path)
    assert {*read_database(path, skip_bad=True).frames} == {"customers", "orders"}


def test_an_empty_table_is_refused_or_left_out(tmp_path):
    with pytest.raises(DataError, match="table staff"):
        read_database({**shop(), "staff": pd.DataFrame({"staffId": []})})
    for table in ("orders", "order_items"):
        shop()[table].to_csv(tmp_path / f"{table}.csv", index=False)
    (tmp_path / "customers.csv").write_text("customer_id,city\n")
    with pytest.raises(DataError, match="table customers: must have rows"):
        read_database(tmp_path)
    schema = tmp_path / "schema.toml"
    schema.write_text(
        '[customers]\nkey="customer_id"\n[orders]\nkey="order_id"\n[orders.links]\ncustomer_id="customers"'
    )
    for asked in (None, schema):
        database = read_database(tmp_path, asked, skip_bad=True)
        assert {*database.frames} == {"orders", "order_items"}
        assert "customers" not in {link.parent for link in database.schema.links}


def test_a_link_equals_its_key_whatever_their_types():
    frames = shop()
    frames["orders"]["customer_id"] = [1.0, None, 3.0]
    sound, _ = sound_frames("shop", frames, inferred_schema(*frames_of(frames))[0])
    assert sound["orders"]["customer_id"].isna().tolist() == [False, True, False]
    assert sound["orders"]["customer_id"].dropna().tolist() == ["1", "3"]
    assert Link("a", "b", "c") == Link("a", "b", "c", "another reason")


def test_places_are_those_of_equal_keys():
    """Against the plain definition, of integers, floats with gaps and texts, with keys that repeat."""
    keys = keys_in("keys", pd.Series([7, 3, 11, 3]))
    for values in ([3, 7, 5, 11], [3.0, None, 11.0, 7.0], [" 7", "n/a", "3", "x"], ["3", None, "11.0", "11"]):
        texts = keys_in("values", pd.Series(values))
        places = [next((i for i, key in enumerate(keys) if key == text), -1) for text in texts]
        assert places_in(keys, texts).tolist() == places


def test_an_index_with_a_name_is_a_key():
    frames = shop()
    frames["customers"] = frames["customers"].set_index("customer_id")
    named, plain = read_database(frames), read_database(shop())
    assert named.schema == plain.schema
    assert named.frames["customers"].equals(plain.frames["customers"])
    frames["customers"] = frames["customers"].reset_index().set_index("customer_id", drop=False)
    assert read_database(frames).schema == plain.schema


@pytest.mark.parametrize(
    ("column", "shown"), [("model", True), ("birth_date", False)], ids=["a list of things", "a table of persons"]
)
def test_a_table_that_looks_like_a_list_of_real_things_gets_a_note_with_the_entry(column, shown):
    generator = np.random.default_rng(0)
    planes = pd.DataFrame({"plane_id": range(30), column: [f"x{k % 7}" for k in range(30)]})
    flights = pd.DataFrame({"plane_id": generator.integers(0, 30, 900), "delay": generator.normal(size=900).round(2)})
    database = read_database({"planes": planes, "flights": flights})
    notes = [note for note in database.notes if "looks like a reference table" in note]
    assert len(notes) == shown
    if shown:
        assert "since 900 rows of flights name its 30" in notes[0]
        assert notes[0].endswith('reference = true below ["planes"]')
        schema = Schema.of_toml("s.toml", database.schema.toml.replace('["planes"]', '["planes"]\nreference = true'))
        again = read_database({"planes": planes, "flights": flights}, schema)
        assert not any("looks like" in note for note in again.notes), "the entry is read and the note goes"


@pytest.mark.parametrize(("count", "key"), [(20, None), (40, "doctor_id")])
def test_a_link_whose_few_values_differ_by_chance_is_no_key(count, key):
    """20 draws from 60 doctors have 3 equal pairs on average, and 40 draws have 13."""
    rng = np.random.default_rng(0)
    doctors = pd.DataFrame({"doctor_id": range(60), "field": [*"abcdef"] * 10})
    visits = pd.DataFrame({"patient_id": rng.integers(0, 9, count), "doctor_id": rng.permutation(60)[:count]})
    frames = {"doctors": doctors, "patients": pd.DataFrame({"patient_id": range(90)}), "visits": visits}
    schema, notes = inferred_schema(frames, {})
    assert schema.keys["visits"] == key
    assert links(schema) == {"visits.patient_id -> patients", "visits.doctor_id -> doctors"}
    assert schema.owner("visits").parent == ("doctors" if key else "patients")
    assert [note for note in notes if 'key = "doctor_id" below ["visits"]' in note] == [*notes]
    assert bool(notes) == (key is None)


def test_of_two_tables_with_the_values_of_a_link_it_leads_to_the_one_that_it_is_named_after():
    rng = np.random.default_rng(0)
    doctors = pd.DataFrame({"doctor_id": range(60), "field": [*"abcdef"] * 10})
    rooms = pd.DataFrame({"doctor_id": rng.permutation(60)[:50], "floor": rng.integers(1, 5, 50)})
    drugs = pd.DataFrame({"drug_id": range(90), "doctor_id": rng.choice(rooms["doctor_id"], 90)})
    schema = inferred_schema({"allocations": rooms, "doctors": doctors, "drugs": drugs}, {})[0]
    assert links(schema) == {"allocations.doctor_id -> doctors", "drugs.doctor_id -> doctors"}


def test_a_stray_file_beside_tables_is_left_out_and_said(tmp_path):
    for name, frame in shop().items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    for name in ("logo.png", "Thumbs.db", ".DS_Store", "README.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert holds_tables(tmp_path)
    database = read_database(tmp_path)
    assert {*database.frames} == {*shop()}
    assert [note.partition(": ")[2].partition(" ")[0] for note in database.notes] == ["Thumbs.db", "logo.png"]
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("labels.csv", "captions.csv", "a.png", "b.png"):
        (pictures / name).write_bytes(b"x")
    assert not holds_tables(pictures)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[a]\nkey = "id"\n\n[a.links]\nb_id = "b"\n', r"^shop.toml, line 5: a.b_id -> b: 'b' must be a section"),
        ('[b]\n\n[a]\n[a.links]\nb_id = "b"\n', "^shop.toml: a.b_id -> b: the parent must be a table with a primary"),
        ('[a]\nkey = "id"\nlinks = 3 4\n', r"^shop.toml: .*line 3"),
    ],
)
def test_errors_of_a_file_name_it_and_the_line(text, message):
    with pytest.raises(DataError, match=message):
        Schema.of_toml("shop.toml", text)


def test_a_folder_of_packed_tables_is_a_database(tmp_path):
    shop()["customers"].to_csv(tmp_path / "customers.csv.gz", index=False)
    shop()["orders"].to_csv(tmp_path / "orders.tsv", index=False, sep="\t")
    assert holds_tables(tmp_path)
    database = read_database(tmp_path)
    assert list(database.frames) == ["customers", "orders"]
    assert links(database.schema) == {"orders.customer_id -> customers"}
