"""Baselines stand beside the models, and a model that loses to one is shown to lose."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import Fake, make_up
from torch import Tensor

from fourfold.data import Dataset, load
from fourfold.metrics import Measurement
from fourfold.spaces import Table
from fourfold.tasks.evaluation import examples
from fourfold.tournament import baselines
from fourfold.tournament.baselines import Rated, losses, rate
from fourfold.tournament.benchmark import Benchmark
from fourfold.tournament.entries import Entry
from fourfold.tournament.settings import Settings
from fourfold.vocabulary import Kind


@pytest.fixture(scope="module")
def people() -> Dataset:
    """A table whose columns belong together."""
    g = np.random.default_rng(0)
    age = g.integers(18, 80, 4000)
    work = np.where(age > 65, "retired", g.choice(["office", "field"], 4000))
    pay = np.where(work == "retired", 0, 500 * (age // 3) + 500 * g.integers(0, 9, 4000))
    return load(pd.DataFrame({"age": age, "work": work, "pay": pay}))


NAMES = [
    "independent columns",
    "Gaussian copula",
    "shrunk Gaussians",
    "mixture of Gaussians",
    "mixture of products",
    "kernel density",
]


def test_every_table_report_has_baselines_and_says_who_loses(people: Dataset, tmp_path: Path):
    row = people.train.x[:1].repeat(300, 1)
    result = {"nats_of_columns": [-1.0, -25.0, -4.0]}
    comparison = make_up(people, tmp_path, {"autoregressive": Fake(row, likelihood=-30.0, result=result)}, n=300)
    assert sum(comparison.baselines[0].columns) == pytest.approx(comparison.baselines[0].entry.likelihood.value)
    assert [rated.entry.name for rated in comparison.baselines] == NAMES
    independent = comparison.baselines[0].entry
    assert independent.likelihood.kind is Kind.EXACT
    assert independent.headline.n == comparison.n == 300
    lost = losses(comparison.entries, comparison.baselines)[comparison.entries[0].name]
    assert lost[0] == "loses to independent columns: two-sample AUC, likelihood"
    (line,) = [line for line in comparison.verdict if line.title == "Loses"]
    assert line.warning
    assert "autoregressive loses to independent columns" in str(comparison)
    assert re.search("independent columns +=", str(comparison))
    record = comparison.record()
    assert record["paradigms"][0]["loses"] == lost
    assert [b["name"] for b in record["baselines"]] == NAMES
    page = comparison.save(tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count('<span class="sub failed">loses to') == len(lost)
    assert "Columns: data grey, samples in colour" in page
    assert "in closed form" in page
    assert page.index("-25.000") < page.index("-4.000")  # the most surprising first
    assert "<script" not in page
    assert "no picture" not in page
    assert "No details" not in page


def test_a_baseline_has_a_colour_of_its_own(people: Dataset, tmp_path: Path):
    x = people.train.x[:300]
    comparison = make_up(people, tmp_path, {"latent-variable": Fake(x), "latent-flow": Fake(x)}, n=300)
    page = comparison.save(tmp_path / "report.html").read_text(encoding="utf-8")
    colours = re.findall(r'class="card (c\d+)"', page)
    assert len(colours) == len(set(colours)) == 2 + len(NAMES)


def test_a_model_that_draws_the_data_loses_to_nobody(people: Dataset, tmp_path: Path):
    comparison = make_up(people, tmp_path, {"autoregressive": Fake(people.train.x[:300], likelihood=-6.2)}, n=300)
    assert not any(losses(comparison.entries, comparison.baselines).values())
    assert "no model loses to independent columns, Gaussian copula" in " ".join(str(comparison).split())


def test_a_target_is_named_where_data_are_loaded(tmp_path: Path):
    frame = pd.DataFrame({"a": np.arange(200) % 7, "b": np.arange(200) % 3})
    frame.to_csv(tmp_path / "t.csv", index=False)
    for data in (frame, tmp_path / "t.csv"):
        space = load(data, target="b").space
        assert isinstance(space, Table)
        assert space.target == "b"
    with pytest.raises(ValueError, match=r"target must be one of .*, got 'c'"):
        load(frame, target="c")
    with pytest.raises(ValueError, match="target must be left out"):
        load("two-moons", target="x")


def rated(value: float, low: float, high: float, kind: Kind | None, x: Tensor) -> Rated:
    likelihood = Measurement("likelihood", -5.0, -5.1, -4.9, better="higher", kind=kind)
    head = Measurement("two_sample_auc[trees]", value, low, high, better="lower")
    return Rated(Entry("base", (), (likelihood, head)), "", x, 0.1)


def test_only_what_is_told_apart_and_of_one_kind_is_a_loss():
    x = torch.zeros(1)
    own = rated(0.8, 0.75, 0.85, Kind.LOWER_BOUND, x).entry
    assert not losses([own], [rated(0.7, 0.6, 0.78, Kind.EXACT, x)])["base"]  # intervals meet
    assert losses([own], [rated(0.7, 0.6, 0.74, Kind.EXACT, x)])["base"] == ["loses to base: two-sample AUC"]
    worse = Measurement("likelihood", -9.0, -9.1, -8.9, better="higher", kind=Kind.LOWER_BOUND)
    bound = Entry("bound", (), (worse, *own.scores[1:]))
    assert not losses([bound], [rated(0.9, 0.8, 0.95, Kind.EXACT, x)])["bound"]  # a bound tells nothing


def test_the_error_of_a_model_is_one_beside_any_number_of_baselines():
    """A deviation of two standard errors stays significant: the baselines have none of their own."""

    def entry(value: float, half: float) -> Entry:
        head = Measurement("two_sample_auc[trees]", value, value - half, value + half, floor=0.5, better="nearer")
        return Entry("any", (), (Measurement("likelihood", 1.0), head))

    several = [Rated(entry(0.747, 0.0), "", torch.zeros(1), 0.1) for _ in range(9)]
    assert losses([entry(0.8, 0.05)], several)["any"]


def test_models_that_lose_alike_share_a_line(people: Dataset, tmp_path: Path):
    row = people.train.x[:1].repeat(300, 1)
    models = {name: Fake(row, likelihood=-30.0) for name in ("autoregressive", "autoregressive/any-order")}
    comparison = make_up(people, tmp_path, models, n=300)
    (line,) = [str(line) for line in comparison.verdict if line.title == "Loses"]
    names = ", ".join(entry.name for entry in comparison.entries)
    assert line.startswith(f"Loses: {names} lose to independent columns")
    assert "loses" not in line


def test_a_space_without_baselines_says_nothing_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(baselines, "baselines_of", lambda space: ())
    digits = load("digits", limit=400)
    comparison = make_up(digits, tmp_path, {"flow": Fake(digits.train.x[:100])}, n=100)
    assert comparison.baselines == ()
    assert not any(line.title in ("Baselines", "Loses") for line in comparison.verdict)


def test_baselines_are_computed_once(people: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    benchmark = Benchmark(people, examples(people, 200), Settings(n=200).protocol, 200)
    first = rate(benchmark, tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(baselines, "fit_baseline", refuse)
    for a, b in zip(first, rate(benchmark, tmp_path), strict=True):
        assert str(a.entry.scores) == str(b.entry.scores)
        assert a.columns == b.columns
        assert torch.equal(a.x, b.x)
    for variant in (replace(benchmark, n=100), replace(benchmark, seed=1)):
        with pytest.raises(AssertionError, match="computed again"):
            rate(variant, tmp_path)
    with pytest.raises(AssertionError, match="computed again"):
        rate(benchmark, tmp_path, resume=False)
    next(tmp_path.glob("*/result.json")).write_text("{", encoding="utf-8")
    with pytest.raises(AssertionError, match="computed again"):
        rate(benchmark, tmp_path)
