"""Databases from anybody: only read, without views that nobody asked for, without a way out of the file, in time."""

import contextlib
import sqlite3
import time

import pytest

from fourfold.data import DataError, databases, load, memory

ENDLESS = "with recursive c(x, y) as (select 1, 2 union all select x + 1, y * 3 % 7 from c) select * from c"
NUMBERS = "with recursive c(i) as (select 0 union all select i + 1 from c where i < 59)"
ROWS = f"{NUMBERS} select i % 7 as a, 'w' || (i % 5) as k from c"


@pytest.fixture(params=["sqlite", "duckdb"])
def base(request, tmp_path):
    """The path of a database, and a function that runs commands in it."""
    path = tmp_path / f"t.{request.param}"
    library = sqlite3 if request.param == "sqlite" else pytest.importorskip("duckdb")

    def run(*commands):
        with contextlib.closing(library.connect(str(path))) as opened:
            for command in commands:
                opened.execute(command)
            opened.commit()

    return path, run


def refused(path, **options):
    with pytest.raises(DataError, match=path.name) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_view_is_read_only_if_it_is_named(base):
    path, run = base
    run(f"create table t as {ROWS}", "create view v as select a, k from t where a < 5")
    assert len(load(path).train) == 48  # the only table
    assert load(path, query="v").space == load(path, query="select * from v").space
    run("drop view v", "drop table t", f"create view v as {ENDLESS}")
    start = time.monotonic()
    assert "must have one table, got 0 and 1 views (v); choose one with --query" in refused(path)
    assert "must have one table, got 0" in refused(path, limit=100)
    assert time.monotonic() - start < 5


def test_what_never_ends_is_interrupted(base, monkeypatch):
    path, run = base
    run(f"create view v as {ENDLESS}")
    monkeypatch.setattr(databases, "SECONDS", 0.5)
    assert "has not given all rows after 0 s: give --query" in refused(path, query="v", limit=100)
    assert "has not given all rows" in refused(path, query=f"select count(*) from ({ENDLESS})")


def test_memory_is_held_against_each_batch(base, monkeypatch):
    path, run = base
    run(f"create table t as {ROWS}")
    monkeypatch.setattr(memory, "free_memory", lambda: 100)
    assert "bytes" not in refused(path)
    assert "must fit into 0 MB of free memory" in refused(path)


@pytest.mark.parametrize(
    "command", ["delete from t", "drop table t", "attach '{}' as other", "pragma user_version = 3"]
)
def test_a_query_only_selects(base, command):
    path, run = base
    run(f"create table t as {ROWS}")
    before = path.read_bytes()
    command = command.format(path.with_name("pwn"))
    for query in (command, f"with x as (select 1) {command}", f"select a, k from t; {command}"):
        refused(path, query=query)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_cell_of_sqlite_has_a_limit(tmp_path):
    """A view of 8 kB gave cells of 60 MB."""
    path = tmp_path / "t.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as opened:
        opened.execute("create view v as select hex(zeroblob(30000000)) as a")
    assert "too big" in refused(path, query="v")


def test_rows_of_sqlite_are_read_by_what_they_hold(tmp_path, monkeypatch):
    path = tmp_path / "t.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as opened:
        opened.execute(f"create table t as {ROWS}")
        opened.execute("create table u (i integer primary key autoincrement)")
        opened.commit()
    whole = load(path, query="t").digest
    monkeypatch.setattr(databases, "BYTES", 10)
    batches = list(databases.batches_of_sqlite(path, "t"))
    assert [batch.num_rows for batch in batches] == [5] * 12  # of two characters each
    assert load(path, query="t").digest == whole
    assert "must have one table, got 2 (t, u)" in refused(path)


# --- DuckDB -----------------------------------------------------------------------------------------------------------


def test_a_view_of_duckdb_reads_no_other_file(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    secret, path = tmp_path / "secret.csv", tmp_path / "t.duckdb"
    secret.write_text("a,b\n" + "".join(f"{i},{i % 9}\n" for i in range(60)))
    with contextlib.closing(duckdb.connect(str(path))) as opened:
        opened.execute(f"create view v as select * from read_csv('{secret}')")
        opened.execute(f"create view w as select * from '{secret}'")
    for query in ("v", "w", f"select * from read_csv('{secret}')", f"from '{secret}'", "from glob('/*')"):
        assert "cannot be read as DuckDB" in refused(path, query=query)


def test_a_query_of_duckdb_writes_no_file_and_asks_for_no_extension(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path, other = tmp_path / "t.duckdb", tmp_path / "pwn.csv"
    with contextlib.closing(duckdb.connect(str(path))) as opened:
        opened.execute(f"create table t as {ROWS}")
    assert "must be one SELECT" in refused(path, query=f"from (select * from t); copy t to '{other}'")
    assert not other.exists()
    with contextlib.closing(duckdb.connect(str(path), read_only=True, config=dict(databases.WALLED))) as opened:
        for command in (f"copy t to '{other}'", "install httpfs", "load httpfs", "set enable_external_access = true"):
            with pytest.raises(duckdb.Error):
                opened.execute(command)
        frame = opened.sql("select 1 as a")
        with pytest.raises(duckdb.CatalogException):  # a variable of this process
            opened.sql("select * from frame")
        del frame
    assert not other.exists()
