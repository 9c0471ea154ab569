"""Samples of any generator are measured by the code that measures a run."""

import json

import numpy as np
import pandas as pd
import pytest

import fourfold
from fourfold.main import run
from fourfold.tasks.evaluation import evaluate_samples

rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {"city": rng.choice(["Ulm", "Bonn", "Kiel"], 600), "age": rng.integers(18, 90, 600), "paid": rng.random(600) < 0.4}
)


def call(*words):
    return run([str(word) for word in words], False)


def shown(capsys):
    captured = capsys.readouterr()
    return {one["name"]: one["value"] for one in json.loads(captured.out)}, captured.err


def test_samples_of_a_run_have_the_scores_of_the_run(tmp_path, capsys):
    words = ("--size", "xs", "--budget", "2 steps", "--precision", "float32")
    np.save(tmp_path / "real.npy", fourfold.load("eight-gaussians").train.x[:400])
    assert call("fit", "flow", tmp_path / "real.npy", *words, "--out", tmp_path / "run") == 0
    assert call("sample", tmp_path / "run", "-n", 40, "--out", tmp_path / "new.npy") == 0
    capsys.readouterr()
    assert call("evaluate", tmp_path / "run", "-n", 40, "--json") == 0
    own, _ = shown(capsys)
    assert call("evaluate", tmp_path / "new.npy", "--data", tmp_path / "real.npy", "-n", 40, "--json") == 0
    scores, said = shown(capsys)
    assert len(scores) > 4
    assert scores == {name: own[name] for name in scores}
    assert "40 of its examples are the references, and copies are looked for among 320 others" in " ".join(said.split())


def test_copies_of_rows_are_found_in_a_file_of_anybody(tmp_path, capsys):
    FRAME.to_csv(tmp_path / "real.csv", index=False)
    data = fourfold.load(tmp_path / "real.csv")
    data.space.table(data.train.x[:200]).to_csv(tmp_path / "copies.csv", index=False)
    other = FRAME.assign(city=rng.permutation(FRAME["city"]), age=rng.integers(18, 90, 600))[["paid", "age", "city"]]
    other.to_parquet(tmp_path / "other.parquet")
    assert call("evaluate", tmp_path / "copies.csv", "--data", tmp_path / "real.csv", "--json") == 0
    assert shown(capsys)[0]["copies[training rows]"] == 1
    assert call("evaluate", tmp_path / "other.parquet", "--data", tmp_path / "real.csv", "--json") == 0
    assert shown(capsys)[0]["copies[training rows]"] < 0.8


def test_samples_in_memory():
    data = fourfold.load(FRAME)
    scores, notes = evaluate_samples(FRAME.assign(city="Rom"), data)
    assert any("'Rom' is a value that the model never saw" in note for note in notes)
    assert next(one.value for one in scores if one.name == "shape[columns]") < 0.8
    with pytest.raises(ValueError, match="samples must be at least 2 to be measured, got 1"):
        evaluate_samples(FRAME.head(1), data)


def test_samples_without_data_are_refused_with_the_way_out(tmp_path, capsys):
    FRAME.to_csv(tmp_path / "new.csv", index=False)
    assert call("evaluate", tmp_path / "new.csv") == 2
    assert "must be the folder of a run" in (line := capsys.readouterr().err)
    assert "--data REAL" in line
    assert call("evaluate", tmp_path / "new.csv", "--data", "two-moons") == 2
    assert "new.csv" in capsys.readouterr().err
