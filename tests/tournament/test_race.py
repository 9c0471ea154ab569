"""A race of candidates under one budget: its order, its winner to the bit, its interruption."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch

import fourfold
from fourfold.data import Dataset
from fourfold.engine import Interrupted, fit
from fourfold.metrics import Measurement
from fourfold.tournament.race import candidates_of, fit_best, survivors
from fourfold.tournament.standings import Standing, deciding_score, in_order
from fourfold.vocabulary import Kind

RACERS = ("flow/maf", "latent-variable", "adversarial")


@pytest.fixture(scope="module")
def moons() -> Dataset:
    return fourfold.load(torch.randn(600, 2, generator=torch.Generator().manual_seed(0)).numpy())


def race(data, out, **keywords):
    settings = {"candidates": RACERS, "size": "xs", "budget": "48 steps", "progress": False} | keywords
    return fit_best(data, out=out, **settings)


def weights(run):
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def test_an_interrupted_race_goes_on_and_its_winner_is_the_run_that_its_budget_gives_alone(moons, tmp_path) -> None:
    steps = itertools.count()
    with pytest.raises(Interrupted):
        race(moons, tmp_path, aim="likelihood", observe=lambda step: next(steps) == 9)
    result = race(moons, tmp_path, aim="likelihood")
    assert [len(standings) for standings in result.looks] == [3, 2]
    assert result.looks[0][0].scores["likelihood"].kind is Kind.EXACT
    alone = fit(result.looks[-1][0].name, moons, budget=result.run.card["budget"], size="xs")
    assert torch.equal(weights(result.run), weights(alone))
    assert torch.equal(weights(fourfold.Run.load(tmp_path)), weights(alone))
    record = json.loads((tmp_path / "race" / "race.json").read_text())
    assert record["looks"][-1][0]["name"] == alone.card["recipe"]


def test_a_candidate_that_fails_is_last_and_named(moons, tmp_path, monkeypatch) -> None:
    from fourfold.tournament import race as module

    def broken(name, *arguments, **keywords):
        if name.startswith("adversarial"):
            raise RuntimeError("no memory left")
        return fit(name, *arguments, **keywords)

    monkeypatch.setattr(module, "fit", broken)
    result = race(moons, tmp_path / "best", candidates=("adversarial", "flow/maf"))
    assert "no memory left" in result.looks[0][-1].failure
    assert "no memory left" in str(result)
    assert result.looks[-1][0].name == "flow/maf"


def standing(name: str, distance: float, nats: float, kind: Kind, milliseconds: float = 1.0) -> Standing:
    far = {"n": 100, "better": "lower"}
    scores = {
        "distance": Measurement("d", distance, distance - 0.1, distance + 0.1, floor=0.0, error=0.05, **far),
        "likelihood": Measurement("likelihood", nats, nats - 1, nats + 1, better="higher", kind=kind),
        "speed": Measurement("ms", milliseconds, better="lower"),
    }
    return Standing(name, scores=scores)


def test_level_candidates_are_ordered_by_likelihood_of_one_kind_alone() -> None:
    near = standing("near", 1.0, -9.0, Kind.EXACT)
    level = standing("level", 1.02, -5.0, Kind.EXACT)
    other = standing("other", 1.03, -1.0, Kind.LOWER_BOUND)
    far = standing("far", 3.0, 0.0, Kind.EXACT, 0.1)
    everyone = [far, other, near, level, Standing("broken", failure="x")]
    assert [s.name for s in in_order(everyone, "distance")] == ["level", "near", "other", "far", "broken"]
    assert [s.name for s in in_order(everyone, "likelihood")] == ["far", "level", "near", "other", "broken"]
    assert in_order(everyone, "speed")[0].name != "far"
    few = [
        standing(name, math.nan, nats, kind)
        for name, nats, kind in (("a", math.nan, Kind.NONE), ("b", -3.0, Kind.EXACT), ("c", -2.0, Kind.EXACT))
    ]
    assert [s.name for s in in_order(few, "distance")] == ["c", "b", "a"]
    vague = [replace(s, scores={**s.scores, "distance": replace(s.scores["distance"], low=math.nan, high=math.nan)})
             for s in (near, level)]  # fmt: skip
    assert [deciding_score(s, "distance") for s in (everyone[:4], few, vague)] == ["distance", *2 * ["likelihood"]]
    assert [s.name for s in in_order(vague, "distance")] == ["level", "near"]


@pytest.mark.parametrize(
    ("keywords", "noun"),
    [({"aim": "beauty"}, "aim"), ({"candidates": ["nobody"]}, "nobody"), ({"budget": "5"}, "unit")],
)
def test_wrong_settings_are_refused_before_training(moons, tmp_path, keywords, noun) -> None:
    with pytest.raises(ValueError, match=noun):
        race(moons, tmp_path / "best", **keywords)
    assert not (tmp_path / "best").exists()


def test_short_races_have_the_favourites_of_the_data_and_long_ones_every_paradigm(moons) -> None:
    short, long = (candidates_of(moons, None, "distance", {"budget": budget}) for budget in ("10s", "1h"))
    assert [name.partition("/")[0] for name in short] == ["autoregressive", "flow"]
    assert set(candidates_of(moons, None, "likelihood", {"budget": "10s"})) == set(long) > set(short)


def test_a_favourite_that_would_take_few_steps_gives_way() -> None:
    digits = fourfold.load("digits")
    assert candidates_of(digits, None, "distance", {"budget": "200ms"}) == ["latent-variable/convolutional"]


def test_one_candidate_has_the_whole_budget(moons, tmp_path) -> None:
    result = race(moons, tmp_path / "best", candidates=["flow/maf"], budget="12 steps")
    assert not result.looks
    assert result.run.card["steps"] == 12
    assert "the only candidate: flow/maf" in str(result)


def test_one_that_leads_after_many_steps_stays_for_the_second_look() -> None:
    digits = fourfold.load("digits").space
    first, second, slow = "adversarial/wasserstein", "latent-variable/convolutional", "diffusion/denoising"
    assert survivors([*map(Standing, (first, second, slow))], digits) == [first, slow]
    assert survivors([*map(Standing, (first, second)), Standing(slow, failure="x")], digits) == [first, second]


def test_leaders_that_need_no_steps_are_not_timed(monkeypatch) -> None:
    from fourfold.tournament import race as module

    monkeypatch.setattr(module, "choose_size", None)
    text = fourfold.load("python-docs", limit=20_000)
    assert candidates_of(text, None, "distance", {"budget": "1m"}) == ["autoregressive/ngrams"]
