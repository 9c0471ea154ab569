"""Commands for databases, as a user types them."""

from __future__ import annotations

import json
import sqlite3

import pytest
from test_keys_and_links import SHOP

from fourfold.main import run


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
