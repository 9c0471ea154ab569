"""Fourfold from Python: data frames in and out, lists and labels, results as arrays, and nothing that shows rows."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import fourfold
from fourfold.data import DataError

ABOUT = {"budget": "20 steps", "size": "xs", "precision": "float32"}


def people(n=200):
    r = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "name": [f"Person{i} Smith{7 * i}" for i in range(n)],
            "city": r.choice(["Augsburg", "Berlin", "Zwickau, Sachsen"], n),
            "age": r.integers(18, 90, n),
            "active": r.random(n) < 0.5,
            "plan": pd.Categorical(r.choice(["free", "paid"], n)),
            "signup": pd.to_datetime("2021-01-01") + pd.to_timedelta(r.integers(0, 900, n), unit="D"),
            "income": r.normal(50_000, 9_000, n).round(-2),
        }
    )
    frame.loc[r.random(n) < 0.1, "income"] = np.nan
    return frame


PEOPLE = people()


@pytest.fixture(scope="module")
def of_people():
    return fourfold.fit("autoregressive", PEOPLE, **ABOUT)


def test_rows_come_back_as_the_data_frame_that_went_in(of_people):
    drawn = of_people.table(60, seed=3)
    assert list(drawn.columns) == list(PEOPLE.columns)
    assert dict(drawn.dtypes) == dict(PEOPLE.dtypes)
    assert set(drawn["city"]) <= set(PEOPLE["city"])
    pd.testing.assert_frame_equal(drawn, of_people.model.space.table(of_people.sample(60, seed=3)))


def test_rows_of_given_values_have_them(of_people):
    drawn = of_people.table(40, given={"city": "Berlin", "age": (30, 40)}, balance="plan", require="income >= 30000")
    assert (drawn["city"] == "Berlin").all()
    assert drawn["age"].between(30, 40).all()
    assert (drawn["plan"] == "paid").sum() == 20
    assert (drawn["income"].dropna() >= 30_000).all()  # a gap contradicts nothing


def test_a_column_names_the_class_that_was_asked_for():
    run = fourfold.fit("flow", PEOPLE[["city", "age", "income"]].dropna(), labels="city", **ABOUT)
    assert run.model.space.given.names == ("Augsburg", "Berlin", "Zwickau, Sachsen")
    assert list(run.table(3, given="Berlin")["city"]) == ["Berlin"] * 3
    assert list(run.table(2, given=["Berlin", "Augsburg"])["city"]) == ["Berlin", "Augsburg"]
    assert "city" not in run.table(2)


def test_what_has_no_columns_says_how_to_draw_it():
    run = fourfold.Run(fourfold.build("diffusion", fourfold.load("digits").space, size="xs"))
    with pytest.raises(TypeError, match=r"grey images .*: run.sample\(5\) gives a tensor"):
        run.table(5)


def words_of(shown):
    return {word.strip("',()<>") for word in shown.replace("<", " <").replace(">", "> ").split()}


@pytest.mark.parametrize(
    "make",
    [
        lambda: fourfold.load(PEOPLE),
        lambda: fourfold.load(np.random.default_rng(0).normal(size=(300, 3))),
        lambda: fourfold.load("two-moons"),
        lambda: fourfold.load("digits", given="labels"),
        lambda: fourfold.load("python-docs"),
    ],
)
def test_a_data_set_shows_what_it_is_and_no_rows(make):
    data = make()
    assert len(repr(data)) < 200
    assert "\n" not in repr(data)
    assert f"{data.examples:,} train" in repr(data)
    assert len(repr(data.train)) < 80
    for shown in (repr(data), str(data), data._repr_html_(), repr(data.train)):
        assert "tensor(" not in shown
        assert not any(f"{value:.4f}" in shown for value in data.train.x.flatten()[:50].double().tolist())
        assert not words_of(shown) & {f"Smith{7 * i}" for i in range(1, 200)}
    assert data.digest in str(data)
    assert data.digest in data._repr_html_()


def test_a_notebook_shows_the_columns_as_the_command_line_does():
    html = fourfold.load(
        PEOPLE.assign(city=PEOPLE["city"].replace("Berlin", "<b>Bonn</b>")), keep_rare=True
    )._repr_html_()
    for word in ("category", "identifier", "time", "18 to 89", "true and false", "10.0 %"):
        assert word in html
    assert "&lt;b&gt;Bonn" in html
    assert "<b>Bonn" not in html


def test_lists_and_labels_train_a_model_by_class():
    x = np.random.default_rng(0).normal(size=(200, 2)).astype("float32")
    y = (x[:, 0] > 0).astype(int) + 3
    run = fourfold.fit("flow", x.tolist(), labels=y.tolist(), **ABOUT)
    same = fourfold.fit("flow", fourfold.load(x, labels=y, given="labels"), **ABOUT)
    assert run.model.space.given.names == ("3", "4")
    assert torch.equal(run.sample(4, given="4"), same.sample(4, given="4"))
    scored = run.log_prob(x[:5].tolist(), given="3")
    np.testing.assert_array_equal(np.asarray(scored), run.log_prob(torch.from_numpy(x[:5]), given="3").nats)
    np.testing.assert_array_equal(scored.numpy(), scored.nats)
    assert np.asarray(scored, dtype="float64").dtype == np.float64


def test_what_is_no_table_of_numbers_is_refused_with_the_way_out():
    for rows in ([[1.0, 2.0], [3.0]], [{"a": 1.0}], [["a", 1.0]] * 30):
        with pytest.raises(DataError, match=r"data must hold numbers .* got a list.*DataFrame\(rows\)"):
            fourfold.fit("flow", rows)
    for text in ("a cat sat on a mat. " * 250, "a cat\nsat on a mat"):
        with pytest.raises(DataError, match=rf"data must be .*, got a text of {len(text):,} letters.*\[text\]"):
            fourfold.load(text)
    with pytest.raises(DataError, match=r"images must be uint8, got float64; .*series.*group="):
        fourfold.load(np.zeros((30, 8, 2)))
    with pytest.raises(TypeError, match=r"keyword of .* must be one of .*labels.*, got 'y'"):
        fourfold.fit("flow", np.zeros((30, 2)), y=np.zeros(30))
    with pytest.raises(ValueError, match=r"load it by fourfold.load\(x, labels=y, given='labels'\)"):
        fourfold.fit("flow", fourfold.load("two-moons"), labels=np.zeros(3))


SCRIPT = """
from dataclasses import dataclass
from typing import ClassVar
import torch, fourfold
from fourfold import checks, core
from fourfold.estimands import VectorField
from fourfold.samplers.ode import Euler

@dataclass(frozen=True)
class Mine(core.Sampler):
    needs: ClassVar = VectorField
    order: ClassVar = 1
    steps: int = 20
    def __call__(self, estimand, noise, cond=None):
        return Euler(self.steps)(estimand, noise, cond)

@dataclass(frozen=True)
class Draft(Mine.__base__):
    needs: ClassVar = VectorField
    def __call__(self, estimand, noise, cond=None):
        return 100 * noise.normal(*estimand.event)

x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
model = fourfold.fit("diffusion/optimal-transport", x, budget="60 steps", size="xs", precision="float32").model
checks.check_samplers_agree(model.with_parts(sampler=Mine()), n=200)
try:
    checks.check_samplers_agree(model.with_parts(sampler=Draft()), n=200)
except checks.CheckFailed as failure:
    print(failure)
"""


def test_a_sampler_of_a_script_is_checked_apart_from_its_neighbours(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Draft on ")


def test_every_space_of_data_is_a_public_name():
    from fourfold import spaces

    for name in ("Images", "Sequences", "Table", "Text", "Vectors"):
        assert getattr(fourfold, name) is getattr(spaces, name)
        assert name in fourfold.__all__
