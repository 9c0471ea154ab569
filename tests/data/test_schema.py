"""What a table's columns are inferred to be, on columns made so that the answer is known; and schema files."""

import re

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch

from fourfold.baselines import IndependentColumns
from fourfold.data import DataError, load, read_all
from fourfold.data.schema import schema_text
from fourfold.data.writers import write_examples
from fourfold.spaces import Table
from fourfold.spaces.columns import MISSING, UNSEEN, Categorical, Constant, DateTime, Identifier, Numeric
from fourfold.tasks.given import allowed_codes

rng = np.random.default_rng(0)
N = 400
prices = np.random.default_rng(1).uniform(1e5, 9e7, N)


def columns(path, **options):
    """The columns of a file by name, and the reasons."""
    profiles = load(path, space="table", **options).columns
    return {profile.column.name: profile.column for profile in profiles}, {
        profile.column.name: profile.reason for profile in profiles
    }


def one(tmp_path, values, name="x", **options):
    """The column that texts are, beside a column of two words."""
    lines = [f'{"uv"[i % 2]},"{value}"' for i, value in enumerate(values)]
    (tmp_path / "t.csv").write_text("\n".join([f"kind,{name}", *lines]) + "\n", encoding="utf-8")
    found, reasons = columns(tmp_path / "t.csv", keep_rare=True, **options)
    return found[name], reasons[name]


def times(form, step="h"):
    return list(pd.date_range("2020-01-03 10:20:30", periods=N, freq=step).strftime(form))


@pytest.mark.parametrize(
    ("values", "resolution", "decimals", "reason"),
    [
        (np.round(rng.normal(size=N), 2), 0.01, 2, "multiples of 0.01"),
        (rng.integers(0, 1000, N), 1, 0, "whole numbers"),
        (500 * rng.integers(0, 200, N), 500, 0, "multiples of 500"),
        (rng.normal(size=N), 0.001, 3, "decimals are finer than a model can learn"),
        (1e6 * rng.normal(size=N), 1000, 0, "kept to 1000"),
        (np.where(rng.random(N) < 0.5, 0, rng.integers(1, 10**6, N)), 1, 0, " % are 0"),
        (np.round(np.exp(3 * rng.normal(size=N)), 1), 0.1, 1, "a long tail"),
        (np.round(prices, 2), 0.01, 2, "multiples of 0.01"),
        (np.round(prices, 4), 10000, 0, "kept to 10000"),
        ([f"{x:.2f}" for x in 0.25 * rng.integers(0, 400, N)], 0.25, 2, "multiples of 0.25"),
        (np.append(rng.integers(0, 90, N - 1), 150), 1, 0, "whole numbers"),
        (np.append(rng.integers(0, 90, N - 1), 0.25), 0.25, 2, "multiples of 0.25"),
        (np.append(rng.integers(0, 90, N - 1), 0.30000000000000004), 0.1, 1, "multiples of 0.1"),
    ],
)
def test_numbers_have_their_resolution(tmp_path, values, resolution, decimals, reason):
    column, why = one(tmp_path, values)
    assert isinstance(column, Numeric)
    assert (column.resolution, column.decimals) == (resolution, decimals)
    assert reason in why


def test_prices_of_millions_come_back_to_the_cent(tmp_path):
    values = [f"{x:.2f}" for x in np.append(prices, 12_345_678_901.23)]
    column, _ = one(tmp_path, values)
    assert column.text(column.codes(pd.Series(values))).tolist() == values


@pytest.mark.parametrize(
    ("values", "categories", "reason"),
    [
        (["a", "b", "c", "c"] * 100, ("a", "b", "c"), "words"),
        ([0, 1, 2, 2] * 100, ("0", "1", "2"), "only 3 different numbers"),
        ([0.5, 1.5] * 200, ("0.5", "1.5"), "only 2 different numbers"),
        ([10, 9, 2, 2] * 100, ("2", "9", "10"), "only 3 different numbers"),
        (["01", "02", "10", "02"] * 100, ("01", "02", "10"), "words"),
        (["0", "-0.0", "1", "1.0"] * 100, ("0", "1"), "different numbers"),
        ([f"w{i % 150}" for i in range(N)], 150, "150 of them in fewer than 10 rows"),
        (np.repeat(np.arange(40), 10 * (1 + 9 * (np.arange(40) % 2))), 40, "frequencies jump"),
    ],
)
def test_categories(tmp_path, values, categories, reason):
    column, why = one(tmp_path, values)
    assert isinstance(column, Categorical)
    assert column.categories == categories or len(column.categories) == categories
    assert reason in why


@pytest.mark.parametrize(
    ("values", "form", "resolution"),
    [
        (times("%Y-%m-%d", "D"), "%Y-%m-%d", 86400),
        (times("%d/%m/%Y", "D"), "%d/%m/%Y", 86400),
        (times("%m/%d/%Y", "D"), "%m/%d/%Y", 86400),
        (times("%-d.%-m.%Y", "D"), "%-d.%-m.%Y", 86400),
        (times("%Y-%m-%d %H:%M:%S"), "%Y-%m-%d %H:%M:%S", 1),
        (times("%Y-%m-%dT%H:00:00Z"), "%Y-%m-%dT%H:%M:%SZ", 3600),
        (times("%d %b %Y", "D"), "%d %b %Y", 86400),
        (times("%b %-d %Y", "D"), "%b %-d %Y", 86400),
        (times("%H:%M", "min"), "%H:%M", 60),
    ],
)
def test_times_come_back_as_they_were_written(tmp_path, values, form, resolution):
    column, _ = one(tmp_path, values, "x")
    assert isinstance(column, DateTime)
    assert (column.format, column.resolution) == (form, resolution)
    assert column.text(column.codes(pd.Series(values))).tolist() == values


def test_seconds_since_1970_are_times_if_the_name_says_so(tmp_path):
    seconds = 1_600_000_000 + rng.integers(0, 10**6, N)
    assert isinstance(one(tmp_path, seconds, "amount")[0], Numeric)
    column, _ = one(tmp_path, seconds, "created_at")
    assert column.format == "epoch s"
    assert column.text(column.codes(pd.Series(seconds))).tolist() == [str(s) for s in seconds]


def test_numbers_that_are_all_days_are_times(tmp_path):
    days = [f"2021{1 + i % 12:02d}{1 + i % 28:02d}" for i in range(N)]
    column, _ = one(tmp_path, days, "x")
    assert isinstance(column, DateTime)
    assert (column.format, column.resolution) == ("%Y%m%d", 86400)
    assert column.text(column.codes(pd.Series(days))).tolist() == days
    for other in ("20210230", "20211301", "18210101"):  # no days, or of another century
        assert isinstance(one(tmp_path, [*days[1:], other], "x")[0], Numeric)


def test_days_and_months_that_may_be_swapped_are_told(tmp_path):
    assert "the month could come first" in one(tmp_path, [f"0{1 + i % 9}/0{1 + i % 7}/2020" for i in range(N)])[1]


@pytest.mark.parametrize(
    ("name", "values", "fresh"),
    [
        ("user_id", 17 + 3 * np.arange(N), str(17 + 3 * N - 2)),
        ("x", 5 + np.arange(N), str(5 + N)),
        ("x", [f"U{i:05d}" for i in range(N)], f"U{N:05d}"),
        ("x", [f"{a}{b}" for a, b in zip(rng.integers(0, 1 << 40, N), "xyz" * N, strict=False)], "x 1"),
    ],
)
def test_identifiers_are_replaced_by_fresh_ones(tmp_path, name, values, fresh):
    column, _ = one(tmp_path, values, name)
    assert isinstance(column, Identifier)
    assert column.text(np.zeros(3, dtype=np.int64)).iloc[0] == fresh
    assert not set(column.text(np.zeros(50, dtype=np.int64))) & set(map(str, values))


def test_numbers_that_merely_differ_are_no_identifiers(tmp_path):
    assert isinstance(one(tmp_path, 3 * np.arange(N))[0], Numeric)
    assert isinstance(one(tmp_path, 1900 + np.arange(100), "year")[0], Numeric)
    assert isinstance(one(tmp_path, rng.normal(size=N))[0], Numeric)


@pytest.mark.parametrize("gap", ["", "NA", "?", "nan", "None", "null", "N/A"])
def test_missing_values_are_values(tmp_path, gap):
    for values in (rng.integers(0, 1000, N), rng.choice(["u", "v", "w"], N)):
        column, _ = one(tmp_path, [gap if i % 5 == 0 else value for i, value in enumerate(values)])
        assert column.missing
        assert column.gaps == (gap,)
        assert column.text(np.array([MISSING])).tolist() == [gap]
        assert column.codes(pd.Series([gap, str(values[0])])).tolist()[0] == MISSING


def test_a_column_that_is_nearly_empty(tmp_path):
    column, _ = one(tmp_path, ["3.5" if i == 7 else "4" if i == 9 else "" for i in range(N)])
    assert isinstance(column, Numeric)
    assert column.missing
    only, _ = one(tmp_path, ["yes" if i == 7 else "" for i in range(N)])
    assert only == Categorical("x", "str", True, ("",), ("yes",))


@pytest.mark.parametrize(("values", "value"), [([""] * N, None), (["NO"] * N, "NO"), (["?"] * N, "?")])
def test_constants_are_given_back(tmp_path, values, value):
    column, _ = one(tmp_path, values)
    assert isinstance(column, Constant)
    assert column.value == value
    assert column.text(np.zeros(2, dtype=np.int64)).tolist() == [values[0]] * 2


@pytest.mark.parametrize(("true", "false"), [("True", "False"), ("true", "false"), ("TRUE", "FALSE")])
def test_true_and_false(tmp_path, true, false):
    column, _ = one(tmp_path, [true, true, false, true] * 100)
    assert (column.dtype, column.categories) == ("bool", (false, true))
    assert column.values(np.array([0, 1])).tolist() == [False, True]


def test_a_word_among_numbers_counts_as_missing_and_is_named(tmp_path):
    values = [str(value) for value in rng.integers(0, 1000, N)]
    values[41] = "x1"
    column, why = one(tmp_path, values)
    assert (column.gaps, column.span) == (
        ("x1", ""),
        (min(map(int, set(values) - {"x1"})), max(map(int, set(values) - {"x1"}))),
    )
    assert column.text(column.codes(pd.Series(values))).tolist() == values
    assert "'x1' counts as missing" in why
    (note,) = load(tmp_path / "t.csv").notes
    assert note.startswith("column x: 'x1' in row 42 is not a number and counts as missing")
    assert '[x] kind = "category"' in note
    (tmp_path / "s.toml").write_text('[x]\nmissing = ["x1"]\n')
    column, _ = one(tmp_path, values, schema=tmp_path / "s.toml")
    assert column.codes(pd.Series(["x1", "4"])).tolist() == [MISSING, 4]
    (tmp_path / "s.toml").write_text('[x]\nkind = "category"\n')
    assert isinstance(one(tmp_path, values, schema=tmp_path / "s.toml")[0], Categorical)


def test_numbers_and_words_in_equal_parts_are_a_category(tmp_path):
    column, _ = one(tmp_path, ["a", "1", "2", "b"] * 100)
    assert column.categories == ("1", "2", "a", "b")


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_schema_file_says_again_what_was_inferred(tmp_path):
    from fourfold.data.schema import schema_text

    frame = pd.DataFrame(
        {
            "id": np.arange(N),
            'a "b"': rng.choice(["x, y", 'q"r', "ü"], N),
            "price": np.round(rng.lognormal(size=N), 2),
            "day": pd.date_range("2020-01-01", periods=N).strftime("%d/%m/%Y"),
            "hole": np.where(rng.random(N) < 0.3, np.nan, rng.integers(0, 99, N)),
            "same": "s",
            "yes": rng.random(N) < 0.5,
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    first = load(tmp_path / "t.csv")
    (tmp_path / "s.toml").write_text(schema_text(first.columns, "head"), encoding="utf-8")
    again = load(tmp_path / "t.csv", schema=tmp_path / "s.toml")
    assert again.space == first.space
    assert again.digest == first.digest


def test_a_schema_file_decides(tmp_path):
    (tmp_path / "s.toml").write_text('[x]\nkind = "number"\nresolution = 0.5\n[kind]\ncategories = ["v", "u", "w"]\n')
    lines = [f"{'uv'[i % 2]},{i % 3}" for i in range(N)]
    (tmp_path / "t.csv").write_text("\n".join(["kind,x", *lines]))
    by_name, reasons = columns(tmp_path / "t.csv", schema=tmp_path / "s.toml")
    assert (by_name["x"].resolution, by_name["x"].span) == (0.5, (0, 4))
    assert by_name["kind"].categories == ("v", "u", "w")
    assert "the schema says so" in reasons["x"]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("[x", "must be TOML"),
        ("x = 1", r"\[x\]: must be a section"),
        ('[x]\nkind = "numbr"', "kind must be one of number, category, .* got 'numbr'"),
        ('[x]\nkind = "number"\ncategories = ["1"]', "key must be one of .* got 'categories'"),
        ("[x]\nresolutoin = 1", "did you mean 'resolution'"),
        ("[x]\nresolution = -1", "resolution must be .*got -1"),
        ('[x]\nresolution = "1"', "resolution must be a number, got '1'"),
        ("[x]\nmissing = [9]", "list of texts"),
        ('[x]\ncategories = ["1", "1"]', "categories must be different texts"),
        ("[y]\n", "must have the column 'y' of the schema"),
        ('[kind]\ncategories = ["u"]', "row 2, column kind: must be of the schema, got 'v'"),
        ('[kind]\nkind = "number"', "must be a number, got 'u' in row 1"),
        ('[kind]\nkind = "time"\nformat = "%Y"', "must be a time like %Y, got 'u' in row 1"),
        ('[kind]\nkind = "time"', "kind must fit its values, got time"),
    ],
)
def test_bad_schemas_are_refused(tmp_path, schema, message):
    (tmp_path / "s.toml").write_text(schema)
    (tmp_path / "t.csv").write_text("\n".join(["kind,x", *(f"{'uv'[i % 2]},{i % 30}" for i in range(N))]))
    with pytest.raises(DataError, match=message):
        load(tmp_path / "t.csv", schema=tmp_path / "s.toml")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "t.csv", schema=tmp_path / "none.toml")


# --- whole tables -----------------------------------------------------------------------------------------------------


def census_like(n=N):
    rows = [
        f"{a}, Not in universe, {c}, Not in universe, {w:.2f}, ?"
        for a, c, w in zip(rng.integers(0, 90, n), rng.choice(["x y", "z"], n), rng.lognormal(7, 1, n), strict=True)
    ]
    return "\n".join(rows) + "\n"


def test_a_table_without_a_header_and_with_blanks(tmp_path):
    (tmp_path / "t.csv").write_text(census_like())
    data = load(tmp_path / "t.csv")
    assert [profile.column.name for profile in data.columns] == [f"column {i}" for i in range(1, 7)]
    assert data.columns[2].column.categories == ("x y", "z")
    assert any("blanks around cells" in note for note in data.notes)
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == N
    drawn = tmp_path / "drawn.csv"
    write_examples(drawn, data.train.x, data.space)
    assert set(pd.read_csv(drawn, header=None).iloc[1:, 2]) <= {" x y", " z"}  # as a reader that keeps blanks has them


def test_words_are_written_as_most_rows_write_them(tmp_path):
    words = ["left "] * 200 + ["left"] * 20 + ["right"] * 180
    lines = [f"{word},{i % 50}" for i, word in enumerate(rng.permutation(words))]
    (tmp_path / "t.csv").write_text("\n".join(["side,n", *lines]))
    data = load(tmp_path / "t.csv")
    column = data.space.modelled[0]
    assert column.categories == ("left", "right")
    assert column.text(np.array([0, 1])).tolist() == ["left ", "right"]
    assert column.codes(pd.Series(["left", " left", "right "])).tolist() == [0, 0, 1]
    assert load(pd.read_csv(tmp_path / "t.csv")).space.modelled[0].spellings == ("left ", "right")


@pytest.mark.parametrize(
    ("first", "header"),
    [("name,2019,2020", True), ("a,b,c", True), ("u,3,4", False), ("1,2,3", False), ("u,v,w", True)],
)
def test_the_first_row_is_a_header_or_not(tmp_path, first, header):
    from fourfold.data.layout import layout_of

    (tmp_path / "t.csv").write_text("\n".join([first, *(f"n{i},{i},{i}" for i in range(30))]))
    assert layout_of(tmp_path / "t.csv").header is header
    assert layout_of(tmp_path / "t.csv", not header).header is not header


@pytest.mark.parametrize(
    ("first", "row", "header"),
    [
        ("0,1,2", "{i},{i}.5,{i}", True),  # as pandas names the columns of an array
        (",0,1", "{i},{i}.5,{i}", True),  # with the index of the frame
        ("1,2", "{i},u", True),
        ("1,2,3", "3,1,2", False),
        ("0,1,2", "{i},{i},{i}", False),
        ("0,1,3", "{i},{i}.5,{i}", False),
        ("2,3,4", "{i},u,{i}", False),
    ],
)
def test_numbers_that_count_the_columns_are_a_header(tmp_path, first, row, header):
    from fourfold.data.layout import layout_of

    (tmp_path / "t.csv").write_text("\n".join([first, *(row.format(i=i) for i in range(30))]))
    layout = layout_of(tmp_path / "t.csv")
    assert layout.header is header
    assert not header or layout.names == tuple(first.split(","))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(",", ";"),
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace(",", " , "),
        lambda text: re.sub(r",([^,\n]*)", r', "\1"', text),
        lambda text: "\ufeff" + text,
        lambda text: "# by hand\n\n" + text,
        lambda text: text.rstrip("\n"),
    ],
)
def test_many_ways_to_write_the_same_table(tmp_path, change):
    text = "\n".join(["k,x,g", *(f"{'uvw'[i % 3]},{i % 47},{'' if i % 4 else i % 31}" for i in range(N))]) + "\n"
    digests = set()
    for content in (text, change(text)):
        (tmp_path / "t.csv").write_text(content, encoding="utf-8", newline="")
        digests.add(load(tmp_path / "t.csv").digest)
    assert len(digests) == 1


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_quoted_cells_may_hold_anything(tmp_path, separator):
    words = [f"a{separator}b", 'say "c"', "two\nlines", "d"]
    frame = pd.DataFrame({"k": words * 100, "x": rng.integers(0, 99, N)})
    frame.to_csv(tmp_path / "t.csv", index=False, sep=separator)
    assert set(load(tmp_path / "t.csv").columns[0].column.categories) == set(frame["k"])


def test_two_columns_of_one_name(tmp_path):
    (tmp_path / "t.csv").write_text("\n".join(["a,a,", *(f"u{i % 3},{i % 40},{i % 35}" for i in range(N))]))
    data = load(tmp_path / "t.csv")
    assert data.space.columns == ("a", "a.1", "column 3")
    assert any("share a name" in note for note in data.notes)


def test_hundreds_of_columns(tmp_path):
    row = ",".join(["u", *["1.5"] * 199])
    (tmp_path / "t.csv").write_text(
        "\n".join([",".join(f"c{i}" for i in range(200)), *[row, row.replace("u", "v")] * 15])
    )
    with pytest.raises(DataError, match="examples must be at least 20, got 3"):
        load(tmp_path / "t.csv", limit=3)
    data = load(tmp_path / "t.csv")
    assert data.space.columns == ("c0",)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".sqlite", "pandas", "arrow"])
def test_every_source_gives_the_same_table(tmp_path, suffix):
    import sqlite3

    import pyarrow

    frame = pd.DataFrame(
        {"k": rng.choice(["u", "v"], N), "x": rng.integers(0, 99, N), "y": np.round(rng.normal(size=N), 2)}
    )
    frame.loc[3, "k"] = None
    path = tmp_path / f"t{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".feather":
        frame.to_feather(path)
    elif suffix == ".sqlite":
        base = sqlite3.connect(path)
        frame.to_sql("t", base, index=False)
        base.close()
    data = load({"pandas": frame, "arrow": pyarrow.table(frame)}.get(suffix, path))
    assert isinstance(data.space, Table)
    whole = torch.cat([data.train.x, data.validation.x, data.test.x])
    expected = torch.from_numpy(np.stack([column.codes(frame[column.name]) for column in data.space.modelled], 1))
    assert torch.equal(torch.unique(whole, dim=0), torch.unique(expected, dim=0))


def test_a_query_chooses_from_a_database(tmp_path):
    import sqlite3

    base = sqlite3.connect(tmp_path / "t.db")
    for name in ("one", "two"):
        pd.DataFrame({"k": ["u", "v"] * 20, "x": range(40)}).to_sql(name, base, index=False)
    base.close()
    with pytest.raises(DataError, match=r"must have one table, got 2 .*choose one with --query"):
        load(tmp_path / "t.db")
    assert load(tmp_path / "t.db", query="select k, x % 7 as y from two").space.columns == ("k", "y")
    with pytest.raises(DataError, match="must be one of one, two, got 'three'"):
        load(tmp_path / "t.db", query="three")
    with pytest.raises(DataError, match="no such column"):
        load(tmp_path / "t.db", query="select z from one")


def test_rows_for_a_model(tmp_path):
    (tmp_path / "t.csv").write_text("\n".join(["k,x", *(f"{'uv'[i % 2]},{i % 40}" for i in range(N))]))
    space = load(tmp_path / "t.csv").space
    (tmp_path / "new.csv").write_text("x,k,extra\n3,v,1\n4,w,1\n,u,1\n")
    split, notes = read_all(tmp_path / "new.csv", space)
    assert split.x.tolist() == [[1, 3], [UNSEEN, 4], [0, UNSEEN]]
    assert any("row 2, column k: 'w' is a value that the model never saw" in note for note in notes)
    assert any("row 3, column x: ''" in note for note in notes)
    (tmp_path / "new.csv").write_text("x,k\nz,v\n")
    with pytest.raises(DataError, match=r"new.csv, row 1, column x: must be a number, got 'z'"):
        read_all(tmp_path / "new.csv", space)
    (tmp_path / "new.csv").write_text("k\nv\n")
    with pytest.raises(DataError, match="must have the column 'x' of the model"):
        read_all(tmp_path / "new.csv", space)


def test_rows_are_drawn_by_the_seed(tmp_path, monkeypatch):
    from fourfold.data import delimited

    (tmp_path / "t.csv").write_text("\n".join(["k,x", *(f"{'uv'[i % 2]},{i}" for i in range(5000))]))
    monkeypatch.setattr(delimited, "BLOCK", 1000)
    few = [load(tmp_path / "t.csv", limit=300, seed=seed) for seed in (0, 0, 1)]
    assert few[0].digest == few[1].digest != few[2].digest
    assert sum(len(split) for split in (few[0].train, few[0].validation, few[0].test)) == 300


def test_types_that_are_no_values_are_refused(tmp_path):
    pairs = pyarrow.array([[("a", 1)]] * 40, pyarrow.map_(pyarrow.string(), pyarrow.int64()))
    pyarrow.parquet.write_table(pyarrow.table({"k": ["u", "v"] * 20, "l": pairs}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column l: must hold one value in each cell, got map"):
        load(tmp_path / "t.parquet")


def test_frames_of_polars_are_read():
    polars = pytest.importorskip("polars")
    columns = {"k": ["u", None, "w", "v"] * 20, "x": rng.integers(0, 99, 80).tolist()}
    frame, table = pd.DataFrame(columns), polars.DataFrame(columns)
    assert load(table).digest == load(frame).digest
    assert load(table.with_columns(polars.col("k").cast(polars.Categorical))).digest == load(frame).digest


def test_a_database_of_duckdb_is_read(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    base = duckdb.connect(str(tmp_path / "t.duckdb"))
    base.execute("create table one as select range as a, range % 3 as b, 'w' || (range % 7) as k from range(60)")
    base.close()
    assert load(tmp_path / "t.duckdb").space.columns == ("b", "k")
    assert load(tmp_path / "t.duckdb", query="select k, a * a as c from one").space.columns == ("k", "c")
    with pytest.raises(DataError, match="cannot be read as DuckDB"):
        load(tmp_path / "t.duckdb", query="select z from one")
    (tmp_path / "bad.duckdb").write_text("x" * 5000)
    with pytest.raises(DataError, match="cannot be read as DuckDB"):
        load(tmp_path / "bad.duckdb")


# --- back to files ----------------------------------------------------------------------------------------------------


def test_rows_come_back_as_the_file_wrote_them(tmp_path):
    """Every row of a file, written from its cells: the same header, texts, decimals, dates and gaps."""
    table = pd.DataFrame(
        {
            "first, name": rng.choice(["Ann", 'B. "Bo"', "Chloé"], N),
            "price": [f"{p:.2f}" for p in rng.lognormal(3, 1, N)],
            "short": [f"{p:.1f}".removesuffix(".0") for p in rng.uniform(0, 50, N)],
            "whole": rng.integers(-500, 500, N),
            "age": [str(a) if a % 5 else "NA" for a in rng.integers(18, 90, N)],
            "day": pd.date_range("2001-02-03", periods=N).strftime("%d.%m.%Y"),
            "at": pd.date_range("2001-02-03", periods=N, freq="7min").strftime("%Y-%m-%dT%H:%M:%S"),
            "code": rng.choice(["007", "042", "100"], N),
            "ok": rng.choice(["true", "false"], N),
            "unit": "kg",
            "note": "",
        }
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    data = load(tmp_path / "t.csv")
    x = torch.cat([data.train.x, data.validation.x, data.test.x])
    write_examples(tmp_path / "new.csv", x, data.space)
    lines = [(tmp_path / name).read_text().splitlines() for name in ("t.csv", "new.csv")]
    assert lines[0][0] == lines[1][0]
    assert sorted(lines[0]) == sorted(lines[1])


@pytest.mark.parametrize("suffix", [".parquet", ".feather"])
def test_a_data_frame_keeps_its_types(tmp_path, suffix):
    frame = pd.DataFrame(
        {
            "i8": rng.integers(0, 99, N).astype("int8"),
            "u16": rng.integers(0, 60_000, N).astype("uint16"),
            "f4": np.round(rng.normal(size=N), 1).astype("float32"),
            "gap": pd.array(np.where(rng.random(N) < 0.2, None, rng.integers(0, 99, N)), dtype="Int64"),
            "ok": rng.random(N) < 0.5,
            "category": pd.Categorical(rng.choice(["low", "high"], N)),
            "word": rng.choice(["a", "b"], N),
            "at": pd.date_range("2020-01-01", periods=N, freq="h"),
            "zone": pd.date_range("2020-01-01", periods=N, freq="h", tz="Europe/Oslo"),
        }
    )
    data = load(frame)
    x = torch.cat([data.train.x, data.validation.x, data.test.x])
    again = data.space.table(x)
    assert [str(dtype) for dtype in again.dtypes] == [str(dtype) for dtype in frame.dtypes]
    by = ["at"]
    pd.testing.assert_frame_equal(
        again.sort_values(by).reset_index(drop=True), frame.sort_values(by), check_categorical=False
    )
    write_examples(tmp_path / f"t{suffix}", x, data.space)
    assert torch.equal(read_all(tmp_path / f"t{suffix}", data.space)[0].x, x)


def test_fresh_numbers_of_a_data_frame_fit_into_their_dtype():
    ids = {
        "signed id": (rng.integers(-(2**62), 2**62, N), "int64"),
        "random id": (rng.integers(2**62, 2**64 - 1, N, dtype="uint64"), "uint64"),
        "last id": (np.uint64(2**64 - 1) - np.arange(N, dtype="uint64"), "uint64"),
        "small id": ((2**15 - N + np.arange(N)).astype("int16"), "int64"),  # 2**15 is the first fresh one
    }
    frame = pd.DataFrame({"x": rng.normal(size=N), **{name: values for name, (values, _) in ids.items()}})
    data = load(frame)
    table = data.space.table(torch.cat([data.train.x, data.validation.x]))
    for name, (values, dtype) in ids.items():
        assert str(table[name].dtype) == dtype
        assert table[name].is_unique
        assert not set(table[name]) & set(values)


@pytest.mark.parametrize("dtype", ["int64", "Int64", "uint64"])
def test_large_numbers_that_are_categories_stay_exact(dtype):
    large = 2**60 + np.arange(1, 6, 2)
    frame = pd.DataFrame({"group": pd.array(rng.choice(large, N), dtype), "x": rng.normal(size=N)})
    data = load(frame)
    assert isinstance(data.space.modelled[0], Categorical)
    assert data.space.table(data.train.x)["group"].isin(large.tolist()).all()


def test_words_of_a_data_frame_may_end_in_blanks_as_those_of_a_file_may():
    words = np.where(rng.random(N) < 0.5, "left ", "right")
    words[:3] = "left"
    frame = pd.DataFrame({"side": words, "n": rng.integers(0, 50, N)})
    for given in (frame, frame.astype({"side": "category"})):
        data = load(given, space="table")
        assert data.space.modelled[0].categories == ("left", "right")
        assert "blanks around cells do not count, as those of side" in data.notes
        assert torch.equal(data.space.codes(given)[:, 0], data.space.codes(given.assign(side=words))[:, 0])


def test_a_schema_knows_how_many_rows_it_was_inferred_from():
    frame = pd.DataFrame({"side": np.where(rng.random(N) < 0.5, "left", "right"), "n": rng.integers(0, 50, N)})
    assert load(frame, space="table").space.observed == N
    assert load(frame, space="table", limit=100).space.observed == 100


@pytest.mark.parametrize("power", [-310, -30, -13, 0, 25, 307])
def test_numbers_of_every_size_come_back_as_they_were_read(tmp_path, power):
    words = [f"{value:.3f}e{power}" for value in rng.uniform(-5, 5, N)]
    column, _ = one(tmp_path, words)
    written = column.text(column.codes(pd.Series(words)))
    truth = np.array([float(word) for word in words])
    np.testing.assert_allclose(written.astype(float), truth, rtol=1e-11, atol=0.51 * column.resolution)
    assert written.str.len().max() < 20


@pytest.mark.parametrize("kind", ["log-normal", "log-uniform", "six hundred decades"])
def test_numbers_over_many_decades_have_the_nats_of_their_law(kind):
    """With the Jacobian of the grid, masses of logarithms are the density of the numbers."""
    random, n = np.random.default_rng(0), 6000
    if kind == "log-normal":
        logs, entropy = 1 + 6 * random.normal(size=n), 1 + 0.5 * np.log(2 * np.pi * np.e * 36)
    else:
        low, high = (-25.0, 10.0) if kind == "log-uniform" else (-690.0, 690.0)
        logs, entropy = random.uniform(low, high, n), np.log(high - low) + (low + high) / 2
    frame = pd.DataFrame({"x": np.exp(logs), "side": np.where(random.random(n) < 0.5, "a", "b")})
    data = load(frame)
    column = data.space.modelled[0]
    assert column.logarithmic
    back = data.space.table(data.space.codes(frame))["x"].to_numpy()
    assert np.abs(np.log10(back) - logs / np.log(10)).max() < column.resolution
    assert torch.equal(data.space.codes(frame.assign(x=back)), data.space.codes(frame))
    fitted = IndependentColumns.fit(data.space, data.train.x)
    x = column.quantities(data.test.x[:, 0].numpy())
    jacobian = np.log(x) + np.log(np.log(10) * column.resolution)
    nats = fitted.log_prob(data.test.x).nats.double().numpy() - np.log(0.5) - jacobian
    assert nats.mean() == pytest.approx(-entropy, abs=0.03 + 4 * nats.std() / len(x) ** 0.5)


def test_a_grid_of_logarithms_is_asked_for_declared_and_limited(tmp_path):
    values = 10 ** np.random.default_rng(0).uniform(-8, 4, N)
    frame = pd.DataFrame({"x": values, "n": np.arange(N) % 7})
    space = load(frame).space
    column = space.modelled[0]
    codes = allowed_codes(column, (1e-6, 1e-3))
    assert column.quantities(codes.numpy()).min() == pytest.approx(1e-6, rel=3e-3)
    assert column.quantities(codes.numpy()).max() == pytest.approx(1e-3, rel=3e-3)
    others = space.codes(pd.DataFrame({"x": [0.0, -1.0, 1.0], "n": 1}))
    assert space.outside(others).tolist() == [True, True, False]
    (tmp_path / "s.toml").write_text(schema_text(load(frame).columns, "columns"))
    assert load(frame, schema=tmp_path / "s.toml").space.modelled[0] == column
    (tmp_path / "l.toml").write_text('[n]\nkind = "number"\nlogarithmic = true\n')
    with pytest.raises(DataError, match="a positive number, since the schema says that it is logarithmic"):
        load(frame, schema=tmp_path / "l.toml")
