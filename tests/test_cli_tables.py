"""Tables on the command line: what a person does with them, from the file to the file."""

import json

import numpy as np
import pandas as pd
import pytest

from fourfold.cli.tables import _verdict
from fourfold.main import run as fourfold
from fourfold.tasks.classifying import ClassifierScores

rng = np.random.default_rng(0)
N = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table and a run on it."""
    path = tmp_path_factory.mktemp("tables")
    kind = rng.choice(["a", "b b", "c"], N)
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, N), unit="D")
    frame = pd.DataFrame(
        {
            "id": np.arange(N) + 100,
            "kind": kind,
            "size": np.where(rng.random(N) < 0.2, "", [f"{s:.2f}" for s in rng.normal(5 * (kind == "a"), 1)]),
            "start": day.strftime("%d/%m/%Y"),
            "end": (day + pd.to_timedelta(rng.integers(0, 9, N), unit="D")).strftime("%d/%m/%Y"),
            "ok": kind != "a",
        }
    )
    frame.to_csv(path / "t.csv", index=False)
    frame.head(20).assign(kind="").to_csv(path / "holes.csv", index=False)
    frame.head(20).drop(columns="ok").to_csv(path / "new.csv", index=False)
    words = ["fit", "autoregressive", path / "t.csv", "--budget", "60 steps", "--size", "xs", "--device", "cpu"]
    assert fourfold([*map(str, words), "--precision", "float32", "--out", str(path / "run")]) == 0
    return path


def call(*words):
    return fourfold([str(word) for word in words])


def test_the_columns_are_shown_in_80_characters(folder, capsys):
    assert call("data", folder / "t.csv") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.split("sha256")[1].splitlines()[2:])) <= 80
    for word in ("identifier", "3 categories", "%d/%m/%Y", "2 categories", "multiples of"):
        assert word in " ".join(shown.split())
    assert call("data", folder / "t.csv", "--json") == 0
    columns = json.loads(capsys.readouterr().out)["columns"]
    assert [column["kind"] for column in columns] == ["identifier", "category", "number", "time", "time", "category"]


def test_a_schema_is_written_edited_and_given_back(folder, capsys):
    schema = folder / "schema.toml"
    assert call("data", folder / "t.csv", "--schema", schema) == 0
    schema.write_text(schema.read_text().replace("resolution = 0.01", "resolution = 0.5"))
    assert call("data", folder / "t.csv", "--schema", schema) == 0
    assert "the schema says so" in " ".join(capsys.readouterr().out.split())
    assert call("data", folder / "t.csv", "--schema", folder / "new.csv") == 2
    assert "must be TOML" in capsys.readouterr().err


def test_samples_have_what_is_asked_for(folder, capsys):
    out = folder / "samples.csv"
    wanted = ("--given", "kind=a", "--given", "kind=b b", "--given", "size=-2..6", "--require", "start <= end")
    assert call("sample", folder / "run", "-n", 30, *wanted, "--out", out) == 0
    assert "draws fulfil 'start <= end'" in capsys.readouterr().err
    drawn = pd.read_csv(out)
    assert list(drawn.columns) == ["id", "kind", "size", "start", "end", "ok"]
    assert set(drawn["kind"]) <= {"a", "b b"}
    assert drawn["size"].between(-2, 6).all()
    starts, ends = (pd.to_datetime(drawn[name], format="%d/%m/%Y") for name in ("start", "end"))
    assert (starts <= ends).all()
    assert drawn["id"].tolist() == list(range(N + 100, N + 130))
    assert call("sample", folder / "run", "-n", 9, "--balance", "kind", "--out", folder / "b.parquet") == 0
    assert pd.read_parquet(folder / "b.parquet")["kind"].value_counts().tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--given", "kid=a"), "did you mean 'kind'"),
        (("--given", "kind=z"), "got 'z'"),
        (("--given", "size=90..99"), "got 90..99"),
        (("--balance", "size"), "holds quantities"),
        (("--require", "start <="), "cannot be read"),
        (
            ("--require", "size > 1000 and kind == 'a' and size < 2000 and not (size < 1000)", "--given", "size=1..2"),
            "too few",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, capsys, monkeypatch, words, message):
    monkeypatch.setattr("fourfold.tasks.given.LEAST", 1000)
    assert call("sample", folder / "run", "-n", 3, *words, "--out", "-") == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line


def test_holes_are_filled(folder, capsys):
    assert call("impute", folder / "run", folder / "holes.csv", "--out", folder / "filled.csv") == 0
    assert "gaps filled: kind 20" in capsys.readouterr().err
    before, after = (pd.read_csv(folder / name, dtype=str) for name in ("holes.csv", "filled.csv"))
    assert set(after["kind"]) <= {"a", "b b", "c"}
    assert after["size"].notna().all()
    pd.testing.assert_frame_equal(before[["id", "start", "end", "ok"]], after[["id", "start", "end", "ok"]])


def test_a_column_is_predicted(folder, capsys):
    assert call("classify", folder / "run", "--target", "ok", "--out", folder / "p.csv") == 0
    shown = capsys.readouterr().out
    for name in ("this run, autoregressive", "logistic regression", "gradient boosting"):
        assert name in shown
    assert "not significantly different" in shown or "does better here" in shown
    p = pd.read_csv(folder / "p.csv")
    assert list(p.columns) == ["row", "true", "predicted", "p(False)", "p(True)"]
    assert np.allclose(p["p(False)"] + p["p(True)"], 1, atol=1e-5)
    assert call("classify", folder / "run", folder / "new.csv", "--target", "ok", "--out", folder / "p.csv") == 0
    assert "has no column 'ok'" in capsys.readouterr().err
    assert len(pd.read_csv(folder / "p.csv")) == 20
    assert call("classify", folder / "run", "--target", "size") == 2


def _classifier(name, loss):
    return ClassifierScores(name, (0.8, 0.7, 0.9), loss, (0.8, 0.7, 0.9))


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ((0.60, 0.55, 0.65), "logistic regression does better here: to predict ok alone, train a classifier directly"),
        ((0.40, 0.35, 0.44), "this run does better here than classifiers that are trained directly"),
        ((0.52, 0.47, 0.57), "this run and logistic regression are not significantly different on these rows"),
    ],
)
def test_the_verdict_on_a_classification_follows_the_intervals(own, words):
    others = [_classifier("gradient boosting", (0.9, 0.8, 1.0)), _classifier("logistic regression", (0.5, 0.45, 0.55))]
    assert _verdict(_classifier("this run", own), others, "ok") == words


def test_an_ending_that_is_not_written_is_answered_by_each_that_is_once(folder, capsys):
    assert call("sample", folder / "run", "-n", 3, "--out", folder / "x.png") == 2
    line = capsys.readouterr().err
    assert [line.count(f"{ending},") + line.count(f"{ending}\n") for ending in (".csv", ".tsv", ".npy")] == [1, 1, 1]


def test_a_folder_that_is_taken_is_refused_before_anything_is_timed(folder, capsys):
    assert call("fit", "autoregressive", folder / "t.csv", "--budget", "20s", "--out", folder / "run") == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_scores_name_unusual_columns_and_values_without_mass(folder, capsys):
    frame = pd.read_csv(folder / "t.csv", dtype=str, keep_default_na=False).head(30)
    frame.loc[4, "kind"] = "new"
    frame.to_csv(folder / "odd.csv", index=False)
    assert call("score", folder / "run", folder / "odd.csv", "--out", folder / "s.csv") == 0
    assert "row 5, column kind: 'new' is a value that the model never saw" in capsys.readouterr().err
    scores = pd.read_csv(folder / "s.csv")
    assert scores["nats"][4] == -np.inf
    assert np.isfinite(scores["nats"].drop(4)).all()
    assert "kind" in scores["unusual"][4]
