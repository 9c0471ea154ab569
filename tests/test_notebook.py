"""Results show themselves in a notebook: well-formed HTML without scripts, in which names from outside are text."""

import base64
import dataclasses
import io

import pytest
import torch
from PIL import Image

import fourfold
from fourfold.core import Cloud, Excerpts, Sheet
from fourfold.output import notebook
from fourfold.tournament import Comparison, Settings
from html_reader import read


@pytest.fixture(scope="module")
def run():
    data = dataclasses.replace(fourfold.load("two-moons", limit=500), name="<b>moons</b>")
    return fourfold.fit("flow", data, budget="2 steps", size="xs", precision="float32")


def test_a_run_shows_its_answers_and_its_data(run):
    reader = read(run._repr_html_())
    words = " ".join(reader.texts)
    assert "flow/spline" in words
    assert "2 steps" in words
    assert "exact: the change of variables" in words
    assert "<b>moons</b>" in words
    assert reader.tags.count("b") == 1  # that of the heading


def test_scores_are_a_line_each_as_text_and_a_row_each_in_a_notebook(run):
    scores = run.evaluate()
    assert repr(scores).splitlines() == list(map(str, scores))
    reader = read(scores._repr_html_())
    assert reader.tags.count("tr") == 1 + len(scores)
    values = {name: value for name, value, *_ in zip(*[iter(reader.texts[4:])] * 4, strict=False)}
    assert f"{scores[0].value:.4g}" in values["likelihood"]
    assert "exact" in values["likelihood"]


def test_a_run_of_a_bare_model_shows_itself(run):
    words = " ".join(read(fourfold.Run(run.model)._repr_html_()).texts)
    assert "not recorded" in words


def test_samples_are_shown_over_the_data(run):
    picture = run.show(n=20)
    assert isinstance(picture, Cloud)
    assert len(picture.points) == 20
    assert len(picture.behind) == 50  # the test split
    given = run.show(run.data.test.x[:7])
    assert len(given.points) == 7


def test_every_point_inside_the_box_is_drawn_where_it_is():
    points = torch.tensor([[0.0, 0.0], [1.0, 2.0], [5.0, 0.0]])
    cloud = Cloud(points, (0.0, 1.0, 0.0, 2.0), ("<x>", "y"), points[:0])
    reader = read(cloud._repr_html_())
    assert "<x>" in reader.texts
    assert "M20.0 260.0h0M276.0 4.0h0" in cloud._repr_html_()
    assert cloud._repr_html_().count("h0") == 2


def test_an_image_is_shown_whole():
    file = io.BytesIO()
    Image.new("L", (3, 2)).save(file, "PNG")
    (url,) = read(Sheet(file.getvalue())._repr_html_()).urls
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        assert image.size == (3, 2)


def test_texts_are_shown_as_they_are():
    assert read(Excerpts(("a < b", "<script>"))._repr_html_()).texts == ["a < b", "<script>"]


def test_a_comparison_without_a_finished_run_shows_itself(run):
    data = {"name": "<i>x</i>", "unit": "nats", "references": 50, "space": "vectors"}
    nothing = Comparison(entries=(), data=data, settings=Settings(), hardware={}, versions={}, dataset=run.data)
    reader = read(nothing._repr_html_())
    assert "i" not in reader.tags
    assert "paradigm" in reader.texts


def test_rows_without_words_are_left_out():
    assert read(notebook.facts([("a", "b"), ("c", "")])).texts == ["a", "b"]


def test_outside_a_notebook_nothing_is_displayed(run, capsys):
    assert not notebook.in_notebook()
    fourfold.fit("flow", run.data, budget="1 steps", size="xs", precision="float32")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == ""
