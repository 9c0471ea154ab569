"""Sequences of rows given a row: columns that are constant in each sequence, or another table with one row for each."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.data import DataError, load, read_all
from fourfold.data.writers import write_examples
from fourfold.main import run as fourfold_command
from fourfold.spaces import Table
from fourfold.tasks.conditions import conditioning
from fourfold.tasks.drawing import beside


def customers() -> pd.DataFrame:
    """60 customers, in an order of their own."""
    i = np.arange(60)
    frame = pd.DataFrame({"customer": [f"c{k:02d}" for k in i], "kind": np.array(["a", "b"])[i % 2], "age": 20 + i % 7})
    return frame.sample(frac=1, random_state=0)


def orders() -> pd.DataFrame:
    """One to five orders of each customer, whose amount tells the kind. The rows are shuffled."""
    draw, rows = np.random.default_rng(0), []
    for customer, kind, age in customers().sort_values("customer").itertuples(index=False):
        for day in range(1 + (age + len(rows)) % 5):
            amount = round(float(draw.normal(5 if kind == "a" else -5)), 1)
            rows.append((customer, day, amount, kind, age))
    return pd.DataFrame(rows, columns=["customer", "day", "amount", "kind", "age"]).sample(frac=1, random_state=1)


ORDERED = {"group": "customer", "order": "day"}


def amounts_tell(split: fourfold.data.Split, given: Table) -> bool:
    """True if every sequence has the condition that its amounts tell."""
    kind = given.table(split.cond)["kind"].to_numpy()
    return bool(((split.x[:, 0, 1] > 0).numpy() == (kind == "a")).all())


def test_columns_that_are_constant_in_a_sequence_are_its_condition():
    data = load(orders(), **ORDERED, given="kind,age")
    assert data.space.columns == ("day", "amount")
    assert isinstance(data.space.given, Table)
    assert data.space.given.columns == ("kind", "age")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [48, 6, 6]
    alone = load(orders().drop(columns=["kind", "age"]), **ORDERED)
    for part, bare in ((data.train, alone.train), (data.validation, alone.validation), (data.test, alone.test)):
        assert torch.equal(part.x, bare.x)
        assert amounts_tell(part, data.space.given)


def test_a_row_of_another_table_is_found_by_its_key():
    children, within = orders().drop(columns=["kind", "age"]), load(orders(), **ORDERED, given="kind,age")
    spare = pd.DataFrame({"customer": ["none", "never"], "kind": ["b", "b"], "age": [20, 99]})
    data = load(children, **ORDERED, given=pd.concat([customers(), spare]))
    assert data.space == within.space
    for part, same in ((data.train, within.train), (data.test, within.test)):
        assert torch.equal(part.x, same.x)
        assert torch.equal(part.cond, same.cond)
    assert any("2 rows without a sequence" in note and "'none'" in note for note in data.notes)
    with pytest.raises(DataError, match=r"got 60 and 55: c\d\d has no partner in given .and 4 more"):
        load(children, **ORDERED, given=customers()[:55])
    fewer = load(children, **ORDERED, given=customers()[:55], skip_bad=True)
    assert len(fewer.skipped) == 5
    assert sum(map(len, (fewer.train, fewer.validation, fewer.test))) == 55
    assert amounts_tell(fewer.train, fewer.space.given)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {**ORDERED, "given": "kind,amount"},
            r"row \d+, column amount: must be '.*' as in row \d+ of the same",
        ),
        ({**ORDERED, "given": "kind,day"}, "other columns than group and order, got 'day'"),
        ({**ORDERED, "given": customers().drop(columns="customer")}, "must have the column 'customer'"),
        ({**ORDERED, "given": pd.concat([customers()] * 2)}, "one condition of each name, got several of 'c"),
    ],
)
def test_columns_that_are_no_condition_of_a_sequence_are_refused(settings, words):
    with pytest.raises(DataError, match=words):
        load(orders(), **settings)


def test_a_model_of_sequences_given_rows_reads_both_forms_and_writes_the_condition(tmp_path: Path):
    orders().to_csv(tmp_path / "orders.csv", index=False)
    orders().drop(columns=["kind", "age"]).to_csv(tmp_path / "bare.csv", index=False)
    customers().to_csv(tmp_path / "customers.csv", index=False)
    data = load(tmp_path / "bare.csv", **ORDERED, given=tmp_path / "customers.csv")
    space = data.space
    rows, _ = read_all(tmp_path / "orders.csv", space)
    other, _ = read_all(tmp_path / "bare.csv", space, given=tmp_path / "customers.csv")
    assert torch.equal(rows.x, other.x)
    assert torch.equal(rows.cond, other.cond)
    model = fourfold.build("autoregressive", space, "xs")
    model.fit_statistics(data.train.x, data.train.cond)
    nats = model.log_prob(rows.x[:8], rows.cond[:8]).nats
    assert torch.equal(nats, model.log_prob(other.x[:8], other.cond[:8]).nats)
    parts = conditioning(space, tmp_path / "customers.csv")
    names = customers()["customer"].tolist()
    assert list(parts.keys) == names
    assert parts.named(space, 2).keys[:3] == (f"{names[0]}#1", f"{names[0]}#2", f"{names[1]}#1")
    assert conditioning(space, {"kind": "a", "age": 21}).named(space) is space
    drawn = parts.named(space).table(model.sample(4, parts.condition[:4]))
    assert drawn["customer"].drop_duplicates().tolist() == names[:4]
    x = model.sample(3, rows.cond[:3])
    write_examples(tmp_path / "drawn.csv", x, space, beside(space, rows.cond[:3]))
    frame = pd.read_csv(tmp_path / "drawn.csv")
    counts = space.row_counts(x).tolist()
    assert len(frame) == sum(counts)
    expected = space.given.table(rows.cond[:3])["age"].repeat(counts)
    assert frame["age"].tolist() == expected.tolist()


def test_rows_to_go_on_from_keep_their_condition_and_other_files_are_conditions(tmp_path: Path):
    run = fourfold.fit(
        "autoregressive",
        orders(),
        budget="3 steps",
        precision="float32",
        size="xs",
        data_options={**ORDERED, "given": "kind,age"},
        out=tmp_path / "run",
    )
    assert run.card["steps"] == 3
    begun = orders().query("day == 0").head(7)
    begun.to_csv(tmp_path / "begun.csv", index=False)
    customers().head(4).to_csv(tmp_path / "new.csv", index=False)
    words = ["sample", str(tmp_path / "run"), "-n", "2"]
    assert fourfold_command([*words, "--given", str(tmp_path / "begun.csv"), "--out", str(tmp_path / "more.csv")]) == 0
    more = pd.read_csv(tmp_path / "more.csv")
    first = more[more["day"] == 0].assign(customer=more["customer"].str.split("#").str[0])
    both = first.merge(begun, on="customer", suffixes=("", "_begun"))
    assert len(both) == 14
    for column in ("amount", "kind", "age"):
        assert both[column].tolist() == both[f"{column}_begun"].tolist()
    assert fourfold_command([*words, "--given", str(tmp_path / "new.csv"), "--out", str(tmp_path / "drawn.csv")]) == 0
    drawn = pd.read_csv(tmp_path / "drawn.csv").groupby("customer", sort=False).first()
    assert drawn["age"].tolist() == customers().head(4)["age"].repeat(2).tolist()
