"""Columns that hold several values: JSON, lists, patterns around numbers. They are taken apart, and drawn back."""

from __future__ import annotations

import ast
import json

import numpy as np
import pandas as pd
import pytest

import fourfold
from fourfold.core.parts import configuration, construct
from fourfold.data import load, read_all
from fourfold.spaces import Nested, Patterned
from fourfold.spaces.composites import LENGTH

N = 300
AMOUNTS = np.random.default_rng(0).gamma(2, 800, N)


def objects(n=N):
    """Objects with an optional part, a list of some length, a null and an empty text."""
    r = np.random.default_rng(0)
    return [
        {
            "size": int(r.integers(30, 50)),
            "tags": [str(tag) for tag in r.choice(["new", "sale"], r.integers(0, 3))],
            "price": None if r.random() < 0.2 else round(float(r.gamma(2, 9)), 2),
            "note": "" if r.random() < 0.5 else "x",
            **({"owner": {"age": int(r.integers(18, 80)), "vip": bool(r.random() < 0.3)}} if r.random() < 0.4 else {}),
        }
        for _ in range(n)
    ]


def written(objects, style):
    if style == "python":
        return [repr(item) for item in objects]
    return [json.dumps(item, separators=(",", ":") if style == "compact" else None) for item in objects]


@pytest.mark.parametrize("style", ["spaced", "compact", "python"])
def test_objects_come_back_as_they_were_written(tmp_path, style):
    texts = written(objects(), style)
    pd.DataFrame({"x": range(5, N + 5), "o": texts}).to_csv(tmp_path / "t.csv", index=False)
    data = load(tmp_path / "t.csv", keep_rare=True)
    assert isinstance(data.space.schema[1], Nested)
    again = data.space.text(read_all(tmp_path / "t.csv", data.space)[0].x)
    assert again["o"].tolist() == texts
    assert construct(configuration(data.space)) == data.space


def test_samples_are_objects_of_the_same_keys_and_types():
    frame = pd.DataFrame({"x": np.random.default_rng(1).normal(size=N).round(2), "o": objects()})
    run = fourfold.fit("autoregressive", frame, budget="5 steps", size="xs")
    kinds = {"size": int, "tags": list, "price": (float, type(None)), "note": str, "owner": (dict, type(None))}
    drawn = run.model.space.table(run.sample(64, seed=0))
    assert list(drawn) == ["x", "o"]
    for value in drawn["o"]:
        assert value.keys() == kinds.keys()  # a data frame of objects has every key
        assert all(isinstance(value[key], kinds[key]) for key in kinds)
        assert all(tag in ("new", "sale") for tag in value["tags"])


def test_a_key_of_few_rows_and_a_long_list_are_said():
    texts = [json.dumps({"a": k % 7, **({f"k{k}": 1} if k < 30 else {})}) for k in range(N)]
    long = [json.dumps(np.random.default_rng(k).integers(0, 9, 40).tolist()) for k in range(N)]
    frame = pd.DataFrame({"o": texts, "l": long, "x": np.arange(N) % 50})
    data = load(frame)
    notes = " ".join(data.notes)
    assert "column o: without 30 rare keys" in notes
    assert "column l: holds lists of up to 40 items" in notes


def places(n=N):
    r = np.random.default_rng(0)
    return r.normal(59.9, 0.1, n), r.normal(10.7, 0.1, n)


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        ([f"{a:.5f}, {b:.5f}" for a, b in zip(*places(), strict=True)], ("#, #",)),
        ([f"POINT ({b:.4f} {a:.4f})" for a, b in zip(*places(), strict=True)], ("POINT (# #)",)),
        ([f"{a / 9:.1f} kg" if i % 3 else f"{a * 9:.0f} g" for i, a in enumerate(AMOUNTS)], ("# kg", "# g")),
        ([f"${a:,.2f}" if i % 2 else f"(${a:,.2f})" for i, a in enumerate(AMOUNTS)], ("$#", "($#)")),
    ],
)
def test_texts_of_a_few_patterns_are_numbers(texts, labels):
    data = load(pd.DataFrame({"x": np.arange(N) % 40, "p": texts}), keep_rare=True)
    column = data.space.schema[1]
    assert isinstance(column, Patterned)
    assert set(column.labels) == set(labels)
    x = data.space.codes(pd.DataFrame({"x": np.arange(N) % 40, "p": texts}))
    assert data.space.text(x)["p"].tolist() == texts


@pytest.mark.parametrize(
    "texts",
    [
        [f"192.168.{k % 250}.{k * 7 % 251}" for k in range(N)],
        [f"({200 + k}) 555-{k * 37 % 10000:04d}" for k in range(N)],
        [f"C{k:05d}" for k in range(N)],
        [f"{k} {['Main', 'Oak', 'Elm'][k % 3]}{chr(97 + k % 26)} Street" for k in range(N)],
    ],
)
def test_addresses_and_codes_stay_whole(texts):
    data = load(pd.DataFrame({"x": np.arange(N) % 40, "p": texts}))
    assert not isinstance(data.space.schema[1], Patterned)


def test_a_schema_may_leave_a_column_whole(tmp_path):
    pd.DataFrame({"x": np.arange(N) % 40, "o": written(objects(), "spaced")}).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "s.toml").write_text('[o]\nkind = "drop"\n')
    assert load(tmp_path / "t.csv", schema=tmp_path / "s.toml").space.columns == ("x",)


def test_what_foreign_files_claim_of_patterns_is_refused():
    with pytest.raises(ValueError, match="numbers must be written like"):
        Patterned("p", parts=("p.1",), patterns=(("", ".99999999", " kg"),))


def test_hostile_cells_are_no_values():
    column = Nested("o", parts=("o.a", "o.length"), leaves=(("a",), ("b", LENGTH)), texts=(False, False))
    assert column.split("[" * 100_000) == (None, None)
    assert column.joined(("3", None)) == '{"a": 3}'
    python = Nested("o", parts=("o.a",), leaves=(("a",),), texts=(False,), style="python")
    assert python.split("__import__('os')") == (None,)
    assert ast.literal_eval(str(python.joined(("true",)))) == {"a": True}
