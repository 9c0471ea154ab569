"""Tables as JSON lines, as lists of JSON objects and as sheets of workbooks, against the same rows as a data frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fourfold
from fourfold.core import Beside
from fourfold.data import DataError, load
from fourfold.data.writers import write_examples
from fourfold.main import run as main

pytest.importorskip("openpyxl")
FRAME = pd.DataFrame(
    {
        "age": np.random.default_rng(0).integers(20, 60, 80),
        "city": np.random.default_rng(1).choice(["Rom", "Köln", "=1+1"], 80),
        "height": np.random.default_rng(2).normal(170, 10, 80).round(1),
    }
)
FRAME.loc[[3, 7], "city"] = None


def _file(folder: Path, ending: str, frame: pd.DataFrame = FRAME) -> Path:
    path = folder / f"people{ending}"
    if ending == ".xlsx":
        frame.to_excel(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=ending != ".json")
    return path


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".ndjson", ".xlsx"])
def test_rows_of_a_file_are_those_of_the_frame(tmp_path: Path, ending: str) -> None:
    people = FRAME.replace("=1+1", "Paris")  # a workbook would compute it
    data, frame = load(_file(tmp_path, ending, people)), load(people)
    assert data.space == frame.space
    assert data.train.x.equal(frame.train.x)


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".xlsx"])
def test_texts_of_digits_keep_their_zeros(tmp_path: Path, ending: str) -> None:
    codes = pd.DataFrame({"zip": np.random.default_rng(3).choice(["01067", "01069", "99084"], 80), "n": range(80)})
    data = load(_file(tmp_path, ending, codes))
    assert set(data.space.table(data.train.x)["zip"]) == {"01067", "01069", "99084"}


@pytest.mark.parametrize("ending", [".jsonl", ".xlsx"])
def test_written_rows_are_read_again(tmp_path: Path, ending: str) -> None:
    data = load(FRAME)
    path = write_examples(tmp_path / f"new{ending}", data.train.x, data.space, Beside())
    again = load(path, space=data.space)
    assert sum(len(part.x) for part in (again.train, again.validation, again.test)) == len(data.train.x)
    rows = pd.read_excel(path) if ending == ".xlsx" else pd.read_json(path, lines=True)
    assert rows["height"].to_numpy() == pytest.approx(data.space.table(data.train.x)["height"].to_numpy(float))
    assert rows["city"].fillna("").tolist() == data.space.table(data.train.x)["city"].fillna("").tolist()


def test_keys_that_a_row_lacks_are_gaps_and_nested_values_are_modelled(tmp_path: Path) -> None:
    rows = [{"a": i % 7, "b": {"c": i % 3}} | ({"d": "x" if i % 2 else "y"} if i % 5 else {}) for i in range(60)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    frame = load(path).space.table(load(path).train.x)
    assert list(frame) == ["a", "b", "d"]
    assert set(frame["b"]) == {'{"c": 0}', '{"c": 1}', '{"c": 2}'}
    assert 0 < frame["d"].isna().sum() < len(frame)


def test_sheets_are_named(tmp_path: Path) -> None:
    path = tmp_path / "two.xlsx"
    with pd.ExcelWriter(path) as book:
        FRAME[["age", "height"]].to_excel(book, sheet_name="people", index=False)
        FRAME[["age"]].assign(score=FRAME["age"] % 5).to_excel(book, sheet_name="scores", index=False)
        pd.DataFrame().to_excel(book, sheet_name="notes")
    with pytest.raises(DataError, match=r"two\.xlsx: must have one sheet with cells, got 2 \(people, scores\)"):
        load(path)
    with pytest.raises(DataError, match="must be one of the workbook's, got 'cities'"):
        load(path, query="cities")
    assert load(path, query="people").space == load(FRAME[["age", "height"]]).space


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"a": 1}', r"a\.json: must hold a list of objects, .* got an object"),
        ("a.json", "[1, 2]", r"a\.json, item 1: must be an object .* got a number"),
        ("a.json", "[{]", r"a\.json: must be JSON"),
        ("a.json", "[]", "must have at least"),
        ("a.jsonl", '{"a": 1, "b": 2}\n[1]', r"a\.jsonl, line 2: must be an object .* got a list"),
        ("a.jsonl", '{"a": 1, "b": 2}\n{"a": 1, "b"', r"a\.jsonl, line 2: must be JSON"),
        ("a.jsonl", '{"content": "one field"}', r"a\.jsonl, line 1: must have text under 'text', got content"),
        ("a.jsonl", '{"a": "\\ud800", "b": 2}\n' * 30, r"a\.jsonl: cannot be read as a table"),
        ("a.xlsx", "no workbook", r"a\.xlsx: cannot be read as a workbook"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".jsonl", ".xlsx"])
def test_files_are_judged(tmp_path: Path, ending: str) -> None:
    real = _file(tmp_path, ending)
    report: Any = fourfold.judge(real, FRAME.sample(frac=1, random_state=0), out=tmp_path / "judged.html")
    assert report is not None


@pytest.mark.parametrize("ending", [".jsonl", ".xlsx"])
def test_gaps_are_filled_in_the_format_of_the_table(tmp_path: Path, ending: str) -> None:
    run = fourfold.fit("autoregressive", FRAME, budget="5 steps", precision="float32", out=tmp_path / "run")
    table, out = _file(tmp_path, ending, FRAME.replace("=1+1", "Rom")), tmp_path / f"filled{ending}"
    assert main(["impute", str(run.folder), str(table), "--out", str(out)]) == 0
    filled = pd.read_excel(out) if ending == ".xlsx" else pd.read_json(out, lines=True)
    assert filled["age"].tolist() == FRAME["age"].tolist()
    assert set(filled["city"].dropna()) <= {"Rom", "Köln", "=1+1"}
