import numpy as np
import pandas as pd
import pyarrow
import pytest
import torch

from fourfold.data import DataError, load, read_raw
from fourfold.data.coded_columns import without_comma
from fourfold.data.schema import as_numbers
from fourfold.spaces import Table

rng = np.random.default_rng(0)
FRAME = pd.DataFrame({"a": rng.normal(size=40), "b": rng.normal(size=40) * 10, "kind": ["u", "v"] * 20})
NUMBERS = FRAME[["a", "b"]].to_numpy().astype("float32")


def whole(data):
    return torch.cat([data.train.x, data.validation.x, data.test.x])


def same(data, expected=NUMBERS):
    np.testing.assert_allclose(np.sort(whole(data).numpy(), 0), np.sort(expected, 0), rtol=1e-6)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def text(header="a,b", n=40, change=None):
    rows = [f"{x},{y}" for x, y in FRAME[["a", "b"]].to_numpy().tolist()[:n]]
    for row, line in (change or {}).items():
        rows[row] = line
    return "\n".join([header, *rows] if header else rows) + "\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", text()),
        ("t.csv", text(None)),
        ("t.csv", text().replace(",", ";")),
        ("t.tsv", text().replace(",", "\t")),
        ("t.csv", text().replace(",", "|")),
        ("t.csv", text(None).replace(",", " ")),
        ("t.csv", text().replace("\n", "\r\n")),
        ("t.csv", text().replace(",", ";").replace(".", ",")),
        ("t.csv", text(None).replace(",", ";").replace(".", ",")),
        ("t.csv", "# made by hand\n\n" + text()),
        ("t.csv", "\ufeff" + text()),
        ("t.csv", text().rstrip("\n")),
        ("t.CSV", text().replace(",", ", ")),
    ],
)
def test_many_ways_to_write_the_same_numbers(tmp_path, name, content):
    data = load(write(tmp_path / name, content))
    same(data)
    assert data.space.columns in (("a", "b"), ("column 1", "column 2"))


def test_labels_by_name(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    FRAME.to_parquet(tmp_path / "t.parquet")
    digests = set()
    for name in ("t.csv", "t.parquet"):
        data = load(tmp_path / name, labels="kind", given="labels")
        same(data)
        assert data.space.given.names == ("u", "v")
        assert data.space.columns == ("a", "b")
        kinds = dict(zip(NUMBERS[:, 0].tolist(), FRAME["kind"], strict=True))
        for x, k in zip(data.train.x[:, 0].tolist(), data.train.cond.tolist(), strict=True):
            assert min(kinds, key=lambda key: abs(key - x)) is not None
            assert kinds[min(kinds, key=lambda key: abs(key - x))] == "uv"[k]
        assert load(tmp_path / name, labels="kind").train.cond is None
        digests.add(data.digest)
    assert len(digests) == 1


def test_labels_without_a_header(tmp_path):
    lines = [f"{x},{i % 3}" for i, x in enumerate(FRAME["a"])]
    data = load(write(tmp_path / "t.csv", "\n".join(lines)), labels="column 2", given="labels")
    assert data.given.names == ("0", "1", "2")


def test_the_index_column_of_pandas_is_left_out(tmp_path):
    FRAME[["a", "b"]].to_csv(tmp_path / "t.csv")
    data = load(tmp_path / "t.csv")
    same(data)
    assert "without its index column" in data.source


def test_parquet_of_many_types(tmp_path):
    frame = pd.DataFrame({"i": np.arange(40), "f": NUMBERS[:, 0], "n": pd.array(range(40), "Int64")})
    frame.to_parquet(tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet", space="vectors").space.columns == ("i", "f", "n")
    frame.loc[6, "n"] = None
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="row 7, column n: must be a number, got a missing value"):
        load(tmp_path / "t.parquet", space="vectors")
    assert isinstance(load(tmp_path / "t.parquet").space, Table)
    frame["when"] = pd.Timestamp("2020-01-01")
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="column when"):
        load(tmp_path / "t.parquet", space="vectors")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text(change={4: "1"}), r"t.csv, row 5: has 1 cell, and the first line has 2: .* quote a cell that holds ','"),
        (text(change={4: "1,-1e300"}), r"column b: must be within reach of a grid of 0.01, .* got '-1e300' in row 5"),
        (text(change={4: "1,2,3"}), r"t.csv, row 5: has 3 cells, and the first line has 2"),
        (text("a"), r"t.csv, row 1: has 2 cells, and the first line has 1"),
        (text(None, change={26: "1 2 3"}).replace(",", " "), r"t.csv, row 27: has 3 cells, .* holds a blank"),
        (text().replace(",", ', "').replace("\n", '"\n') + '"1", "2", "3"\n', r"t.csv, row 41: has 3 cells"),
        (text(n=3), r"examples must be at least 20, got 3"),
        ("", r"must hold a table"),
        ("a,b\n", r"must have at least 20 rows"),
        ("\n\n\n", r"must hold a table"),
        ("# nothing\n", r"must hold a table"),
        ("\n".join(f"{i},7" for i in range(40)), r"a table must have a column that varies"),
        ("a,b\n" + "\n".join(f"{i}," for i in range(40)), r"a table must have a column that varies"),
        ('a,b\n1,"2\n' + text(None), r"t.csv"),
    ],
)
def test_bad_tables_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "t.csv", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text(change={4: ",1"}), r"t.csv, row 5, column a: .* missing"),
        (text(change={4: "NA,1"}), r"row 5, column a: .* missing"),
        (text(change={4: "x,1"}), r"t.csv, column a: must hold numbers, got 'x' in row 5; correct it"),
        (text(change={4: "inf,1"}), r"row 5, column a: must be a finite float32, got inf"),
        (text(change={4: "1,-1e39"}), r"row 5, column b: must be a finite float32, got -1e\+39"),
        ("\n".join(f"{i},7" for i in range(40)), "column column 2 must vary to have a density, got 7 in"),
    ],
)
def test_vectors_are_finite_numbers_that_vary(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        load(write(tmp_path / "t.csv", content), space="vectors")


def test_vectors_have_no_words(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"column kind: .* got 'u' in row 1.*labels='kind'.*--space table"):
        load(tmp_path / "t.csv", space="vectors")
    FRAME.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"column kind: .* got 'u' in row 1"):
        load(tmp_path / "t.parquet", space="vectors")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("kin", "did you mean 'kind'"),
        ("zzz", "it has a, b, kind"),
        ("a", "row 1: label must be a whole number or a name"),
    ],
)
def test_wrong_label_columns_are_refused(tmp_path, labels, message):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "t.csv", labels=labels)


def test_missing_labels_are_refused(tmp_path):
    frame = FRAME.copy()
    frame.loc[9, "kind"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="row 10: must have a label, got none"):
        load(tmp_path / "t.csv", labels="kind")


def test_conditional_without_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match="name its label column"):
        load(write(tmp_path / "t.csv", text()), given="labels")


def test_labels_alone_are_refused(tmp_path):
    with pytest.raises(DataError, match="must have columns beside the labels"):
        load(write(tmp_path / "t.csv", "k\n" + "u\n" * 40), labels="k")


def test_other_encodings_are_refused(tmp_path):
    (tmp_path / "t.csv").write_bytes("größe,b\n".encode("latin1") + text(None).encode())
    with pytest.raises(DataError, match=r"t.csv, byte 2: must be UTF-8, got 0xf6; .*latin1"):
        load(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(text().encode("utf-16"))
    with pytest.raises(DataError, match=r"must be UTF-8, got 0xff; .*utf-16"):
        load(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(text().encode() * 600 + b"\xff,1\n")
    with pytest.raises(DataError, match=r"t.csv, line 24601, byte \d+: must be UTF-8"):
        load(tmp_path / "t.csv")


def test_numbers_are_read_to_the_last_bit():
    """Python's own reader of numbers is the oracle; 17 digits tell any two doubles apart."""
    bits = np.random.default_rng(0).integers(0, 1 << 63, 20_000).view(np.float64)
    texts = [f" {x:.17g}" for x in bits[np.isfinite(bits)]] + ["1e-400", "5.", "+.5", "-0", "9007199254740993"]
    numbers = as_numbers(pd.Series(texts).str.strip())
    assert (numbers == [float(text) for text in texts]).all()
    commas = without_comma(pyarrow.array(["1,5", "-,25", "2,5e3", "7"])).to_pandas()
    np.testing.assert_array_equal(as_numbers(commas), [1.5, -0.25, 2500, 7])


def test_decimal_commas_beside_points_between_groups_of_digits(tmp_path):
    """Amounts keep both marks, people are whole numbers, and a model reads few rows as it read all of them."""
    rng = np.random.default_rng(0)
    amounts, people = np.round(np.exp(rng.normal(7, 2, 200)), 2), np.rint(np.exp(rng.normal(8, 2, 200)) + 1)
    german = [f"{x:,.2f}".translate(str.maketrans(",.", ".,")) for x in amounts]
    whole = [f"{p:,.0f}".replace(",", ".") for p in people]
    lines = [f"{german[k]};{whole[k]};{k % 3}" for k in range(200)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["amount;people;kind", *lines]) + "\n", encoding="utf-8")
    data = load(path, space="table", keep_rare=True)
    amount, count = (column for column in data.space.schema if column.name in ("amount", "people"))
    assert data.columns[0].missing == 0
    assert amount.text(amount.codes(pd.Series(german))).tolist() == german
    assert amount.quantities(amount.codes(pd.Series(german))).tolist() == pytest.approx(amounts.tolist())
    assert count.resolution == 1
    k = int(np.flatnonzero(amounts < 1000)[0])
    path.write_text(f"amount;people;kind\n{lines[k]}\n", encoding="utf-8")
    (row,) = read_raw(path, data.space)[0].x.tolist()
    assert amount.quantities(np.array(row[:1]))[0] == pytest.approx(amounts[k])
    assert row[1] == people[k]


def test_an_empty_line_is_no_row(tmp_path):
    same(load(write(tmp_path / "t.csv", text().replace("\n", "\n\n"))))
    column = "\n\n".join(str(x) for x in FRAME["a"])
    same(load(write(tmp_path / "one.csv", f"a\n{column}\n\n")), NUMBERS[:, :1])


def test_no_parquet_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(Parquet magic bytes"):
        load(write(tmp_path / "t.parquet", text()))
