"""A file or frame is a table unless all of its columns are continuous and free of ties."""

import sqlite3

import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch

from fourfold.data import load
from fourfold.spaces import Table, Vectors
from fourfold.spaces.columns import Categorical, Constant, Numeric

N = 400
rng = np.random.default_rng(0)
CREDIT = pd.DataFrame(
    {
        "limit": 1000 * rng.integers(1, 500, N),
        "sex": rng.integers(1, 3, N),
        "age": rng.integers(20, 80, N),
        "bill": rng.integers(-1000, 10**6, N),
        "default": (rng.random(N) < 0.2).astype(int),
    }
)
HEIGHTS = pd.DataFrame({"a": rng.normal(size=N), "b": 10 * rng.lognormal(size=N)})
SOURCES = [".csv", ".tsv", ".parquet", ".feather", ".sqlite", ".duckdb", "pandas", "polars", "arrow"]


def source(frame, kind, folder):
    """The rows of a data frame in a file or an object of another kind."""
    path = folder / f"t{kind}"
    if kind in (".csv", ".tsv"):
        frame.to_csv(path, index=False, sep="," if kind == ".csv" else "\t")
    elif kind == ".parquet":
        frame.to_parquet(path)
    elif kind == ".feather":
        frame.to_feather(path)
    elif kind == ".sqlite":
        base = sqlite3.connect(path)
        frame.to_sql("t", base, index=False)
        base.close()
    elif kind == ".duckdb":
        with pytest.importorskip("duckdb").connect(str(path)) as base:
            base.execute("create table t as select * from frame")
    elif kind == "polars":
        return pytest.importorskip("polars").from_pandas(frame)
    else:
        return pyarrow.table(frame) if kind == "arrow" else frame
    return path


@pytest.mark.parametrize("kind", SOURCES)
def test_whole_numbers_are_a_table_and_come_back_whole(tmp_path, kind):
    data = load(source(CREDIT, kind, tmp_path))
    assert isinstance(data.space, Table)
    assert data.space.columns == tuple(CREDIT)
    assert [type(column) for column in data.space.modelled] == [Numeric, Categorical, Numeric, Numeric, Categorical]
    frame = data.space.table(data.train.x)
    assert set(frame.dtypes.astype(str)) == {"int64"}
    assert set(map(tuple, frame.to_numpy().tolist())) <= set(map(tuple, CREDIT.to_numpy().tolist()))


@pytest.mark.parametrize("kind", SOURCES)
def test_continuous_columns_are_vectors_to_the_last_bit(tmp_path, kind):
    data = load(source(HEIGHTS, kind, tmp_path))
    assert isinstance(data.space, Vectors)
    assert data.space.columns == ("a", "b")
    assert data.notes == ()
    rows = torch.cat([data.train.x, data.validation.x, data.test.x]).numpy()
    np.testing.assert_array_equal(np.sort(rows, 0), np.sort(HEIGHTS.to_numpy(np.float32), 0))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (rng.integers(0, 10**6, N), Numeric),  # whole, though hardly tied
        (np.round(rng.normal(size=N), 3), Numeric),  # on a grid that can be kept
        (np.repeat(rng.normal(size=N // 2), 2), Numeric),  # every value occurs twice
        (np.where(np.arange(N) == 7, np.nan, rng.normal(size=N)), Numeric),
        (np.where(np.arange(N) == 7, "rotary", rng.normal(size=N).astype(str)), Numeric),
        (np.where(np.arange(N) == 7, np.inf, rng.normal(size=N)), Numeric),
        (np.full(N, 7.0), Constant),
        (np.arange(N) % 2 == 0, Categorical),
        (np.where(np.arange(N) == 7, "rotary", rng.integers(3, 9, N).astype(str)), Categorical),
    ],
)
def test_one_other_column_makes_a_table(tmp_path, column, kind):
    frame = HEIGHTS.assign(c=column)
    for name in (".csv", "pandas"):
        data = load(source(frame, name, tmp_path))
        assert isinstance(data.space, Table)
        assert isinstance(data.columns[2].column, kind)


def test_the_space_that_is_asked_for_decides(tmp_path):
    path = source(CREDIT, ".csv", tmp_path)
    vectors = load(path, space="vectors")
    assert isinstance(vectors.space, Vectors)
    assert "tied values in limit" in vectors.notes[0]
    assert isinstance(load(source(HEIGHTS, ".parquet", tmp_path), space="table").space, Table)
    assert isinstance(load(path, space=vectors.space).space, Vectors)
    rows = torch.cat([vectors.train.x, vectors.validation.x, vectors.test.x]).numpy()
    np.testing.assert_array_equal(np.sort(rows, 0), np.sort(CREDIT.to_numpy(np.float32), 0))


def test_a_word_among_few_numbers_is_a_category(tmp_path):
    values = np.where(np.arange(N) == 56, "rotary", rng.integers(3, 9, N).astype(str))
    data = load(source(pd.DataFrame({"cylinders": values, "price": HEIGHTS["a"]}), ".csv", tmp_path), keep_rare=True)
    assert data.columns[0].column.categories == ("3", "4", "5", "6", "7", "8", "rotary")
    assert data.notes == ()


def test_arrays_stay_vectors_and_name_their_ties():
    data = load(CREDIT.to_numpy())
    assert isinstance(data.space, Vectors)
    assert "read them as a table" in data.notes[0]
    table = load(CREDIT.to_numpy(), space="table")
    assert isinstance(table.space, Table)
    assert table.space.table(table.train.x)["column 3"].between(20, 79).all()
    assert isinstance(load("wine").space, Vectors)
    assert isinstance(load("wine", space="table").space, Table)
