"""Schemas that are counted with noise: sensitivity by brute force, what shows, and what is declared public."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

pytest.importorskip("dp_accounting")

from fourfold.data import DataError, load
from fourfold.data import private as counted
from fourfold.privacy import Guarantee, Protection
from fourfold.spaces.columns import MISSING, Categorical, DateTime, FreeText, Identifier, Numeric

SECRET = b"a secret of test"


def frame(rows: int = 3000) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    days = pd.Timestamp("2020-01-01") + pd.to_timedelta(draw.integers(0, 700, rows), "D")
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "town": draw.choice(["Bern", "Basel", "Chur"], rows, p=[0.6, 0.3, 0.1]),
            "price": draw.gamma(2, 20, rows).round(2),
            "children": draw.poisson(1.3, rows),
            "day": days.strftime("%Y-%m-%d"),
            "gaps": np.where(draw.random(rows) < 0.3, "?", draw.choice(["a", "b"], rows)),
            "note": [f"a note on row {i}" for i in range(rows)],
        }
    )


def read(data: pd.DataFrame, epsilon: float = 5.0, **public):
    return load(data, private=Protection(Guarantee(epsilon), public, SECRET))


def test_kinds_ends_and_levels_are_counted_with_noise():
    dataset = read(frame(20_000))
    columns = {item.column.name: item.column for item in dataset.columns}
    assert isinstance(columns["id"], Identifier)
    assert isinstance(columns["note"], FreeText)
    town, price, day = columns["town"], columns["price"], columns["day"]
    assert isinstance(town, Categorical)
    assert town.categories == ("Basel", "Bern", "Chur")
    assert isinstance(price, Numeric)
    assert price.decimals == 2
    assert isinstance(day, DateTime)
    first, last = pd.to_datetime(day.text(np.array(day.span)))
    assert pd.Timestamp("2019-10-01") < first <= pd.Timestamp("2020-03-01")
    assert pd.Timestamp("2021-10-01") < last <= pd.Timestamp("2022-03-01")
    assert columns["gaps"].gaps[0] == "?"
    x = dataset.statistics.x
    share = (x[:, [c.name for c in dataset.space.modelled].index("gaps")] == MISSING).double().mean()
    assert float(share) == pytest.approx(0.3, abs=0.05)
    assert not dataset.space.outside(dataset.train.x).any()
    assert dataset.space.rules == ()
    assert dataset.notes == ()


@pytest.mark.parametrize("rows", [300, 1000, 4000])
def test_a_column_of_numbers_stays_one_however_strong_the_noise(rows):
    data = frame(rows)[["town", "price", "children"]]
    kinds = [
        {
            item.column.name: item.kind
            for item in load(data, private=Protection(Guarantee(1.0), {}, bytes([k]) * 16)).columns
        }
        for k in range(12)
    ]
    assert "category" not in {kind[name] for kind in kinds for name in ("price", "children")}
    assert all(kind["town"] != "number" for kind in kinds)


def test_noised_rows_have_the_distribution_of_each_column():
    data = frame(20_000)
    dataset = read(data)
    names = [c.name for c in dataset.space.modelled]
    drawn = dataset.space.table(dataset.statistics.x)
    for name in ("price", "children"):
        real, noised = data[name].to_numpy(float), drawn[name].to_numpy(float)
        edges = np.quantile(real, [0.1, 0.25, 0.5, 0.75, 0.9])
        shares = [np.searchsorted(edges, values, side="right") for values in (real, noised)]
        counts = [np.bincount(share, minlength=6) / len(share) for share in shares]
        assert np.abs(counts[0] - counts[1]).max() < 0.03
    assert np.abs(np.corrcoef(dataset.statistics.x[:, [names.index("price"), names.index("children")]].T)[0, 1]) < 0.05


def test_the_cells_of_the_grid_cover_whole_numbers_once():
    draw = np.random.default_rng(0)
    codes = np.concatenate([np.arange(-300, 301), draw.integers(-(2**61), 2**61, 2000), 2 ** np.arange(61) - 1])
    cells = counted._cells(codes)
    assert (np.diff(counted._cells(np.sort(codes))) >= 0).all()
    for code, cell in zip(codes.tolist(), cells.tolist(), strict=True):
        first, last = counted._edges(cell)
        assert first <= code <= last
    every = [counted._edges(cell) for cell in range(2 * counted.HALF - 1)]
    assert all(a[1] + 1 == b[0] for a, b in itertools.pairwise(every))


@pytest.mark.parametrize("row", [0, 5, 2999])
def test_one_row_changes_counts_by_no_more_than_the_noise_is_for(monkeypatch, row):
    """Brute force: all counts of the data with a row and without it, before noise."""
    seen: dict[tuple[str, str, str], tuple[float, np.ndarray]] = {}
    before: dict[tuple[str, str, str], tuple[float, np.ndarray]] = {}

    def note(self, column: str, counts: np.ndarray, what: str = "") -> np.ndarray:
        key = (self.name, column, what)
        seen[key] = (self.deviation, counts)
        noised = before.get(key, seen[key])[1]  # what is counted next follows from what was told, which is the same
        return noised if len(noised) == len(counts) else counts

    monkeypatch.setattr(counted._Noise, "added", note)
    data = frame().astype(str)
    read(data)
    before.update(seen)
    seen.clear()
    read(data.drop(index=row))
    assert before.keys() == seen.keys()
    square = 0.0
    for key, (deviation, counts) in before.items():
        other = seen[key][1]
        if len(counts) != len(other):  # a value that no other row has
            counts, other = np.sort(counts)[::-1], np.append(np.sort(other)[::-1], 0.0)
        assert deviation == seen[key][0]
        square += float(((counts - other) ** 2).sum()) / deviation**2
    whole = Protection(Guarantee(5.0), {}, SECRET).counts(3000)
    assert 0.5 * whole**-2 < square <= whole**-2 * (1 + 1e-9)


def test_a_value_of_one_row_does_not_show():
    data = frame()
    data.loc[7, "town"] = "Zwischbergen"
    data.loc[8, "price"] = 987654.32
    dataset = read(data)
    text = repr(dataset.space) + repr(dataset.columns)
    assert "Zwischbergen" not in text
    assert "987654" not in text
    price = next(c for c in dataset.space.modelled if c.name == "price")
    assert price.high * price.resolution < 1000
    assert int(dataset.train.x.max()) <= max(c.span[1] for c in dataset.space.modelled)


def test_the_threshold_hides_single_rows_with_the_probability_of_delta():
    noise = counted._Noise.of(Protection(Guarantee(1.0)), "values", 4.0, 9)
    threshold = noise.threshold(1e-6, 9)
    assert noise.deviation == 12.0
    assert 9 * norm.sf((threshold - 1) / 12.0) == pytest.approx(1e-6, rel=1e-6)


def test_what_is_public_is_taken_as_it_is_and_costs_nothing(tmp_path):
    path = tmp_path / "public.toml"
    path.write_text(
        '[town]\nkind = "category"\ncategories = ["Bern", "Basel", "Chur", "Genf"]\n'
        '[price]\nkind = "number"\ndecimals = 2\nlow = 0\nhigh = 250.5\n'
        '[day]\nkind = "time"\nformat = "%Y-%m-%d"\nlow = "2020-01-01"\nhigh = "2021-12-31"\n'
    )
    dataset = read(frame(), **counted.read_public(path))
    columns = {c.name: c for c in dataset.space.modelled}
    assert columns["town"].categories == ("Bern", "Basel", "Chur", "Genf")
    assert (columns["price"].low, columns["price"].high) == (0, 25050)
    assert columns["day"].text(np.array(columns["day"].span)).tolist() == ["2020-01-01", "2021-12-31"]
    path.write_text('[price]\nkind = "number"\nlow = "much"\n')
    with pytest.raises(DataError, match="low"):
        counted.read_public(path)
    with pytest.raises(DataError, match="town2"):
        read(frame(), town2={"kind": "category"})


def test_the_same_secret_counts_the_same_and_another_does_not():
    data = frame()
    first, again = read(data), read(data)
    other = load(data, private=Protection(Guarantee(5.0), {}, b"another of tests"))
    assert (first.statistics.x == again.statistics.x).all()
    assert first.space == again.space
    assert not torch.equal(first.statistics.x, other.statistics.x)


def test_noise_in_a_cell_beyond_declared_ends_moves_no_end():
    cells = np.zeros(2 * counted.HALF - 1)
    beyond, inside = counted._cells(np.array([1000, 7]))
    cells[beyond] = 9.0
    none = np.empty(0, dtype=np.int64)
    assert counted._ends(cells, none, (0, 30), 1.0) == (0, 0)
    cells[inside] = 9.0
    low, high = counted._ends(cells, none, (0, 30), 1.0)
    assert 0 <= low <= 7 <= high <= 30
