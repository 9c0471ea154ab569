"""Who leads: never at unequal numbers, beyond the floor, or where no interval is known."""

import math
import sys
from pathlib import Path

import pytest

from fourfold.metrics import Measurement
from fourfold.tournament.ranking import Lead, at_floor, lead

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import verdicts


def distance(value: float, half: float = 0.1, n: int = 100, floor: tuple[float, float] = (0.2, 0.4)) -> Measurement:
    return Measurement(
        "d[f]",
        value,
        value - half,
        value + half,
        sum(floor) / 2,
        n,
        better="lower",
        floor_low=floor[0],
        floor_high=floor[1],
    )


def share(value: float, half: float = 0.05) -> Measurement:
    return Measurement(
        "coverage[f]", value, value - half, value + half, 0.95, 100, better="higher", floor_low=0.9, floor_high=1
    )


def test_one_that_is_told_apart_leads() -> None:
    assert lead({"a": distance(2.0), "b": distance(1.0), "c": distance(1.1)}) == Lead(("b",), ("c",))
    assert lead({"a": share(0.5), "b": share(0.7)}) == Lead(("b",))


def test_different_numbers_of_samples_are_not_ranked() -> None:
    """Two samplers of the data itself: 0.297 at 180 samples and 0.794 at 64, and neither is the better one."""
    verdict = lead({"a": distance(0.297, n=180), "b": distance(0.794, n=64)})
    assert verdict.leaders == ()
    assert "64, 180" in verdict.reason


def test_without_intervals_nobody_leads() -> None:
    nan = Measurement("mmd²[f]", -0.0199, floor=-0.00862, n=18, better="lower")
    verdict = lead({"a": nan, "b": distance(1.0, n=18)})
    assert verdict.leaders == ()
    assert "18 samples are too few" in verdict.reason
    assert lead({"a": distance(1.0), "b": distance(math.nan)}).leaders == ()


def test_all_at_the_floor_are_equal() -> None:
    """An MMD² below the floor's is noise: it wins nothing over one within the floor's interval."""
    verdict = lead({"a": distance(-0.5), "b": distance(0.39), "c": distance(0.45), "d": distance(0.8)})
    assert verdict == Lead(("a", "b"), ("c",), floor=True)
    verdict = lead({"a": share(0.99, 0.005), "b": share(0.91, 0.005), "c": share(0.89, 0.02), "d": share(0.5)})
    assert verdict == Lead(("a", "b"), ("c",), floor=True)


@pytest.mark.parametrize(("value", "there"), [(-1.0, True), (0.4, True), (0.41, False)])
def test_the_floor_reaches_to_its_far_end(value: float, there: bool) -> None:
    assert at_floor(distance(value)) is there


def test_a_floor_without_interval_is_its_value() -> None:
    once = Measurement("d[f]", 0.29, 0.2, 0.4, floor=0.3, n=10, better="lower")
    assert at_floor(once)
    assert not at_floor(Measurement("d[f]", 0.31, 0.2, 0.4, floor=0.3, n=10, better="lower"))
    assert not at_floor(Measurement("likelihood", -1.0, better="higher"))


def auc(value: float, half: float = 0.02) -> Measurement:
    return Measurement(
        "two_sample_auc[t]",
        value,
        value - half,
        value + half,
        0.5,
        100,
        better="nearer",
        floor_low=0.45,
        floor_high=0.55,
    )


def test_half_is_best_for_an_area_under_the_curve() -> None:
    """Trees that are wrong more often than right tell samples apart just as well."""
    assert lead({"a": auc(0.369), "b": auc(0.58)}) == Lead(("b",))
    assert lead({"a": auc(0.369), "b": auc(0.53), "c": auc(0.47), "d": auc(0.8)}) == Lead(("b", "c"), floor=True)
    assert not at_floor(auc(0.369))
    assert at_floor(auc(0.46))


def test_twelve_equal_models_are_one_family() -> None:
    """Each pair at 5 % would call some of twelve equal models different in 2 of 5 comparisons."""
    rankings = verdicts.leads(verdicts.by_likelihood, [0.6] * 12, 180, 1, 60)
    assert (
        sum(len(verdicts.unbeaten(ranking)) < 12 for ranking, _ in rankings) <= 8
    )  # 3 on average, and so many in 1 of 100


def test_one_better_model_of_five_is_found_and_never_beaten() -> None:
    """A lead of 0.135 nats a row, at 1,000 rows."""
    rankings = [*verdicts.leads(verdicts.by_likelihood, [0.3] + [0.6] * 4, 1000, 1, 40)]
    assert all(ranking.leaders == ("0",) for ranking, _ in rankings)
    assert sum(not ranking.near for ranking, _ in rankings) >= 36


def test_models_whose_intervals_alone_are_known_share_the_risk() -> None:
    """Two that are just apart as a pair are not among ten."""
    scores = {str(i): distance(1.2 - 0.205 * (i == 0), 0.1, floor=(0.1, 0.2)) for i in range(10)}
    assert lead({name: scores[name] for name in "01"}).near == ()
    assert lead(scores).near == tuple("123456789")
