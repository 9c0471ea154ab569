"""Kinds of columns that are kept out of a model, rare categories, and tables that look like sequences."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest
import torch

from fourfold.data import DataError, load, read_all
from fourfold.data.schema import schema_text
from fourfold.main import run
from fourfold.spaces.columns import Categorical, FreeText

N = 400
rng = np.random.default_rng(0)
WORDS = ["the", "patient", "came", "with", "pain", "in", "the", "left", "arm", "and", "was", "sent", "home"]
FRAME = pd.DataFrame(
    {
        "city": rng.choice(["Ulm", "Bonn"], N),
        "note": [" ".join(rng.choice(WORDS, 8)) for _ in range(N)],
        "zip": [f"{z:05d}" for z in rng.integers(0, 40, N)],
        "age": rng.integers(18, 90, N),
    }
)


def kinds(data):
    return {profile.column.name: profile.kind for profile in data.columns}


@pytest.fixture
def path(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def schema(folder, text):
    (folder / "s.toml").write_text(text)
    return folder / "s.toml"


def test_sentences_are_free_text_and_new_in_samples(path):
    data = load(path)
    assert kinds(data)["note"] == "text"
    assert data.space.columns == ("city", "zip", "age")
    assert "texts, no part of the likelihood; samples get new ones: note" in data.notes
    assert list(data.space.table(data.train.x)) == list(FRAME)
    words = set(" ".join(FRAME["note"]).split())
    drawn = data.space.text(data.train.x)["note"].str.split(" ").explode()
    assert drawn.isin(words).mean() > 0.8


def test_a_schema_makes_text_of_a_column_and_drops_another(path, tmp_path):
    file = schema(tmp_path, '[zip]\nkind = "drop"\n[city]\nkind = "text"\n[note]\nkind = "identifier"\n')
    data = load(path, schema=file)
    assert kinds(data) == {"city": "text", "note": "identifier", "zip": "drop", "age": "number"}
    assert list(data.space.table(data.train.x)) == ["city", "note", "age"]
    assert "left out of the model and of samples: zip" in data.notes
    x, notes = read_all(path, data.space)
    assert len(x) == N
    assert "columns that the model does not use: zip" in notes
    again = load(path, schema=schema(tmp_path, schema_text(data.columns, "head")))
    assert again.space == data.space
    assert kinds(again) == kinds(data)


def test_a_model_keeps_the_kinds_of_its_columns(path, tmp_path):
    """A trained run draws the columns that are left, with new texts."""
    file = schema(tmp_path, '[zip]\nkind = "drop"\n')
    words = (
        "--schema",
        file,
        "--budget",
        "2 steps",
        "--size",
        "xs",
        "--precision",
        "float32",
        "--out",
        tmp_path / "run",
    )
    assert run([str(word) for word in ("fit", "autoregressive", path, *words)], False) == 0
    assert run(["sample", str(tmp_path / "run"), "-n", "9", "--out", str(tmp_path / "new.csv")], False) == 0
    new = pd.read_csv(tmp_path / "new.csv")
    assert list(new) == ["city", "note", "age"]
    assert new["note"].notna().all()


@pytest.mark.parametrize("kind", ["category", "drop", "text"])
def test_rare_categories_of_many_are_pooled_and_said(tmp_path, kind):
    """3,000 rows of two shops, and 1,600 shops of one row each; the schema knows the training rows alone."""
    shops = np.array([f"s{i}" for i in range(1600)] + ["big", "large"] * 1500)
    frame = pd.DataFrame({"shop": rng.permutation(shops), "age": rng.integers(18, 90, len(shops))})
    data = load(frame)
    column = data.columns[0].column
    assert column == Categorical("shop", "str", categories=("big", "large", "other"), other="other")
    assert "values are in fewer than 10 rows each, and are pooled as 'other'" in data.notes[0]
    drawn = data.space.table(torch.cat([data.train.x, data.validation.x, data.test.x]))["shop"].value_counts()
    assert drawn.to_dict() == {"big": 1500, "large": 1500, "other": 1600}
    x, _ = read_all(pd.DataFrame({"shop": ["new", "big"], "age": [20, 30]}), data.space)
    assert x.x[:, 0].tolist() == [2, 0]
    again = load(frame, schema=schema(tmp_path, schema_text(data.columns, "head")))
    assert again.space == data.space
    asked = load(frame, schema=schema(tmp_path, f'[shop]\nkind = "{kind}"\n'))
    assert asked.columns[0].kind == kind
    assert kind != "category" or len(asked.columns[0].column.categories) > 1000


def test_rare_categories_that_are_most_rows_are_texts_of_their_format():
    """39,226 zip codes of 50,000 rows were categories, and stood in every sample."""
    zips = [f"{z:05d}" for z in rng.integers(0, 5000, 6000)]
    data = load(pd.DataFrame({"zip": zips, "age": rng.integers(18, 90, 6000)}))
    assert isinstance(data.columns[0].column, FreeText)
    assert "in fewer than 10 rows each" in data.columns[0].reason
    drawn = data.space.table(data.train.x)["zip"]
    assert drawn.str.fullmatch(r"\d{5}").all()
    assert (drawn.astype(int) < 5000).mean() > 0.95


def test_a_category_of_mostly_rare_categories_is_warned_of():
    names = [f"n{i}" for i in range(150)] * 2
    data = load(pd.DataFrame({"name": names, "age": rng.integers(18, 90, 300)}), keep_rare=True)
    assert len(data.columns[0].column.categories) == 150
    assert 'samples repeat them: kind = "text", "identifier" or "drop"' in data.notes[0]


def test_free_text_is_a_part_of_a_model_file():
    from fourfold.core.parts import configuration, construct
    from fourfold.spaces import Table

    space = Table((FreeText("note"), Categorical("k", categories=("a", "b", "other"), other="other")))
    assert construct(json.loads(json.dumps(configuration(space)))) == space


def test_other_must_be_a_category(path, tmp_path):
    with pytest.raises(DataError, match=r"\[city\]: other must be one of the categories, got 'x'"):
        load(path, schema=schema(tmp_path, '[city]\ncategories = ["Ulm", "Bonn"]\nother = "x"\n'))


def test_data_says_how_to_change_a_kind(path, capsys, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert run(["data", path.name], False) == 0
    assert f"to change a kind:\n  fourfold data {path.name} --schema NEW.toml" in capsys.readouterr().out
    assert run(["data", str(path)], False) == 0
    assert f"fourfold data {path} --schema NEW.toml" in capsys.readouterr().out.replace(" \\\n  ", " ")


# --- rows that look like sequences ------------------------------------------------------------------------------------

VISITS = pd.DataFrame(
    {
        "patient": np.repeat(rng.permutation(40), 10),
        "when": np.tile(pd.date_range("2020-01-01", periods=10).astype(str), 40),
        "pressure": rng.integers(90, 160, 400),
    }
)


def hint(frame):
    return [note for note in load(frame, space="table").notes if "looks like" in note or "look like" in note]


def test_rows_of_a_key_in_the_order_of_a_time_look_like_sequences():
    (line,) = hint(VISITS)
    assert "--group patient" in line
    assert "--order when" in line
    assert load(VISITS, group="patient", order="when").space.window is None
    few = pd.DataFrame({"shop": np.repeat(["a", "b", "c", "d", "e"], 80), "day": np.tile(np.arange(80), 5)})
    (line,) = hint(few.assign(sold=rng.integers(0, 50, 400)))
    assert "--series shop" in line, "each is long, and they are few"
    assert "--order day" in line


def test_a_time_in_equal_steps_looks_like_a_series():
    frame = pd.DataFrame({"time": np.arange(300), "load": rng.normal(size=300).round(2)})
    (line,) = hint(frame)
    assert "--order time" in line
    assert "--group" not in line
    months = pd.date_range("2000-01-31", periods=200, freq="ME").astype(str)
    assert "--order month" in hint(pd.DataFrame({"month": months, "load": rng.integers(0, 99, 200)}))[0]


@pytest.mark.parametrize(
    "frame",
    [
        VISITS.sample(frac=1, random_state=0),  # in no order
        VISITS.assign(when=VISITS["when"].sample(frac=1, random_state=0).to_numpy()),  # times that do not grow
        VISITS.drop(columns="when"),
        VISITS.assign(patient=VISITS["patient"] % 2),  # keys that come back
        pd.DataFrame({"signup": pd.to_datetime(rng.integers(0, 10**9, N), unit="s").astype(str), "age": FRAME["age"]}),
    ],
)
def test_other_tables_do_not(frame):
    assert hint(frame) == []


def test_intervals_clock_times_and_sparse_columns_come_back_as_they_were():
    r = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "part": pd.cut(r.normal(size=90), 4),
            "clock": [datetime.time(int(hour), int(minute)) for hour, minute in r.integers(0, 24, (90, 2))],
            "flag": pd.arrays.SparseArray(r.integers(0, 2, 90)),
        }
    )
    data = load(frame)
    drawn = data.space.table(data.train.x)
    assert {*drawn["part"]} <= {*frame["part"].astype(str)}
    assert {*drawn["clock"]} <= {time.isoformat(timespec="minutes") + ":00" for time in frame["clock"]}
    assert drawn["flag"].dtype == "int64"


@pytest.mark.parametrize("frequency", ["M", "Q", "W", "D", "h"])
def test_durations_and_periods_come_back_as_they_were(tmp_path, frequency):
    r = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "wait": pd.to_timedelta(r.integers(0, 999, 90), unit="min"),
            "month": pd.PeriodIndex(r.choice(pd.period_range("2020-01", periods=12, freq=frequency), 90)),
        }
    )
    space, x = load(frame).space, load(frame).train.x
    drawn = space.table(x)
    assert drawn.dtypes.astype(str).to_dict() == {"wait": "timedelta64[us]", "month": str(frame["month"].dtype)}
    assert set(drawn["month"]) <= set(frame["month"])
    assert not set(drawn["wait"].dt.total_seconds() % 60) - {0}
    drawn.to_csv(tmp_path / "drawn.csv", index=False)  # "0 days 09:07:00"
    again = load(tmp_path / "drawn.csv", space=space)
    rows = torch.cat([again.train.x, again.validation.x, again.test.x])
    assert sorted(rows.tolist()) == sorted(x.tolist())


def test_frames_that_hold_no_values_are_one_line():
    with pytest.raises(DataError, match=r"column i: must hold numbers, words or times, got complex128"):
        load(pd.DataFrame({"i": [1j] * 40, "j": range(40)}))
    for frame in (pd.DataFrame(), pd.DataFrame(index=range(40))):
        with pytest.raises(DataError, match="must have at least 20 rows, got none"):
            load(frame)
    assert load(pd.Series(np.random.default_rng(0).normal(size=40))).space.shape == (1,)
