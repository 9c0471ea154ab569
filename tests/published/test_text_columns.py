"""Texts of a table by a model of language: each given its row, with a likelihood, and by seeds alone."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import fourfold
from fourfold import build
from fourfold.cli.app import app
from fourfold.spaces import FreeText, Text, Tokenizer
from fourfold_published.columns import PublishedTexts, _opened, lines_of
from fourfold_published.transformers import write_language_model

pytestmark = pytest.mark.published
pytest.importorskip("transformers")
WORDS = np.array(["fine", "warm", "cold", "broke", "late", "soon", "good", "bad", "tea", "cup"])
TEXT = "product: tea; rating: 5; review: warm, good!\nproduct: pan; rating: 1; review: broke so soon.\n" * 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    model = build("autoregressive", Text("", 512, tokenizer=Tokenizer.learn(TEXT, 270)), size="xs")
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return write_language_model(model, tmp_path_factory.mktemp("models") / "lm")


@pytest.fixture(scope="module")
def reviews():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 8))) + ["", "!", ", so", "."][i % 4] for i in range(400)]
    return pd.DataFrame(
        {"product": rng.choice(["tea", "pan", "cup"], 400), "rating": rng.integers(1, 6, 400), "review": texts}
    )


@pytest.fixture(scope="module")
def trained(folder, reviews, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    fourfold.fit(
        "autoregressive", reviews, budget="3 steps", out=run, progress=False, data_options={"text_model": folder}
    )
    return run


def _column(run):
    (column,) = [column for column in run.model.space.schema if isinstance(column, FreeText)]
    return column


def test_a_run_writes_texts_given_its_rows_and_by_seeds_alone(trained, reviews):
    run = fourfold.Run.load(trained)
    column, rows = _column(run), run.model.space.row_texts(run.sample(5))
    assert column.writer.examples.count("\n") == 6
    lines = lines_of("review", reviews.astype(str)[["product", "rating"]], reviews["review"])
    assert set(column.writer.examples.splitlines(keepends=True)) <= set(lines)
    texts = column.writer.texts("review", rows, [*range(5)])
    assert [column.writer.texts("review", rows[i : i + 1], [i])[0] for i in range(5)] == texts
    assert all(0 < len(text.encode()) <= column.writer.longest + 3 for text in texts)  # a last token has more bytes
    table = run.table(5)
    assert table["review"].notna().all()
    assert table.equals(run.table(5))
    assert any("shown 6 training rows" in note for note in run.model.space.notes(run.sample(1)))


def test_the_likelihood_of_a_text_is_the_sum_of_its_tokens_and_of_all_ends(trained):
    run = fourfold.Run.load(trained)
    writer, rows = _column(run).writer, run.model.space.row_texts(run.sample(2))
    scored = writer.log_prob("review", rows, ["warm, good!", "late"])
    assert scored.kind == "lower_bound"
    model = fourfold.Run.load(writer.path).model
    space = model.space
    ends = [i for i, token in enumerate(space.token_bytes()) if token.startswith(b"\n")] + [*space.tokenizer.ends]
    for row, text, nats in zip(rows.itertuples(), ["warm, good!", "late"], scored.nats, strict=True):
        start = f"{writer.examples}product: {row.product}; rating: {row.rating}; review:"
        ids, count = torch.cat([space.parse(start), space.parse(f" {text}")]), len(space.parse(f" {text}"))
        with torch.no_grad():
            last = torch.stack([model.estimand(torch.cat([ids, torch.tensor([end])])[None])[0, -1] for end in ends])
            expected = model.estimand(ids[None])[0, -count:].sum() + last.logsumexp(0)
        assert nats.item() == pytest.approx(expected.item(), abs=1e-3)


def test_a_model_that_is_gone_or_another_is_named_in_one_line(folder, trained, reviews, tmp_path):
    moved = tmp_path / "lm"
    shutil.copytree(folder, moved)
    shown = PublishedTexts.of(str(moved), "review", reviews[["product"]], reviews["review"])
    shutil.rmtree(moved)
    _opened.cache_clear()
    with pytest.raises(ValueError, match=f"{moved}: must be a file or folder of a model, got none"):
        shown.texts("review", reviews[["product"]][:1], [0])
    shutil.copytree(folder, moved)
    (moved / "config.json").write_text((moved / "config.json").read_text() + " ")
    with pytest.raises(ValueError, match="must be the model that wrote the texts"):
        shown.texts("review", reviews[["product"]][:1], [0])
    with pytest.raises(ValueError, match="must draw text token by token"):
        fourfold.load(reviews, text_model=trained)
    reviews.to_csv(tmp_path / "r.csv", index=False)
    command = ["fit", "autoregressive", str(tmp_path / "r.csv"), "--text-model", str(folder), "--private", "epsilon=4"]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code
    assert "text_model must be left out with private" in str(refused.exception)


def test_a_model_trained_here_is_shown_no_row_and_its_texts_have_the_masses_of_its_tokens(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"product": rng.choice(["tea", "pan"], 2000)})
    notes = pd.Series(np.where(rng.random(2000) < 0.7, rows["product"].map({"tea": "warm", "pan": "hot"}), "so so"))
    (tmp_path / "lines.txt").write_text("".join(lines_of("note", rows, notes)))
    settings = {"size": "xs", "budget": "150 steps", "progress": False, "data_options": {"length": 48}}
    fourfold.fit("autoregressive", tmp_path / "lines.txt", out=tmp_path / "lm", **settings)
    writer = PublishedTexts.of(str(tmp_path / "lm"), "note", rows, notes.mask(rows.index < 500, ""))
    assert (writer.examples, writer.empty) == ("", 0.25)
    tea, choices = pd.DataFrame({"product": ["tea"] * 600}), ["", "warm", "so so", "hot"]
    texts = pd.Series(writer.texts("note", tea, [*range(600)]))
    shares = writer.log_prob("note", tea[:4], choices).nats.exp().numpy()
    counts = np.array([(texts == choice).sum() for choice in choices])
    assert shares[0] == pytest.approx(0.25)
    assert (np.abs(counts - 600 * shares) < 4 * np.sqrt(600 * shares + 1)).all()
    assert shares[1] > 0.3 > 0.05 > shares[3]


def test_texts_of_a_child_are_written_given_the_row_of_its_owner(folder, reviews, monkeypatch):
    """In training and in samples, for sequences and for one row each."""
    customers = pd.DataFrame({"customer_id": range(100), "city": ["Oslo", "Rome"] * 50, "age": np.arange(100) % 50})
    for orders in (reviews.assign(customer_id=np.arange(400) % 100), reviews[:100].assign(customer_id=range(100))):
        frames = {"customers": customers, "orders": orders.sample(frac=1, random_state=0)}
        run = fourfold.fit_database("autoregressive", frames, budget="2 steps", size="xs", text_model=folder)
        owners = frames["orders"].merge(customers, on="customer_id").set_index("review").astype(str)
        lines = _column(run.runs["orders"]).writer.examples.splitlines()
        assert len(lines) == 6
        for line in lines:
            before, _, text = line.partition("review: ")
            row = owners.loc[[text]].iloc[0]
            assert f"customers.city: {row['city']}; customers.age: {row['age']}; " in before
            assert f"product: {row['product']}; rating: {row['rating']}; " in before
        asked, texts = [], PublishedTexts.texts

        def written(writer, name, rows, seeds, texts=texts, asked=asked):
            asked.append(rows)
            return texts(writer, name, rows, seeds)

        monkeypatch.setattr(PublishedTexts, "texts", written)
        drawn = run.sample(0.1)
        monkeypatch.undo()
        rows = drawn["orders"].merge(drawn["customers"], on="customer_id")
        assert len(asked[0]) == len(rows) > 0
        pairs = [f"{a} {b}" for a, b in zip(asked[0]["customers.city"], asked[0]["rating"], strict=True)]
        assert sorted(pairs) == sorted(f"{a} {b}" for a, b in zip(rows["city"], rows["rating"], strict=True))


def test_texts_of_a_database_are_written_too(folder, reviews):
    customers = pd.DataFrame({"customer_id": range(100), "age": np.arange(100) % 50})
    orders = reviews.assign(customer_id=np.arange(400) % 100, order_id=range(400))
    run = fourfold.fit_database(
        "autoregressive", {"customers": customers, "orders": orders}, budget="2 steps", size="xs", text_model=folder
    )
    assert run.sample(0.05)["orders"]["review"].str.len().gt(0).any()
    with pytest.raises(ValueError, match="text_model must be left out with private"):
        fourfold.fit_database(
            "autoregressive", {"customers": customers}, budget="2 steps", text_model=folder, private="epsilon=4"
        )
