"""What 'score' and 'evaluate' read is what 'fit' reads: a file never gives another number without a word."""

import csv
import dataclasses
import io
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fourfold import build, load
from fourfold.data import DataError, read_all
from fourfold.engine import Run
from fourfold.main import run
from fourfold.metrics import Measurement, evaluate
from fourfold.spaces import Images, Text, Vectors
from fourfold.spaces.tokenizer import Tokenizer
from fourfold.tournament.entries import of_tokens
from fourfold.vocabulary import Kind

rng = np.random.default_rng(0)
FRAME = pd.DataFrame({"age": rng.normal(40, 9, 200), "income": rng.normal(2, 1, 200), "size": rng.normal(0, 3, 200)})
FRAME["grade"] = np.where(FRAME["income"] > 2, "high", "low")


def call(*words):
    return run([str(word) for word in words], False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run on colour images, one on a table, one on the same table by class, one on text."""
    folder = tmp_path_factory.mktemp("scoring")
    FRAME.to_csv(folder / "table.csv", index=False)
    FRAME.drop(columns="grade").to_csv(folder / "numbers.csv", index=False)
    np.save(folder / "images.npy", rng.integers(0, 256, (60, 3, 8, 8), dtype=np.uint8))
    (folder / "t.txt").write_text("the cat sat on the mat. " * 100)
    common = ("--size", "xs", "--budget", "3 steps", "--precision", "float32", "--seed", 1)
    folders = {
        "images": ("autoregressive", folder / "images.npy"),
        "numbers": ("autoregressive", folder / "numbers.csv"),
        "table": ("autoregressive", folder / "table.csv", "--labels", "grade", "--given", "labels"),
        "text": ("autoregressive", folder / "t.txt", "--length", 16),
    }
    for name, words in folders.items():
        assert call("fit", *words, *common, "--out", folder / name) == 0
    return folder


def scores(capsys, *words):
    """The nats of each example, from standard output."""
    capsys.readouterr()
    assert call("score", *words, "--out", "-") == 0
    captured = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(captured.out)))
    return np.array([float(row["nats"]) for row in rows]), captured.err


def refusal(capsys, *words):
    capsys.readouterr()
    assert call(*words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert len(lines[0]) < 620
    return lines[0]


# --- images -----------------------------------------------------------------------------------------------------------


def test_images_are_read_in_every_layout(runs, tmp_path, capsys):
    x = np.load(runs / "images.npy")[:5]
    np.save(tmp_path / "first.npy", x)
    np.save(tmp_path / "last.npy", x.transpose(0, 2, 3, 1))
    np.savez(tmp_path / "pack.npz", x=x.transpose(0, 2, 3, 1))
    (tmp_path / "photos").mkdir()
    for i, image in enumerate(x):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "photos" / f"{i}.png")
    layouts = [
        scores(capsys, runs / "images", tmp_path / name)[0] for name in ("first.npy", "last.npy", "pack.npz", "photos")
    ]
    model = Run.load(runs / "images").model
    for nats in layouts:
        np.testing.assert_allclose(nats, model.log_prob(torch.from_numpy(x)).nats.numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 3, 16, 16), dtype=np.uint8), "data must be colour images of 8 x 8 .*, got .* 16 x 16 pixels"),
        (np.zeros((4, 8, 8), dtype=np.uint8), "data must be colour .*, got grey images"),
        (np.full((4, 3, 8, 8), 0.5), "images must be uint8, got float64"),
        (np.full((4, 3, 8, 8), -7), "images must be uint8, got int64"),
        (np.zeros((4, 192)), "data must be colour images .*, got real vectors of 192 columns"),
    ],
)
def test_other_images_are_refused(runs, tmp_path, capsys, array, message):
    import re

    np.save(tmp_path / "x.npy", array)
    line = refusal(capsys, "score", runs / "images", tmp_path / "x.npy")
    assert re.search(message, line)
    assert "x.npy" in line


def test_images_of_other_sizes_in_a_folder_are_resized_with_a_word(runs, tmp_path, capsys):
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    nats, err = scores(capsys, runs / "images", tmp_path)
    assert len(nats) == 3
    assert "resized 3 of 3 images to 8 x 8, as the model expects them" in err
    assert "converted images to colour (3 grey), as the model expects them" in err


def test_where_both_axes_may_be_channels_the_model_decides(tmp_path):
    x = rng.integers(0, 256, (4, 3, 3, 8), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    assert torch.equal(read_all(tmp_path / "x.npy", Images(3, 3, 8))[0].x, torch.from_numpy(x))
    np.save(tmp_path / "x.npy", x.transpose(0, 2, 3, 1))
    assert torch.equal(read_all(tmp_path / "x.npy", Images(3, 3, 8))[0].x, torch.from_numpy(x))


# --- tables -----------------------------------------------------------------------------------------------------------


def ways():
    """One table in many forms."""
    numbers = FRAME.drop(columns="grade")[:7].round(6)
    text = numbers.to_csv(index=False)
    return {
        "plain.csv": text,
        "permuted.csv": numbers[["size", "age", "income"]].to_csv(index=False),
        "semicolons.csv": numbers.to_csv(index=False, sep=";", decimal=","),
        "quoted.csv": numbers.to_csv(index=False, quoting=csv.QUOTE_ALL),
        "tabs.tsv": numbers.to_csv(index=False, sep="\t"),
        "headless.csv": numbers.to_csv(index=False, header=False),
        "more.csv": numbers.assign(note=['a, "b"'] * 7).to_csv(index=False),
        "counted.csv": numbers.to_csv(),
    }


@pytest.mark.parametrize("name", ways())
def test_columns_are_found_by_name_in_any_file_that_fit_reads(runs, tmp_path, capsys, name):
    (tmp_path / name).write_text(ways()[name])
    expected = Run.load(runs / "numbers").log_prob(FRAME.drop(columns="grade")[:7].round(6).to_numpy()).nats
    nats, err = scores(capsys, runs / "numbers", tmp_path / name)
    np.testing.assert_allclose(nats, expected, atol=1e-5)
    assert ("columns that the model does not use: note" in err) == (name == "more.csv")


def test_renamed_and_missing_columns_are_refused(runs, tmp_path, capsys):
    FRAME.rename(columns={"income": "incme"}).to_csv(tmp_path / "t.csv", index=False)
    for command in ("score", "evaluate"):
        line = refusal(capsys, command, runs / "numbers", tmp_path / "t.csv")
        assert "must have the column 'income' of the model, got none: did you mean 'incme'?" in line
    FRAME[["age", "income"]].to_csv(tmp_path / "t.csv", index=False, header=False)
    line = refusal(capsys, "score", runs / "numbers", tmp_path / "t.csv")
    assert "columns must be the 3 of the model (age, income, size), got 2" in line
    (tmp_path / "t.csv").write_text("")
    assert "must hold a table" in refusal(capsys, "score", runs / "numbers", tmp_path / "t.csv")


def test_evaluate_finds_columns_by_name(runs, tmp_path):
    fresh = FRAME[["age", "income", "size"]] + 0.125
    fresh.to_csv(tmp_path / "fresh.csv", index=False)
    fresh[["size", "income", "age"]].to_csv(tmp_path / "perm.csv", index=False)
    run = Run.load(runs / "numbers")
    own, other = (run.evaluate(tmp_path / name, n=16) for name in ("fresh.csv", "perm.csv"))
    assert [score.value for score in own if "seconds" not in score.name][:3] == [score.value for score in other][:3]
    with pytest.raises(ValueError, match=r"data must be .*age, income, size.*, got .*size, income, age"):
        evaluate(run.model, load(tmp_path / "perm.csv"), n=16)


def test_all_examples_of_other_data_are_evaluated(runs, tmp_path, capsys):
    fresh = FRAME.drop(columns="grade")[:90] + 0.125
    fresh.to_csv(tmp_path / "fresh.csv", index=False)
    assert call("evaluate", runs / "numbers", tmp_path / "fresh.csv", "-n", 40) == 0
    assert "nats (exact) (n = 90)" in capsys.readouterr().out
    run = Run.load(runs / "numbers")
    test_rows = run.test_set(tmp_path / "fresh.csv")
    np.testing.assert_allclose(test_rows.test.x, fresh.round(6).to_numpy(), rtol=1e-5)
    assert torch.equal(test_rows.train.x, run.dataset().train.x), "copies are looked for among what was trained on"


def test_all_of_a_text_and_all_images_are_evaluated(runs, tmp_path):
    (tmp_path / "new.txt").write_text("the mat sat on the cat. " * 40)
    run = Run.load(runs / "text")
    assert len(run.test_set(tmp_path / "new.txt").test.x) == 24 * 40
    images = Run.load(runs / "images")
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(23):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    assert images.test_set(folder).test.x.shape == (23, 3, 8, 8)


def test_the_own_data_is_evaluated_on_its_test_split_under_whatever_name(runs, tmp_path):
    run = Run.load(runs / "numbers")
    own = run.dataset().test.x
    (tmp_path / "copy.csv").write_bytes((runs / "numbers.csv").read_bytes())
    for data in (None, runs / "numbers.csv", tmp_path / "copy.csv"):
        assert torch.equal(run.test_set(data).test.x, own)


def test_half_of_the_data_stands_for_training_data_that_is_not_at_hand(runs, tmp_path):
    run = dataclasses.replace(Run.load(runs / "numbers"), card={}, folder=None)
    FRAME.drop(columns="grade")[:90].to_csv(tmp_path / "fresh.csv", index=False)
    test_rows = run.test_set(tmp_path / "fresh.csv")
    assert (len(test_rows.train), len(test_rows.validation), len(test_rows.test)) == (36, 9, 45)
    assert "half of the data is the test" in test_rows.notes[-1]


def test_the_splits_of_the_own_file_are_those_of_training(runs):
    run = Run.load(runs / "numbers")
    again = run.examples(runs / "numbers.csv", "test")[0]
    assert torch.equal(again.x, run.dataset().test.x)
    assert len(run.examples(runs / "numbers.csv")[0]) == 200


def test_a_model_of_unnamed_columns_takes_them_by_place(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for names in ((), ("column 1", "column 2")):
        assert read_all(tmp_path / "t.csv", Vectors(2, names))[0].x.tolist() == [[1, 2]]
    with pytest.raises(DataError, match="real vectors of 2 columns"):
        read_all(tmp_path / "t.csv", Vectors(3))


# --- classes ----------------------------------------------------------------------------------------------------------


def test_labels_in_a_file_are_used_and_it_is_said(runs, tmp_path, capsys):
    rows = FRAME[FRAME["grade"] == "low"][:4]
    rows.to_csv(tmp_path / "labelled.csv", index=False)
    rows.drop(columns="grade").to_csv(tmp_path / "bare.csv", index=False)
    model = Run.load(runs / "table").model
    x = torch.tensor(rows.drop(columns="grade").to_numpy(), dtype=torch.float32)
    assert model.space.given.names == ("high", "low")
    for name, cond, words in (("labelled.csv", 1, "log p(x | c)"), ("bare.csv", None, "log p(x), since")):
        nats, err = scores(capsys, runs / "table", tmp_path / name)
        np.testing.assert_allclose(nats, model.log_prob(x, cond).nats, atol=1e-5)
        assert words in err
    assert "bare.csv has no column grade" in err
    assert call("score", runs / "table") == 0
    assert "log p(x | c)" in capsys.readouterr().out


def test_a_class_that_the_model_does_not_know_is_refused(runs, tmp_path, capsys):
    FRAME[:4].assign(grade="medium").to_csv(tmp_path / "t.csv", index=False)
    line = refusal(capsys, "score", runs / "table", tmp_path / "t.csv")
    assert "label must be one of high, low, got 'medium'" in line


def test_another_label_column_may_be_named(runs, tmp_path, capsys):
    FRAME[:4].rename(columns={"grade": "kind"}).to_csv(tmp_path / "t.csv", index=False)
    assert "log p(x | c)" in scores(capsys, runs / "table", tmp_path / "t.csv", "--labels", "kind")[1]


def test_a_class_is_meant_by_its_name_before_its_number(tmp_path):
    FRAME.assign(grade=np.arange(200) % 3 + 1).to_csv(tmp_path / "t.csv", index=False)
    words = ("--labels", "grade", "--given", "labels", "--size", "xs", "--budget", "1 steps", "--precision", "float32")
    assert call("fit", "autoregressive", tmp_path / "t.csv", *words, "--out", tmp_path / "r") == 0
    run = Run.load(tmp_path / "r")
    assert run.model.space.given.names == ("1", "2", "3")
    assert torch.equal(run.sample(3, "1"), run.model.sample(3, 0))
    assert torch.equal(run.sample(3, ["1", "3", "2"]), run.model.sample(3, torch.tensor([0, 2, 1])))


# --- text and the table of scores -------------------------------------------------------------------------------------


def test_a_text_is_scored_over_the_vocabulary_of_the_model(runs, tmp_path, capsys):
    (tmp_path / "a.md").write_text("the cat sat on the cat. the mat sat.")
    nats, _ = scores(capsys, runs / "text", tmp_path / "a.md")
    assert len(nats) == 2
    (tmp_path / "a.md").write_text("The dog.")
    assert "a.md: character 'T' at position 0 is not in the vocabulary" in refusal(
        capsys, "score", runs / "text", tmp_path / "a.md"
    )
    with pytest.raises(DataError, match=r"digits: data must be .*, got grey images"):
        read_all("digits", Text("ab", 4))


def test_a_text_that_is_shorter_than_a_window_has_the_mass_of_all_that_begin_with_it(runs, tmp_path, capsys):
    (tmp_path / "a.md").write_text("the cat")
    nats, _ = scores(capsys, runs / "text", tmp_path / "a.md")
    model = Run.load(runs / "text").model
    assert nats[0] == pytest.approx(float(model.log_prob(model.space.parse("the cat")[None]).nats), abs=1e-4)
    small = build("autoregressive", Text("abc", 5), size="xs").eval()
    for parameter in small.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    (tmp_path / "b.md").write_text("ca")
    x = Run(small).examples(tmp_path / "b.md")[0].x
    every = small.space.support(0, 0.0)[0]
    windows = every[(every[:, :2] == torch.tensor([2, 0])).all(1)]
    assert len(windows) == 27
    log_p = small.log_prob(x)
    assert log_p.nats.item() == pytest.approx(small.log_prob(windows).nats.double().logsumexp(0).item(), abs=1e-5)
    assert log_p.kind == "exact"
    assert log_p.nats_per_token.item() == pytest.approx(-log_p.nats.item() / 2)


def test_a_model_of_whole_windows_does_not_score_a_shorter_text(tmp_path):
    (tmp_path / "a.md").write_text("ca")
    with pytest.raises(DataError, match="2 tokens are fewer than one window of 5"):
        Run(build("diffusion/masked", Text("abc", 5), size="xs").eval()).examples(tmp_path / "a.md")
    (tmp_path / "a.md").write_text("")
    with pytest.raises(DataError, match="0 tokens are fewer than one window of 5"):
        Run(build("autoregressive", Text("abc", 5), size="xs").eval()).examples(tmp_path / "a.md")


def test_scores_have_one_column_of_each_name_and_an_error(runs, tmp_path):
    assert call("score", runs / "numbers", "-n", 3, "--out", tmp_path / "a.csv") == 0
    table = pd.read_csv(tmp_path / "a.csv")
    assert list(table) == ["row", "nats", "std_error", "kind"]
    assert table["row"].tolist() == [1, 2, 3]  # as classify counts them
    assert table["std_error"].isna().all()  # exact
    assert call("score", runs / "images", "--n", 2, "--out", tmp_path / "b.csv") == 0
    assert list(pd.read_csv(tmp_path / "b.csv")) == ["row", "nats", "std_error", "bits/dim", "kind"]
    words = ("--size", "xs", "--budget", "1 steps", "--precision", "float32")
    assert call("fit", "latent-variable", "two-moons", *words, "--limit", 200, "--out", tmp_path / "r") == 0
    assert call("score", tmp_path / "r", "-n", 4, "--out", tmp_path / "c.csv") == 0
    run = Run.load(tmp_path / "r")
    table, result = pd.read_csv(tmp_path / "c.csv"), run.log_prob(run.dataset().test.x[:4])
    assert (table["std_error"] > 0).all()
    np.testing.assert_allclose(table["std_error"], result.std_error, atol=1e-5)


def test_numbers_of_python_are_those_of_the_command_line(runs):
    run = Run.load(runs / "numbers")
    x = FRAME.drop(columns="grade").to_numpy()[:3]
    assert torch.equal(run.log_prob(x).nats, run.log_prob(torch.tensor(x)).nats)
    assert math.isfinite(run.log_prob(x.astype(np.float32)).nats.sum())
    frame = run.examples(FRAME[:3])[0]
    assert torch.equal(run.log_prob(frame.x).nats, run.log_prob(x).nats)


def test_more_draws_of_a_random_encoding_are_those_of_python(tmp_path, capsys):
    """A flow of images is scored on dequantised pixels: each draw is another encoding."""
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (60, 8, 8), dtype=np.uint8))
    words = ("--size", "xs", "--budget", "3 steps", "--precision", "float32", "--out", tmp_path / "run")
    assert call("fit", "flow", tmp_path / "x.npy", *words) == 0
    run = Run.load(tmp_path / "run")
    x = run.examples()[0].x
    few, _ = scores(capsys, tmp_path / "run", "--draws", 1)
    many, _ = scores(capsys, tmp_path / "run", "--draws", 9)
    np.testing.assert_allclose(few, run.log_prob(x, draws=1).nats.numpy(), atol=1e-5)
    np.testing.assert_allclose(many, run.log_prob(x, draws=9).nats.numpy(), atol=1e-5)
    assert not np.allclose(few, many)
    assert "'--draws'" in refusal(capsys, "score", tmp_path / "run", "--draws", "0")


def test_pieces_bound_the_mass_of_their_text():
    """All tokenisations of a text together have more mass than the tokenizer's own, which is scored."""
    torch.manual_seed(0)
    space = Text(length=4, tokenizer=Tokenizer.learn("abcabcaabbcabcab" * 40, 260))
    model = build("autoregressive", space, "xs")
    written = {i: token.decode() for i, token in enumerate(space.token_bytes()) if token and set(token) <= set(b"abc")}
    own = space.parse("abca")
    ways = [
        w
        for n in (1, 2, 3, 4)
        for w in itertools.product(written, repeat=n)
        if "".join(written[i] for i in w) == "abca"
    ]
    assert tuple(own.tolist()) in ways
    assert len(ways) > 1
    rows = torch.tensor([[*way, *[0] * (4 - len(way))] for way in ways])
    with torch.no_grad():
        nats = model.estimand(rows)
    masses = torch.stack([row[: len(way)].sum() for row, way in zip(nats, ways, strict=True)])
    scored = masses[ways.index(tuple(own.tolist()))]
    assert masses.logsumexp(0) > scored + 1e-3
    result = model.log_prob(rows[:1])
    assert (result.kind, model.facts.likelihood) == (Kind.LOWER_BOUND, Kind.LOWER_BOUND)
    assert result.note.endswith("one tokenisation of the text")
    assert build("autoregressive", Text(length=4), "xs").facts.likelihood is Kind.EXACT
    assert build("diffusion/masked", space, "xs").facts.likelihood is not Kind.EXACT


def test_models_of_the_same_pieces_are_ranked_and_bounds_of_them_are_not():
    space = Text(length=4, tokenizer=Tokenizer.learn("abcabcaabbcabcab" * 40, 260))
    kind, note = space.kind_of_text(Kind.EXACT, "a chain")
    assert of_tokens(Measurement("likelihood", 1.0, kind=kind, protocol=note))
    assert of_tokens(Measurement("likelihood", 1.0, kind=Kind.EXACT))
    assert not of_tokens(
        Measurement("likelihood", 1.0, kind=Kind.LOWER_BOUND, protocol="its own tokens, one tokenisation")
    )
    assert space.kind_of_text(Kind.LOWER_BOUND, "a bound") == (Kind.LOWER_BOUND, "a bound")
