"""The verdict: at one number of samples, with what it rests on, and silent where it must be."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import made_up
import pytest
from made_up import Fake, near

from fourfold.data import Dataset, load
from fourfold.metrics import Measurement, examples, quality
from fourfold.tournament import Comparison, combine
from fourfold.vocabulary import Kind

fake_comparison, moons = made_up.fake_comparison, made_up.moons

MakeComparison = Callable[..., Comparison]


def lines(comparison: Comparison) -> dict[str, str]:
    return {line.title: str(line) for line in comparison.verdict}


def test_models_with_different_numbers_of_samples_are_judged_by_the_same(
    fake_comparison: MakeComparison, moons: Dataset
) -> None:
    """Two samplers of the data itself, of which one was slow: neither is the better one."""
    few, many = near(moons, 64, 0.0), near(moons, 200, 0.0, 1)
    comparison = fake_comparison(
        {"flow": Fake(many), "diffusion": Fake(few, Kind.ESTIMATE, sweep={4: near(moons, 150, 0.3)})}
    )
    assert comparison.n == 64
    again = quality(many[:64], moons, examples(moons, 200))
    for name, entry in ((e.name, e) for e in comparison.entries):
        assert {s.n for s in entry.scores if s.name.startswith("mmd")} == {64}
        if name == "flow":
            assert [s for s in entry.scores if s.name in [a.name for a in again]] == again
    (sweep,) = next(e for e in comparison.entries if e.name == "diffusion").sweeps
    assert sweep["score"]["n"] == 64
    said = lines(comparison)["For look"]
    assert "flow" in said
    assert "diffusion" in said
    assert "not significantly different from training data with 64 samples" in said
    runs = {p["name"]: p["runs"][0] for p in comparison.record()["paradigms"]}
    assert runs["flow"]["scores"][1]["n"] == 200  # each run keeps its own number


def test_one_seed_never_shows_more_than_a_lead_in_this_run(fake_comparison: MakeComparison, moons: Dataset) -> None:
    comparison = fake_comparison(
        {"flow": Fake(near(moons, 200, 0.5)), "adversarial": Fake(near(moons, 200, 1.5), Kind.NONE)}
    )
    said = lines(comparison)
    assert said["For look"].startswith("For look: flow leads in this run: MMD²")
    assert "adversarial" not in said["For look"]
    assert said["Confidence"].startswith("Confidence: low; one seed")
    assert "--seeds 3" in said["Next"]


def test_few_test_examples_are_answered_by_a_cross_validation(tmp_path: Path) -> None:
    small = load("two-moons", limit=300)
    fakes = {"flow": Fake(near(small, 30, 0.5)), "diffusion": Fake(near(small, 30, 1.5))}
    assert "--folds 5" in lines(made_up.make_up(small, tmp_path, fakes, n=30))["Next"]
    own = load("two-moons", limit=300, fractions=(0.6, 0.1, 0.3))  # cut as the user wants it
    assert "--folds 5" not in lines(made_up.make_up(own, tmp_path, fakes, n=30))["Next"]


@pytest.mark.parametrize(
    ("result", "word"),
    [
        ({"steps": 9}, "9 steps"),
        ({"seconds": 99.0}, "99 s of training for 15 s"),
        ({"usage": {"share": 0.41, "load": 8.0}}, "41% of the processor"),
    ],
)
def test_an_unhealthy_training_silences_the_verdict(
    fake_comparison: MakeComparison, moons: Dataset, tmp_path: Path, result: dict, word: str
) -> None:
    fakes = {"flow": Fake(near(moons, 200, 0.5)), "diffusion": Fake(near(moons, 200, 1.5), result=result)}
    comparison = fake_comparison(fakes)
    first = comparison.verdict[0]
    assert first.warning
    assert "1 of 2 models had" in str(first)
    assert "This comparison says nothing about it, and names no winner" in str(first)
    assert not any(title.startswith("For ") for title in lines(comparison))
    assert str(comparison).startswith("Not comparable: 1 of 2 models")
    assert f"Too little: diffusion: {word}" in str(comparison)
    assert any(line.startswith("diffusion !") for line in str(comparison).splitlines())
    path = comparison.save(tmp_path / "report.html")
    page = path.read_text(encoding="utf-8")
    assert page.index("Not comparable") < page.index("The comparison")
    assert word in page
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["marked"] == {"diffusion": [word]}
    assert not any(line.startswith("For ") for line in record["verdict"])
    assert record["paradigms"][0]["runs"][0]["health"]["marks"] == []


def test_the_advice_is_a_command(fake_comparison: MakeComparison, moons: Dataset) -> None:
    x = near(moons, 200, 0.5)
    short = fake_comparison({"flow": Fake(x, result={"steps": 10}), "diffusion": Fake(x, Kind.ESTIMATE)})
    assert "give --budget 5m" in str(short.verdict[0])
    assert "--budget 5m" in lines(short)["Next"]


def test_a_busy_machine_is_answered_by_doing_it_again(fake_comparison: MakeComparison, moons: Dataset) -> None:
    x = near(moons, 200, 0.5)
    comparison = fake_comparison({"flow": Fake(x, result={"usage": {"share": 0.3, "load": 9}}), "diffusion": Fake(x)})
    assert "use a quiet machine" in str(comparison.verdict[0])
    assert lines(comparison)["Next"].endswith(" --fresh -n 200")


def test_too_few_samples_for_an_interval_name_nobody(fake_comparison: MakeComparison, moons: Dataset) -> None:
    comparison = fake_comparison({"flow": Fake(near(moons, 18, 0.1)), "diffusion": Fake(near(moons, 18, 1.0))}, n=18)
    assert lines(comparison)["For look"] == "For look: nobody is named: 18 samples are too few for an interval"


def test_bounds_are_not_ranked(fake_comparison: MakeComparison, moons: Dataset) -> None:
    x = near(moons, 200, 0.5)
    bounds = fake_comparison(
        {"latent-variable": Fake(x, Kind.LOWER_BOUND, -1.0), "diffusion": Fake(x, Kind.ESTIMATE, -0.5)}
    )
    assert (
        lines(bounds)["For a likelihood"]
        == "For a likelihood: 2 likelihoods are bounds or estimates, which are not ranked"
    )


def test_exact_likelihoods_are_ranked(fake_comparison: MakeComparison, moons: Dataset) -> None:
    x = near(moons, 200, 0.5)
    comparison = fake_comparison({"flow": Fake(x, likelihood=-1.0), "autoregressive": Fake(x, likelihood=-2.0)})
    assert lines(comparison)["For a likelihood"].startswith("For a likelihood: flow leads in this run: likelihood −1")


def test_speed_is_told_apart_by_its_range(fake_comparison: MakeComparison, moons: Dataset) -> None:
    x = near(moons, 200, 0.5)
    times = {"flow": 1.0, "adversarial": 1.05, "diffusion": 50.0}
    comparison = fake_comparison({name: Fake(x, milliseconds=ms) for name, ms in times.items()})
    said = lines(comparison)["For speed"]
    assert said.startswith(
        "For speed: flow: 1 ms and 4 network evaluations; about as fast: adversarial; diffusion takes 50"
    )


def test_speed_measured_beside_other_work_names_nobody(fake_comparison: MakeComparison, moons: Dataset) -> None:
    x = near(moons, 200, 0.5)
    busy = Fake(x, result={"sampling_usage": {"share": 0.5}})
    assert (
        "nobody is named: the machine was busy while flow"
        in lines(fake_comparison({"flow": busy, "diffusion": Fake(x)}))["For speed"]
    )


def test_seeds_are_combined_with_their_spread(fake_comparison: MakeComparison, moons: Dataset) -> None:
    fakes = {
        name: [Fake(near(moons, 200, noise, s)) for s in range(3)]
        for name, noise in (("flow", 0.3), ("diffusion", 1.5))
    }
    comparison = fake_comparison(fakes)
    said = lines(comparison)
    assert said["For look"].startswith("For look: flow is best over 3 seeds: MMD²")
    assert "in this run" not in str(comparison)
    assert "3 seeds: intervals are over trainings, samples and test examples" in said["Confidence"]
    assert "Next" not in said


def test_copies_are_named_in_the_verdict_and_new_examples_are_not(
    fake_comparison: MakeComparison, moons: Dataset
) -> None:
    """Training examples with a thousandth of noise, beside examples that no training has seen."""
    fakes = {
        "flow": Fake(near(moons, 200, 1e-3)),
        "diffusion": Fake(load("two-moons", limit=2000, seed=1).train.x[:200]),
    }
    said = fake_comparison(fakes).verdict
    assert str(said[0]).startswith("Copies: flow repeats training examples: memorisation ratio")
    assert said[0].warning
    assert not any("Copies: diffusion" in str(line) for line in said)


def test_what_seeds_may_share_is_not_divided_by_their_number() -> None:
    alike = [Measurement("d[f]", 1.0, 0.6, 1.4, n=10), Measurement("d[f]", 1.0, 0.8, 1.2, n=10)]
    mean = combine(alike)
    assert mean.high - mean.value == pytest.approx(math.sqrt((0.4**2 + 0.2**2) / 2))
    unknown = combine([Measurement("d[f]", 1.0, n=10), Measurement("d[f]", 1.0, n=10)])
    assert math.isnan(unknown.low)
    differing = combine(
        [Measurement("likelihood", 1.0, 0.9, 1.1, n=64), Measurement("likelihood", 1.2, 1.1, 1.3, n=180)]
    )
    assert "2 seeds (n = 64, 180)" in differing.protocol
