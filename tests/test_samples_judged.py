"""Samples of any system are measured by the code that measures a model, against the right rows."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.data import DataError, Split
from fourfold.data.separate import cut
from fourfold.main import run
from fourfold.spaces import Table
from fourfold.tasks.evaluation import examples, quality

rng = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {"city": rng.choice(["Ulm", "Bonn", "Kiel"], 600), "age": rng.integers(18, 90, 600), "paid": rng.random(600) < 0.4}
)


def call(*words):
    return run([str(word) for word in words], False)


def by_name(scores):
    return {score.name.partition("[")[0]: score for score in scores}


def vectors(n, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=(n, 2))).astype("float32")


def test_samples_of_a_run_have_the_scores_of_the_run(tmp_path, capsys):
    words = ("--size", "xs", "--budget", "2 steps", "--precision", "float32")
    np.save(tmp_path / "real.npy", fourfold.load("eight-gaussians").train.x[:400])
    assert call("fit", "flow", tmp_path / "real.npy", *words, "--out", tmp_path / "run") == 0
    assert call("sample", tmp_path / "run", "-n", 40, "--out", tmp_path / "new.npy") == 0
    capsys.readouterr()
    assert call("evaluate", tmp_path / "run", "-n", 40, "--json") == 0
    own = {score["name"]: score["value"] for score in json.loads(capsys.readouterr().out)}
    out = tmp_path / "judge.html"
    assert call("judge", tmp_path / "real.npy", tmp_path / "new.npy", "-n", 40, "--json", "--out", out) == 0
    record = json.loads(capsys.readouterr().out)
    scores = {score["name"]: score["value"] for score in record["samples"][0]["scores"][1:]}
    assert len(scores) > 4
    assert scores == {name: own[name] for name in scores}
    assert json.loads((tmp_path / "judge.json").read_text())["samples"] == record["samples"]
    assert 'id="beside-new"' in out.read_text()


def test_rows_that_were_learned_from_are_told_from_rows_that_were_not():
    whole = vectors(900)
    learned, unseen, more = whole[:400], whole[400:700], whole[700:]
    for real, options in ((learned, {"held_out": unseen}), (unseen, {"train": learned})):
        options["baselines"] = False
        copies = fourfold.judge(real, learned[:200], **options)
        fresh = fourfold.judge(real, more, **options)
        assert len(copies.dataset.train) == 400
        assert by_name(copies.scores)["memorisation_ratio"].value == 0
        ratio = by_name(fresh.scores)["memorisation_ratio"]
        assert ratio.low < ratio.floor_high
        assert ratio.high > ratio.floor_low
        assert any(line.title == "Copies" for line in copies.verdict)
        assert not any(line.title == "Copies" for line in fresh.verdict)
    three = fourfold.judge(unseen, learned, train=learned, held_out=more, baselines=False).dataset
    assert [len(part) for part in (three.train, three.test, three.validation)] == [400, 300, 200]


def test_the_first_lines_on_rows_say_what_they_give_away_beside_new_rows():
    draw = np.random.default_rng(5)
    rows = pd.DataFrame(
        {"a": draw.integers(0, 900, 900), "b": draw.choice(["u", "v"], 900), "c": draw.normal(size=900)}
    )
    learned, unseen, more = rows[:400], rows[400:700], rows[700:]
    copies = fourfold.judge(learned, learned[:200], held_out=unseen, baselines=False)
    fresh = fourfold.judge(learned, more, held_out=unseen, baselines=False)
    for judgement, share in ((copies, "1 ("), (fresh, "0 (")):
        lines = judgement.verdict[:3]
        assert [line.title for line in lines] == ["Privacy"] * 3
        names = ("closer to training than to test rows (rows): ", "copies (training rows): ", "membership attack")
        for line, name in zip(lines, names, strict=True):
            assert line.parts[0].startswith(name)
            assert judgement.samples[0].entry in line.parts
            assert str(line).count(" to ") - name.count(" to ") == 2  # the intervals of the score and of the floor
        assert f"(training rows): samples {share}" in str(lines[1])


def test_notes_on_models_and_their_probabilities_are_left_out():
    low, city = rng.integers(0, 50, 300), rng.choice(["Ulm", "Bonn", "Kiel"], 300)
    rows = pd.DataFrame({"low": low, "high": low + rng.integers(0, 9, 300), "city": city, "empty": np.nan})
    samples, said = rows.assign(city=["Rom", *city[1:]]), []
    fourfold.judge(rows[:200], samples[:90], train=rows[100:], baselines=False, say=said.append)
    assert any("empty" in note for note in said)
    assert not [note for note in said if "probab" in note or "rules" in note]


def test_values_of_another_kind_than_their_column_are_counted_and_judged():
    samples, said = FRAME.astype({"age": object})[:300].copy(), []
    plain = fourfold.judge(FRAME[300:], FRAME[:300], baselines=False)
    samples.loc[3:12, "age"] = "(other)"
    judgement = fourfold.judge(FRAME[300:], samples, baselines=False, say=said.append)
    assert [note for note in said if "row 4, column age: '(other)' is not a number: 10 of 300 values" in note]
    assert judgement.n == plain.n
    none = fourfold.judge(FRAME[300:], samples.assign(age="old"), baselines=False)
    shape = [by_name(part.scores)["shape"].value for part in (plain, none)]
    rest = [by_name(part.scores)["two_sample_auc"].value for part in (plain, none)]
    assert shape[0] - shape[1] > 0.25  # one column of three
    assert rest[1] > 0.95 > rest[0]


def test_vectors_beside_samples_with_gaps_and_words_are_judged_as_rows_of_a_table(tmp_path):
    real, new = (pd.DataFrame(vectors(300, seed), columns=["a", "b"]) for seed in (0, 1))
    assert fourfold.judge(real, new, baselines=False).dataset.space.shape == (2,)
    real.to_csv(tmp_path / "real.csv", index=False)
    for fault in (np.nan, np.inf, "much"):
        said: list[str] = []
        new.astype(object).assign(b=[fault, *new["b"][1:]]).to_csv(tmp_path / "new.csv", index=False)
        judgement = fourfold.judge(tmp_path / "real.csv", tmp_path / "new.csv", baselines=False, say=said.append)
        assert isinstance(judgement.dataset.space, Table)
        assert "--space table" in judgement.command
        assert any("is no number" in note for note in said)
        with pytest.raises(DataError, match=r"new.csv.* column b: must"):
            fourfold.judge(tmp_path / "real.csv", tmp_path / "new.csv", space="vectors")


def test_a_stream_keeps_its_order_when_its_parts_lie_in_several_files(tmp_path):
    for name, start in (("real", 0), ("unseen", 7), ("new", 3)):
        (tmp_path / f"{name}.txt").write_text("".join("abcdefgh"[(start + i * i) % 8] for i in range(2400)))
    judgement = fourfold.judge(
        tmp_path / "real.txt", tmp_path / "new.txt", held_out=tmp_path / "unseen.txt", length=16, tokens="bytes"
    )
    space, data = judgement.dataset.space, judgement.dataset
    assert space.show(data.train.x) == (tmp_path / "real.txt").read_text()
    assert space.show(torch.cat([data.test.x, data.validation.x])) == (tmp_path / "unseen.txt").read_text()
    assert judgement.n == len(space.rows(data.test.x)) == 120


def test_texts_with_other_characters_are_compared_as_bytes(tmp_path):
    text = "".join("abcdefgh"[i * i % 8] for i in range(2400))
    for name, words in (("real", text), ("new", "é" + text[:1200])):
        (tmp_path / f"{name}.txt").write_text(words, encoding="utf-8")
    said: list[str] = []
    judgement = fourfold.judge(tmp_path / "real.txt", tmp_path / "new.txt", length=16, say=said.append)
    assert any("new.txt" in note and "bytes" in note for note in said)
    assert "--tokens bytes" in judgement.command
    with pytest.raises(DataError, match=r"character 'é' at position 0 .* vocabulary"):
        fourfold.judge(tmp_path / "real.txt", tmp_path / "new.txt", length=16, tokens="chars")


@pytest.mark.parametrize(("rows", "options", "test"), [(200, {}, 90), (3000, {"n": 900}, 900), (300, {"n": 20}, 30)])
def test_few_rows_are_split_nearly_in_halves(rows, options, test):
    dataset = fourfold.judge(vectors(rows), vectors(50, 1), baselines=False, **options).dataset
    assert len(dataset.test) == test
    assert len(dataset.train) + len(dataset.validation) == rows - test
    cut_by_user = fourfold.judge(vectors(rows), vectors(50, 1), baselines=False, fractions=(0.8, 0.1, 0.1), **options)
    assert len(cut_by_user.dataset.test) == rows // 10


def test_windows_that_are_too_few_to_be_references_are_counted():
    part = Split(torch.zeros(79, dtype=torch.long))
    with pytest.raises(DataError, match=r"windows of 16 .* at least 8 .* got 4"):
        cut("short.txt", part, fourfold.load("python-docs", length=16, limit=4000))


def test_pairs_are_those_of_the_samples_themselves():
    x = np.concatenate([vectors(300) + 3 * i for i in range(2)])
    y = np.repeat([0, 1], 300)
    order = np.random.default_rng(1).permutation(600)
    x, y = x[order], y[order]
    data = dict(zip(("real", "labels"), (x[:500], y[:500]), strict=True))

    def judged(labels):
        frame = pd.DataFrame(x[:500], columns=["a", "b"]).assign(c=data["labels"])
        new = pd.DataFrame(x[500:], columns=["a", "b"]).assign(c=labels)
        return by_name(fourfold.judge(frame, new, given=["c"], seed=0, baselines=False).scores)

    right, wrong = judged(y[500:]), judged(1 - y[500:])
    assert right["pairs_mmd²"].value < right["pairs_mmd²"].floor_high
    assert wrong["pairs_mmd²"].low > wrong["pairs_mmd²"].floor_high
    assert wrong["pairs_auc"].low > 0.8 > right["pairs_auc"].value
    assert wrong["mmd²"].value == right["mmd²"].value


def test_without_conditions_of_their_own_samples_are_joined_with_none():
    frame = pd.DataFrame(vectors(400), columns=["a", "b"]).assign(c=rng.integers(0, 2, 400))
    said = []
    judgement = fourfold.judge(frame, frame[["a", "b"]].iloc[:100], given=["c"], say=said.append, baselines=False)
    assert not [name for name in by_name(judgement.scores) if name.startswith("pairs")]
    assert any("has no conditions" in line for line in said)


def test_the_samples_are_scored_as_a_models_are():
    judgement = fourfold.judge(FRAME, FRAME.assign(city="Rom"), space="table", n=40, baselines=False)
    dataset = judgement.dataset
    split = dataset.space.conform(judgement.samples[0].x)
    expected = quality(split, dataset, examples(dataset, 40))
    assert [score.value for score in judgement.scores] == pytest.approx([s.value for s in expected], nan_ok=True)
    assert by_name(judgement.scores)["shape"].value < 0.8


def test_it_takes_one_screen(tmp_path):
    lines = str(fourfold.judge(FRAME, FRAME.sample(200, random_state=1), target="paid", n=40)).splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (FRAME.drop(columns="age"), "column 'age'"),
        (FRAME.head(15), "at least 16 examples to be measured, got 15"),
        (vectors(30), "5 columns|3 columns"),
    ],
)
def test_samples_of_another_kind_are_refused_with_the_place(new, words):
    with pytest.raises((DataError, ValueError), match=words):
        fourfold.judge(FRAME, new, space="table")


def test_files_that_are_no_run_lead_to_judge(tmp_path, capsys):
    FRAME.to_csv(tmp_path / "new.csv", index=False)
    assert call("evaluate", tmp_path / "new.csv") == 2
    assert "fourfold judge REAL" in capsys.readouterr().err
    assert call("judge", "two-moons", tmp_path / "new.csv", "--out", tmp_path / "page.html") == 2
    assert "new.csv" in capsys.readouterr().err


def test_times_of_another_form_are_read_and_values_of_no_real_row_are_counted() -> None:
    draw = np.random.default_rng(2)
    days = pd.Series(pd.Timestamp("2021-03-01") + pd.to_timedelta(draw.integers(0, 900 * 24, 300), unit="h"))
    rows = pd.DataFrame(
        {"when": days.dt.strftime("%d/%m/%Y %H:%M"), "zip": [f"{z:05d}" for z in draw.integers(0, 9, 300)]}
    )
    same = pd.DataFrame(
        {"when": days.dt.strftime("%Y-%m-%dT%H:%M:%S"), "zip": rows["zip"].str.lstrip("0").replace("", "0")}
    )
    said: list[str] = []
    judged = fourfold.judge(rows, same, baselines=False, say=said.append)
    assert not any("column when" in note for note in said)
    assert any("column zip: " in note and "300 of 300 values" in note for note in said)
    times = judged.dataset.space.modelled[0]
    assert (times.codes(rows["when"]) == times.codes(same["when"])).all()
