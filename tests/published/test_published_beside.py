"""Published models beside those of a comparison: the same windows, in bits per byte, and never ranked."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch
from typer.testing import CliRunner

from fourfold import build, compare
from fourfold.adapters import open_published
from fourfold.cli.app import app
from fourfold.spaces import Text, Tokenizer
from fourfold_published.beside import draw_windows, score_windows
from fourfold_published.transformers import write_language_model

pytestmark = pytest.mark.published
pytest.importorskip("transformers")
TEXT = "It was the best of times, it was the worst of times.\nIt was the age of wisdom. " * 60


def _written(folder, space):
    torch.manual_seed(0)
    model = build("autoregressive", space, size="xs")
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return write_language_model(model, folder)


def test_windows_of_other_tokens_are_scored_as_text(tmp_path):
    model = open_published(
        _written(tmp_path / "published", Text("", 64, tokenizer=Tokenizer.learn(TEXT, 300))), {"length": 64}
    )
    space = Text("".join(sorted(set(TEXT))), 40)
    x = space.ids(TEXT)[: 20 * 40].view(20, 40)
    scored = score_windows(model, space, x)
    assert scored.kind == "lower_bound"
    assert scored.byte_counts.tolist() == [40.0] * 20
    for row, nats in zip(x, scored.nats, strict=True):
        ids = model.space.parse(space.show(row))[None]
        assert nats.item() == pytest.approx(model.estimand(ids).sum().item(), rel=1e-5)
    bits = -scored.nats.sum().item() / 800 / math.log(2)
    assert scored.mean_in("bits/byte")[0] == pytest.approx(bits)
    own = model.space.examples(3, torch.Generator().manual_seed(0))
    same = score_windows(model, model.space, own)
    assert same.kind == "lower_bound"
    assert same.note == "the same tokens; one tokenisation of the text"
    torch.testing.assert_close(same.nats, model.log_prob(own).nats, atol=1e-3, rtol=1e-5)


def test_half_characters_at_the_edges_of_a_window_of_bytes_count_nothing(tmp_path):
    model = open_published(_written(tmp_path / "published", Text("", 32)), {"length": 32})
    x = torch.tensor([list("Ægir".encode()[1:])])
    assert score_windows(model, Text("", 4), x).byte_counts.tolist() == [3.0]


def test_samples_become_windows_of_the_data(tmp_path):
    model = open_published(_written(tmp_path / "published", Text("", 32)), {"length": 32})
    space = Text("".join(map(chr, range(128))), 20)
    x = draw_windows(model, space, 70, seed=0)
    assert x.shape == (70, 20)
    space.check(x)
    assert draw_windows(model, space, 70, seed=0, seconds=0.0) is None


def test_a_comparison_shows_a_published_model_and_does_not_rank_it(tmp_path):
    published = _written(tmp_path / "published", Text("", 64, tokenizer=Tokenizer.learn(TEXT, 300)))
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    messages: list[str] = []
    comparison = compare(
        text,
        budget="60 steps",
        paradigms=["autoregressive", str(published)],
        size="xs",
        n=40,
        likelihood_examples=30,
        sweep=False,
        data_options={"length": 24},
        runs_dir=tmp_path / "runs",
        out=tmp_path / "report.html",
        progress=False,
        say=messages.append,
    )
    assert [entry.name for entry in comparison.entries] == ["autoregressive"]
    (rated,) = comparison.published
    own, other = comparison.entries[0].likelihood, rated.entry.likelihood
    assert (own.unit, own.n) == (other.unit, other.n)
    assert other.kind == "lower_bound"
    assert "bits/byte" in other.protocol
    assert rated.entry.headline.name == comparison.entries[0].headline.name
    assert rated.entry.headline.n == comparison.n
    shown = str(comparison)
    assert re.search(r"^published \* +≤", shown, re.MULTILINE)
    assert "* published: not trained under this budget, so not ranked" in shown
    (line,) = [line for line in comparison.verdict if line.title == "Published"]
    assert not line.warning
    assert all("published" not in str(line) for line in comparison.verdict if line.title.startswith("For "))
    assert [row["name"] for row in comparison.record()["published"]] == ["published"]
    page = (tmp_path / "report.html").read_text()
    assert "not ranked against the rows above" in page
    assert page.count('id="published"') == 1


def test_what_cannot_stand_beside_is_refused_before_any_training(tmp_path):
    published = str(_written(tmp_path / "published", Text("", 32)))
    with pytest.raises(ValueError, match="must name a paradigm to train beside"):
        compare(_text(tmp_path), paradigms=[published], runs_dir=tmp_path / "runs")
    with pytest.raises(TypeError, match="published: data must be text to be compared with it, got"):
        compare("two-moons", paradigms=["autoregressive", published], runs_dir=tmp_path / "runs")
    (tmp_path / "published" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"published: holds no \.safetensors: fetch its weights"):
        compare(_text(tmp_path), paradigms=["autoregressive", published], runs_dir=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_evaluate_measures_a_published_model_in_bits_per_byte(tmp_path):
    published = _written(tmp_path / "published", Text("", 64, tokenizer=Tokenizer.learn(TEXT, 300)))
    arguments = ["evaluate", str(published), str(_text(tmp_path)), "-n", "8", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    scores = {score["name"]: score for score in json.loads(result.stdout)}
    assert scores["likelihood"]["unit"] == "bits/byte"
    assert scores["likelihood"]["kind"] == "lower_bound"
    assert "one tokenisation of the text" in scores["likelihood"]["protocol"]
    assert math.isfinite(scores["likelihood"]["value"])


def _text(folder):
    path = folder / "text.txt"
    path.write_text(TEXT * 8)
    return path
